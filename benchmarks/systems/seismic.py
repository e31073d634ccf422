"""The neural-search plugin's approximate index for sparse vectors, SEISMIC (Bruch et al. 2024, arXiv:2404.18812)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from opensearchpy import OpenSearch

from benchmarks.datasets import EncodedSet
from benchmarks.systems.base import INDEX_SETTINGS, Encoding, OneRequest, Probe, Request, without_source, write
from connector.types import SparseVectors
from connector.vectors.top_k import prune

_FIELD = "vector"
_NUMBERS = 32_768


@dataclass(frozen=True, slots=True)
class Seismic(OneRequest):
    """The set's sparse vectors in a `sparse_vector` field.

    Attributes:
        index: Name of the index.
        top_n: Number of strongest query features that select clusters; all features score.
        k_doc: Features kept per document; None keeps all.
        n_postings: Documents kept per posting list.
        cluster_ratio: Number of clusters of a posting list relative to its documents.
        top_k: Hits per query.
    """

    index: str
    top_n: int
    k_doc: int | None = None
    n_postings: int = 300
    cluster_ratio: float = 0.1
    top_k: int = 10
    name: str = "SEISMIC"
    encoding: Encoding = "features"

    @property
    def knob(self) -> str:
        """Setting that trades quality for latency."""
        return f"top_n={self.top_n}"

    def configure(self, client: OpenSearch) -> None:
        """Create an index that is approximate for any number of documents."""
        method = {
            "name": "seismic",
            "parameters": {
                "n_postings": self.n_postings,
                "cluster_ratio": self.cluster_ratio,
                "approximate_threshold": 0,
            },
        }
        mappings = {
            "dynamic": "strict",
            "_source": without_source(_FIELD),
            "properties": {_FIELD: {"type": "sparse_vector", "method": method}},
        }
        settings = {"index": {"sparse": True, **INDEX_SETTINGS}}
        client.indices.create(index=self.index, body={"settings": settings, "mappings": mappings})

    def upload(self, client: OpenSearch, data: EncodedSet) -> None:
        """Write the vectors."""
        documents = _renumber(self._documents(data), self._numbers(data))
        write(client, self.index, data.doc_ids, ({_FIELD: features} for features in documents))

    def prepare(self, data: EncodedSet) -> list[Request]:
        """Build one query each, with all features."""
        return [
            {
                "size": self.top_k,
                "query": {
                    "neural_sparse": {
                        _FIELD: {
                            "query_tokens": features,
                            "method_parameters": {"k": self.top_k, "top_n": self.top_n},
                        }
                    }
                },
            }
            for features in _renumber(data.query_vectors, self._numbers(data))
        ]

    def probes(self, data: EncodedSet, rows: Sequence[int]) -> list[Probe]:
        """None: the index is approximate, and the plugin of 3.6 fails on filters by `_id` (no createWeight)."""
        return []

    def _documents(self, data: EncodedSet) -> SparseVectors:
        return data.document_vectors if self.k_doc is None else prune(data.document_vectors, self.k_doc)

    def _numbers(self, data: EncodedSet) -> dict[str, int]:
        """Assign a number to each feature, the most frequent first.

        The plugin fails for numbers from 32,768 (neural-search #1925), so the rarest features share numbers.
        """
        vectors = self._documents(data)
        features, counts = np.unique(vectors.features[vectors.weights > 0], return_counts=True)
        ranked = features[np.argsort(-counts, kind="stable")].tolist()
        half = _NUMBERS // 2
        return {str(name): rank if rank < _NUMBERS else half + rank % half for rank, name in enumerate(ranked)}


def _renumber(vectors: SparseVectors, numbers: dict[str, int]) -> list[dict[str, float]]:
    """Replace features by numbers, without those of no document; of two with one number the stronger remains."""
    renumbered = []
    for features in vectors.as_mappings():
        found: dict[str, float] = {}
        for name, weight in features.items():
            if name in numbers:
                number = str(numbers[name])
                found[number] = max(weight, found.get(number, 0.0))
        renumbered.append(found)
    return renumbered
