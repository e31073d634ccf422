"""Choose the backend of dense models, and run OpenVINO graphs. Torch is not imported here."""

from __future__ import annotations

import ctypes
import os
import platform
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from importlib import import_module
from importlib.util import find_spec
from itertools import chain, islice
from pathlib import Path
from threading import Lock
from typing import Any, Literal, TypeVar
from weakref import WeakSet

import numpy as np
from numpy.typing import NDArray

from connector.encoders.precision import Precision, choose_precision
from connector.encoders.quantization import quantize
from connector.errors import EncoderError
from connector.imports import import_without

T = TypeVar("T")
Backend = Literal["torch", "openvino"]
Inputs = Mapping[str, NDArray[np.int64]]

BACKENDS = ("auto", "torch", "openvino")

BACKEND_VARIABLE = "KSPARSE_BACKEND"
THREADS_VARIABLE = "KSPARSE_THREADS"

_ACCELERATORS = ("/dev/nvidiactl", "/dev/nvidia0", "/dev/kfd", "/dev/dxg")
"""Devices of NVIDIA, of AMD, and of both under WSL."""

GRAPH_FILE = "model.xml"


def choose_backend(requested: str | None, device: str, precision: str | None = None) -> Backend:
    """Return the backend; `auto` is OpenVINO on a CPU if it is installed, else torch.

    Args:
        requested: One of `BACKENDS`; None reads KSPARSE_BACKEND, then falls back to `auto`.
        device: Device for computation.
        precision: As for `choose_precision`; only torch supports bfloat16 and float16, only OpenVINO int8.

    Raises:
        EncoderError: The backend or precision is unknown, not installed, or not available on this device.
    """
    requested = requested or os.environ.get(BACKEND_VARIABLE) or "auto"
    if requested not in BACKENDS:
        raise EncoderError(f"There is no backend {requested!r}; use {', '.join(BACKENDS[:-1])} or {BACKENDS[-1]}.")
    fits, installed = device == "cpu", find_spec("openvino") is not None
    chosen = choose_precision(precision)
    half = chosen in ("bfloat16", "float16")
    if requested == "openvino" and half:
        raise EncoderError(f"The precision {chosen} needs the backend torch; OpenVINO chooses its own.")
    if chosen == "int8" and (requested == "torch" or not fits):
        raise EncoderError(
            "The precision int8 needs the backend openvino on a cpu; use float32, or bfloat16 or float16 on a GPU."
        )
    if requested == "openvino" and not fits:
        raise EncoderError(f"The backend openvino computes on a cpu, not on {device}; use auto or torch there.")
    if (requested == "openvino" or chosen == "int8") and not installed:
        raise EncoderError("OpenVINO is not installed: pip install 'ksparse[cpu]'.")
    return "openvino" if requested != "torch" and fits and installed and not half else "torch"


def describe_backend(backend: str, precision: str = "float32") -> str:
    """Return the backend for summaries, with a precision other than float32: `openvino in int8`."""
    # torch runs in float32 what OpenVINO cannot convert.
    exact = precision == "float32" or (precision == "int8" and backend == "torch")
    return backend if exact else f"{backend} in {precision}"


def has_accelerator() -> bool:
    """Guess, without importing torch, whether it would find a device that is faster than the CPU."""
    if sys.platform == "darwin":
        return platform.machine() == "arm64"
    return any(Path(device).exists() for device in _ACCELERATORS)


def choose_threads() -> int | None:
    """Return the number of threads from KSPARSE_THREADS or OMP_NUM_THREADS; None for one per core.

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
"""An optional import of OpenVINO that takes 50 ms."""

_PROCESSOR = Path("/proc/cpuinfo")

_GRAPHS: WeakSet[Graph] = WeakSet()


def import_openvino() -> Any:  # noqa: ANN401 - a module
    """Import OpenVINO without its converter."""
    return import_without("openvino", (_CONVERTER,))


def import_converter() -> Any:  # noqa: ANN401 - a module
    """Import OpenVINO's converter without its telemetry package."""
    import_openvino()
    if _CONVERTER not in sys.modules:
        sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    return import_module(_CONVERTER)


class Graph:
    """A dense model for this processor, from token ids to embeddings. Thread-safe; a forked process loads its own.

    A single batch is computed by all cores together, several batches by a few streams of cores side by side: 1.2 times
    as many documents per second on two cores. The graph is compiled for each on first use.

    It computes in bfloat16 (cosine with float32: 0.9999 for dense embeddings) where that is faster: on processors with
    AMX, and on AMD's with AVX-512 BF16 (half the time of float32; on Intel's without AMX, 1.5 times the time).

    Args:
        folder: Folder with `model.xml` and `model.bin`.
        precision: int8 quantizes weights when the graph is loaded, and inputs of linear layers at each inference.
        allow_bfloat16: False always computes in float32.
    """

    def __init__(self, folder: Path, precision: Precision = "float32", *, allow_bfloat16: bool = True) -> None:
        self.folder = folder
        self._precision = precision
        # Pinned threads of two processes would share one core.
        self._settings: dict[str, Any] = {
            "ENABLE_CPU_PINNING": False,
            "INFERENCE_PRECISION_HINT": "bf16" if allow_bfloat16 and _computes_bfloat16_faster() else "f32",
        }
        threads = choose_threads()
        if threads is not None:
            self._settings["INFERENCE_NUM_THREADS"] = threads
        self._load()
        self.inputs = tuple(str(port.any_name) for port in self._model.inputs)
        _GRAPHS.add(self)

    def inherit(self) -> None:
        """Load the graph again on its next use, in a forked process, which has none of the threads that compute.

        The inherited one is never deleted: its destructors would wait for these threads, or end the process.
        """
        ctypes.pythonapi.Py_IncRef(ctypes.py_object((self._core, self._model, self._compiled)))
        self._inherited = True

    def _load(self) -> None:
        self._inherited = False
        self._core: Any = import_openvino().Core()
        self._model: Any = self._core.read_model(self.folder / GRAPH_FILE)
        if self._precision == "int8":
            self._settings |= quantize(self._model)
        self._compiled: dict[bool, _Compiled] = {}
        self._lock = Lock()

    def embed(
        self, batches: Iterable[tuple[T, Mapping[str, NDArray[np.int64]]]]
    ) -> Iterator[tuple[T, NDArray[np.float32]]]:
        """Yield the embeddings (rows, dim) of each batch, in order.

        Args:
            batches: A label for each batch, and its inputs by name, each (rows, tokens).
        """
        others = iter(batches)
        first = list(islice(others, 2))
        if first:
            needed = ((label, {name: inputs[name] for name in self.inputs}) for label, inputs in chain(first, others))
            yield from self._compile(streams=len(first) > 1).embed(needed)

    def _compile(self, *, streams: bool) -> _Compiled:
        if self._inherited:
            self._load()
        with self._lock:
            if streams not in self._compiled:
                how = (
                    {"PERFORMANCE_HINT": "THROUGHPUT"} if streams else {"PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": 1}
                )
                self._compiled[streams] = _Compiled(self._core.compile_model(self._model, "CPU", self._settings | how))
            return self._compiled[streams]


class _Compiled:
    """A compiled graph and its idle requests."""

    def __init__(self, graph: Any) -> None:  # noqa: ANN401 - OpenVINO has no types
        self._graph = graph
        # One more than is computed at once, so that cores are not idle between batches.
        self._at_once = int(graph.get_property("NUM_STREAMS")) + 1
        self._idle: list[Any] = []

    def embed(self, batches: Iterable[tuple[T, Inputs]]) -> Iterator[tuple[T, NDArray[np.float32]]]:
        running: deque[tuple[T, Any]] = deque()
        try:
            for batch, inputs in batches:
                request = self._request()
                running.append((batch, request))
                request.start_async(inputs)
                if len(running) == self._at_once:
                    yield self._finish(running)
            while running:
                yield self._finish(running)
        finally:
            for _, request in running:
                request.wait()

    def _request(self) -> Any:  # noqa: ANN401 - OpenVINO has no types
        try:
            return self._idle.pop()
        except IndexError:  # checking first would be a race between threads
            return self._graph.create_infer_request()

    def _finish(self, running: deque[tuple[T, Any]]) -> tuple[T, NDArray[np.float32]]:
        batch, request = running[0]
        request.wait()
        running.popleft()
        embeddings: NDArray[np.float32] = request.get_output_tensor().data.copy()
        self._idle.append(request)
        return batch, embeddings


def _inherit_all() -> None:
    for graph in list(_GRAPHS):
        graph.inherit()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_inherit_all)


def _computes_bfloat16_faster() -> bool:
    try:
        facts = _PROCESSOR.read_text(encoding="utf-8")
    except OSError:  # no Linux
        return False
    return "amx_bf16" in facts or ("AuthenticAMD" in facts and "avx512_bf16" in facts)
