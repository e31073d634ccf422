"""Static pruning: drop features of documents after training. Pure functions on sparse vectors."""

from __future__ import annotations

import numpy as np

from connector.types import SparseVectors


def document_centric_pruning(vectors: SparseVectors, share: float) -> SparseVectors:
    """Keep a fraction of the features of each vector, the strongest ones (DCP, Büttcher and Clarke 2006).

    Args:
        vectors: Document vectors, strongest features first.
        share: Fraction; 0.5 keeps half, rounded up.

    Raises:
        ValueError: `share` is not above 0 and at most 1.
    """
    if not 0 < share <= 1:
        raise ValueError(f"share must be above 0 and at most 1, got {share}.")
    kept = np.ceil(vectors.active_dims * share).astype(np.int64)
    slots = np.arange(vectors.weights.shape[1])
    return _narrow(vectors._replace(weights=np.where(slots < kept[:, None], vectors.weights, np.float32(0.0))))


def cut(vectors: SparseVectors, threshold: float) -> SparseVectors:
    """Drop features with weights below a threshold: Cut in the HT paper's Table 1.

    Args:
        vectors: Vectors, strongest features first. They may lose all features.
        threshold: Minimum weight.

    Raises:
        ValueError: `threshold` is below 0.
    """
    if threshold < 0:
        raise ValueError(f"threshold must be at least 0, got {threshold}.")
    return _narrow(vectors._replace(weights=np.where(vectors.weights >= threshold, vectors.weights, np.float32(0.0))))


def _narrow(vectors: SparseVectors) -> SparseVectors:
    """Remove slots that no vector uses, except the first."""
    width = max(1, int(vectors.active_dims.max(initial=1)))
    return vectors._replace(features=vectors.features[:, :width], weights=vectors.weights[:, :width])
