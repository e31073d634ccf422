"""Compact codes of dense embeddings: they put the candidates that a few features found into the dense order."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

Bits = Literal[1, 2, 4, 8]

_FACTOR_BYTES = 2
"""An unsigned number at the end of each code, high byte first, in units of `factor_unit`."""


@dataclass(frozen=True, eq=False)
class RotatedCode:
    """A few bits for each dimension, after the mean is taken off and the rest is turned at random.

    Turning spreads what is left evenly over the dimensions, so that one grid serves all. With x the turned rest and c
    the grid's point next to its direction, the product with a query q is estimated as <q, c> <x, x> / <c, x>, which
    is right on average (RaBitQ, Gao and Long 2024, arXiv:2405.12497, and its extension to more bits). The constant
    <q, mean>, the same for all documents of a query, is left out.

    Args:
        mean: float32 (dim,), of the documents.
        bits: For each dimension.
        seed: Of the rotation.
        norm: Of an embedding; documents that are more than twice as long lose precision.

    Raises:
        ValueError: `bits` is not 1, 2, 4 or 8, or the dimensions do not fill whole bytes.
    """

    mean: NDArray[np.float32]
    bits: Bits
    seed: int = 0
    norm: float = 1.0
    rotation: NDArray[np.float32] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if self.bits not in (1, 2, 4, 8):
            raise ValueError(f"bits must be 1, 2, 4 or 8, got {self.bits}.")
        if self.dim * self.bits % 8:
            raise ValueError(f"{self.dim} dimensions of {self.bits} bits fill no whole bytes.")
        object.__setattr__(self, "rotation", random_rotation(self.dim, self.seed))

    def to_json(self) -> dict[str, Any]:
        """For an index's mapping: about 1 KB."""
        mean = base64.b64encode(self.mean.astype("<f4").tobytes()).decode("ascii")
        return {"bits": self.bits, "seed": self.seed, "norm": self.norm, "mean": mean}

    @classmethod
    def from_json(cls, facts: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote.

        Raises:
            ValueError: It is damaged.
        """
        try:
            mean = np.frombuffer(base64.b64decode(facts["mean"]), "<f4").astype(np.float32)
            return cls(mean, facts["bits"], int(facts["seed"]), float(facts["norm"]))
        except (KeyError, TypeError) as error:
            raise ValueError(f"the description of the index's codes is damaged: {error!r}") from error

    @property
    def dim(self) -> int:
        """Dimensions of an embedding."""
        return len(self.mean)

    @property
    def factor_unit(self) -> float:
        """What the last two bytes of a code count in; their whole range is three times what is usual."""
        return 8 * _STEPS[self.bits] * self.norm / math.sqrt(self.dim) / 0xFFFF

    @property
    def num_bytes(self) -> int:
        """Bytes of one code."""
        return self.dim * self.bits // 8 + _FACTOR_BYTES

    def encode(self, embeddings: NDArray[np.float32]) -> NDArray[np.uint8]:
        """Encode n documents.

        Args:
            embeddings: (n, dim).

        Returns:
            (n, num_bytes).
        """
        rest = np.asarray((embeddings - self.mean) @ self.rotation, dtype=np.float32)
        levels = directions_to_levels(rest, self.bits)
        points = self._to_points(levels)
        along = np.einsum("nd,nd->n", points, rest)
        squares = np.einsum("nd,nd->n", rest, rest)
        factors = np.divide(squares, along, out=np.zeros_like(squares), where=along > 1e-12)
        packed = pack_levels(levels, self.bits)
        counts = np.clip(np.rint(factors / self.factor_unit), 0, 0xFFFF).astype(">u2")
        ends = counts.view(np.uint8).reshape(len(packed), _FACTOR_BYTES)
        return np.concatenate([packed, ends], axis=1)

    def score(self, codes: NDArray[np.uint8], query: NDArray[np.float32]) -> NDArray[np.float32]:
        """Estimate the inner products of a query with n documents, less what all of them share.

        Args:
            codes: (n, num_bytes).
            query: (dim,).

        Returns:
            float32 (n,).
        """
        levels = unpack_levels(codes[:, :-_FACTOR_BYTES], self.bits)
        return np.asarray(self._factors(codes) * (self._to_points(levels) @ (query @ self.rotation)), dtype=np.float32)

    def decode(self, codes: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return embeddings whose inner products with queries are the estimated ones.

        Args:
            codes: (n, num_bytes).

        Returns:
            float32 (n, dim).
        """
        levels = unpack_levels(codes[:, :-_FACTOR_BYTES], self.bits)
        points = self._factors(codes)[:, None] * self._to_points(levels)
        return np.asarray(points @ self.rotation.T + self.mean, dtype=np.float32)

    def _factors(self, codes: NDArray[np.uint8]) -> NDArray[np.float32]:
        counts = np.ascontiguousarray(codes[:, -_FACTOR_BYTES:]).view(">u2")[:, 0]
        return counts.astype(np.float32) * np.float32(self.factor_unit)

    def _to_points(self, levels: NDArray[np.uint8]) -> NDArray[np.float32]:
        return levels.astype(np.float32) - np.float32((2**self.bits - 1) / 2)


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
