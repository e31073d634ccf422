"""The k-NN plugin's Lucene HNSW graph on fp32 embeddings: what we are compared with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from opensearchpy import OpenSearch
from opensearchpy.helpers import bulk

from benchmarks.datasets import EncodedSet
from benchmarks.systems.base import INDEX_SETTINGS
from connector.index.schema import load_mapping


@dataclass(frozen=True, slots=True)
class LuceneHnsw:
    """Approximate nearest neighbours at the server's default settings, unless `ef_search` is given."""

    index: str
    dim: int
    ef_search: int | None = None
    top_k: int = 10
    name: str = "HNSW"

    @property
    def knob(self) -> str:
        """The setting that trades quality for latency."""
        return "default" if self.ef_search is None else f"ef_search={self.ef_search}"

    def configure(self, client: OpenSearch) -> None:
        """Create an index that holds the embeddings and nothing beside them."""
        body = load_mapping("lucene_hnsw")
        body["mappings"]["properties"]["embedding"]["dimension"] = self.dim
        body["settings"] = {"index": {"knn": True, **INDEX_SETTINGS}}
        client.indices.create(index=self.index, body=body)

    def upload(self, client: OpenSearch, data: EncodedSet) -> None:
        """Write the embeddings alone."""
        bulk(
            client,
            (
                {"_index": self.index, "_id": doc_id, "embedding": embedding.tolist()}
                for doc_id, embedding in zip(data.doc_ids, data.document_embeddings, strict=True)
            ),
        )

    def prepare(self, data: EncodedSet) -> list[dict[str, Any]]:
        """One k-NN query each."""
        extra = {} if self.ef_search is None else {"method_parameters": {"ef_search": self.ef_search}}
        return [
            {
                "size": self.top_k,
                "_source": False,
                "track_total_hits": False,
                "query": {"knn": {"embedding": {"vector": embedding.tolist(), "k": self.top_k, **extra}}},
            }
            for embedding in data.query_embeddings
        ]
