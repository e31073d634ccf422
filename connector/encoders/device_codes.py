"""The codes of `RotatedCode.encode`, computed where the embeddings are."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from connector.vectors.codes import GRID_STEPS, RotatedCode, Word

_MAX_FACTOR = 0xFFFF


class DeviceCode:
    """Encodes embeddings on their device.

    Args:
        code: The quantizer.
        device: The device.
    """

    def __init__(self, code: RotatedCode, device: torch.device) -> None:
        self.num_bytes = code.num_bytes
        self._groups = list(zip(code.layout, code.factor_units, strict=True))
        self._mean = torch.from_numpy(code.mean).to(device)
        self._rotation = torch.from_numpy(np.ascontiguousarray(code.rotation)).to(device)

    def encode(self, embeddings: Tensor) -> Tensor:
        """Encode n documents: (n, dim) to uint8 (n, num_bytes)."""
        rest = (embeddings.float() - self._mean) @ self._rotation
        parts, start = [], 0
        for (dims, bits), unit in self._groups:
            parts += _encode_group(rest[:, start : start + dims], bits, unit)
            start += dims
        return torch.cat(parts, dim=1)


def device_code(code: RotatedCode | None, device: torch.device) -> DeviceCode | None:
    """Return the quantizer on a device; None on a CPU, where `RotatedCode` needs no copy of the embeddings."""
    return None if code is None or device.type == "cpu" else DeviceCode(code, device)


def _encode_group(rest: Tensor, bits: int, unit: float) -> list[Tensor]:
    """The packed values of n documents and their factors, as in `RotatedCode`."""
    count = 2**bits
    step = GRID_STEPS[bits] * rest.square().mean(dim=1, keepdim=True).sqrt().clamp_min(1e-12)
    levels = ((rest / step).floor() + count // 2).clamp(0, count - 1)
    points = levels - (count - 1) / 2
    along, squares = (points * rest).sum(dim=1), rest.square().sum(dim=1)
    factors = torch.where(along > 1e-12, squares / along, 0.0)
    counts = (factors / unit).round().clamp(0, _MAX_FACTOR).int()
    high_first = torch.stack([counts >> 8, counts & 0xFF], dim=1).to(torch.uint8)
    word = Word.of(bits)
    shifts = torch.arange(word.values - 1, -1, -1, device=rest.device) * bits
    words = (levels.int().reshape(len(levels), -1, word.values) << shifts).sum(dim=2)
    places = torch.arange(word.num_bytes - 1, -1, -1, device=rest.device) * 8
    packed = (words.unsqueeze(2) >> places & 0xFF).flatten(1).to(torch.uint8)
    return [packed, high_first]
