import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse.BodyHandlers;

/**
 * Write a document and search by text, with Java alone: java AnyClient.java "how do plants eat". OpenSearch encodes both,
 * once `ksparse connect INDEX` has set it up.
 */
public class AnyClient {
    private static final HttpClient CLIENT = HttpClient.newHttpClient();
    private static final String URL = System.getenv().getOrDefault("OPENSEARCH_URL", "http://localhost:9200");
    private static final String INDEX = System.getenv().getOrDefault("INDEX", "docs");

    public static void main(String[] arguments) throws Exception {
        String document = "{\"title\": \"Java\", \"text\": \"Plants make sugar from light.\"}";
        send("PUT", INDEX + "/_doc/from-java?refresh=true", document);
        String text = arguments[0].replace("\\", "\\\\").replace("\"", "\\\"");
        String query = "{\"query\": {\"match\": {\"ksparse\": \"" + text + "\"}}}";
        String options = "?search_pipeline=ksparse-" + INDEX + "&filter_path=hits.hits._id,hits.hits._score";
        System.out.println(send("POST", INDEX + "/_search" + options, query));
    }

    private static String send(String method, String path, String body) throws Exception {
        HttpRequest request = HttpRequest.newBuilder(URI.create(URL + "/" + path))
            .header("Content-Type", "application/json")
            .method(method, BodyPublishers.ofString(body))
            .build();
        var reply = CLIENT.send(request, BodyHandlers.ofString());
        if (reply.statusCode() >= 300) {
            throw new IllegalStateException(reply.statusCode() + ": " + reply.body());
        }
        return reply.body();
    }
}
