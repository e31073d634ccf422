#!/bin/sh
# Write a document and search by text, with curl alone: sh any_client.sh "how do plants eat"
# OpenSearch encodes both, once `ksparse connect INDEX` has set it up.
set -eu
url=${OPENSEARCH_URL:-http://localhost:9200}
index=${INDEX:-docs}

curl --silent --show-error --fail-with-body -X PUT "$url/$index/_doc/from-curl?refresh=true" \
    -H 'Content-Type: application/json' -d '{"title": "Curl", "text": "Plants make sugar from light."}' >&2
curl --silent --show-error --fail-with-body --get "$url/$index/_search" --data-urlencode "q=$1" \
    -d "search_pipeline=ksparse-$index" -d 'filter_path=hits.hits._id,hits.hits._score'
