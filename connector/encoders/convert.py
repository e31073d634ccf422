"""Convert the torch modules of a dense model into an OpenVINO graph, once for each machine."""

from __future__ import annotations

import hashlib
import logging
import shutil
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from connector.encoders.fingerprint import update_by_tensors
from connector.encoders.graph import GRAPH_FILE, Graph, import_openvino

_LIBRARIES = ("openvino", "torch", "transformers", "sentence-transformers")

_LEAST_COSINE = 0.999
"""Between an example's embeddings by both backends: a graph that is further off was not converted well."""


class _Positional(nn.Module):
    """Modules of sentence-transformers as one function of tensors."""

    def __init__(self, modules: Sequence[nn.Module], names: Sequence[str]) -> None:
        super().__init__()
        self.parts = nn.ModuleList(modules)
        self.names = tuple(names)

    def forward(self, *inputs: Tensor) -> Tensor:
        features: dict[str, Any] = dict(zip(self.names, inputs, strict=True))
        for part in self.parts:
            features.update(part(features))
        embeddings: Tensor = features["sentence_embedding"]
        return embeddings


def graph_folder(modules: Sequence[nn.Module], cache: Path) -> Path:
    """Where the graph of these modules is kept: by their weights and settings, and the versions that convert them."""
    digest = hashlib.sha256()
    for place, module in enumerate(modules):
        settings: dict[str, Any] = getattr(module, "get_config_dict", dict)()
        digest.update(f"{place}:{type(module).__qualname__}:{settings}:{module}".encode())
        update_by_tensors(digest, module.state_dict())
    digest.update(" ".join(version(name) for name in _LIBRARIES).encode())
    return cache / digest.hexdigest()[:32]


def convert(modules: Sequence[nn.Module], example: Mapping[str, Any], folder: Path) -> None:
    """Write the graph of a dense model into a folder that appears as a whole, or not at all.

    Args:
        modules: From tokens to `sentence_embedding`.
        example: What the tokenizer returns of some texts.
        folder: Of the graph. If another process writes the same one meanwhile, that one stays.

    Raises:
        ValueError: The graph does not return what the modules do.
        Exception: Of whatever kind, where a module cannot be converted.
    """
    openvino = import_openvino()
    inputs = {name: value for name, value in example.items() if isinstance(value, Tensor)}
    wrapped = _Positional(modules, list(inputs)).eval()
    with _quietly(), torch.no_grad():
        expected = wrapped(*inputs.values())
        # Of any number of texts and tokens.
        shapes = [openvino.PartialShape([-1] * value.dim()) for value in inputs.values()]
        graph = openvino.convert_model(wrapped, example_input=tuple(inputs.values()), input=shapes)
    for port, name in zip(graph.inputs, inputs, strict=True):
        port.get_tensor().set_names({name})
    folder.parent.mkdir(parents=True, exist_ok=True)
    new = Path(tempfile.mkdtemp(dir=folder.parent))
    try:
        openvino.save_model(graph, new / GRAPH_FILE, compress_to_fp16=False)
        _check(new, inputs, expected)
        with suppress(OSError):  # another process was first
            new.rename(folder)
    finally:
        shutil.rmtree(new, ignore_errors=True)


def _check(folder: Path, inputs: Mapping[str, Tensor], expected: Tensor) -> None:
    [(_, found)] = Graph(folder).embed([(None, {name: value.numpy() for name, value in inputs.items()})])
    cosine = torch.nn.functional.cosine_similarity(expected, torch.from_numpy(found)).min()
    if not cosine >= _LEAST_COSINE:
        raise ValueError(f"its embeddings have a cosine of {cosine:.4f} with those of torch.")


@contextmanager
def _quietly() -> Iterator[None]:
    """Without what tracing says of code that is not ours."""
    loggers = [logging.getLogger(name) for name in ("transformers", "openvino", "nncf")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
