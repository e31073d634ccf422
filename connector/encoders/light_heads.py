"""Heads in NumPy, for encoders without torch."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, lru_cache
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from connector.encoders.batches import Task
from connector.errors import EncoderError
from connector.vectors.codes import random_rotation, unpack_levels
from connector.vectors.statistics import CorpusStatistics

Floats = NDArray[np.floating[Any]]
Ids = NDArray[np.int64]

MIN_VALUE = 0.01
"""Value of the strongest feature of a text without positive values; such texts rank last."""

CELL_BITS: Literal[2] = 2
"""Bits per dimension of fine cells. 2 bits lose less than a point of recall; 1 bit is too coarse."""

POOL = 4
"""Candidate fine cells of a document per kept cell."""

FLOOR = 0.8
"""Fraction of the cosine with the last kept cell that is subtracted from a query's weights: far cells matter little."""

CANDIDATE_SHARE = 0.5
"""Weight of candidate tokens relative to cells: heavier tokens displace neighbours."""

CELLS_PER_DOCUMENT = 0.6
"""More cells find more neighbours by fewer postings, at about 50 bytes a cell."""

_MAX_SHARE, _MAX_DOCUMENTS = 0.03, 3_000
"""Maximum document frequency of candidate tokens: more frequent ones account for most of the postings."""

_CACHE_BYTES = 64 << 20
"""Maximum size of the cache of unpacked cells: enough for all cells of 100,000 documents."""

QUERY_ONLY = ("candidate_cells", "candidate_tokens")
"""Settings that do not affect documents."""


class Tokens(NamedTuple):
    """The distinct tokens of a text with their counts."""

    ids: Ids
    counts: Floats


class _Head:
    """Base of both heads: weights by name, in single precision."""

    def __init__(self, config: Mapping[str, Any], weights: Mapping[str, NDArray[Any]]) -> None:
        self.config = config
        self.weights = {
            name: value if value.dtype == np.uint8 else np.asarray(value, np.float32) for name, value in weights.items()
        }

    def _lexical(self, tokens: Tokens, task: Task) -> Floats:
        """BM25 values of tokens, as in `LexicalFeatures`."""
        lexical = self.config["lexical_config"]
        weights: Floats = self.weights["lexical.token_weights"][tokens.ids]
        if task == "query":
            return np.asarray(lexical["query_scale"] * weights, dtype=np.float32)
        k1, b = lexical["k1"], lexical["b"]
        length = (tokens.counts * (weights > 0)).sum()
        saturation = k1 * (1 - b + b * length / float(self.weights["lexical.average_length"]))
        scaled = lexical["document_scale"] * weights * tokens.counts * (k1 + 1) / (tokens.counts + saturation)
        return np.asarray(scaled, dtype=np.float32)


class LinearHead(_Head):
    """`KSparseAutoEncoder` without thresholds and normalization."""

    has_cells = False
    k_candidates = None

    @property
    def num_latents(self) -> int:
        """Number of features that are not tokens."""
        return int(self.config["num_latents"])

    def strongest(
        self,
        embedding: Floats,
        k: int,
        task: Task,
        tokens: Tokens | None,
        *,
        candidates: bool = False,  # noqa: ARG002
    ) -> tuple[Ids, Floats]:
        """Features and values of one text, strongest first; see `KSparseAutoEncoder.strongest`."""
        values = self.weights["encoder.weight"] @ (embedding - self.weights["mean"]) + self.weights["encoder.bias"]
        latents = _top(values, k)
        features, values = latents, values[latents]
        if tokens is not None:
            features = np.concatenate([features, self.num_latents + tokens.ids])
            values = np.concatenate([values, self._lexical(tokens, task)])
            best = _top(values, k)
            features, values = features[best], values[best]
        values = np.maximum(values, 0)
        if values[0] <= 0:
            values[0] = MIN_VALUE
        return features, values


class CellsHead(_Head):
    """`TwoLevelDictionary`; only the fine cells of probed coarse cells are unpacked."""

    has_cells = True

    @property
    def num_latents(self) -> int:
        """Number of features that are not tokens."""
        return int(self.config["num_coarse"] * self.config["num_fine"])

    @property
    def k_candidates(self) -> int:
        """Features per query if hits are rescored by codes."""
        return min(int(self.config["candidate_cells"]), self.num_latents) + self._candidate_tokens

    @cached_property
    def principal_components(self) -> NDArray[np.float32]:
        """Float32 (dim, num_components), strongest first."""
        return np.asarray(self.weights["components"] * self.weights["component_scales"], dtype=np.float32)

    @cached_property
    def _projection(self) -> NDArray[np.float32]:
        width = int(self.config["width"])
        return self.principal_components[:, :width] @ random_rotation(width, 0)

    @property
    def _candidate_tokens(self) -> int:
        return int(self.config["candidate_tokens"]) if self.config.get("lexical_config") else 0

    def strongest(
        self, embedding: Floats, k: int, task: Task, tokens: Tokens | None, *, candidates: bool = False
    ) -> tuple[Ids, Floats]:
        """Features and values of one text, strongest first; see `TwoLevelDictionary.strongest`."""
        direction = (embedding - self.weights["mean"]) @ self._projection
        direction = direction / max(float(np.linalg.norm(direction)), 1e-12)
        count = self._share(k, task, candidates) if tokens is not None else min(k, self.num_latents)
        features, values = self._cells(direction, count, task)
        if tokens is not None and k > count:
            weights = self._lexical(tokens, task)
            if candidates:
                rare = self.weights["lexical.token_weights"][tokens.ids] ** 2 >= min_idf(self.num_latents)
                weights = np.asarray(CANDIDATE_SHARE * weights * rare, dtype=np.float32)
            best = _top(weights, k - count)
            features = np.concatenate([features, self.num_latents + tokens.ids[best]])
            values = np.concatenate([values, weights[best]])
            order = np.argsort(-values, kind="stable")
            features, values = features[order], values[order]
        return features, np.maximum(values, 0)

    def _share(self, k: int, task: Task, candidates: bool) -> int:  # noqa: FBT001
        share, whole = int(self.config["cells"]), int(self.config["k"])
        if task == "query":
            share, whole = int(self.config["query_cells"]), int(self.config["k_query"])
            if candidates:
                share, whole = self.k_candidates - self._candidate_tokens, self.k_candidates
        return max(1, round(k * share / whole))

    def _cells(self, direction: Floats, count: int, task: Task) -> tuple[Ids, Floats]:
        spread = self.config["spread"]
        wide = count if task == "query" or not spread else POOL * count
        cells, cosines = self._nearest(direction, wide)
        if task == "query":
            return cells, cosines - FLOOR * max(float(cosines[-1]), 0.0)
        if not spread or count >= len(cells):
            return cells[:count], cosines[:count]
        chosen = _spread(cosines, self._units(cells), count, spread)
        return cells[chosen], cosines[chosen]

    def _nearest(self, direction: Floats, count: int) -> tuple[Ids, Floats]:
        """Ids and cosines of the nearest fine cells, nearest first."""
        fine = int(self.config["num_fine"])
        probed = _top(self.weights["coarse"] @ direction, int(self.config["probes"]))
        blocks = map(self._unpacked, probed.tolist())
        cosines = np.concatenate([(points @ direction) * scales for points, scales in blocks])
        best = _top(cosines, count)
        return probed[best // fine] * fine + best % fine, cosines[best]

    def _units(self, cells: Ids) -> Floats:
        """The directions of cells: (len(cells), width)."""
        fine = int(self.config["num_fine"])
        units = []
        for cell in cells.tolist():
            points, scales = self._unpacked(cell // fine)
            units.append(points[cell % fine] * scales[cell % fine])
        return np.stack(units)

    @cached_property
    def _unpacked(self) -> Callable[[int], tuple[Floats, Floats]]:
        """Points (num_fine, width) of a coarse cell's fine cells and one over their lengths, cached."""
        fine = int(self.config["num_fine"])
        packed = self.weights["fine_codes"].reshape(-1, fine, self.weights["fine_codes"].shape[-1])
        levels = unpack_levels(np.arange(256, dtype=np.uint8)[:, np.newaxis], CELL_BITS)
        # Integers, so that sums of squares are exact in any order.
        points_of_byte = 2 * levels.astype(np.float32) - (2**CELL_BITS - 1)
        each: int = fine * packed.shape[2] * points_of_byte[0].nbytes

        @lru_cache(maxsize=max(2 * int(self.config["probes"]), _CACHE_BYTES // each))
        def unpack(coarse: int) -> tuple[Floats, Floats]:
            points = points_of_byte[packed[coarse]].reshape(fine, -1)
            return points, 1 / np.sqrt(np.einsum("nd,nd->n", points, points))

        return unpack


def min_idf(cells: int) -> float:
    """Return the minimum IDF of candidate tokens, by the number of cells; more frequent ones are not searched."""
    return math.log(max(1 / _MAX_SHARE, cells / CELLS_PER_DOCUMENT / _MAX_DOCUMENTS))


def to_head(config: Mapping[str, Any], weights: Mapping[str, NDArray[Any]]) -> CellsHead | LinearHead:
    """Create the head that a configuration describes.

    Raises:
        EncoderError: This kind of head needs torch.
    """
    if "num_coarse" in config:
        return CellsHead(config, weights)
    if "num_clusters" in config or config.get("thresholds_config") or config.get("normalize"):
        raise EncoderError("heads with clusters, thresholds or normalization need torch.")
    return LinearHead(config, weights)


def with_statistics(head: CellsHead | LinearHead, statistics: CorpusStatistics) -> CellsHead | LinearHead:
    """The same head with the statistics of another corpus.

    Raises:
        ValueError: Their sizes differ.
    """
    weights = dict(head.weights)
    fresh: dict[str, NDArray[np.float32]] = {"mean": statistics.mean}
    if head.config.get("lexical_config"):
        fresh["lexical.token_weights"] = statistics.token_weights
        fresh["lexical.average_length"] = np.asarray(statistics.average_length, np.float32)
    for name, value in fresh.items():
        if weights[name].shape != value.shape:
            raise ValueError(f"statistics of shape {value.shape} do not fit {name} of {weights[name].shape}.")
    return type(head)(head.config, weights | fresh)


def statistics_of(head: CellsHead | LinearHead) -> CorpusStatistics:
    """The corpus statistics of a head."""
    if not head.config.get("lexical_config"):
        return CorpusStatistics(head.weights["mean"], np.empty(0, np.float32))
    length = float(head.weights["lexical.average_length"])
    return CorpusStatistics(head.weights["mean"], head.weights["lexical.token_weights"], length)


def count_ids(ids: Sequence[int]) -> Tokens:
    """Count the distinct tokens of a text, in order of first occurrence."""
    found, first, counts = np.unique(np.asarray(ids, np.int64), return_index=True, return_counts=True)
    order = np.argsort(first)
    return Tokens(found[order], counts[order].astype(np.float32))


def _top(values: Floats, k: int) -> Ids:
    """Indices of the k largest values, largest first."""
    if k < len(values):
        places = np.argpartition(-values, k - 1)[:k]
        return places[np.argsort(-values[places], kind="stable")]
    return np.argsort(-values, kind="stable")


def _spread(cosines: Floats, units: Floats, count: int, spread: float) -> Ids:
    """Select the cells of a document; see `TwoLevelDictionary`."""
    products = 1 - cosines[:, np.newaxis] - cosines + units @ units.T
    distances = 2 - 2 * cosines
    parallel = products**2 / np.maximum(distances, 1e-12)
    penalty, taken, slots = np.zeros_like(distances), np.zeros_like(distances), []
    for place in range(count):
        slot = int((distances + taken + spread / max(place, 1) * penalty).argmin())
        slots.append(slot)
        taken[slot] = np.inf
        penalty += parallel[:, slot]
    return np.sort(np.array(slots, dtype=np.int64))
