"""Codes: quantized dense embeddings, by which candidates are rescored."""

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
"""Bits per dimension of a code; 3 is an average, which needs principal components."""

CodeBits = Bits | Literal["auto"] | None
"""Codes of a new index: "auto" depends on the encoder, None means no codes."""

UniformBits = Literal[1, 2, 4, 8]
"""Bits per dimension of a code without principal components."""

GridBits = Literal[1, 2, 4, 6, 8]
"""Bits of a value. Four values of 6 bits fill three bytes; others divide a byte."""

_FACTOR_BYTES = 2
"""Bytes of the factor after the values of each group: unsigned, high byte first, in units of `factor_units`."""


class Word(NamedTuple):
    """The shortest sequence of bytes that values of some bits fill, high bits first.

    Attributes:
        num_bytes: Number of bytes.
        values: Number of values.
    """

    num_bytes: int
    values: int

    @classmethod
    def of(cls, bits: int) -> Self:
        """Return the word of values of `bits` bits."""
        whole = math.lcm(bits, 8)
        return cls(whole // 8, whole // bits)


class Group(NamedTuple):
    """Values of a code with the same number of bits.

    Attributes:
        dims: Number of values.
        bits: Bits per value.
    """

    dims: int
    bits: GridBits

    @property
    def num_bytes(self) -> int:
        """Bytes of the values, without the factor."""
        return self.dims * self.bits // 8


@dataclass(frozen=True, eq=False)
class RotatedCode:
    """Scalar quantization of mean-centred, randomly rotated embeddings.

    The rotation distributes the variance evenly over the dimensions, so that one grid suits all. With x the rotated
    vector and c the nearest grid point by direction, the product with a query q is estimated as <q, c> <x, x> / <c, x>,
    which is unbiased (RaBitQ, Gao and Long 2024, arXiv:2405.12497, and its extension to more bits). The constant
    <q, mean>, which is the same for all documents, is omitted.

    If the principal components of the corpus are known, the strongest get more bits and the weakest none, and each
    group of components is rotated and stored separately. With the same bytes, the ranking is closer to the dense one.

    Args:
        mean: float32 (dim,), mean of the documents.
        bits: Average bits per dimension.
        seed: Seed of the rotation.
        norm: Typical norm of an embedding; documents above twice this norm lose precision.
        groups: Groups of principal components, strongest first; empty for one group of all dimensions.
        components: float32 (dim, at least the number in the groups), strongest first. The index's dictionary stores
            them, not the index (`with_components`).

    Raises:
        ValueError: The number of bits is invalid, or the dimensions do not fill whole bytes.
    """

    mean: NDArray[np.float32]
    bits: Bits
    seed: int = 0
    norm: float = 1.0
    groups: tuple[Group, ...] = ()
    components: NDArray[np.float32] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if not self.groups and self.bits not in get_args(UniformBits):
            raise ValueError(f"bits must be 1, 2, 4 or 8, got {self.bits}.")
        for dims, bits in self.layout:
            if bits not in get_args(GridBits) or dims < 1 or dims % Word.of(bits).values:
                raise ValueError(f"{dims} dimensions of {bits} bits do not fill whole bytes.")

    def to_json(self) -> dict[str, Any]:
        """Return a description for the mapping of an index, about 1 KB."""
        mean = base64.b64encode(self.mean.astype("<f4").tobytes()).decode("ascii")
        groups = {"groups": [list(group) for group in self.groups]} if self.groups else {}
        return {"bits": self.bits, "seed": self.seed, "norm": self.norm, "mean": mean} | groups

    @classmethod
    def from_json(cls, facts: Mapping[str, Any]) -> Self:
        """Create a code from the output of `to_json`.

        Raises:
            ValueError: The description is damaged.
        """
        try:
            mean = np.frombuffer(base64.b64decode(facts["mean"]), "<f4").astype(np.float32)
            groups = tuple(Group(int(dims), bits) for dims, bits in facts.get("groups", ()))
            return cls(mean, facts["bits"], int(facts["seed"]), float(facts["norm"]), groups)
        except (KeyError, TypeError) as error:
            raise ValueError(f"the description of the index's codes is damaged: {error!r}") from error

    def with_components(self, components: NDArray[np.float32]) -> Self:
        """Return the code with its principal components, which encoding and scoring need.

        Raises:
            ValueError: There are too few components, or they have other dimensions.
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
        """The groups; a single one of all dimensions without components."""
        return self.groups or (Group(self.dim, cast("GridBits", self.bits)),)

    @cached_property
    def rotation(self) -> NDArray[np.float32]:
        """Rotation of embeddings by groups: (dim, values of a code).

        Raises:
            ValueError: The code has groups, but no components.
        """
        if not self.groups:
            return random_rotation(self.dim, self.seed)
        if self.components is None:
            raise ValueError("this code needs the principal components of its index's dictionary.")
        parts, start = [], 0
        for dims, _bits in self.groups:
            parts.append(self.components[:, start : start + dims] @ random_rotation(dims, self.seed))
            start += dims
        return np.concatenate(parts, axis=1)

    @property
    def factor_units(self) -> tuple[float, ...]:
        """Unit of the factor of each group; its range is three times the usual factor."""
        return tuple(8 * GRID_STEPS[bits] * self.norm / math.sqrt(dims) / 0xFFFF for dims, bits in self.layout)

    @property
    def num_bytes(self) -> int:
        """Bytes of one code."""
        return sum(group.num_bytes + _FACTOR_BYTES for group in self.layout)

    def encode(self, embeddings: NDArray[np.float32]) -> NDArray[np.uint8]:
        """Encode n documents.

        Args:
            embeddings: (n, dim). One that is not finite has the code of the mean; its document is refused, because its
                weights are not finite either.

        Returns:
            (n, num_bytes).
        """
        finite = np.isfinite(embeddings).all(axis=1, keepdims=True)
        centred = np.where(finite, embeddings - self.mean, np.float32(0))
        rest = np.asarray(centred @ self.rotation, dtype=np.float32)
        parts, start = [], 0
        for (dims, bits), unit in zip(self.layout, self.factor_units, strict=True):
            parts += _encode_group(rest[:, start : start + dims], bits, unit)
            start += dims
        return np.concatenate(parts, axis=1)

    def score(self, codes: NDArray[np.uint8], query: NDArray[np.float32]) -> NDArray[np.float32]:
        """Estimate the inner products of a query with n documents, without the constant that all share.

        Args:
            codes: (n, num_bytes).
            query: (dim,).

        Returns:
            float32 (n,).
        """
        return np.asarray(self._points(codes) @ (query @ self.rotation), dtype=np.float32)

    def decode(self, codes: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Reconstruct embeddings whose inner products with queries are the estimated ones.

        Args:
            codes: (n, num_bytes).

        Returns:
            float32 (n, dim).
        """
        return np.asarray(self._points(codes) @ self.rotation.T + self.mean, dtype=np.float32)

    def _points(self, codes: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Reconstructed rotated vectors, (n, values of a code)."""
        parts, start = [], 0
        for group, unit in zip(self.layout, self.factor_units, strict=True):
            end = start + group.num_bytes
            levels = unpack_levels(codes[:, start:end], group.bits).astype(np.float32)
            counts = np.ascontiguousarray(codes[:, end : end + _FACTOR_BYTES]).view(">u2").astype(np.float32)
            parts.append(counts * np.float32(unit) * (levels - np.float32((2**group.bits - 1) / 2)))
            start = end + _FACTOR_BYTES
        return np.concatenate(parts, axis=1)


_GRIDS: tuple[GridBits, ...] = (8, 6, 4, 2)

_ERRORS = {0: 1.0, 2: 0.1188, 4: 0.0115, 6: 0.00104, 8: 0.0001}
"""Variance of the error of a Gaussian's uniform quantization, by number of bits (Max 1960)."""


_MIN_BLOCKS = 12
"""Minimum number of blocks of dimensions; with fewer, bits cannot be allocated finely enough."""


def choose_groups(variances: NDArray[np.float32], dim: int, bits: Bits) -> tuple[Group, ...]:
    """Allocate the bits of a code to principal components so that the error of inner products is lowest.

    The error of a group is the variance of its quantization error times the variance of queries in its components,
    divided by its dimensions. Queries are assumed to vary like documents. All allocations are tried.

    Args:
        variances: Variances of the known components, strongest first.
        dim: Dimensions of an embedding.
        bits: Average bits per dimension of the embedding.

    Returns:
        Groups with decreasing bits; the remaining components get none. Empty, for the same bits everywhere, below 96
        dimensions, which cannot be divided finely enough.
    """
    step = 8 * max(1, dim // 96)
    blocks = min(len(variances), dim) // step
    if not blocks or (dim // step < _MIN_BLOCKS and bits in get_args(UniformBits)):
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
    """Packed values and factors of n documents, (n, bytes) each."""
    levels = directions_to_levels(rest, bits)
    points = levels.astype(np.float32) - np.float32((2**bits - 1) / 2)
    along = np.einsum("nd,nd->n", points, rest)
    squares = np.einsum("nd,nd->n", rest, rest)
    factors = np.divide(squares, along, out=np.zeros_like(squares), where=along > 1e-12)
    counts = np.clip(np.rint(factors / unit), 0, 0xFFFF).astype(">u2")
    return [pack_levels(levels, bits), counts.view(np.uint8).reshape(len(levels), _FACTOR_BYTES)]


GRID_STEPS = {1: 1.0, 2: 0.9957, 4: 0.3352, 6: 0.1041, 8: 6.0 / 128}
"""Optimal step width of uniform quantizers in standard deviations of a Gaussian (Max 1960)."""


def directions_to_levels(vectors: NDArray[np.float32], bits: int) -> NDArray[np.uint8]:
    """Nearest grid point by direction, (n, dim); the standard deviation of each row scales the grid."""
    count = 2**bits
    spread = np.sqrt(np.mean(np.square(vectors), axis=1, keepdims=True)).clip(1e-12)
    step = GRID_STEPS[bits] * spread
    return np.asarray(np.clip(np.floor(vectors / step) + count // 2, 0, count - 1), dtype=np.uint8)


def random_rotation(dim: int, seed: int) -> NDArray[np.float32]:
    """A random orthogonal matrix, the same on every machine."""
    turned, triangle = np.linalg.qr(np.random.default_rng(seed).standard_normal((dim, dim)))
    # The QR decomposition does not determine signs.
    return np.asarray(turned * np.sign(np.diag(triangle)), dtype=np.float32)


def pack_levels(levels: NDArray[np.uint8], bits: int) -> NDArray[np.uint8]:
    """Pack levels (n, dim) into bytes, the first in the highest bits."""
    word = Word.of(bits)
    groups = levels.reshape(len(levels), levels.shape[1] // word.values, word.values)
    if word.num_bytes == 1:
        return np.asarray(np.bitwise_or.reduce(groups << _shifts(word, bits), axis=2), dtype=np.uint8)
    words = np.bitwise_or.reduce(groups.astype(np.uint32) << _shifts(word, bits), axis=2)
    packed = words.astype(">u4")[:, :, np.newaxis].view(np.uint8)[:, :, -word.num_bytes :]
    return np.asarray(packed.reshape(len(levels), groups.shape[1] * word.num_bytes), dtype=np.uint8)


def unpack_levels(packed: NDArray[np.uint8], bits: int) -> NDArray[np.uint8]:
    """Unpack rows (n, dim * bits / 8) to levels (n, dim)."""
    word = Word.of(bits)
    words: NDArray[np.unsignedinteger[Any]] = packed[:, 0 :: word.num_bytes]
    for place in range(1, word.num_bytes):
        words = words.astype(np.uint32) << np.uint32(8) | packed[:, place :: word.num_bytes]
    levels = (words[:, :, np.newaxis] >> _shifts(word, bits)) & words.dtype.type(2**bits - 1)
    return levels.astype(np.uint8, copy=False).reshape(len(packed), words.shape[1] * word.values)


def _shifts(word: Word, bits: int) -> NDArray[np.uint8]:
    """Positions of a word's values, counted from its lowest bit."""
    return np.arange(word.values - 1, -1, -1, dtype=np.uint8) * np.uint8(bits)
