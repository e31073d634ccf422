"""Copy the results of batches from a device while later batches are computed."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_IN_FLIGHT = 4
"""Batches whose copies may be unfinished: their host memory cannot be paged out."""


class _Copy(NamedTuple):
    rows: NDArray[np.int64]
    values: list[Tensor]
    done: torch.cuda.Event | None


class HostRows:
    """Arrays on the host, filled by batches of rows from any device.

    Args:
        rows: Number of rows.
        columns: Width and dtype of each array; results may be narrower, the rest stays 0.
    """

    def __init__(self, rows: int, columns: Sequence[tuple[int, type[np.generic]]]) -> None:
        self._arrays: list[NDArray[Any]] = [np.zeros((rows, width), dtype) for width, dtype in columns]
        self._copies: deque[_Copy] = deque()

    def put(self, rows: NDArray[np.int64], *results: Tensor) -> None:
        """Start copying the results of some rows, one per array, while a GPU continues computing."""
        done = None
        values = [result.to("cpu", non_blocking=result.is_cuda) for result in results]
        if results[0].is_cuda:
            done = torch.cuda.Event()  # type: ignore[no-untyped-call]
            done.record(torch.cuda.current_stream(results[0].device))
        self._copies.append(_Copy(rows, values, done))
        while len(self._copies) > _IN_FLIGHT:
            self._finish()

    def arrays(self) -> list[NDArray[Any]]:
        """Wait for all copies and return the arrays."""
        while self._copies:
            self._finish()
        return self._arrays

    def _finish(self) -> None:
        rows, values, done = self._copies.popleft()
        if done is not None:
            done.synchronize()
        for array, value in zip(self._arrays, values, strict=True):
            array[rows, : value.shape[1]] = value.numpy()


def to_device(features: dict[str, Any], device: torch.device) -> dict[str, Any]:
    """Move tokenized texts to a device; to a GPU, without waiting for its queued work."""
    if device.type != "cuda":
        return {name: value.to(device) if isinstance(value, Tensor) else value for name, value in features.items()}
    return {
        name: value.pin_memory().to(device, non_blocking=True) if isinstance(value, Tensor) else value
        for name, value in features.items()
    }
