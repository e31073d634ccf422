"""Run the dense model before a head, or a SPLADE up to its pooling, with torch or OpenVINO."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from functools import cached_property, partial
from logging import getLogger
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from sentence_transformers.base.model import BaseModel
from torch import Tensor, nn

from connector.encoders.base_model import files_digest, find_local_model, is_complete_encoder
from connector.encoders.convert import convert, graph_folder, open_graph, reading_of
from connector.encoders.graph import GRAPH_FILE, Backend, Graph, choose_backend
from connector.encoders.light_model import remember_graph
from connector.encoders.precision import Precision
from connector.files import cache_folder, write_whole

_log = getLogger("ksparse.encoders")

if hasattr(os, "register_at_fork"):  # not on Windows
    # The threads of OpenMP do not survive a fork, and torch would wait for them; its own DataLoader does the same.
    os.register_at_fork(after_in_child=partial(torch.set_num_threads, 1))

_PASSING = (OSError, MemoryError, ImportError)
"""Errors of a conversion that may not occur again: a full disk, little memory, a broken installation."""


class Batch(NamedTuple):
    """Texts of one forward pass.

    Attributes:
        rows: Row numbers of the texts.
        features: Output of the tokenizer on the model's device; with `sentence_embedding` if already embedded.
    """

    rows: NDArray[np.int64]
    features: dict[str, Any]


class DenseModel(Protocol):
    """Embeds batches of tokenized texts."""

    @property
    def backend(self) -> Backend:
        """Runtime of the modules."""
        ...

    def embed(self, batches: Iterable[Batch]) -> Iterator[tuple[Batch, Tensor]]:
        """Yield each batch with its embeddings (rows, dim), in order."""
        ...


class TorchModel:
    """Runs the modules with torch, the transformer in half precision as a copy.

    Pooling and later modules are computed in float32, and embeddings are float32.

    Args:
        modules: Modules from tokens to `sentence_embedding`.
        precision: Precision of the first module, the transformer.
    """

    backend: Backend = "torch"

    def __init__(self, modules: Sequence[nn.Module], precision: Precision = "float32") -> None:
        self.modules = list(modules)
        self.precision = precision

    def embed(self, batches: Iterable[Batch]) -> Iterator[tuple[Batch, Tensor]]:
        """Yield each batch with its embeddings (rows, dim), in order."""
        for batch in batches:
            features = batch.features
            if "sentence_embedding" not in features:
                with torch.inference_mode():
                    for module in self._running:
                        features.update(module(features))
                        if self.precision != "float32":
                            features.update(_in_float32(features))
            yield batch, features["sentence_embedding"]

    @cached_property
    def _running(self) -> list[nn.Module]:
        if self.precision == "float32":
            return self.modules
        # The original weights are unchanged, because the fingerprint is computed from them.
        first, *others = self.modules
        return [copy.deepcopy(first).to(getattr(torch, self.precision)), *others]


def _in_float32(features: dict[str, Any]) -> dict[str, Tensor]:
    half = (torch.bfloat16, torch.float16)
    return {name: value.float() for name, value in features.items() if getattr(value, "dtype", None) in half}


def run_modules(
    modules: Sequence[nn.Module],
    model: BaseModel,
    backend: str | None,
    name: str = "",
    precision: Precision = "float32",
    *,
    revision: str = "",
) -> DenseModel:
    """Choose the backend of a dense model.

    Args:
        modules: Modules from tokens to `sentence_embedding`.
        model: Model with these modules; its tokenizer and device are used.
        backend: As for `choose_backend`.
        name: Name under which searches find the graph without loading the modules; empty for none.
        precision: As for `TorchModel`, or int8 for OpenVINO, which otherwise chooses its own.
        revision: Revision of the model on the hub.

    Raises:
        EncoderError: The backend is unknown or not available.
    """
    if choose_backend(backend, model.device.type, precision) == "torch":
        return TorchModel(modules, precision)
    return OpenVinoModel(modules, model, name, precision, revision=revision)


class OpenVinoModel:
    """Runs the modules as an OpenVINO graph, converted on first use and cached.

    If the modules cannot be converted, torch runs them, with one message in the log. The reason is cached, too, so that
    the conversion is not tried again.

    Args:
        modules: Modules from tokens to `sentence_embedding`, on the CPU.
        model: Model with these modules; its tokenizer is used.
        name: As for `run_modules`.
        precision: As for `Graph`.
        revision: As for `run_modules`.
    """

    def __init__(
        self,
        modules: Sequence[nn.Module],
        model: BaseModel,
        name: str = "",
        precision: Precision = "float32",
        *,
        revision: str = "",
    ) -> None:
        self._torch = TorchModel(modules)
        self._precision = precision
        self._model = model
        local = find_local_model(name) if name else None
        # The name of a complete encoder is not that of its dense model.
        self._name = "" if local is not None and is_complete_encoder(local) else name
        self._revision = revision
        # Now, because the files may be those of a new training when the graph is converted, on first use, and the
        # settings may be changed until then.
        self._files = files_digest(local) if local is not None else ""
        self._reading = reading_of(model)
        self._lock = Lock()
        self._graph: Graph | None = None
        self._failed = False

    @property
    def backend(self) -> Backend:
        """Runtime of the modules; torch if they cannot be converted."""
        return "openvino" if self._opened() is not None else "torch"

    @property
    def folder(self) -> Path | None:
        """Folder of the graph; None if the modules cannot be converted."""
        graph = self._opened()
        return graph.folder if graph is not None else None

    def embed(self, batches: Iterable[Batch]) -> Iterator[tuple[Batch, Tensor]]:
        """Yield each batch with its embeddings (rows, dim), in order."""
        graph = self._opened()
        if graph is None:
            yield from self._torch.embed(batches)
            return
        numbers = ((batch, {name: batch.features[name].numpy() for name in graph.inputs}) for batch in batches)
        for batch, embeddings in graph.embed(numbers):
            yield batch, torch.from_numpy(embeddings)

    def _opened(self) -> Graph | None:
        with self._lock:
            if self._graph is None and not self._failed:
                try:
                    self._graph = self._open()
                # Any module is tried, and conversions raise various errors.
                except Exception as error:
                    self._failed = True
                    _log.warning("OpenVINO does not run this model, torch does: %s", _first_line(error))
        return self._graph

    def _open(self) -> Graph:
        folder = graph_folder(self._torch.modules, self._model, cache_folder("graphs"))
        if not (folder / GRAPH_FILE).is_file():
            self._convert(folder)
        if self._name and reading_of(self._model) == self._reading:
            remember_graph(self._name, folder, self._revision, self._files)
        return open_graph(self._torch.modules, folder, self._precision)

    def _convert(self, folder: Path) -> None:
        """Convert the modules, unless that has failed before with the same weights, settings and libraries."""
        refusal = folder.with_suffix(".refused")
        if refusal.is_file():
            raise ValueError(refusal.read_text(encoding="utf-8"))
        _log.info("Converting the model for OpenVINO, once on this machine.")
        try:
            convert(self._torch.modules, self._model, folder)
        except _PASSING:
            raise
        except Exception as error:
            with suppress(OSError):
                write_whole(refusal, _first_line(error))
            raise


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
