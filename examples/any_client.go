// Write a document and search by text, with Go alone: go run any_client.go "how do plants eat"
// OpenSearch encodes both, once `ksparse connect INDEX` has set it up.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
)

func setting(name, usual string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return usual
}

func send(method, address string, body any) string {
	written, err := json.Marshal(body)
	check(err)
	request, err := http.NewRequest(method, address, bytes.NewReader(written))
	check(err)
	request.Header.Set("Content-Type", "application/json")
	reply, err := http.DefaultClient.Do(request)
	check(err)
	defer reply.Body.Close()
	answer, err := io.ReadAll(reply.Body)
	check(err)
	if reply.StatusCode >= 300 {
		check(fmt.Errorf("%d: %s", reply.StatusCode, answer))
	}
	return string(answer)
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func main() {
	index := setting("INDEX", "docs")
	address := setting("OPENSEARCH_URL", "http://localhost:9200") + "/" + index
	document := map[string]string{"title": "Go", "text": "Plants make sugar from light."}
	send("PUT", address+"/_doc/from-go?refresh=true", document)
	query := map[string]any{"query": map[string]any{"match": map[string]string{"ksparse": os.Args[1]}}}
	options := "?search_pipeline=ksparse-" + index + "&filter_path=hits.hits._id,hits.hits._score"
	fmt.Println(send("POST", address+"/_search"+options, query))
}
