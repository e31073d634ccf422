"""Convert the torch modules of a dense model into an OpenVINO graph, once per machine."""

from __future__ import annotations

import hashlib
import json
import logging
import mmap
import shutil
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any, get_args

import torch
from sentence_transformers.base.model import BaseModel
from torch import Tensor, nn

from connector import __version__
from connector.encoders.batches import Task, length_limit
from connector.encoders.fingerprint import pooling_of, tokenizer_of, update_by_tensors, values_of
from connector.encoders.graph import GRAPH_FILE, Graph, import_converter, import_openvino
from connector.encoders.light_model import FACTS_FILE, REST_FILE, TOKENIZER_FILE, LightModel, StoredTensor
from connector.encoders.precision import Precision
from connector.encoders.saved_model import ROUTED
from connector.encoders.splade_pooling import is_splade

_log = logging.getLogger("ksparse.encoders")

_LIBRARIES = ("openvino", "torch", "transformers", "sentence-transformers")

_EXAMPLE = ("Green plants turn light into sugar, and animals live on it.", "light")

_MIN_COSINE = 0.999
"""Minimum cosine between the embeddings of both backends for an example; below it, the graph is rejected."""


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


def graph_folder(modules: Sequence[nn.Module], model: BaseModel, cache: Path) -> Path:
    """Return the cache folder of the graph, named by weights, settings, tokenizer and versions of the libraries."""
    digest = hashlib.sha256(reading_of(model).encode())
    digest.update(tokenizer_of(model).encode())
    for place, module in enumerate(modules):
        settings: dict[str, Any] = getattr(module, "get_config_dict", dict)()
        digest.update(f"{place}:{type(module).__qualname__}:{settings}:{module}".encode())
        update_by_tensors(digest, module.state_dict())
    digest.update(" ".join([__version__, *(version(name) for name in _LIBRARIES)]).encode())
    return cache / digest.hexdigest()[:32]


def reading_of(model: BaseModel) -> str:
    """The settings with which a model reads texts, which can be changed after it is loaded."""
    return f"{model.max_seq_length} {model.prompts}"


def convert(modules: Sequence[nn.Module], model: BaseModel, folder: Path) -> None:
    """Write a dense model for `LightModel` into a folder, atomically.

    Without `FACTS_FILE` if sentence-transformers does more to texts than to add a prompt and to tokenize them
    (templates of chats, maximum lengths by task).

    Args:
        modules: Modules from tokens to `sentence_embedding`.
        model: Model with these modules; its tokenizer is used.
        folder: Output folder; it is kept if another process writes it at the same time.

    Raises:
        ValueError: Graph and modules return different embeddings.
        Exception: Any other error of the conversion.
    """
    if any(getattr(module, "include_prompt", True) is False for module in modules):
        raise ValueError("its pooling leaves prompts out, and a graph does not know their length.")
    if any(type(module).__name__ in ROUTED for module in modules):
        raise ValueError("its modules depend on the task, and a graph has those of one task.")
    openvino = import_openvino()
    example = model.preprocess(list(_EXAMPLE))
    inputs = {name: value for name, value in example.items() if isinstance(value, Tensor)}
    wrapped = _Positional(modules, list(inputs)).eval()
    with _quietly(), torch.no_grad():
        expected = wrapped(*inputs.values())
        # For any number of texts and tokens.
        shapes = [openvino.PartialShape([-1] * value.dim()) for value in inputs.values()]
        graph = import_converter().convert_model(wrapped, example_input=tuple(inputs.values()), input=shapes)
    for port, name in zip(graph.inputs, inputs, strict=True):
        port.get_tensor().set_names({name})
    folder.parent.mkdir(parents=True, exist_ok=True)
    new = Path(tempfile.mkdtemp(dir=folder.parent))
    try:
        openvino.save_model(graph, new / GRAPH_FILE, compress_to_fp16=False)
        _check(open_graph(modules, new), inputs, expected)
        model.tokenizer.backend_tokenizer.save(str(new / TOKENIZER_FILE))
        tensors = {
            f"{place}.{name}": tensor
            for place, module in enumerate(modules)
            for name, tensor in module.state_dict().items()
        }
        facts = {
            "pooling": pooling_of(model),
            "max_seq_length": length_limit(model.max_seq_length),
            "prompts": {task: prompt for task, prompt in sorted(model.prompts.items()) if prompt},
            "dim": expected.shape[1],
            "modules": len(modules),
            "tensors": _locate(tensors, new),
        }
        (new / FACTS_FILE).write_text(json.dumps(facts), encoding="utf-8")
        if not _reads_alike(LightModel(new), model):
            _log.info("Without sentence-transformers, texts would have other tokens; searches load the whole model.")
            (new / FACTS_FILE).unlink()
        with suppress(OSError):  # another process was first
            new.rename(folder)
    finally:
        shutil.rmtree(new, ignore_errors=True)


def open_graph(modules: Sequence[nn.Module], folder: Path, precision: Precision = "float32") -> Graph:
    """Open the graph of these modules.

    That of a SPLADE always computes in float32: with bfloat16 logits, its learned thresholds keep other tokens (cosine
    0.987).
    """
    return Graph(folder, precision, allow_bfloat16=not is_splade(modules))


def _locate(tensors: Mapping[str, Tensor], folder: Path) -> list[StoredTensor]:
    """Locate the values of each tensor: in the graph's file of weights, or in an additional file."""
    stored: list[StoredTensor] = []
    weights = (folder / GRAPH_FILE).with_suffix(".bin")
    with weights.open("rb") as file, (folder / REST_FILE).open("wb") as rest:
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as graph:
            for name, tensor in sorted(tensors.items()):
                values = values_of(tensor)
                start, where = graph.find(values), weights.name
                if start < 0:
                    start, where = rest.tell(), REST_FILE
                    rest.write(values)
                stored.append(StoredTensor(name, tuple(tensor.shape), where, start, len(values)))
    return stored


def _reads_alike(light: LightModel, model: BaseModel) -> bool:
    """Whether texts of both tasks, one of them too long, have the same tokens without sentence-transformers."""
    texts = [*_EXAMPLE, " ".join(_EXAMPLE[:1] * (light.max_seq_length or 1))]
    tasks: tuple[Task, ...] = get_args(Task)
    for task in tasks:
        read = model.preprocess(texts, prompt=model.prompts.get(task) or None, task=task)
        ids, mask = read.get("input_ids"), read.get("attention_mask")
        if ids is None or mask is None:
            return False
        if [row[kept.bool()].tolist() for row, kept in zip(ids, mask, strict=True)] != light.tokenize(texts, task):
            return False
    return True


def _check(graph: Graph, inputs: Mapping[str, Tensor], expected: Tensor) -> None:
    [(_, found)] = graph.embed([(None, {name: value.numpy() for name, value in inputs.items()})])
    cosine = torch.nn.functional.cosine_similarity(expected, torch.from_numpy(found)).min()
    if not cosine >= _MIN_COSINE:
        raise ValueError(f"its embeddings have a cosine of {cosine:.4f} with those of torch.")


@contextmanager
def _quietly() -> Iterator[None]:
    """Suppress warnings of tracing about code of other libraries."""
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
