"""Embed texts, with a cache on disk for later training runs."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from functools import cached_property
from logging import getLogger
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from sentence_transformers import SentenceTransformer

from connector.encoders.backend import run_modules
from connector.encoders.batches import Task, length_limit
from connector.encoders.comparable import ComparableEmbedding
from connector.encoders.encoding import embed_texts
from connector.encoders.fingerprint import digest_model
from connector.encoders.lexical import count_texts
from connector.encoders.precision import choose_precision
from connector.files import written_whole

_log = getLogger("ksparse.training")


class EmbeddingCache:
    """Embeds texts with a dense model and caches the result by a hash of model, weights and texts.

    Args:
        model: The dense model; KSPARSE_BACKEND and KSPARSE_PRECISION select its backend and precision.
        model_name: Identifies the model in the hash.
        folder: Folder of the cache; None disables it.
    """

    def __init__(self, model: SentenceTransformer, model_name: str, folder: Path | None) -> None:
        self._model = model
        self._precision = choose_precision(None)
        self._dense = run_modules(list(model), model, None, precision=self._precision)
        self._model_name = model_name
        self._folder = folder

    def embed(
        self,
        texts: Sequence[str],
        *,
        task: Task | None = None,
        batch_size: int = 32,
        progress: Callable[[float], None] | None = None,
    ) -> NDArray[np.float32]:
        """Embed n texts; return float32 (n, dim).

        Args:
            texts: Texts, truncated to the model's `max_seq_length`.
            task: Task whose prompt is prepended; None for no prompt.
            batch_size: Texts per forward pass.
            progress: Called with the completed fraction.
        """
        dim = int(self._model.get_embedding_dimension() or 0)
        if not texts:
            return np.empty((0, dim), dtype=np.float32)
        path = self.path_for(texts, task)
        if path is not None and path.is_file():
            _log.info("Embeddings of %d texts were read from %s.", len(texts), path)
            return np.asarray(np.load(path), dtype=np.float32)
        embeddings = embed_texts(self._model, self._dense, texts, task, batch_size, dim=dim, progress=progress)
        if path is not None:
            with written_whole(path) as file:
                np.save(file, embeddings)
            _log.info("Embeddings of %d texts were saved in %s.", len(texts), path)
        return embeddings

    def count_tokens(self, texts: Sequence[str], task: Task | None = None) -> csr_matrix:
        """Count the tokens of n texts with the task's prompt after truncation: (n, vocabulary size)."""
        prompted = [self._prompt_of(task) + text for text in texts]
        return count_texts(self._model.tokenizer, prompted, length_limit(self._model.max_seq_length))

    @cached_property
    def digest(self) -> str:
        """Digest of the model's weights, pooling and tokenizer."""
        return digest_model(self._model)

    @property
    def special_ids(self) -> list[int]:
        """Special tokens of the tokenizer."""
        return list(self._model.tokenizer.all_special_ids)

    def path_for(self, texts: Sequence[str], task: Task | None = None) -> Path | None:
        """Path of the cache file for these texts, which need not exist; None without a cache."""
        if self._folder is None:
            return None
        digest = hashlib.sha256(f"{self._model_name}\n{self._model.max_seq_length}\n{self.digest}\n".encode())
        if self._precision != "float32":
            digest.update(self._precision.encode())
        if isinstance(self._model[-1], ComparableEmbedding):
            digest.update(repr(self._model[-1]).encode())
        if self._prompt_of(task):
            digest.update(f"prompt {self._prompt_of(task)}\n".encode())
        for text in texts:
            encoded = text.encode("utf-8", "surrogatepass")
            digest.update(len(encoded).to_bytes(8, "little") + encoded)
        return self._folder / f"{digest.hexdigest()[:32]}.npy"

    def _prompt_of(self, task: Task | None) -> str:
        return self._model.prompts.get(task or "") or ""
