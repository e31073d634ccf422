"""Compact codes of dense embeddings: they put the candidates that a few features found into the dense order."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import accumulate, pairwise, product
from typing import Any, Literal, NamedTuple, Self, cast, get_args

import numpy as np
from numpy.typing import NDArray

Bits = Literal[1, 2, 3, 4, 8]
"""Of a code, for each dimension; 3 is an average that principal components alone can have."""

CodeBits = Bits | Literal["auto"] | None
"""Of a new index: "auto" leaves it to the encoder, None keeps no codes."""

GridBits = Literal[1, 2, 4, 8]
"""Of one value: these fill bytes."""

_FACTOR_BYTES = 2
"""An unsigned number behind the values of each group, high byte first, in units of `factor_units`."""


class Group(NamedTuple):
    """Values of a code that are written with the same number of bits.

    Attributes:
        dims: Values.
        bits: For each.
    """

    dims: int
    bits: GridBits

    @property
    def num_bytes(self) -> int:
        """Bytes of the values, without the factor."""
        return self.dims * self.bits // 8


@dataclass(frozen=True, eq=False)
class RotatedCode:
    """A few bits for each dimension, after the mean is taken off and the rest is turned at random.

    Turning spreads what is left evenly over the dimensions, so that one grid serves all. With x the turned rest and c
    the grid's point next to its direction, the product with a query q is estimated as <q, c> <x, x> / <c, x>, which
    is right on average (RaBitQ, Gao and Long 2024, arXiv:2405.12497, and its extension to more bits). The constant
    <q, mean>, the same for all documents of a query, is left out.

    Where the principal components of the corpus are known, the strongest ones get more bits and the weakest none:
    each group of components is turned and written by itself. At equal bytes the hits come closer to the dense order.

    Args:
        mean: float32 (dim,), of the documents.
        bits: For each dimension, on average.
        seed: Of the rotation.
        norm: Of an embedding; documents that are more than twice as long lose precision.
        groups: Of principal components, strongest first; none for one group of all dimensions.
        components: float32 (dim, at least as many as the groups hold), strongest first. An index does not hold them
            beside the groups: the dictionary has them (`with_components`).

    Raises:
        ValueError: There are no such bits, or the dimensions do not fill whole bytes.
    """

    mean: NDArray[np.float32]
    bits: Bits
    seed: int = 0
    norm: float = 1.0
    groups: tuple[Group, ...] = ()
    components: NDArray[np.float32] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        grids = get_args(GridBits)
        if not self.groups and self.bits not in grids:
            raise ValueError(f"bits must be 1, 2, 4 or 8, got {self.bits}.")
        for dims, bits in self.layout:
            if bits not in grids or dims < 1 or dims * bits % 8:
                raise ValueError(f"{dims} dimensions of {bits} bits fill no whole bytes.")

    def to_json(self) -> dict[str, Any]:
        """For an index's mapping: about 1 KB."""
        mean = base64.b64encode(self.mean.astype("<f4").tobytes()).decode("ascii")
        groups = {"groups": [list(group) for group in self.groups]} if self.groups else {}
        return {"bits": self.bits, "seed": self.seed, "norm": self.norm, "mean": mean} | groups

    @classmethod
    def from_json(cls, facts: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote.

        Raises:
            ValueError: It is damaged.
        """
        try:
            mean = np.frombuffer(base64.b64decode(facts["mean"]), "<f4").astype(np.float32)
            groups = tuple(Group(int(dims), bits) for dims, bits in facts.get("groups", ()))
            return cls(mean, facts["bits"], int(facts["seed"]), float(facts["norm"]), groups)
        except (KeyError, TypeError) as error:
            raise ValueError(f"the description of the index's codes is damaged: {error!r}") from error

    def with_components(self, components: NDArray[np.float32]) -> Self:
        """The same code, which can now encode and score.

        Raises:
            ValueError: There are fewer of them than the groups hold, or they have other dimensions.
        """
        wanted = sum(group.dims for group in self.groups)
        if components.shape[0] != self.dim or components.shape[1] < wanted:
            raise ValueError(f"codes of {wanted} components of {self.dim} dimensions do not fit {components.shape}.")
        return replace(self, components=components)

    @property
    def dim(self) -> int:
        """Dimensions of an embedding."""
        return len(self.mean)

    @property
    def layout(self) -> tuple[Group, ...]:
        """The groups, one of all dimensions where there are no components."""
        return self.groups or (Group(self.dim, cast("GridBits", self.bits)),)

    @cached_property
    def rotation(self) -> NDArray[np.float32]:
        """What turns an embedding: (dim, values of a code), group by group.

        Raises:
            ValueError: The code has groups, and nobody said of which components.
        """
        if not self.groups:
            return random_rotation(self.dim, self.seed)
        if self.components is None:
            raise ValueError("this code is one of components that the dictionary of its index has.")
        parts, start = [], 0
        for dims, _bits in self.groups:
            parts.append(self.components[:, start : start + dims] @ random_rotation(dims, self.seed))
            start += dims
        return np.concatenate(parts, axis=1)

    @property
    def factor_units(self) -> tuple[float, ...]:
        """What the last two bytes of each group count in; their whole range is three times what is usual."""
        return tuple(8 * _STEPS[bits] * self.norm / math.sqrt(dims) / 0xFFFF for dims, bits in self.layout)

    @property
    def num_bytes(self) -> int:
        """Bytes of one code."""
        return sum(group.num_bytes + _FACTOR_BYTES for group in self.layout)

    def encode(self, embeddings: NDArray[np.float32]) -> NDArray[np.uint8]:
        """Encode n documents.

        Args:
            embeddings: (n, dim).

        Returns:
            (n, num_bytes).
        """
        rest = np.asarray((embeddings - self.mean) @ self.rotation, dtype=np.float32)
        parts, start = [], 0
        for (dims, bits), unit in zip(self.layout, self.factor_units, strict=True):
            parts += _encode_group(rest[:, start : start + dims], bits, unit)
            start += dims
        return np.concatenate(parts, axis=1)

    def score(self, codes: NDArray[np.uint8], query: NDArray[np.float32]) -> NDArray[np.float32]:
        """Estimate the inner products of a query with n documents, less what all of them share.

        Args:
            codes: (n, num_bytes).
            query: (dim,).

        Returns:
            float32 (n,).
        """
        return np.asarray(self._points(codes) @ (query @ self.rotation), dtype=np.float32)

    def decode(self, codes: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return embeddings whose inner products with queries are the estimated ones.

        Args:
            codes: (n, num_bytes).

        Returns:
            float32 (n, dim).
        """
        return np.asarray(self._points(codes) @ self.rotation.T + self.mean, dtype=np.float32)

    def _points(self, codes: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The turned rests, (n, values of a code)."""
        parts, start = [], 0
        for group, unit in zip(self.layout, self.factor_units, strict=True):
            end = start + group.num_bytes
            levels = unpack_levels(codes[:, start:end], group.bits).astype(np.float32)
            counts = np.ascontiguousarray(codes[:, end : end + _FACTOR_BYTES]).view(">u2").astype(np.float32)
            parts.append(counts * np.float32(unit) * (levels - np.float32((2**group.bits - 1) / 2)))
            start = end + _FACTOR_BYTES
        return np.concatenate(parts, axis=1)


_GRIDS: tuple[GridBits, ...] = (8, 4, 2, 1)

_ERRORS = {0: 1.0, 1: 0.363, 2: 0.1175, 4: 0.0095, 8: 0.0001}
"""What a grid of so many bits leaves of the variance of a Gaussian (Max 1960)."""


_LEAST_BLOCKS = 12
"""Of dimensions, that bits are divided among: where there are fewer, too many are left out at once."""


def choose_groups(variances: NDArray[np.float32], dim: int, bits: Bits) -> tuple[Group, ...]:
    """Divide the bits of a code among principal components so that products are estimated best.

    The error of a product is, of each group, the variance that its grid leaves times the variance of the queries
    there, divided by its dimensions; queries are taken to vary as documents do. Every division is tried.

    Args:
        variances: Of the components, strongest first; all that are known.
        dim: Dimensions of an embedding.
        bits: For each dimension of the embedding, on average.

    Returns:
        Groups of falling bits; components behind them get no bits. None, for the same bits everywhere, where there are
        fewer than 96 dimensions, which cannot be divided finely enough.
    """
    step = 8 * max(1, dim // 96)
    blocks = min(len(variances), dim) // step
    if not blocks or (dim // step < _LEAST_BLOCKS and bits in get_args(GridBits)):
        return ()
    known = np.concatenate([[0.0], np.cumsum(variances[: blocks * step].reshape(blocks, step).sum(axis=1))])
    affordable = dim * bits // step
    divisions = (
        counts
        for counts in product(range(blocks + 1), repeat=len(_GRIDS))
        if 0 < sum(counts) <= blocks and np.dot(counts, _GRIDS) <= affordable
    )

    def error(counts: tuple[int, ...]) -> float:
        left = 0.0
        for (start, end), of in zip(pairwise((0, *accumulate(counts), blocks)), (*_GRIDS, 0), strict=True):
            if end > start:
                left += float(known[end] - known[start]) ** 2 * _ERRORS[of] / (end - start)
        return left

    best = min(divisions, key=error)
    return tuple(Group(count * step, of) for count, of in zip(best, _GRIDS, strict=True) if count)


def _encode_group(rest: NDArray[np.float32], bits: GridBits, unit: float) -> list[NDArray[np.uint8]]:
    """The packed values of n documents and their factors, (n, bytes) each."""
    levels = directions_to_levels(rest, bits)
    points = levels.astype(np.float32) - np.float32((2**bits - 1) / 2)
    along = np.einsum("nd,nd->n", points, rest)
    squares = np.einsum("nd,nd->n", rest, rest)
    factors = np.divide(squares, along, out=np.zeros_like(squares), where=along > 1e-12)
    counts = np.clip(np.rint(factors / unit), 0, 0xFFFF).astype(">u2")
    return [pack_levels(levels, bits), counts.view(np.uint8).reshape(len(levels), _FACTOR_BYTES)]


_STEPS = {1: 1.0, 2: 0.9957, 4: 0.3352, 8: 6.0 / 128}
"""Width of a step, in standard deviations of a Gaussian, that loses least (Max 1960, uniform quantizers)."""


def directions_to_levels(vectors: NDArray[np.float32], bits: int) -> NDArray[np.uint8]:
    """The grid's point next to each row's direction, (n, dim); the row's own spread sets the grid's width."""
    count = 2**bits
    spread = np.sqrt(np.mean(np.square(vectors), axis=1, keepdims=True)).clip(1e-12)
    step = _STEPS[bits] * spread
    return np.asarray(np.clip(np.floor(vectors / step) + count // 2, 0, count - 1), dtype=np.uint8)


def random_rotation(dim: int, seed: int) -> NDArray[np.float32]:
    """A random orthogonal matrix, the same on every machine."""
    turned, triangle = np.linalg.qr(np.random.default_rng(seed).standard_normal((dim, dim)))
    # A QR leaves signs open.
    return np.asarray(turned * np.sign(np.diag(triangle)), dtype=np.float32)


def pack_levels(levels: NDArray[np.uint8], bits: int) -> NDArray[np.uint8]:
    """Several levels (n, dim) in each byte, the first one in the highest bits."""
    per_byte = 8 // bits
    groups = levels.reshape(len(levels), levels.shape[1] // per_byte, per_byte)
    shifts = np.arange(per_byte - 1, -1, -1, dtype=np.uint8) * np.uint8(bits)
    return np.asarray(np.bitwise_or.reduce(groups << shifts, axis=2), dtype=np.uint8)


def unpack_levels(packed: NDArray[np.uint8], bits: int) -> NDArray[np.uint8]:
    """The levels (n, dim) of packed rows (n, dim * bits / 8)."""
    per_byte = 8 // bits
    shifts = np.arange(per_byte - 1, -1, -1, dtype=np.uint8) * np.uint8(bits)
    levels: NDArray[np.uint8] = (packed[:, :, None] >> shifts) & np.uint8(2**bits - 1)
    return levels.reshape(len(packed), packed.shape[1] * per_byte)
