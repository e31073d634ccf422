"""Build the two-level dictionary of a corpus from embeddings of its documents by k-means, in seconds.

Torch is imported on demand.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from connector.encoders.light_heads import (
    BM25,
    CANDIDATE_CELLS,
    CANDIDATE_TOKENS,
    CELL_BITS,
    CELLS_PER_DOCUMENT,
    PROBES,
    QUERY_PROBES,
    SPREAD,
    CellsHead,
)
from connector.training.dictionary.settings import MIN_DOCUMENTS
from connector.training.distinct import distinct_rows
from connector.vectors.codes import directions_to_levels, pack_levels, random_rotation
from connector.vectors.statistics import CorpusStatistics

if TYPE_CHECKING:
    from connector.encoders.dictionary import TwoLevelDictionary

Floats = NDArray[np.float32]

MAX_CELLS = 1_048_576

_FULL_CELLS = 524_288
"""Maximum number of cells by the first rule: as many documents are embedded before the first one is written."""

_DOCUMENTS_PER_CELL = 4
"""Minimum documents per cell above `_FULL_CELLS`."""

_MANY_CELLS = 16_384
"""From this number on, there are four times as many coarse cells as fine cells in each, so that a text is compared with
half as many fine cells. With fewer cells, that costs little, and equal numbers find more neighbours."""

_VARIANCE = 0.9
"""Fraction of the variance kept by the projection: less loses neighbours, more gains at most a point."""

_CODED_VARIANCE = 0.995
"""Fraction of the variance in the components kept for codes, which allocate bits by variance."""

_COMPONENTS_SAMPLE = 20_000

_COARSE_SAMPLE = 64
"""Sampled documents per coarse cell for the coarse centroids."""

_COARSE_ITERATIONS, _FINE_ITERATIONS = 6, 3
_BLOCK = 8_192

_INT8 = 127
"""Largest value of a component as it is stored."""


def cells_for(documents: int) -> tuple[int, int]:
    """Return the numbers of coarse cells and of fine cells in each.

    Raises:
        ValueError: There are fewer than 1,000 documents.
    """
    if documents < MIN_DOCUMENTS:
        raise ValueError(f"a dictionary needs {MIN_DOCUMENTS:,} documents, got {documents:,}; use a fixed head.")
    few, many = min(int(CELLS_PER_DOCUMENT * documents), _FULL_CELLS), min(documents // _DOCUMENTS_PER_CELL, MAX_CELLS)
    return _on_two_levels(max(few, many))


def _on_two_levels(cells: int) -> tuple[int, int]:
    """Divide about this number of cells into coarse cells and fine cells in each."""
    coarse = math.isqrt(cells) * (2 if cells >= _MANY_CELLS else 1)
    return coarse, cells // coarse


def build_dictionary(embeddings: Floats, **options: Any) -> TwoLevelDictionary:
    """Build a dictionary as a torch module; see `build_cells`."""
    from connector.encoders.dictionary import TwoLevelDictionary

    return TwoLevelDictionary.from_cells(build_cells(embeddings, **options))


def build_cells(
    embeddings: Floats,
    *,
    documents: int | None = None,
    num_cells: int | None = None,
    distinct: NDArray[np.int64] | None = None,
    k: int = 8,
    k_query: int = 16,
    cells: int | None = None,
    query_cells: int | None = None,
    candidate_cells: int = CANDIDATE_CELLS,
    candidate_tokens: int = CANDIDATE_TOKENS,
    probes: int = PROBES,
    query_probes: int = QUERY_PROBES,
    spread: float = SPREAD,
    lexical_config: Mapping[str, Any] | None = None,
    statistics: CorpusStatistics | None = None,
    base_model: str = "",
    seed: int = 0,
    progress: Callable[[float], None] | None = None,
) -> CellsHead:
    """Build a dictionary by spherical k-means in two levels.

    Of equal texts only one counts, and there are at most as many cells as distinct texts, but at least those for 1,000
    documents. Otherwise, copies would be many equal centroids, of which documents and queries choose different ones.

    Args:
        embeddings: float32 (n, dim), embeddings of a random sample of the documents; at least one per cell.
        documents: Documents of the corpus, which set the number of cells; the number of `embeddings` if None.
        num_cells: Number of cells, approximately; None for that of the documents.
        distinct: Rows of distinct texts (`distinct_rows`); None compares the embeddings.
        k: As in `TwoLevelDictionary`, like all settings up to `spread`.
        k_query: Features kept per query.
        cells: Cells among the features of a document; all of them if None.
        query_cells: Cells among the features of a query; all of them if None.
        candidate_cells: Cells of a query whose hits are rescored by codes.
        candidate_tokens: Maximum tokens of such a query.
        probes: Coarse cells whose fine cells are compared with a document.
        query_probes: Coarse cells whose fine cells are compared with a query.
        spread: Weight of the penalty on parallel residuals.
        lexical_config: Arguments of `LexicalFeatures`; None for cells alone.
        statistics: Corpus statistics, for tokens; None measures only the mean embedding of distinct texts.
        base_model: Name of the dense model.
        seed: Seed of the sampling; the same seed and embeddings give the same dictionary.
        progress: Called with the completed fraction.

    Raises:
        ValueError: There are too few embeddings for the number of cells.
    """
    if num_cells is None:
        num_cells = math.prod(cells_for(documents if documents is not None else len(embeddings)))
    if len(embeddings) < num_cells:
        raise ValueError(
            f"{num_cells:,} cells need as many embeddings, got {len(embeddings):,}; sample more documents."
        )
    report = progress or (lambda _share: None)
    rows = distinct_rows(embeddings) if distinct is None else distinct
    statistics = statistics or CorpusStatistics.measure(embeddings[rows])
    fewest = math.prod(cells_for(MIN_DOCUMENTS))
    num_coarse, num_fine = _on_two_levels(min(num_cells, max(len(rows), fewest)))
    order = rows[np.random.default_rng(seed).permutation(len(rows))]
    components, variances, width = _components(embeddings[order[:_COMPONENTS_SAMPLE]] - statistics.mean)
    scales = (np.abs(components).max(axis=0).clip(1e-12) / _INT8).astype(np.float16).astype(np.float32)
    packed = np.rint(components / scales).clip(-_INT8, _INT8).astype(np.int8)
    projection = (packed * scales)[:, :width] @ random_rotation(width, 0)
    blocks = (embeddings[order[start : start + _BLOCK]] for start in range(0, len(order), _BLOCK))
    directions = np.concatenate([_normalize((block - statistics.mean) @ projection) for block in blocks])
    coarse = _centroids(directions[: max(num_coarse, _COARSE_SAMPLE * num_coarse)], num_coarse, _COARSE_ITERATIONS)
    nearest = np.concatenate(
        [(block @ coarse.T).argmax(axis=1) for block in np.split(directions, range(_BLOCK, len(directions), _BLOCK))]
    )
    grouped, sizes = np.argsort(nearest, kind="stable"), np.bincount(nearest, minlength=num_coarse).tolist()
    fine_codes, start = [], 0
    for cell, size in enumerate(sizes):
        members = directions[grouped[start : start + size]] if size else coarse[cell : cell + 1]
        fine = _centroids(members, num_fine, _FINE_ITERATIONS)
        fine_codes.append(pack_levels(directions_to_levels(fine, CELL_BITS), CELL_BITS))
        start += size
        report((cell + 1) / num_coarse)
    weights: dict[str, NDArray[Any]] = {
        "mean": statistics.mean,
        "components": packed,
        "component_scales": scales,
        "variances": variances.astype(np.float16),
        "coarse": coarse.astype(np.float16),
        "fine_codes": np.concatenate(fine_codes),
    }
    if lexical_config is not None:
        weights["lexical.token_weights"] = statistics.token_weights
        weights["lexical.average_length"] = np.asarray(statistics.average_length)
    config = {
        "dim": embeddings.shape[1],
        "width": width,
        "num_coarse": num_coarse,
        "num_fine": num_fine,
        "num_components": components.shape[1],
        "k": k,
        "k_query": k_query,
        "cells": k if cells is None else cells,
        "query_cells": k_query if query_cells is None else query_cells,
        "candidate_cells": min(candidate_cells, num_coarse * num_fine),
        "candidate_tokens": candidate_tokens if lexical_config is not None else 0,
        "probes": min(probes, num_coarse),
        "query_probes": min(query_probes, num_coarse),
        "spread": spread,
        "base_model": base_model,
        "lexical_config": BM25 | dict(lexical_config) if lexical_config is not None else None,
    }
    return CellsHead(config, weights)


def _components(centred: Floats) -> tuple[Floats, Floats, int]:
    """Return the strongest principal components (dim, m), their variances (m,), and the number that cells need."""
    dim = centred.shape[1]
    directions = _normalize(centred)
    found, components = np.linalg.eigh(directions.T.astype(np.float64) @ directions / len(directions))
    variances, components = found[::-1].clip(0), components[:, ::-1]
    shares = np.cumsum(variances) / max(variances.sum(), 1e-12)

    def count(share: float, step: int) -> int:
        needed = int(np.searchsorted(shares, share)) + 1
        return int(min(dim // 4 * 4, -(-needed // step) * step))

    width = count(_VARIANCE, 8)
    kept = max(width, count(_CODED_VARIANCE, 32))
    return np.ascontiguousarray(components[:, :kept], np.float32), variances[:kept].astype(np.float32), width


def _centroids(directions: Floats, count: int, iterations: int) -> Floats:
    """Spherical k-means initialized with the first rows, which are repeated with noise if needed: (count, dim)."""
    centroids = directions[np.arange(count) % len(directions)]
    if len(directions) <= count:
        noise = np.random.default_rng(count).standard_normal((count - len(directions), directions.shape[1]))
        centroids[len(directions) :] += 0.5 / math.sqrt(directions.shape[1]) * noise
        return _normalize(centroids)
    for _ in range(iterations):
        sums = 1e-3 * centroids
        for start in range(0, len(directions), _BLOCK):
            _add_by_cell(sums, directions[start : start + _BLOCK], centroids)
        centroids = _normalize(sums)
    return centroids


def _nearest(directions: Floats, centroids: Floats) -> NDArray[np.int64]:
    """The row number of the nearest centroid of each direction, (n,)."""
    blocks = (directions[start : start + _BLOCK] for start in range(0, len(directions), _BLOCK))
    return np.concatenate([(block @ centroids.T).argmax(axis=1) for block in blocks])


def _add_by_cell(sums: Floats, block: Floats, centroids: Floats) -> None:
    """Add each row of a block to the sum of its nearest centroid."""
    nearest = _nearest(block, centroids)
    order = np.argsort(nearest, kind="stable")
    found, starts = np.unique(nearest[order], return_index=True)
    sums[found] += np.add.reduceat(block[order], starts, axis=0)


def _normalize(rows: Floats) -> Floats:
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True).clip(1e-12), dtype=np.float32)
