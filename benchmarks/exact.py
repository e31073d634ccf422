"""Exact search of a judged set with dense and sparse vectors. Needs no server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.datasets import EncodedSet
from connector.evaluation.exact import document_frequencies, exact_search, exact_sparse_search, postings_read
from connector.evaluation.metrics import evaluate_run, ndcg_by_query, share
from connector.types import Hit, SparseVectors

_CANDIDATES = 100


class Found(NamedTuple):
    """Result of a search with sparse vectors.

    Attributes:
        run: First 100 hits by query id.
        gains: float64 (queries,), NDCG@10 of each query.
        frequencies: int64 (features,), document frequency of each feature.
        figures: NDCG@10, also relative to exact dense search; recall of the dense top 10 in the first 100; postings
            read per query, relative to the number of documents.
    """

    run: dict[str, list[Hit]]
    gains: NDArray[np.float64]
    frequencies: NDArray[np.int64]
    figures: dict[str, float]


class ExactSearches:
    """Searches one set.

    Args:
        data: The set with its embeddings.

    Attributes:
        ids: Query ids, in order.
        dense_ndcg: NDCG@10 of exact dense search.
        top_10: First 10 hits of exact dense search by query id.
    """

    def __init__(self, data: EncodedSet) -> None:
        self._data = data
        self.ids = [query.query_id for query in data.judged.queries]
        hits = exact_search(data.document_embeddings, data.query_embeddings, data.doc_ids, _CANDIDATES)
        self.dense_ndcg = evaluate_run(dict(zip(self.ids, hits, strict=True)), data.judged.qrels)["ndcg@10"]
        self.top_10 = {query_id: found[:10] for query_id, found in zip(self.ids, hits, strict=True)}

    def search(self, documents: SparseVectors, queries: SparseVectors, num_features: int) -> Found:
        """Search with sparse vectors of any encoder.

        Args:
            documents: Vectors of the set's documents.
            queries: Vectors of the set's queries.
            num_features: Width of the encoder's output.
        """
        data = self._data
        hits = exact_sparse_search(documents, queries, data.doc_ids, num_features, _CANDIDATES)
        run = dict(zip(self.ids, hits, strict=True))
        by_query = ndcg_by_query(run, data.judged.qrels)
        gains = np.array([by_query[query_id] for query_id in self.ids])
        frequencies = document_frequencies(documents, num_features)
        figures = {
            "ndcg@10": float(gains.mean()),
            "ndcg_share": share(float(gains.mean()), self.dense_ndcg),
            "recall_of_dense_top_10@100": self.recall(run),
            "postings_per_document": float(postings_read(queries, frequencies).mean()) / len(data.documents),
        }
        return Found(run, gains, frequencies, figures)

    def recall(self, run: Mapping[str, Sequence[Hit]]) -> float:
        """Fraction of the dense top 10 among the hits, mean over queries."""
        shares = []
        for query_id, wanted in self.top_10.items():
            found = {hit.doc_id for hit in run[query_id]}
            shares.append(sum(hit.doc_id in found for hit in wanted) / len(wanted))
        return float(np.mean(shares))


def rescore(found: Sequence[list[Hit]], data: EncodedSet, embeddings: NDArray[np.float32]) -> dict[str, list[Hit]]:
    """Rescore candidates by inner products of embeddings.

    Args:
        found: Candidates of each query.
        data: The set.
        embeddings: float32 (n, dim), embeddings of its documents, exact or as codes store them.

    Returns:
        The candidates by query id, best first.
    """
    row_of = {doc_id: row for row, doc_id in enumerate(data.doc_ids)}
    rescored = []
    for hits, query in zip(found, data.query_embeddings, strict=True):
        rows = [row_of[hit.doc_id] for hit in hits]
        scores = embeddings[rows] @ query if rows else np.empty(0)
        rescored.append(
            sorted(
                (Hit(hit.doc_id, float(score)) for hit, score in zip(hits, scores, strict=True)),
                key=lambda hit: -hit.score,
            )
        )
    return data.run_of(rescored)
