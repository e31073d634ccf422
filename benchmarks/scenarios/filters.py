"""Metadata for filters that match a given fraction of a set's documents, related to the query or not."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from benchmarks.datasets import EncodedSet
from connector.evaluation.exact import exact_search
from connector.types import Hit

Kind = Literal["uncorrelated", "correlated"]

PARTS = (2, 5, 10, 10, 10)
"""Number of parts into which each level divides a group, for 50, 10, 1, 0.1 and 0.01 % of the documents."""

SHARES = tuple(1 / product for product in np.cumprod(PARTS).tolist())


@dataclass(frozen=True, slots=True)
class Labels:
    """Label of each document at each level, and the label that each query filters for.

    Attributes:
        documents: (levels, n), int64.
        queries: (levels, m), int64.
    """

    documents: NDArray[np.int64]
    queries: NDArray[np.int64]


def label(data: EncodedSet, kind: Kind) -> Labels:
    """Divide the documents into ever smaller groups of equal size, and assign a group per level to each query.

    Uncorrelated groups depend on hashes of ids. Correlated groups are divided along the direction of the largest
    variance of their embeddings, and queries are assigned like documents, as with a filter by the category of the
    query.
    """
    if kind == "correlated":
        return _by_direction(data.document_embeddings, data.query_embeddings)
    documents = _hashes(data.doc_ids)
    queries = _hashes([query.query_id for query in data.judged.queries])
    ranks = np.argsort(np.argsort(documents, kind="stable"), kind="stable")
    counts = np.cumprod(PARTS)[:, None]
    return Labels(ranks[None] * counts // len(ranks), (queries[None] * counts).astype(np.int64))


def exact_among(data: EncodedSet, kept: NDArray[np.int64], asked: NDArray[np.int64]) -> dict[str, list[Hit]]:
    """Search the matching documents of each query exactly; queries without any are omitted.

    Args:
        data: The encoded set.
        kept: (n,), label of each document.
        asked: (m,), label that documents must have for each query.
    """
    truth: dict[str, list[Hit]] = {}
    ids = data.doc_ids
    order = np.argsort(kept, kind="stable")
    ranked = kept[order]
    for wanted in np.unique(asked).tolist():
        start, end = np.searchsorted(ranked, [wanted, wanted + 1])
        rows, places = order[start:end], np.flatnonzero(asked == wanted)
        if len(rows):
            embeddings, names = data.document_embeddings[rows], [ids[row] for row in rows.tolist()]
            found = exact_search(embeddings, data.query_embeddings[places], names, 10)
            truth |= dict(zip([data.judged.queries[place].query_id for place in places.tolist()], found, strict=True))
    return truth


def _hashes(names: Sequence[str]) -> NDArray[np.float64]:
    """Hash each name to a number from 0 to 1, the same on every machine."""
    digests = (hashlib.blake2b(name.encode(errors="surrogatepass"), digest_size=6).digest() for name in names)
    return np.array([int.from_bytes(digest, "big") for digest in digests]) / 2.0**48


def _by_direction(documents: NDArray[np.float32], queries: NDArray[np.float32]) -> Labels:
    found = np.zeros((len(PARTS), len(documents)), dtype=np.int64)
    asked = np.zeros((len(PARTS), len(queries)), dtype=np.int64)
    groups = [(np.arange(len(documents)), np.arange(len(queries)))]
    for level, parts in enumerate(PARTS):
        smaller = []
        for number, (rows, places) in enumerate(groups):
            cut, chosen = _divide(documents[rows], queries[places], parts)
            for part in range(parts):
                smaller.append((rows[cut == part], places[chosen == part]))
                found[level, smaller[-1][0]] = number * parts + part
                asked[level, smaller[-1][1]] = number * parts + part
        groups = smaller
    return Labels(found, asked)


def _divide(
    documents: NDArray[np.float32], queries: NDArray[np.float32], parts: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Divide a group into parts of equal size; return the part of each document and query."""
    if not len(documents):
        return np.zeros(0, dtype=np.int64), np.zeros(len(queries), dtype=np.int64)
    direction = _main_direction(documents)
    along = documents @ direction
    ranks = np.argsort(np.argsort(along, kind="stable"), kind="stable")
    places = np.searchsorted(np.sort(along), queries @ direction).clip(0, len(documents) - 1)
    return ranks * parts // len(documents), places * parts // len(documents)


def _main_direction(rows: NDArray[np.float32], *, rounds: int = 20) -> NDArray[np.float32]:
    """The first principal direction, by power iteration."""
    centred = rows - rows.mean(axis=0)
    direction = np.asarray(np.random.default_rng(0).standard_normal(rows.shape[1]), dtype=np.float32)
    for _ in range(rounds):
        moved = centred.T @ (centred @ direction)
        length = float(np.linalg.norm(moved))
        if length < 1e-12:  # all alike
            break
        direction = np.asarray(moved / length, dtype=np.float32)
    return direction
