"""Rules for the number of features per text, at equal index size: a fixed number, or depending on the text."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.datasets import EncodedSet
from benchmarks.exact import ExactSearches
from benchmarks.measure import difference_interval
from connector.types import SparseVectors
from connector.vectors.top_k import prune

LENGTHS = ((64, 32), (64, 16), (32, 16))
WIDTH = (192, 96)
"""Features per document and per query from which rules select."""

Worth = Callable[[NDArray[np.float32]], NDArray[np.floating]]
"""Maps weights (n, k), strongest first, to values; the features with the highest values in all texts are kept."""


def _of_strongest(weights: NDArray[np.float32]) -> NDArray[np.floating]:
    return weights / np.maximum(weights[:, :1], np.finfo(np.float32).tiny)


def _of_mass(weights: NDArray[np.float32]) -> NDArray[np.floating]:
    """Negative fraction of the text's total weight that stronger features have."""
    before = np.cumsum(weights, axis=1) - weights
    spread: NDArray[np.floating] = before / np.maximum(weights.sum(axis=1, keepdims=True), np.finfo(np.float32).tiny)
    return -spread


RULES: Mapping[str, Worth] = {
    "threshold": lambda weights: weights,
    "share of the strongest": _of_strongest,
    "share of the mass": _of_mass,
}


def keep(vectors: SparseVectors, worth: Worth, average: float) -> SparseVectors:
    """Keep the features with the highest values.

    Args:
        vectors: Vectors with more features than are kept.
        worth: The rule.
        average: Average number of features kept per text.
    """
    values = np.where(vectors.weights > 0, worth(vectors.weights), -np.inf)
    count = min(round(average * len(values)), int(np.count_nonzero(vectors.weights)))
    least = -np.partition(-values.ravel(), count - 1)[count - 1]
    return vectors._replace(weights=np.where(values >= least, vectors.weights, np.float32(0.0)))


def compare_rules(
    data: EncodedSet,
    learned: EncodedSet | None,
    *,
    lengths: Sequence[tuple[int, int]] = LENGTHS,
    progress: Callable[[float], None] | None = None,
) -> list[dict[str, Any]]:
    """Search with each rule for documents, for queries and for both; the first row of each length has a fixed k.

    Args:
        data: The set, encoded with `WIDTH` features.
        learned: The set encoded by a head with learned thresholds, whose lengths are compared as well.
        lengths: Average numbers of features per document and per query.
        progress: Called with the completed fraction.

    Returns:
        One row each: NDCG@10, also relative to exact dense search, the interval of its difference from the first row of
        the length, recall of the dense top 10 in the first 100, relative postings per query, lengths.
    """
    points = list(lengths)
    if learned is not None:
        means = [round(float(np.mean(each.active_dims))) for each in (learned.document_vectors, learned.query_vectors)]
        points = [(means[0], means[1]), *points]
    exact = ExactSearches(data)
    rows: list[dict[str, Any]] = []
    for point, (k_doc, k_query) in enumerate(points):
        choices = [(rule, vectors, data.encoder) for rule, vectors in _choices(data, k_doc, k_query)]
        if point == 0 and learned is not None:
            vectors = learned.document_vectors, learned.query_vectors
            choices.insert(1, ("learned thresholds", vectors, learned.encoder))
        first: NDArray[np.float64] | None = None
        for step, (rule, (documents, queries), encoder) in enumerate(choices):
            found = exact.search(documents, queries, encoder.num_latents)
            first = found.gains if first is None else first
            rows.append(
                {
                    "length": f"{k_doc}/{k_query}",
                    "rule": rule,
                    **found.figures,
                    "ndcg_difference_interval": difference_interval(found.gains, first),
                    "dlen": float(np.mean(documents.active_dims)),
                    "qlen": float(np.mean(queries.active_dims)),
                }
            )
            if progress is not None:
                progress((point + (step + 1) / len(choices)) / len(points))
    return rows


def _choices(data: EncodedSet, k_doc: int, k_query: int) -> Iterator[tuple[str, tuple[SparseVectors, SparseVectors]]]:
    """Documents and queries of one length by each rule, the fixed k first."""
    documents, queries = prune(data.document_vectors, k_doc), prune(data.query_vectors, k_query)
    yield "k of all", (documents, queries)
    for name, worth in RULES.items():
        by_doc = keep(data.document_vectors, worth, float(np.mean(documents.active_dims)))
        by_query = keep(data.query_vectors, worth, float(np.mean(queries.active_dims)))
        yield f"{name}, documents", (by_doc, queries)
        yield f"{name}, queries", (documents, by_query)
        yield f"{name}, both", (by_doc, by_query)
