"""Compare texts with the fine cells of their coarse cells in a few large products, which is faster on GPUs."""

from __future__ import annotations

import torch
from torch import Tensor

_PRODUCTS = 2**28
"""Maximum number of cosines per block: 1 GB."""


def nearest_in_groups(
    directions: Tensor, probed: Tensor, points: Tensor, scales: Tensor, count: int
) -> tuple[Tensor, Tensor]:
    """Return the nearest fine cells of each probed coarse cell.

    Texts are grouped by coarse cell, and groups are padded to the largest one.

    Args:
        directions: (n, width), of length 1.
        probed: int64 (n, probes), coarse cells of each text.
        points: (coarse cells, fine cells, width), directions of the cells.
        scales: (coarse cells, fine cells), the inverse lengths of the points.
        count: Fine cells kept per coarse cell.

    Returns:
        Cosines and ids, (n, probes, count) each, nearest first.
    """
    probes, (num_coarse, num_fine) = probed.shape[1], scales.shape
    places = probed.flatten()
    order = places.argsort()
    of = places[order]
    sizes = places.bincount(minlength=num_coarse)
    slots = torch.arange(len(of), device=of.device) - (sizes.cumsum(0) - sizes)[of]
    largest = int(sizes.max())  # the only wait for the device
    texts = places.new_zeros(num_coarse, largest)
    texts[of, slots] = order // probes
    parts = []
    step = max(1, _PRODUCTS // (largest * num_fine))
    for start in range(0, num_coarse, step):
        some = slice(start, start + step)
        products = torch.bmm(directions[texts[some]], points[some].to(directions.dtype).transpose(1, 2))
        parts.append((products * scales[some].unsqueeze(1)).topk(count, dim=2))
    cosines, fine = (torch.cat(each) for each in zip(*parts, strict=True))
    found, ids = directions.new_empty(len(of), count), places.new_empty(len(of), count)
    found[order] = cosines[of, slots]
    ids[order] = fine[of, slots] + num_fine * of.unsqueeze(1)
    return found.view(*probed.shape, count), ids.view(*probed.shape, count)
