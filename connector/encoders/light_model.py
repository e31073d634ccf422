"""A dense model without torch: tokenizer, graph and weight digest in one folder."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from connector.encoders.batches import TOKENIZED_TOGETHER, Task, readable, rows_by_length, rows_by_tokens
from connector.encoders.graph import Graph, Inputs
from connector.encoders.precision import Precision
from connector.files import cache_folder, write_whole

FACTS_FILE = "model.json"
TOKENIZER_FILE = "tokenizer.json"
REST_FILE = "rest.bin"

HEAD_FOLDER = "head"
"""Head file in the folder of an exported encoder."""

_READ = 1 << 20


class StoredTensor(NamedTuple):
    """Location of a tensor's values: name, shape, and a byte range of a file in the folder."""

    name: str
    shape: tuple[int, ...]
    file: str
    start: int
    size: int


class Embedded(NamedTuple):
    """An embedded batch of texts.

    Attributes:
        rows: Their row numbers.
        ids: Token ids of each text, including special tokens.
        embeddings: float32 (rows, dim).
    """

    rows: NDArray[np.int64]
    ids: list[list[int]]
    embeddings: NDArray[np.float32]


class LightModel:
    """A dense model written by `convert`.

    Args:
        folder: Its folder.
        precision: As for `Graph`.
        revision: Its revision on the hub, if known.
    """

    def __init__(self, folder: Path, precision: Precision = "float32", revision: str = "") -> None:
        self.folder = folder
        self.precision = precision
        facts: dict[str, Any] = json.loads((folder / FACTS_FILE).read_text(encoding="utf-8"))
        self.base_model: str = facts.get("base_model", "")
        self.revision: str = facts.get("revision", revision)
        self.pooling: str = facts["pooling"]
        self.max_seq_length: int | None = facts["max_seq_length"]
        self.prompts: dict[str, str] = facts["prompts"]
        self.dim: int = facts["dim"]
        self.num_modules: int = facts["modules"]
        self._tensors = [StoredTensor(*each) for each in facts["tensors"]]

    @cached_property
    def graph(self) -> Graph:
        """The graph, compiled on first use."""
        return Graph(self.folder, self.precision)

    @cached_property
    def whole(self) -> Tokenizer:
        """The tokenizer without truncation."""
        tokenizer = self._read_tokenizer()
        tokenizer.no_truncation()
        return tokenizer

    @cached_property
    def _cutting(self) -> Tokenizer:
        # Not a copy of `whole`, which few searches need: each takes 25 ms.
        tokenizer = self._read_tokenizer()
        # The truncation that the whole model had when it was converted: some models keep the end of a long text.
        side = (tokenizer.truncation or {}).get("direction", "right")
        tokenizer.no_truncation()
        if self.max_seq_length is not None:
            tokenizer.enable_truncation(self.max_seq_length, direction=side)
        return tokenizer

    def _read_tokenizer(self) -> Tokenizer:
        tokenizer = Tokenizer.from_file(str(self.folder / TOKENIZER_FILE))
        tokenizer.no_padding()
        return tokenizer

    def count(self, text: str) -> int:
        """Number of tokens of a text, including special tokens."""
        count = len(self._cutting.encode(text).ids)
        if self.max_seq_length is None or count < self.max_seq_length:
            return count
        return len(self.whole.encode(text).ids)

    @property
    def num_tokens(self) -> int:
        """Size of the vocabulary, with special tokens."""
        return self._cutting.get_vocab_size(with_added_tokens=True)

    @property
    def special_ids(self) -> list[int]:
        """Special tokens of the tokenizer."""
        added = self._cutting.get_added_tokens_decoder()
        return [number for number, token in added.items() if token.special]

    def tokenize(self, texts: Sequence[str], task: Task) -> list[list[int]]:
        """Tokenize texts with the task's prompt, truncated to `max_seq_length`."""
        prompt = self.prompts.get(task, "")
        side = (self._cutting.truncation or {}).get("direction", "right")
        cut = [prompt + readable(text, self.max_seq_length, side) for text in texts]
        return [each.ids for each in self._cutting.encode_batch(cut)]

    def embed(self, texts: Sequence[str], task: Task, batch_size: int) -> Iterator[Embedded]:
        """Tokenize and embed texts in batches."""

        def batches() -> Iterator[tuple[tuple[NDArray[np.int64], list[list[int]]], Inputs]]:
            for rows in rows_by_length(texts, batch_size, self.max_seq_length, batches=TOKENIZED_TOGETHER):
                block = self.tokenize([texts[row] for row in rows], task)
                for part in rows_by_tokens(np.array([len(ids) for ids in block]), batch_size):
                    ids = [block[row] for row in part]
                    yield (rows[part], ids), self._padded(ids)

        for (rows, ids), embeddings in self.graph.embed(batches()):
            yield Embedded(rows, ids, embeddings)

    def update_digest(self, digest: Any) -> None:  # noqa: ANN401 - hashlib names no type
        """Add the weights to a digest like `fingerprint.update_by_tensors`, without keeping them in memory."""
        for tensor in self._tensors:
            digest.update(f"{tensor.name}:{tuple(tensor.shape)}:".encode())
            with (self.folder / tensor.file).open("rb") as file:
                file.seek(tensor.start)
                left = tensor.size
                while left > 0 and (part := file.read(min(_READ, left))):
                    digest.update(part)
                    left -= len(part)

    def _padded(self, ids: Sequence[Sequence[int]]) -> Inputs:
        longest = max(map(len, ids))
        tokens = np.zeros((len(ids), longest), np.int64)
        mask = np.zeros_like(tokens)
        for row, each in enumerate(ids):
            tokens[row, : len(each)], mask[row, : len(each)] = each, 1
        known = {"input_ids": tokens, "attention_mask": mask, "token_type_ids": np.zeros_like(tokens)}
        return {name: known[name] for name in self.graph.inputs}


def remember_graph(name: str, folder: Path, revision: str = "", files: str = "") -> None:
    """Record the graph folder of a model name, so that it is found without loading the model.

    Args:
        name: Name of the model.
        folder: Folder of its graph.
        revision: Its revision on the hub; empty for other sources.
        files: Digest of the model's files (`files_digest`); empty if they are not on this machine.
    """
    path, note = _note_of(name), f"{folder.name}\n{revision}\n{files}"
    if path.is_file() and path.read_text(encoding="utf-8") == note:
        return
    write_whole(path, note)


def find_graph(name: str, precision: Precision = "float32", *, files: str | None = None) -> LightModel | None:
    """Return the model of this name if it was converted on this machine.

    Args:
        name: Name of the model.
        precision: As for `Graph`.
        files: Digest of the model's files, which must be that of the converted ones; None if they may differ.
    """
    try:
        folder, revision, converted = (*_note_of(name).read_text(encoding="utf-8").split("\n"), "", "")[:3]
        if files is not None and files != converted:
            return None
        return LightModel(cache_folder("graphs") / folder, precision, revision)
    except OSError:
        return None


def _note_of(name: str) -> Path:
    return cache_folder("graphs") / f"{hashlib.sha256(name.encode()).hexdigest()[:32]}.name"
