"""The dense model in front of a head, run by torch or by OpenVINO."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from logging import getLogger
from threading import Lock
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from sentence_transformers.base.model import BaseModel
from torch import Tensor, nn

from connector.cache import cache_folder
from connector.encoders.convert import convert, graph_folder
from connector.encoders.graph import GRAPH_FILE, Backend, Graph, choose_backend

_log = getLogger("ksparse.encoders")

_EXAMPLE = ("Green plants turn light into sugar, and animals live on it.", "light")


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
    """The modules themselves.

    Args:
        modules: From tokens to `sentence_embedding`.
    """

    backend: Backend = "torch"

    def __init__(self, modules: Sequence[nn.Module]) -> None:
        self.modules = list(modules)

    def embed(self, batches: Iterable[Batch]) -> Iterator[tuple[Batch, Tensor]]:
        """Yield each batch with its embeddings (rows, dim), in their order."""
        for batch in batches:
            features = batch.features
            if "sentence_embedding" not in features:
                with torch.inference_mode():
                    for module in self.modules:
                        features.update(module(features))
            yield batch, features["sentence_embedding"]


def run_modules(modules: Sequence[nn.Module], model: BaseModel, backend: str | None) -> DenseModel:
    """Choose what runs the modules of a dense model.

    Args:
        modules: From tokens to `sentence_embedding`.
        model: Holds them; its tokenizer and device are used.
        backend: As of `choose_backend`.

    Raises:
        EncoderError: There is no such backend here.
    """
    if choose_backend(backend, model.device.type) == "torch":
        return TorchModel(modules)
    return OpenVinoModel(modules, model.preprocess)


class OpenVinoModel:
    """The same modules as an OpenVINO graph, converted when it is first needed and kept on this machine.

    Modules that cannot be converted are run by torch, and the log says so once.

    Args:
        modules: From tokens to `sentence_embedding`, on the CPU.
        preprocess: Texts to what the first module takes.
    """

    def __init__(self, modules: Sequence[nn.Module], preprocess: Callable[[list[str]], dict[str, Any]]) -> None:
        self._torch = TorchModel(modules)
        self._preprocess = preprocess
        self._lock = Lock()
        self._graph: Graph | None = None
        self._failed = False

    @property
    def backend(self) -> Backend:
        """What computes: torch where the model cannot be converted."""
        return "openvino" if self._opened() is not None else "torch"

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
        folder = graph_folder(self._torch.modules, cache_folder("graphs"))
        if not (folder / GRAPH_FILE).is_file():
            _log.info("Converting the dense model for OpenVINO, once on this machine.")
            convert(self._torch.modules, self._preprocess(list(_EXAMPLE)), folder)
        return Graph(folder)
