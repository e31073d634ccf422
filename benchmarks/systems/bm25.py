"""OpenSearch's BM25, alone and added to sparse scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from opensearchpy import OpenSearch

from benchmarks.datasets import EncodedSet
from benchmarks.systems.base import INDEX_SETTINGS, Encoding, OneRequest, Probe, Request, without_source, write
from benchmarks.systems.rank_features import feature_probes, stored_features
from connector.query.body import FEATURES_FIELD, build_query
from connector.vectors.top_k import prune

WORDS_FIELD = "content"


@dataclass(frozen=True, slots=True)
class BM25(OneRequest):
    """A `match` query on title and text in one field with the standard analyzer.

    Attributes:
        index: Name of the index.
        top_k: Hits per query.
    """

    index: str
    top_k: int = 10
    name: str = "BM25"
    knob: str = ""
    encoding: Encoding = "none"

    def configure(self, client: OpenSearch) -> None:
        """Create an index of words without `_source`."""
        properties = {WORDS_FIELD: {"type": "text"}}
        mappings = {"dynamic": "strict", "_source": without_source(WORDS_FIELD), "properties": properties}
        client.indices.create(index=self.index, body={"settings": {"index": INDEX_SETTINGS}, "mappings": mappings})

    def upload(self, client: OpenSearch, data: EncodedSet) -> None:
        """Write titles and texts."""
        write(client, self.index, data.doc_ids, ({WORDS_FIELD: document.content} for document in data.documents))

    def prepare(self, data: EncodedSet) -> list[Request]:
        """Build one `match` query each."""
        return [{"size": self.top_k, "query": {"match": {WORDS_FIELD: query.text}}} for query in data.judged.queries]

    def probes(self, data: EncodedSet, rows: Sequence[int]) -> list[Probe]:
        """Search for the first words of a document."""
        return [({"query": {"match": {WORDS_FIELD: data.documents[row].content[:200]}}}, None) for row in rows]


@dataclass(frozen=True, slots=True)
class Hybrid(OneRequest):
    """Weighted BM25 plus the dot product of features in one bool query.

    Attributes:
        index: Name of the index.
        weight: Weight of BM25.
        k_query: Number of query features.
        k_doc: Features kept per document; None keeps all.
        weight_exponent: Exponent of the power of two by which stored weights are multiplied.
        top_k: Hits per query.
    """

    index: str
    weight: float
    k_query: int
    k_doc: int | None = None
    weight_exponent: int = 0
    top_k: int = 10
    name: str = "BM25 + k-sparse"
    encoding: Encoding = "features"

    @property
    def knob(self) -> str:
        """Setting that trades quality for latency."""
        return f"k_query={self.k_query}, BM25 x {self.weight:g}"

    def configure(self, client: OpenSearch) -> None:
        """Create an index of words and features."""
        properties = {WORDS_FIELD: {"type": "text"}, FEATURES_FIELD: {"type": "rank_features"}}
        mappings = {
            "dynamic": "strict",
            "_source": without_source(WORDS_FIELD, FEATURES_FIELD),
            "properties": properties,
        }
        client.indices.create(index=self.index, body={"settings": {"index": INDEX_SETTINGS}, "mappings": mappings})

    def upload(self, client: OpenSearch, data: EncodedSet) -> None:
        """Write texts and features."""
        stored = stored_features(data.document_vectors, self.k_doc, self.weight_exponent)
        sources = (
            {WORDS_FIELD: document.content, FEATURES_FIELD: features}
            for document, features in zip(data.documents, stored, strict=True)
        )
        write(client, self.index, data.doc_ids, sources)

    def prepare(self, data: EncodedSet) -> list[Request]:
        """Build one bool query each."""
        requests: list[Request] = []
        features = prune(data.query_vectors, self.k_query).as_mappings()
        for query, found in zip(data.judged.queries, features, strict=True):
            both = build_query(found, weight_exponent=self.weight_exponent)
            both["bool"]["should"].append({"match": {WORDS_FIELD: {"query": query.text, "boost": self.weight}}})
            requests.append({"size": self.top_k, "query": both})
        return requests

    def probes(self, data: EncodedSet, rows: Sequence[int]) -> list[Probe]:
        """Expect the sum of a document's stored weights."""
        return feature_probes(data.document_vectors, self.k_doc, rows, self.weight_exponent)
