"""The truth that other systems are compared with: every document scored by brute force, in blocks of queries."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from connector.types import Hit, SparseVectors

BLOCK_SCORES = 16 * 1024 * 1024
"""Scores held at a time, 64 MiB of float32; a single query may need more."""


def exact_search(
    document_embeddings: NDArray[np.floating],
    query_embeddings: NDArray[np.floating],
    doc_ids: Sequence[str],
    top_k: int,
    *,
    block_scores: int = BLOCK_SCORES,
) -> list[list[Hit]]:
    """Find each query's documents of highest inner product.

    Args:
        document_embeddings: (n_documents, dim), finite; unit length where the score shall be the cosine.
        query_embeddings: (n_queries, dim), finite.
        doc_ids: One for each document.
        top_k: Hits asked for, at least 1.
        block_scores: Scores held at a time.

    Returns:
        min(top_k, n_documents) hits for each query, highest score first; where scores are equal, in the corpus's
        order. Scores are computed in float32.

    Raises:
        ValueError: `top_k` is below 1, the shapes do not fit, or a score is NaN or infinite.
    """
    if document_embeddings.ndim != 2 or query_embeddings.ndim != 2:
        raise ValueError(
            f"embeddings must have two axes, got shapes {document_embeddings.shape} and {query_embeddings.shape}."
        )
    if document_embeddings.shape[1] != query_embeddings.shape[1]:
        raise ValueError(
            f"documents have {document_embeddings.shape[1]} dimensions and queries {query_embeddings.shape[1]}; "
            "encode both with one model."
        )
    _check(len(document_embeddings), doc_ids, top_k)
    documents = np.asarray(document_embeddings, dtype=np.float32)
    queries = np.asarray(query_embeddings, dtype=np.float32)
    every = np.arange(len(documents))
    found: list[list[Hit]] = []
    for block in _blocks(len(queries), len(documents), block_scores):
        # Infinity times 0 would warn here; it is refused in the next line.
        with np.errstate(all="ignore"):
            scores = queries[block] @ documents.T
        if not np.isfinite(scores).all():
            raise ValueError("a score is NaN or infinite; embeddings must be finite.")
        found += [_best(every, row, doc_ids, top_k) for row in scores]
    return found


def exact_sparse_search(
    documents: SparseVectors,
    queries: SparseVectors,
    doc_ids: Sequence[str],
    num_latents: int,
    top_k: int,
    *,
    block_scores: int = BLOCK_SCORES,
) -> list[list[Hit]]:
    """Find each query's documents of highest dot product of sparse vectors.

    Args:
        documents: n_documents vectors.
        queries: n_queries vectors, cut as they would be searched.
        doc_ids: One for each document.
        num_latents: Width of the encoder's output; features are below it.
        top_k: Hits asked for, at least 1.
        block_scores: Scores held at a time.

    Returns:
        At most top_k hits for each query, highest score first; where scores are equal, in the corpus's order. As on
        the server, a document that shares no feature with the query is not a hit. Scores are computed in float32.

    Raises:
        ValueError: `top_k` is below 1, `doc_ids` does not fit, a feature is not below `num_latents`, or a score is
            infinite or NaN.
    """
    _check(len(documents.features), doc_ids, top_k)
    postings = _matrix(documents, num_latents).T.tocsr()
    rows = _matrix(queries, num_latents)
    found: list[list[Hit]] = []
    for block in _blocks(len(queries.features), len(doc_ids), block_scores):
        scores = rows[block] @ postings
        if not np.isfinite(scores.data).all():
            raise ValueError("a score is NaN or infinite; weights must be finite.")
        scores.sort_indices()
        for start, stop in zip(scores.indptr[:-1], scores.indptr[1:], strict=True):
            found.append(_best(scores.indices[start:stop], scores.data[start:stop], doc_ids, top_k))
    return found


def document_frequencies(vectors: SparseVectors, num_latents: int) -> NDArray[np.int64]:
    """Count the vectors that use each feature, which is the length of its postings.

    Returns:
        int64 (num_latents,).

    Raises:
        ValueError: A feature is not below `num_latents`.
    """
    counts: NDArray[np.int64] = np.bincount(_used(vectors, num_latents), minlength=num_latents)
    return counts.astype(np.int64)


def postings_read(queries: SparseVectors, document_frequencies: NDArray[np.int64]) -> NDArray[np.int64]:
    """Sum the postings behind each query's features: what a search reads if no block can be skipped.

    Args:
        queries: n_queries vectors, cut as they would be searched.
        document_frequencies: int64 (num_latents,), from the function of that name.

    Returns:
        int64 (n_queries,).

    Raises:
        ValueError: A feature is not below num_latents.
    """
    _used(queries, len(document_frequencies))
    # An unused slot may name any feature, even one beyond the last.
    used = queries.weights != 0.0
    lengths = document_frequencies[np.where(used, queries.features, 0)]
    return np.asarray(np.where(used, lengths, 0).sum(axis=1), dtype=np.int64)


def _check(n_documents: int, doc_ids: Sequence[str], top_k: int) -> None:
    if top_k < 1:
        raise ValueError(f"top_k must be at least 1, got {top_k}.")
    if len(doc_ids) != n_documents:
        raise ValueError(f"there are {n_documents} documents and {len(doc_ids)} doc_ids; give one for each.")


def _blocks(n_queries: int, n_documents: int, block_scores: int) -> list[slice]:
    size = max(1, block_scores // max(1, n_documents))
    return [slice(start, start + size) for start in range(0, n_queries, size)]


def _best(rows: NDArray[np.integer], scores: NDArray[np.float32], doc_ids: Sequence[str], top_k: int) -> list[Hit]:
    """Pick the top k of documents that come in the corpus's order."""
    if len(scores) > top_k:
        # All that tie with the last one stay in, so that the stable sort decides and not the partition.
        kept = np.flatnonzero(scores >= np.partition(scores, -top_k)[-top_k])
        rows, scores = rows[kept], scores[kept]
    order = np.argsort(-scores, kind="stable")[:top_k]
    return [Hit(doc_ids[row], score) for row, score in zip(rows[order].tolist(), scores[order].tolist(), strict=True)]


def _matrix(vectors: SparseVectors, num_latents: int) -> Any:  # noqa: ANN401
    """Return a float32 CSR matrix (n, num_latents)."""
    columns = _used(vectors, num_latents)
    weights = vectors.weights[vectors.weights != 0.0].astype(np.float32)
    starts = np.concatenate(([0], np.cumsum(vectors.active_dims)))
    return sparse.csr_matrix((weights, columns, starts), shape=(len(vectors.features), num_latents))


def _used(vectors: SparseVectors, num_latents: int) -> NDArray[np.int32]:
    features: NDArray[np.int32] = vectors.features[vectors.weights != 0.0]
    if features.size and not 0 <= features.min() <= features.max() < num_latents:
        raise ValueError(
            f"features run from {features.min()} to {features.max()}, num_latents is {num_latents}; "
            "give the width of the encoder that wrote them."
        )
    return features
