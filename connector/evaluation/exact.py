"""Exact search: score every document, in blocks of queries."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from connector.types import Hit, SparseVectors

BLOCK_SCORES = 16 * 1024 * 1024
"""Scores in memory at a time: 64 MiB of float32; a single query may need more."""


def exact_search(
    document_embeddings: NDArray[np.floating],
    query_embeddings: NDArray[np.floating],
    doc_ids: Sequence[str],
    top_k: int,
    *,
    block_scores: int = BLOCK_SCORES,
) -> list[list[Hit]]:
    """Find the documents with the highest inner products.

    Args:
        document_embeddings: (n_documents, dim), finite; normalized if the score should be the cosine.
        query_embeddings: (n_queries, dim), finite.
        doc_ids: One id per document.
        top_k: Number of hits, at least 1.
        block_scores: Scores in memory at a time.

    Returns:
        min(top_k, n_documents) hits per query, best first, ties in the order of the corpus. Scores are computed in
        float32.

    Raises:
        ValueError: `top_k` is below 1, shapes do not match, or a score is NaN or infinite.
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
        # Infinity times 0 would cause a warning; such scores are refused below.
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
    """Find the documents with the highest dot products of sparse vectors.

    Args:
        documents: n_documents vectors.
        queries: n_queries vectors, pruned as in a search.
        doc_ids: One id per document.
        num_latents: Width of the encoder's output; all features are below it.
        top_k: Number of hits, at least 1.
        block_scores: Scores in memory at a time.

    Returns:
        At most top_k hits per query, best first, ties in the order of the corpus. As on the server, documents that
        share no feature with the query are not hits. Scores are computed in float32.

    Raises:
        ValueError: `top_k` is below 1, the number of `doc_ids` is wrong, a feature is not below `num_latents`, or a
            score is infinite or NaN.
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
    """Count the vectors that use each feature, i.e. the length of its posting list.

    Returns:
        int64 (num_latents,).

    Raises:
        ValueError: A feature is not below `num_latents`.
    """
    counts: NDArray[np.int64] = np.bincount(_used(vectors, num_latents), minlength=num_latents)
    return counts.astype(np.int64)


def postings_read(queries: SparseVectors, document_frequencies: NDArray[np.int64]) -> NDArray[np.int64]:
    """Count the postings of each query's features: what a search reads if no block can be skipped.

    Args:
        queries: n_queries vectors, pruned as in a search.
        document_frequencies: int64 (num_latents,), from the function of this name.

    Returns:
        int64 (n_queries,).

    Raises:
        ValueError: A feature is not below num_latents.
    """
    _used(queries, len(document_frequencies))
    # Unused slots may contain any feature, even an invalid one.
    used = queries.weights != 0.0
    lengths = document_frequencies[np.where(used, queries.features, 0)]
    return np.asarray(np.where(used, lengths, 0).sum(axis=1), dtype=np.int64)


def _check(n_documents: int, doc_ids: Sequence[str], top_k: int) -> None:
    if top_k < 1:
        raise ValueError(f"top_k must be at least 1, got {top_k}.")
    if len(doc_ids) != n_documents:
        raise ValueError(f"{n_documents} documents need the same number of doc_ids, got {len(doc_ids)}.")


def _blocks(n_queries: int, n_documents: int, block_scores: int) -> list[slice]:
    size = max(1, block_scores // max(1, n_documents))
    return [slice(start, start + size) for start in range(0, n_queries, size)]


def _best(rows: NDArray[np.integer], scores: NDArray[np.float32], doc_ids: Sequence[str], top_k: int) -> list[Hit]:
    """Select the top k of documents given in the order of the corpus."""
    if len(scores) > top_k:
        # Keep all ties with the last one, so that the stable sort decides and not the partition.
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
            f"features range from {features.min()} to {features.max()}, but num_latents is {num_latents}; "
            "pass the width of the encoder that produced them."
        )
    return features
