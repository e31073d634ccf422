"""Heads in NumPy, for encoders without torch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import chain
from typing import Any, Literal, NamedTuple, NoReturn, Self

import numpy as np
from numpy.typing import NDArray

from connector.encoders.batches import Task
from connector.errors import EncoderError
from connector.vectors.codes import Bits, RotatedCode, choose_groups, random_rotation, unpack_levels
from connector.vectors.statistics import CorpusStatistics

Floats = NDArray[np.floating[Any]]
Ids = NDArray[np.int64]

MIN_VALUE = 0.01
"""Value of the strongest feature of a text without positive values; such texts rank last."""

CELL_BITS: Literal[2] = 2
"""Bits per dimension of fine cells. 2 bits lose less than a point of recall; 1 bit is too coarse."""

PROBES, QUERY_PROBES = 24, 48
"""Default numbers of coarse cells whose fine cells are compared with a document, and with a query. Half as many for
queries find up to a point fewer of the exact top ten, twice as many for documents 0.1 points more."""

SPREAD = 4.0
"""Default weight of the penalty on parallel residuals of a document's cells."""

CANDIDATE_CELLS, CANDIDATE_TOKENS = 16, 4
"""Default cells, and maximum tokens, of a query whose hits are rescored by codes."""

BM25 = {"k1": 1.2, "b": 0.6}
"""Default saturation and length normalization of tokens."""

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

CACHED = 64
"""Documents per block when choosing cells, so that operands fit into the CPU cache."""

_ONE_THREAD = 1 << 18
"""Multiplications up to which OpenBLAS computes a product in one thread. With several threads for each of many small
products, encoding takes a third longer beside a busy server."""

_GROUPS, _MIN_GROUP = 8, 8
"""Groups of columns per wanted value when the largest values of a row are searched, and minimum columns of each."""

QUERY_ONLY = ("candidate_cells", "candidate_tokens", "query_probes")
"""Settings that do not affect documents."""


class Tokens(NamedTuple):
    """The distinct tokens of n texts with their counts, each row padded to the longest.

    Attributes:
        ids: int64 (n, length), in order of first occurrence.
        counts: float32 (n, length); 0 marks an unused slot.
    """

    ids: Ids
    counts: Floats


class _Head:
    """Base of both heads: weights by name, in single precision."""

    def __init__(self, config: Mapping[str, Any], weights: Mapping[str, NDArray[Any]]) -> None:
        self.config = config
        self.weights = {
            name: value if value.dtype == np.uint8 else np.asarray(value, np.float32) for name, value in weights.items()
        }

    @property
    def dim(self) -> int:
        """Width of the dense embedding."""
        return int(self.weights["mean"].size)

    def _lexical(self, tokens: Tokens, task: Task) -> Floats:
        """BM25 values of tokens, as in `LexicalFeatures`."""
        lexical = self.config["lexical_config"]
        weights: Floats = self.weights["lexical.token_weights"][tokens.ids]
        if task == "query":
            return np.asarray(lexical["query_scale"] * weights * (tokens.counts > 0), dtype=np.float32)
        k1, b = lexical["k1"], lexical["b"]
        lengths = (tokens.counts * (weights > 0)).sum(axis=1, keepdims=True)
        saturation = k1 * (1 - b + b * lengths / float(self.weights["lexical.average_length"]))
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
        embeddings: Floats,
        k: int,
        task: Task,
        tokens: Tokens | None,
        *,
        candidates: bool = False,  # noqa: ARG002
    ) -> tuple[Ids, Floats]:
        """Features and values of n texts, both (n, k), strongest first; see `KSparseAutoEncoder.strongest`."""
        products = (embeddings - self.weights["mean"]) @ self.weights["encoder.weight"].T + self.weights["encoder.bias"]
        features = _top(products, k)
        values = np.take_along_axis(products, features, axis=1)
        if tokens is not None:
            features = np.concatenate([features, self.num_latents + tokens.ids], axis=1)
            values = np.concatenate([values, self._lexical(tokens, task)], axis=1)
            features, values = _take(_top(values, k), features, values)
        values = np.maximum(values, 0)
        values[:, 0] = np.where(values[:, 0] <= 0, MIN_VALUE, values[:, 0])
        return features, values


class UnbuiltHead(_Head):
    """A head without features, of a dense model whose dictionary is not built yet."""

    has_cells = False
    k_candidates = None
    num_latents = 1

    @classmethod
    def of_model(cls, dim: int, base_model: str) -> Self:
        """Create the head of a dense model with embeddings of `dim` values."""
        return cls({"k": 1, "k_query": 1, "base_model": base_model}, {"mean": np.zeros(dim, np.float32)})

    def strongest(self, *_arguments: object, **_options: object) -> NoReturn:
        """Raise EncoderError: there are no features yet.

        Raises:
            EncoderError: Always.
        """
        raise unbuilt(self.config["base_model"])


class CellsHead(_Head):
    """`TwoLevelDictionary`; the fine cells of a coarse cell are unpacked when it is probed for the first time."""

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
    def projection(self) -> NDArray[np.float32]:
        """Float32 (dim, width): the strongest components, rotated."""
        width = int(self.config["width"])
        return self.principal_components[:, :width] @ random_rotation(width, 0)

    def code(self, bits: Bits, norm: float) -> RotatedCode:
        """Create the quantizer of the components for embeddings of a given norm."""
        groups = choose_groups(self.weights["variances"], self.dim, bits)
        return RotatedCode(self.weights["mean"], bits, norm=norm, groups=groups, components=self.principal_components)

    def stored(self) -> dict[str, NDArray[Any]]:
        """The weights as stored: cells with 2 bits per dimension, components with 8, others in half precision."""
        types = {"fine_codes": np.uint8, "components": np.int8}
        return {name: np.asarray(value, types.get(name, np.float16), order="C") for name, value in self.weights.items()}

    @property
    def _candidate_tokens(self) -> int:
        return int(self.config["candidate_tokens"]) if self.config.get("lexical_config") else 0

    def strongest(
        self, embeddings: Floats, k: int, task: Task, tokens: Tokens | None, *, candidates: bool = False
    ) -> tuple[Ids, Floats]:
        """Features and values of n texts, (n, at most k), strongest first; see `TwoLevelDictionary.strongest`."""
        directions = (embeddings - self.weights["mean"]) @ self.projection
        directions /= np.maximum(np.linalg.norm(directions, axis=1, keepdims=True), 1e-12)
        count = self._share(k, task, candidates) if tokens is not None else min(k, self.num_latents)
        features, values = self._cells(directions, count, task)
        if tokens is not None and k > count:
            weights = self._lexical(tokens, task)
            if candidates:
                rare = self.weights["lexical.token_weights"][tokens.ids] ** 2 >= min_idf(self.num_latents)
                weights = np.asarray(CANDIDATE_SHARE * weights * rare, dtype=np.float32)
            ids, weights = _take(_top(weights, k - count), tokens.ids, weights)
            features = np.concatenate([features, self.num_latents + ids], axis=1)
            values = np.concatenate([values, weights], axis=1)
            features, values = _take(np.argsort(-values, axis=1, kind="stable"), features, values)
        return features, np.maximum(values, 0)

    def _share(self, k: int, task: Task, candidates: bool) -> int:  # noqa: FBT001
        share, whole = int(self.config["cells"]), int(self.config["k"])
        if task == "query":
            share, whole = int(self.config["query_cells"]), int(self.config["k_query"])
            if candidates:
                share, whole = self.k_candidates - self._candidate_tokens, self.k_candidates
        return max(1, round(k * share / whole))

    def _cells(self, directions: Floats, count: int, task: Task) -> tuple[Ids, Floats]:
        """The cells of texts, nearest first: (n, count) ids and cosines."""
        spread = self.config["spread"]
        cells, cosines = self._nearest(directions, count if task == "query" or not spread else POOL * count, task)
        if task == "query":
            return cells, cosines - FLOOR * np.maximum(cosines[:, -1:], 0)
        if not spread or count >= cells.shape[1]:
            return cells, cosines
        blocks = range(0, len(cells), CACHED)
        parts = ((cells[start : start + CACHED], cosines[start : start + CACHED]) for start in blocks)
        chosen = np.concatenate([_spread(near, self._units(ids), count, spread) for ids, near in parts])
        return _take(chosen, cells, cosines)

    def _nearest(self, directions: Floats, count: int, task: Task) -> tuple[Ids, Floats]:
        """Ids and cosines of the nearest fine cells, (n, at most count) each, nearest first."""
        fine, probes = int(self.config["num_fine"]), int(self.config["probes"])
        if task == "query":
            probes = int(self.config.get("query_probes", probes))
        probed = _top(directions @ self.weights["coarse"].T, probes)
        cosines = self._compared(directions, probed)
        slots = _top(cosines, count)
        cells = np.take_along_axis(probed, slots // fine, axis=1) * fine + slots % fine
        return cells, np.take_along_axis(cosines, slots, axis=1)

    def _compared(self, directions: Floats, probed: Ids) -> Floats:
        """Cosines of the fine cells of the probed coarse cells, (n, probes * num_fine): one product per coarse cell."""
        points, scales = self._unpacked(probed)
        if len(directions) == 1:
            block = np.empty(points.shape[1:], np.float32)
            products = np.empty((probed.shape[1], len(block)), np.float32)
            for coarse, row in zip(probed[0].tolist(), products, strict=True):
                np.copyto(block, points[coarse])
                np.dot(block, directions[0], out=row)
            products *= scales[probed[0]]
            return products.reshape(1, -1)
        places = probed.ravel()
        order = np.argsort(places, kind="stable")
        found, starts = np.unique(places[order], return_index=True)
        cosines = np.empty((len(places), points.shape[1]), np.float32)
        for coarse, rows in zip(found.tolist(), np.split(order, starts[1:]), strict=True):
            texts, block = directions[rows // probed.shape[1]], points[coarse].astype(np.float32).T
            step = max(1, _ONE_THREAD // texts.size)
            parts = [texts @ block[:, start : start + step] for start in range(0, block.shape[1], step)]
            cosines[rows] = np.concatenate(parts, axis=1) * scales[coarse]
        return cosines.reshape(len(directions), -1)

    def _units(self, cells: Ids) -> Floats:
        """The directions of cells (n, m): (n, m, width)."""
        coarse, fine = np.divmod(cells, int(self.config["num_fine"]))
        points, scales = self._unpacked(coarse)
        return points[coarse, fine].astype(np.float32) * scales[coarse, fine, np.newaxis]

    def _unpacked(self, coarse: Ids) -> tuple[NDArray[np.int8], Floats]:
        """All points (num_coarse, num_fine, width) and one over their lengths, valid for some coarse cells.

        A cell is unpacked when it is needed for the first time. Threads may do so at the same time.
        """
        points, scales, valid = self._points
        for cell in np.unique(coarse[~valid[coarse]]).tolist():
            points[cell] = _unpack(self._packed[cell])
            scales[cell] = _inverse_lengths(points[cell].astype(np.float32))
            valid[cell] = True
        return points, scales

    @cached_property
    def _packed(self) -> NDArray[np.uint8]:
        codes = np.asarray(self.weights["fine_codes"], dtype=np.uint8)
        return codes.reshape(-1, int(self.config["num_fine"]), codes.shape[-1])

    @cached_property
    def _points(self) -> tuple[NDArray[np.int8], Floats, NDArray[np.bool_]]:
        """Space for all points, one over their lengths, and the coarse cells for which both are valid."""
        num_coarse, num_fine, size = self._packed.shape
        points = np.empty((num_coarse, num_fine, size * 8 // CELL_BITS), np.int8)
        return points, np.empty((num_coarse, num_fine), np.float32), np.zeros(num_coarse, np.bool_)


_LEVELS = unpack_levels(np.arange(256, dtype=np.uint8)[:, np.newaxis], CELL_BITS)
_POINTS_OF_BYTE = 2 * _LEVELS.astype(np.int8) - (2**CELL_BITS - 1)
"""The values that a byte of the codes packs: integers, so that sums of squares are exact in any order."""


def _unpack(packed: NDArray[np.uint8]) -> NDArray[np.int8]:
    return _POINTS_OF_BYTE[packed].reshape(len(packed), -1)


def _inverse_lengths(points: Floats) -> Floats:
    return np.asarray(1 / np.sqrt(np.einsum("nd,nd->n", points, points)), dtype=np.float32)


def min_idf(cells: int) -> float:
    """Return the minimum IDF of candidate tokens, by the number of cells; more frequent ones are not searched."""
    return math.log(max(1 / _MAX_SHARE, cells / CELLS_PER_DOCUMENT / _MAX_DOCUMENTS))


Head = CellsHead | LinearHead | UnbuiltHead


def unbuilt(base_model: str) -> EncoderError:
    """The error for a dense model without a head."""
    return EncoderError(
        f"{base_model} is a dense model without a head. A new index of 1,000 documents or more builds a dictionary for "
        f"it; to search or to write other indices, train a head: ksparse train CORPUS --base-model {base_model} "
        "--output HEAD."
    )


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


def with_statistics(head: Head, statistics: CorpusStatistics) -> Head:
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


def statistics_of(head: Head) -> CorpusStatistics:
    """The corpus statistics of a head."""
    if not head.config.get("lexical_config"):
        return CorpusStatistics(head.weights["mean"], np.empty(0, np.float32))
    length = float(head.weights["lexical.average_length"])
    return CorpusStatistics(head.weights["mean"], head.weights["lexical.token_weights"], length)


def count_ids(texts: Sequence[Sequence[int]]) -> Tokens:
    """Count the distinct tokens of n texts, given by their token ids."""
    lengths = np.array([len(ids) for ids in texts], dtype=np.int64)
    ids = np.fromiter(chain.from_iterable(texts), np.int64, int(lengths.sum()))
    rows = np.repeat(np.arange(len(texts)), lengths)
    width = int(ids.max(initial=0)) + 1
    found, first, counts = np.unique(rows * width + ids, return_index=True, return_counts=True)
    order = np.argsort(first)
    found, counts = found[order], counts[order]
    rows = found // width
    distinct = np.bincount(rows, minlength=len(texts))
    slots = _slots(distinct)
    padded = Tokens(
        np.zeros((len(texts), int(distinct.max(initial=1))), np.int64),
        np.zeros((len(texts), int(distinct.max(initial=1))), np.float32),
    )
    padded.ids[rows, slots], padded.counts[rows, slots] = found % width, counts
    return padded


def _slots(counts: Ids) -> Ids:
    """Number the entries of each row from 0, given their counts: the places of consecutive entries in padded rows."""
    return np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)


def _top(values: Floats, k: int) -> Ids:
    """Columns of the k largest values of each row, largest first."""
    columns, found = _contenders(values, k)
    return np.take_along_axis(columns, np.argsort(-found, axis=1, kind="stable")[:, :k], axis=1)


def _contenders(values: Floats, k: int) -> tuple[Ids, Floats]:
    """Columns of each row, with the k largest values among them, and their values; -inf marks an unused slot."""
    count, width = values.shape
    size = width // (_GROUPS * k)
    if size >= _MIN_GROUP:
        # At least k values reach the k-th largest maximum of groups of columns, and few others do. This takes a tenth
        # of the time of partitioning all values.
        groups = width // size
        maxima = values[:, : size * groups].reshape(count, size, groups).max(axis=1)
        least = np.partition(maxima, groups - k, axis=1)[:, groups - k, np.newaxis]
        rows, reached = np.divmod(np.flatnonzero(values >= least), width)
        counts = np.bincount(rows, minlength=count)
        if counts.min(initial=k) >= k:  # fewer if some are not numbers
            slots = _slots(counts)
            columns = np.zeros((count, counts.max(initial=k)), np.int64)
            found = np.full(columns.shape, -np.inf, values.dtype)
            columns[rows, slots], found[rows, slots] = reached, values[rows, reached]
            return columns, found
    if k < width:
        columns = np.argpartition(-values, k - 1, axis=1)[:, :k]
        return columns, np.take_along_axis(values, columns, axis=1)
    return np.broadcast_to(np.arange(width), values.shape), values


def _take(places: Ids, features: Ids, values: Floats) -> tuple[Ids, Floats]:
    return np.take_along_axis(features, places, axis=1), np.take_along_axis(values, places, axis=1)


def _spread(cosines: Floats, units: Floats, count: int, spread: float) -> Ids:
    """Select cells of n documents from near ones, slots (n, count), nearest first; see `TwoLevelDictionary`."""
    products = 1 - cosines[:, :, np.newaxis] - cosines[:, np.newaxis] + units @ units.transpose(0, 2, 1)
    distances = 2 - 2 * cosines
    parallel = products**2 / np.maximum(distances, 1e-12)[:, np.newaxis]
    penalty, taken = np.zeros_like(distances), np.zeros_like(distances)
    rows, slots = np.arange(len(cosines)), np.empty((len(cosines), count), np.int64)
    for place in range(count):
        slot = (distances + taken + spread / max(place, 1) * penalty).argmin(axis=1)
        slots[:, place] = slot
        taken[rows, slot] = np.inf
        penalty += parallel[rows, :, slot]
    return np.sort(slots, axis=1)
