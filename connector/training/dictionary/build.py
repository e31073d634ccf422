"""Build the two-level dictionary of a corpus from embeddings of its documents by k-means, in seconds."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import normalize

from connector.encoders.dictionary import TwoLevelDictionary
from connector.encoders.light_heads import CELLS_PER_DOCUMENT
from connector.training.dictionary.settings import MIN_DOCUMENTS
from connector.vectors.statistics import CorpusStatistics

MAX_CELLS = 1_048_576

_FULL_CELLS = 524_288
"""Maximum number of cells by the first rule: as many documents are embedded before the first one is written."""

_DOCUMENTS_PER_CELL = 4
"""Minimum documents per cell above `_FULL_CELLS`."""

_VARIANCE = 0.9
"""Fraction of the variance kept by the projection: less loses neighbours, more gains at most a point."""

_CODED_VARIANCE = 0.995
"""Fraction of the variance in the components kept for codes, which allocate bits by variance."""

_COMPONENTS_SAMPLE = 20_000

_COARSE_SAMPLE = 64
"""Sampled documents per coarse cell for the coarse centroids."""

_COARSE_ITERATIONS, _FINE_ITERATIONS = 6, 3
_BLOCK = 8_192


def cells_for(documents: int) -> tuple[int, int]:
    """Return the numbers of coarse cells and of fine cells in each, which are about equal.

    Raises:
        ValueError: There are fewer than 1,000 documents.
    """
    if documents < MIN_DOCUMENTS:
        raise ValueError(f"a dictionary needs {MIN_DOCUMENTS:,} documents, got {documents:,}; use a fixed head.")
    cells = max(min(int(CELLS_PER_DOCUMENT * documents), _FULL_CELLS), min(documents // _DOCUMENTS_PER_CELL, MAX_CELLS))
    coarse = math.isqrt(cells)
    return coarse, cells // coarse


def build_dictionary(
    embeddings: NDArray[np.float32],
    *,
    documents: int | None = None,
    k: int = 8,
    k_query: int = 16,
    statistics: CorpusStatistics | None = None,
    base_model: str = "",
    seed: int = 0,
    progress: Callable[[float], None] | None = None,
    **options: object,
) -> TwoLevelDictionary:
    """Build a dictionary by spherical k-means in two levels.

    Args:
        embeddings: float32 (n, dim), embeddings of a random sample of the documents; at least one per cell.
        documents: Documents of the corpus, which set the number of cells; the number of `embeddings` if None.
        k: Features kept per document.
        k_query: Features kept per query.
        statistics: Corpus statistics, for tokens; None measures only the mean embedding.
        base_model: Name of the dense model.
        seed: Seed of the sampling; the same seed and embeddings give the same dictionary.
        progress: Called with the completed fraction.
        **options: Further arguments of `TwoLevelDictionary`.

    Raises:
        ValueError: There are too few embeddings for the number of cells.
    """
    num_coarse, num_fine = cells_for(documents if documents is not None else len(embeddings))
    if len(embeddings) < num_coarse * num_fine:
        raise ValueError(
            f"{num_coarse * num_fine:,} cells need as many embeddings, got {len(embeddings):,}; sample more documents."
        )
    report = progress or (lambda _share: None)
    statistics = statistics or CorpusStatistics.measure(embeddings)
    order = np.random.default_rng(seed).permutation(len(embeddings))
    components, variances, width = _components(embeddings[order[:_COMPONENTS_SAMPLE]] - statistics.mean)
    head = TwoLevelDictionary(
        embeddings.shape[1],
        width,
        num_coarse,
        num_fine,
        k,
        k_query,
        num_components=components.shape[1],
        base_model=base_model,
        **options,  # type: ignore[arg-type]
    )
    head.use_statistics(statistics)
    head.use_components(components, variances)
    blocks = (embeddings[order[start : start + _BLOCK]] for start in range(0, len(order), _BLOCK))
    directions = torch.cat(
        [normalize(torch.from_numpy(block - statistics.mean) @ head.projection, dim=1) for block in blocks]
    )
    coarse = _centroids(directions[: max(num_coarse, _COARSE_SAMPLE * num_coarse)], num_coarse, _COARSE_ITERATIONS)
    nearest = torch.cat([(block @ coarse.T).argmax(dim=1) for block in torch.split(directions, _BLOCK)])
    grouped, sizes = nearest.argsort(stable=True), nearest.bincount(minlength=num_coarse).tolist()
    fine = torch.empty(num_coarse, num_fine, head.width)
    start = 0
    for cell, size in enumerate(sizes):
        members = directions[grouped[start : start + size]] if size else coarse[cell : cell + 1]
        fine[cell] = _centroids(members, num_fine, _FINE_ITERATIONS)
        start += size
        report((cell + 1) / num_coarse)
    head.use_cells(coarse, fine.flatten(0, 1))
    return head


def _components(centred: NDArray[np.float32]) -> tuple[Tensor, Tensor, int]:
    """Return the strongest principal components (dim, m), their variances (m,), and the number that cells need."""
    dim = centred.shape[1]
    directions = centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-12)
    found, components = np.linalg.eigh(directions.T.astype(np.float64) @ directions / len(directions))
    variances, components = found[::-1].clip(0), components[:, ::-1]
    shares = np.cumsum(variances) / max(variances.sum(), 1e-12)

    def count(share: float, step: int) -> int:
        needed = int(np.searchsorted(shares, share)) + 1
        return int(min(dim // 4 * 4, -(-needed // step) * step))

    width = count(_VARIANCE, 8)
    kept = max(width, count(_CODED_VARIANCE, 32))
    strongest = np.ascontiguousarray(components[:, :kept], dtype=np.float32)
    return torch.from_numpy(strongest), torch.from_numpy(variances[:kept].astype(np.float32)), width


def _centroids(directions: Tensor, count: int, iterations: int) -> Tensor:
    """Spherical k-means initialized with the first rows, which are repeated with noise if needed: (count, dim)."""
    centroids = directions[torch.arange(count) % len(directions)].clone()
    if len(directions) <= count:
        noise = torch.randn(
            count - len(directions), directions.shape[1], generator=torch.Generator().manual_seed(count)
        )
        centroids[len(directions) :] += 0.5 / math.sqrt(directions.shape[1]) * noise
        return normalize(centroids, dim=1)
    for _ in range(iterations):
        sums = 1e-3 * centroids
        for block in torch.split(directions, _BLOCK):
            sums.index_add_(0, (block @ centroids.T).argmax(dim=1), block)
        centroids = normalize(sums, dim=1)
    return centroids
