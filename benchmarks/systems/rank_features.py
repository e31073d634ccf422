"""K-sparse vectors in `rank_features`, by a bool query of `rank_feature` clauses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from opensearchpy import OpenSearch

from benchmarks.datasets import EncodedSet
from benchmarks.systems.base import INDEX_SETTINGS
from connector.errors import BulkWriteError
from connector.index.schema import index_body
from connector.index.writer import BulkWriter
from connector.query import build_query, build_search
from connector.sparsify import prune, round_to_stored
from connector.types import EncoderFingerprint, SparseDocument


@dataclass(frozen=True, slots=True)
class RankFeatures:
    """`k_query` features of a query against all features of the documents."""

    index: str
    fingerprint: EncoderFingerprint
    k_query: int
    top_k: int = 10
    name: str = "k-sparse"

    @property
    def knob(self) -> str:
        """The setting that trades quality for latency."""
        return f"k_query={self.k_query}"

    def configure(self, client: OpenSearch) -> None:
        """Create an index that holds the features and nothing beside them."""
        client.indices.create(index=self.index, body=index_body(self.fingerprint, settings=INDEX_SETTINGS))

    def upload(self, client: OpenSearch, data: EncodedSet) -> None:
        """Write the features alone: text would weigh the same in every system."""
        vectors = data.document_vectors._replace(weights=round_to_stored(data.document_vectors.weights))
        documents = [
            SparseDocument(doc_id, features)
            for doc_id, features in zip(data.doc_ids, vectors.as_mappings(), strict=True)
        ]
        result = BulkWriter(client, self.index).write(documents)
        if result.refused:
            raise BulkWriteError(
                f"{self.index} refused {result.refused[0].document.doc_id!r}: {result.refused[0].reason}"
            )

    def prepare(self, data: EncodedSet) -> list[dict[str, Any]]:
        """One bool query each."""
        return [
            build_search(build_query(features), top_k=self.top_k, source=False)
            for features in prune(data.query_vectors, self.k_query).as_mappings()
        ]
