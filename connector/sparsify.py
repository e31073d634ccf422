"""Cut activations to their strongest features. The one place outside of training that does so."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from connector.types import SparseVectors

SMALLEST_WEIGHT = float(np.finfo(np.float32).tiny)
"""rank_features refuses values below the smallest normal float, and takes none at or below 0."""


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
    """Put batches under each other; where their widths differ, unused slots weigh 0.

    Args:
        parts: All with codes, or all without.
        width: Of the result where there are no parts.
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
    """Keep the k strongest features of vectors that are already sparse.

    Raises:
        ValueError: `k` is below 1.
    """
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}.")
    return SparseVectors(vectors.features[:, :k], vectors.weights[:, :k])


def find_weight_exponent(weights: NDArray[np.float32], *, margin: int = 0) -> int:
    """Find the power of two that brings weights next to the smallest one that `rank_features` can hold.

    The server writes a weight as its float's bits >> 15, an integer that grows with the exponent: a weight near 1
    takes three bytes in a short list of postings, one near 2^-126 two. A query's boost undoes the power exactly.

    Args:
        weights: float32 of any shape, at least one of them above 0.
        margin: Binary orders of magnitude left free for weights that are smaller than these.

    Returns:
        -120 to 0: a boost that undoes it is a float for query weights up to 256.
    """
    _, exponent = np.frexp(weights[weights > 0].min())
    return int(np.clip(-125 - int(exponent) + margin, -120, 0))


def scale_weights(weights: NDArray[np.float32], exponent: int) -> NDArray[np.float32]:
    """Multiply by 2^exponent. What would fall below the smallest weight is raised to it; unused slots stay 0.

    Args:
        weights: float32 of any shape.
        exponent: 0 or below.
    """
    scaled = np.ldexp(weights, exponent).astype(np.float32)
    return np.where((weights > 0) & (scaled < SMALLEST_WEIGHT), np.float32(SMALLEST_WEIGHT), scaled)


def round_to_stored(weights: NDArray[np.float32]) -> NDArray[np.float32]:
    """Round to the nearest values that `rank_features` can hold, so that the score is exact and not biased.

    The server keeps a float's bits >> 15, which is 9 significant bits, and cuts the rest off: left to itself it
    makes each weight up to 2^-8 smaller. The nearest such value is at most 2^-9 away.

    Args:
        weights: float32 of any shape.

    Returns:
        float32 of the same shape, at most the largest value that can be held; NaN, infinity and values below 0 as
        they were.
    """
    bits = np.ascontiguousarray(weights, dtype=np.float32).view(np.uint32)
    rounded = np.minimum((bits + np.uint32(1 << 14)) & np.uint32(0xFFFF_8000), np.uint32(0x7F7F_8000))
    # What cannot be held is left for the writer to refuse by its own value.
    return np.where(np.isfinite(weights) & (weights >= 0), rounded.view(np.float32), weights)
