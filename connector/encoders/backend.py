"""The dense model in front of a head, or a SPLADE up to its pooling, run by torch or by OpenVINO."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from logging import getLogger
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from sentence_transformers.base.model import BaseModel
from torch import Tensor, nn

from connector.encoders.convert import convert, graph_folder
from connector.encoders.graph import GRAPH_FILE, Backend, Graph, choose_backend
from connector.encoders.light_model import remember_graph
from connector.encoders.precision import Precision
from connector.files import cache_folder

_log = getLogger("ksparse.encoders")


class Batch(NamedTuple):
    """Texts that go through the model together.

    Attributes:
        rows: Their row numbers.
        features: What the tokenizer returned, on the model's device; with `sentence_embedding` where they are embedded
            already.
    """

    rows: NDArray[np.int64]
    features: dict[str, Any]


class DenseModel(Protocol):
    """Embeds batches of tokenized texts."""

    @property
    def backend(self) -> Backend:
        """What computes."""
        ...

    def embed(self, batches: Iterable[Batch]) -> Iterator[tuple[Batch, Tensor]]:
        """Yield each batch with its embeddings (rows, dim), in their order."""
        ...


class TorchModel:
    """The modules themselves, or a copy of them in half precision.

    Pooling and everything behind it are computed in float32, and embeddings are float32.

    Args:
        modules: From tokens to `sentence_embedding`.
        precision: Of the weights and of what is computed with them.
    """

    backend: Backend = "torch"

    def __init__(self, modules: Sequence[nn.Module], precision: Precision = "float32") -> None:
        self.modules = list(modules)
        self.precision = precision

    def embed(self, batches: Iterable[Batch]) -> Iterator[tuple[Batch, Tensor]]:
        """Yield each batch with its embeddings (rows, dim), in their order."""
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
        # The weights stay as they are: the fingerprint is theirs.
        return [copy.deepcopy(module).to(getattr(torch, self.precision)) for module in self.modules]


def _in_float32(features: dict[str, Any]) -> dict[str, Tensor]:
    half = (torch.bfloat16, torch.float16)
    return {name: value.float() for name, value in features.items() if getattr(value, "dtype", None) in half}


def run_modules(
    modules: Sequence[nn.Module],
    model: BaseModel,
    backend: str | None,
    name: str = "",
    precision: Precision = "float32",
) -> DenseModel:
    """Choose what runs the modules of a dense model.

    Args:
        modules: From tokens to `sentence_embedding`.
        model: Holds them; its tokenizer and device are used.
        backend: As for `choose_backend`.
        name: By which a search finds the graph without loading the modules; empty if none shall.
        precision: As for `TorchModel`; OpenVINO chooses its own.

    Raises:
        EncoderError: There is no such backend here.
    """
    if choose_backend(backend, model.device.type, precision) == "torch":
        return TorchModel(modules, precision)
    return OpenVinoModel(modules, model, name)


class OpenVinoModel:
    """The same modules as an OpenVINO graph, converted when it is first needed and kept on this machine.

    Modules that cannot be converted are run by torch, and the log says so once.

    Args:
        modules: From tokens to `sentence_embedding`, on the CPU.
        model: Holds them; its tokenizer is used.
        name: As for `run_modules`.
    """

    def __init__(self, modules: Sequence[nn.Module], model: BaseModel, name: str = "") -> None:
        self._torch = TorchModel(modules)
        self._model = model
        self._name = name
        self._lock = Lock()
        self._graph: Graph | None = None
        self._failed = False

    @property
    def backend(self) -> Backend:
        """What computes: torch where the model cannot be converted."""
        return "openvino" if self._opened() is not None else "torch"

    @property
    def folder(self) -> Path | None:
        """Where the graph is; None where the model cannot be converted."""
        graph = self._opened()
        return graph.folder if graph is not None else None

    def embed(self, batches: Iterable[Batch]) -> Iterator[tuple[Batch, Tensor]]:
        """Yield each batch with its embeddings (rows, dim), in their order."""
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
                # Modules of any kind are tried, and each fails in its own way.
                except Exception as error:
                    self._failed = True
                    _log.warning("OpenVINO does not run this model, torch does: %s", str(error).splitlines()[0])
        return self._graph

    def _open(self) -> Graph:
        folder = graph_folder(self._torch.modules, self._model, cache_folder("graphs"))
        if not (folder / GRAPH_FILE).is_file():
            _log.info("Converting the model for OpenVINO, once on this machine.")
            convert(self._torch.modules, self._model, folder)
        if self._name:
            remember_graph(self._name, folder)
        return Graph(folder)
