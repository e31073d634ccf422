"""How `rank_features` stores weights: 9 significant bits, in two bytes for small weights."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SMALLEST_WEIGHT = float(np.finfo(np.float32).tiny)
"""Smallest weight of rank_features: the smallest normal float."""


_MAX_CELL = 0xFEFF
"""Exponent of the largest finite float."""


def find_weight_exponent(weights: NDArray[np.float32], *, margin: int = 0) -> int:
    """Find the power of two that scales weights down to the smallest that `rank_features` can store.

    The server writes a weight as its float's bits >> 15, an integer that grows with the exponent: a weight near 1
    takes three bytes in a short list of postings, one near 2^-126 two. A query's boost undoes the power exactly.

    Args:
        weights: float32 of any shape; those that cannot be stored are ignored: 0, negative and not finite ones.
        margin: Binary orders of magnitude reserved for smaller weights.

    Returns:
        -120 to 0, so that the inverse boost is a float for query weights up to 256; 0 if there are no weights.
    """
    stored = weights[np.isfinite(weights) & (weights > 0)]
    if not len(stored):
        return 0
    _, exponent = np.frexp(stored.min())
    return int(np.clip(-125 - int(exponent) + margin, -120, 0))


def scale_weights(weights: NDArray[np.float32], exponent: int) -> NDArray[np.float32]:
    """Multiply by 2^exponent; weights below the smallest one are raised to it, and unused slots stay 0.

    Args:
        weights: float32 of any shape.
        exponent: 0 or below.
    """
    scaled = np.ldexp(weights, exponent).astype(np.float32)
    return np.where((weights > 0) & (scaled < SMALLEST_WEIGHT), np.float32(SMALLEST_WEIGHT), scaled)


def round_to_stored(weights: NDArray[np.float32]) -> NDArray[np.float32]:
    """Round to the nearest values that `rank_features` can store, so that scores are exact and unbiased.

    The server keeps a float's bits >> 15 (9 significant bits) and truncates the rest, which makes weights up to 2^-8
    smaller. The error of rounding is at most 2^-9.

    Args:
        weights: float32 of any shape.

    Returns:
        float32 of the same shape, at most the largest storable value; NaN, infinity and negative values unchanged.
    """
    # The writer refuses values that cannot be stored.
    held = np.isfinite(weights) & (weights >= 0)
    return np.where(held, (to_cells(np.where(held, weights, 0)) << 15).view(np.float32), weights)


def to_cells(weights: NDArray[np.float32]) -> NDArray[np.uint32]:
    """The bits >> 15 of the nearest storable values: integers that `rank_features` distinguishes.

    Args:
        weights: float32 of any shape, finite, 0 or above.
    """
    bits = np.ascontiguousarray(weights, dtype=np.float32).view(np.uint32)
    cells: NDArray[np.uint32] = np.minimum((bits + np.uint32(1 << 14)) >> np.uint32(15), np.uint32(_MAX_CELL))
    return cells
