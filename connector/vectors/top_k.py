"""Keep the strongest features of vectors, and concatenate batches."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from connector.types import SparseVectors
from connector.vectors.storage import SMALLEST_WEIGHT


def sparsify(activations: NDArray[np.floating], k: int) -> SparseVectors:
    """Keep the k strongest positive activations of each row.

    Args:
        activations: (n, num_latents), finite.
        k: Features kept per row, at least 1; all columns if there are fewer.

    Returns:
        `features` int32 and `weights` float32, both (n, min(k, num_latents)), strongest first. A tie goes to the
        lower column. Activations below the smallest normal float leave their slot unused (weight 0).

    Raises:
        ValueError: `k` is below 1, `activations` has not two axes, or a value is NaN or infinite.
    """
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}.")
    if activations.ndim != 2:
        raise ValueError(f"activations must have two axes (n, num_latents), got shape {activations.shape}.")
    values = np.asarray(activations, dtype=np.float32)
    if not np.isfinite(values).all():
        row = int(np.nonzero(~np.isfinite(values).all(axis=1))[0][0])
        raise ValueError(f"Row {row} of the activations holds NaN or infinity; weights must be finite.")
    features = np.argsort(-values, axis=1, kind="stable")[:, :k]
    weights = np.take_along_axis(values, features, axis=1)
    weights[weights < SMALLEST_WEIGHT] = 0.0
    return SparseVectors(features.astype(np.int32), weights)


def stack(parts: Sequence[SparseVectors], *, width: int = 0) -> SparseVectors:
    """Concatenate batches; narrower ones are padded with unused slots of weight 0.

    Args:
        parts: All with codes, or all without.
        width: Width of the result if there are no parts.
    """
    widest = max((part.weights.shape[1] for part in parts), default=width)
    rows = sum(len(part.weights) for part in parts)
    stacked = SparseVectors(np.zeros((rows, widest), np.int32), np.zeros((rows, widest), np.float32))
    start = 0
    for part in parts:
        stop = start + len(part.weights)
        stacked.features[start:stop, : part.features.shape[1]] = part.features
        stacked.weights[start:stop, : part.weights.shape[1]] = part.weights
        start = stop
    codes = [part.codes for part in parts if part.codes is not None]
    return stacked._replace(codes=np.concatenate(codes)) if codes else stacked


def prune(vectors: SparseVectors, k: int) -> SparseVectors:
    """Keep the k strongest features of sparse vectors.

    Raises:
        ValueError: `k` is below 1.
    """
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}.")
    return SparseVectors(vectors.features[:, :k], vectors.weights[:, :k])
