"""Dense models as OpenVINO graphs: which backend is used, and what runs a graph. Torch is not imported here."""

from __future__ import annotations

import os
import platform
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from connector.encoders.precision import choose_precision
from connector.errors import EncoderError
from connector.imports import import_without

T = TypeVar("T")
Backend = Literal["torch", "openvino"]
Inputs = Mapping[str, NDArray[np.int64]]

BACKENDS = ("auto", "torch", "openvino")

BACKEND_VARIABLE = "KSPARSE_BACKEND"
THREADS_VARIABLE = "KSPARSE_THREADS"

_ACCELERATORS = ("/dev/nvidiactl", "/dev/nvidia0", "/dev/kfd", "/dev/dxg")
"""Of NVIDIA, of AMD, and of either under WSL."""

GRAPH_FILE = "model.xml"

_AT_ONCE = 2
"""Batches given to the graph: the next one waits while one is computed, so that no core is idle in between."""


def choose_backend(asked: str | None, device: str, precision: str | None = None) -> Backend:
    """Return which backend computes: OpenVINO on a CPU where it is installed, else torch.

    Args:
        asked: One of `BACKENDS`; KSPARSE_BACKEND if None, and `auto` where that is not set either.
        device: Where to compute.
        precision: As for `choose_precision`; torch computes in any but float32.

    Raises:
        EncoderError: There is no such backend or precision, or not on this device, or it is not installed.
    """
    asked = asked or os.environ.get(BACKEND_VARIABLE) or "auto"
    if asked not in BACKENDS:
        raise EncoderError(f"There is no backend {asked!r}; use {', '.join(BACKENDS[:-1])} or {BACKENDS[-1]}.")
    fits, installed = device == "cpu", find_spec("openvino") is not None
    chosen = choose_precision(precision)
    half = chosen != "float32"
    if asked == "openvino" and half:
        raise EncoderError(f"The precision {chosen} needs the backend torch; OpenVINO chooses its own.")
    if asked == "openvino" and not fits:
        raise EncoderError(f"The backend openvino computes on a cpu, not on {device}; use auto or torch there.")
    if asked == "openvino" and not installed:
        raise EncoderError("OpenVINO is not installed: pip install 'ksparse[cpu]'.")
    return "openvino" if asked != "torch" and fits and installed and not half else "torch"


def has_accelerator() -> bool:
    """Whether torch would find a device that is faster than the CPU, as far as one can tell without importing torch."""
    if sys.platform == "darwin":
        return platform.machine() == "arm64"
    return any(Path(device).exists() for device in _ACCELERATORS)


def choose_threads() -> int | None:
    """Return the threads that KSPARSE_THREADS or OMP_NUM_THREADS asks for; None for one a core.

    Raises:
        EncoderError: The value is not a whole number above 0.
    """
    for name in (THREADS_VARIABLE, "OMP_NUM_THREADS"):
        value = os.environ.get(name)
        if value:
            if not value.isdecimal() or int(value) < 1:
                raise EncoderError(f"{name} must be a whole number above 0, got {value!r}.")
            return int(value)
    return None


_CONVERTER = "openvino.tools.ovc"
"""OpenVINO imports it with itself, if it can: 50 ms."""


def import_openvino() -> Any:  # noqa: ANN401 - a module
    """Import OpenVINO without its converter."""
    return import_without("openvino", (_CONVERTER,))


def import_converter() -> Any:  # noqa: ANN401 - a module
    """Import OpenVINO's converter without the package by which it would report conversions to its maker."""
    import_openvino()
    if _CONVERTER not in sys.modules:
        sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    return import_module(_CONVERTER)


class Graph:
    """A dense model compiled for this processor; token ids become embeddings. Threads may share it.

    Computes in bfloat16 on a processor with matrix units for it (AMX), with a cosine of 0.9999 with float32, which all
    others compute in: without such units bfloat16 takes 1.5 times as long.

    Args:
        folder: Holds `model.xml` and `model.bin`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        openvino = import_openvino()
        # One stream: all cores compute one batch. Pinned threads of two processes would share one core.
        settings: dict[str, Any] = {
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": 1,
            "ENABLE_CPU_PINNING": False,
            "INFERENCE_PRECISION_HINT": "bf16" if _has_bfloat16_units() else "f32",
        }
        threads = choose_threads()
        if threads is not None:
            settings["INFERENCE_NUM_THREADS"] = threads
        self._compiled = openvino.Core().compile_model(folder / GRAPH_FILE, "CPU", settings)
        self.inputs = tuple(str(port.any_name) for port in self._compiled.inputs)
        self._idle: list[Any] = []

    def embed(
        self, batches: Iterable[tuple[T, Mapping[str, NDArray[np.int64]]]]
    ) -> Iterator[tuple[T, NDArray[np.float32]]]:
        """Yield the embeddings (rows, dim) of each batch, in their order.

        Args:
            batches: What stands for a batch, and its inputs by name, each (rows, tokens).
        """
        running: deque[tuple[T, Any]] = deque()
        try:
            for batch, inputs in batches:
                request = self._request()
                running.append((batch, request))
                request.start_async({name: inputs[name] for name in self.inputs})
                if len(running) == _AT_ONCE:
                    yield self._finish(running)
            while running:
                yield self._finish(running)
        finally:
            for _, request in running:
                request.wait()

    def _request(self) -> Any:  # noqa: ANN401 - OpenVINO has no types
        try:
            return self._idle.pop()
        except IndexError:  # asked first, another thread could take the last one
            return self._compiled.create_infer_request()

    def _finish(self, running: deque[tuple[T, Any]]) -> tuple[T, NDArray[np.float32]]:
        batch, request = running[0]
        request.wait()
        running.popleft()
        embeddings: NDArray[np.float32] = request.get_output_tensor().data.copy()
        self._idle.append(request)
        return batch, embeddings


def _has_bfloat16_units() -> bool:
    try:
        return "amx_bf16" in Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:  # no Linux
        return False
