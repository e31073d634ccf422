"""What `rank_features` keeps of a weight: 9 significant bits, in two bytes if it is small."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SMALLEST_WEIGHT = float(np.finfo(np.float32).tiny)
"""rank_features refuses values below the smallest normal float, and takes none at or below 0."""


_LARGEST_CELL = 0xFEFF
"""Of the largest finite float."""


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
    # What cannot be held is left for the writer to refuse by its own value.
    held = np.isfinite(weights) & (weights >= 0)
    return np.where(held, (to_cells(np.where(held, weights, 0)) << 15).view(np.float32), weights)


def to_cells(weights: NDArray[np.float32]) -> NDArray[np.uint32]:
    """The bits >> 15 of the nearest values that `rank_features` can hold: integers that it tells apart.

    Args:
        weights: float32 of any shape, finite, 0 or above.
    """
    bits = np.ascontiguousarray(weights, dtype=np.float32).view(np.uint32)
    cells: NDArray[np.uint32] = np.minimum((bits + np.uint32(1 << 14)) >> np.uint32(15), np.uint32(_LARGEST_CELL))
    return cells
