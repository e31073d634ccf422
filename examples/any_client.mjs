// Write a document and search by text, with Node alone: node any_client.mjs "how do plants eat"
// OpenSearch encodes both, once `ksparse connect INDEX` has set it up.
const url = process.env.OPENSEARCH_URL ?? "http://localhost:9200";
const index = process.env.INDEX ?? "docs";

async function send(method, path, body) {
  const reply = await fetch(`${url}/${path}`, {
    method,
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
  });
  if (!reply.ok) throw new Error(`${reply.status}: ${await reply.text()}`);
  return reply.json();
}

await send("PUT", `${index}/_doc/from-node?refresh=true`, { title: "Node", text: "Plants make sugar from light." });
const found = await send(
  "POST",
  `${index}/_search?search_pipeline=ksparse-${index}&filter_path=hits.hits._id,hits.hits._score`,
  { query: { match: { ksparse: process.argv[2] } } },
);
console.log(JSON.stringify(found));
