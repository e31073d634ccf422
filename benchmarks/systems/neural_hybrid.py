"""OpenSearch's own hybrid search: BM25 and HNSW in the neural-search plugin's `hybrid` query."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from opensearchpy import OpenSearch

from benchmarks.datasets import EncodedSet
from benchmarks.systems.base import Encoding, OneRequest, Probe, Request, write
from benchmarks.systems.bm25 import WORDS_FIELD
from benchmarks.systems.lucene_hnsw import LuceneHnsw, to_numbers


@dataclass(frozen=True, slots=True)
class NeuralHybrid(OneRequest):
    """One query for both, with a search pipeline that combines their scores or ranks.

    Attributes:
        index: Name of the index, which has words and embeddings.
        dim: Dimensions of the embeddings.
        candidates: Hits of each query to combine.
        weight: Weight of HNSW's scores relative to BM25's, both normalized to 0 to 1; None uses reciprocal rank fusion.
        top_k: Hits per query.
    """

    index: str
    dim: int
    candidates: int = 100
    weight: float | None = None
    top_k: int = 10
    name: str = "BM25 + HNSW, hybrid query"
    encoding: Encoding = "dense"

    @property
    def knob(self) -> str:
        """Setting that trades quality for latency."""
        how = "by rank" if self.weight is None else f"{1 - self.weight:g} to {self.weight:g}"
        return f"{how}, {self.candidates} of each"

    def configure(self, client: OpenSearch) -> None:
        """Create HNSW's index with an additional field of words."""
        body = self._graph.body()
        body["mappings"]["properties"][WORDS_FIELD] = {"type": "text"}
        for fields in body["mappings"]["_source"].values():
            fields.append(WORDS_FIELD)
        client.indices.create(index=self.index, body=body)

    def upload(self, client: OpenSearch, data: EncodedSet) -> None:
        """Write embeddings and words."""
        embedded = self._graph.sources(data, range(len(data.documents)))
        sources = (
            {**source, WORDS_FIELD: document.content} for source, document in zip(embedded, data.documents, strict=True)
        )
        write(client, self.index, data.doc_ids, sources)

    def prepare(self, data: EncodedSet) -> list[Request]:
        """Build one `hybrid` query each."""
        return [
            {
                "size": self.top_k,
                "query": {
                    "hybrid": {
                        "pagination_depth": self.candidates,
                        "queries": [{"match": {WORDS_FIELD: query.text}}, self._neighbours(numbers)],
                    }
                },
                "search_pipeline": {"phase_results_processors": [self._processor()]},
            }
            for query, numbers in zip(data.judged.queries, to_numbers(data.query_embeddings), strict=True)
        ]

    def probes(self, data: EncodedSet, rows: Sequence[int]) -> list[Probe]:
        """As in HNSW."""
        return self._graph.probes(data, rows)

    @property
    def _graph(self) -> LuceneHnsw:
        return LuceneHnsw(self.index, self.dim)

    def _neighbours(self, vector: list[float]) -> dict[str, Any]:
        return {"knn": {"embedding": {"vector": vector, "k": self.candidates}}}

    def _processor(self) -> dict[str, Any]:
        if self.weight is None:
            return {"score-ranker-processor": {"combination": {"technique": "rrf"}}}
        weights = {"weights": [1 - self.weight, self.weight]}
        combination = {"technique": "arithmetic_mean", "parameters": weights}
        return {"normalization-processor": {"normalization": {"technique": "min_max"}, "combination": combination}}
