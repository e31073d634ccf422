"""Exact nearest neighbours of every document within its corpus."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from connector.training.data import TrainingData

_BLOCK = 1024


def nearest_neighbours(
    data: TrainingData, count: int, device: torch.device, *, progress: Callable[[float], None] | None = None
) -> NDArray[np.int32]:
    """Find the nearest other documents of each document, by inner product.

    Args:
        data: The documents, compared within each corpus.
        count: Number of neighbours, at least 1; repeated in corpora with fewer documents.
        device: Device for the products.
        progress: Called with the completed fraction.

    Returns:
        int32 (n, count), rows of `data.documents`.
    """
    found = np.empty((len(data.documents), count), dtype=np.int32)
    for rows in data.corpora:
        corpus = torch.from_numpy(data.documents[rows]).to(device)
        have = min(count, len(corpus) - 1)
        for start in range(0, len(corpus), _BLOCK):
            block = corpus[start : start + _BLOCK]
            scores = block @ corpus.T
            own = torch.arange(len(block), device=device)
            scores[own, own + start] = -torch.inf
            near = scores.topk(max(have, 1), dim=1).indices.cpu().numpy() + rows.start
            found[rows.start + start : rows.start + start + len(block)] = np.resize(near.T, (count, len(block))).T
            if progress is not None:
                progress((rows.start + start + len(block)) / len(data.documents))
    return found
