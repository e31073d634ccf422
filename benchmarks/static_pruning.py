"""Which features of documents are kept in the index, decided after training. Pure functions on sparse vectors."""

from __future__ import annotations

import numpy as np

from connector.types import SparseVectors


def document_centric_pruning(vectors: SparseVectors, share: float) -> SparseVectors:
    """Keep the strongest features of each vector, a share of those that it has (DCP, Büttcher and Clarke 2006).

    Args:
        vectors: Of documents, strongest first.
        share: 0.5 keeps half, rounded up.

    Raises:
        ValueError: `share` is not above 0 and up to 1.
    """
    if not 0 < share <= 1:
        raise ValueError(f"document-centric pruning keeps a share above 0 and up to 1, got {share}.")
    kept = np.ceil(vectors.active_dims * share).astype(np.int64)
    slots = np.arange(vectors.weights.shape[1])
    return _narrow(vectors._replace(weights=np.where(slots < kept[:, None], vectors.weights, np.float32(0.0))))


def cut(vectors: SparseVectors, threshold: float) -> SparseVectors:
    """Drop the features that weigh less than a threshold: Cut of the HT paper's Table 1.

    Args:
        vectors: Of documents or queries, strongest first. One may lose all its features.
        threshold: In units of the weights.

    Raises:
        ValueError: `threshold` is below 0.
    """
    if threshold < 0:
        raise ValueError(f"cut needs a threshold of 0 or above, got {threshold}.")
    return _narrow(vectors._replace(weights=np.where(vectors.weights >= threshold, vectors.weights, np.float32(0.0))))


def _narrow(vectors: SparseVectors) -> SparseVectors:
    """Without the slots that no vector uses; one stays."""
    width = max(1, int(vectors.active_dims.max(initial=1)))
    return vectors._replace(features=vectors.features[:, :width], weights=vectors.weights[:, :width])
