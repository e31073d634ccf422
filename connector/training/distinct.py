"""Find the distinct texts of a corpus: copies would be equal centroids of k-means, and would move the mean."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

_STEPS = 4_096
"""Steps into which the norm is divided: embeddings of one text differ by less if they are computed in different
batches, those of different texts by more."""

_BLOCK = 8_192


def distinct_rows(embeddings: NDArray[np.float32], texts: Sequence[str] | None = None) -> NDArray[np.int64]:
    """Return the row of the first of equal texts, and of equal embeddings, in ascending order.

    Args:
        embeddings: (n, dim), finite.
        texts: Their n texts, if known: in half precision, embeddings of one text differ too much to be recognized.
    """
    rows = np.arange(len(embeddings)) if texts is None else _first(range(len(texts)), texts)
    norm = float(np.linalg.norm(embeddings[:_BLOCK], axis=1).mean()) if len(embeddings) else 1.0
    scale = np.float32(_STEPS / max(norm, 1e-12))
    digests: list[bytes] = []
    for start in range(0, len(rows), _BLOCK):
        steps = np.rint(scale * embeddings[rows[start : start + _BLOCK]]).astype(np.int32)
        digests += (hashlib.blake2b(row.tobytes(), digest_size=16).digest() for row in steps)
    return _first(rows.tolist(), digests)


def distinct_of(embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the first of equal embeddings, (at most n, dim), without a copy if all differ."""
    rows = distinct_rows(embeddings)
    return embeddings if len(rows) == len(embeddings) else embeddings[rows]


def _first(rows: Iterable[int], keys: Iterable[Hashable]) -> NDArray[np.int64]:
    """The first row of each key."""
    found: dict[Hashable, int] = {}
    for row, key in zip(rows, keys, strict=True):
        found.setdefault(key, row)
    return np.fromiter(found.values(), np.int64, len(found))
