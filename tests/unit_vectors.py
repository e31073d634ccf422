"""Unit vectors with a common mean, as embeddings have one."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

DIM = 128


def embeddings(count: int, seed: int) -> NDArray[np.float32]:
    random = np.random.default_rng(seed)
    common = np.random.default_rng(0).standard_normal(DIM)
    rows = random.standard_normal((count, DIM)) * np.linspace(0.2, 2.0, DIM) + 0.5 * common
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)


DOCUMENTS, QUERIES = embeddings(2_000, 1), embeddings(50, 2)
