"""Encode texts in batches with the dense model and its head."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer, SparseEncoder
from sentence_transformers.base.model import BaseModel
from sentence_transformers.util import batch_to_device

from connector.encoders.autoencoder import KSparseAutoEncoder
from connector.encoders.backend import Batch, DenseModel, TorchModel
from connector.encoders.batches import rows_by_length
from connector.encoders.lexical import Task, count_texts, pad_counts, readable
from connector.encoders.prefetch import prefetched
from connector.types import SparseVectors
from connector.vectors.storage import SMALLEST_WEIGHT
from connector.vectors.top_k import stack

_BLOCK = 2_048
"""Embeddings per forward pass of a head."""

_AHEAD = 4
"""Batches that are tokenized ahead."""

Strongest = tuple[torch.Tensor, torch.Tensor]
"""Features and values, strongest first, both (rows, kept)."""


class DenseEncoding:
    """A dense model with a head.

    Apart from the product with the head's weights, no array as wide as the latents is created.

    Args:
        model: The whole model; its tokenizer and prompts are used.
        head: Its last module.
        dense: Runs the modules before the head.
        query_model: Embeds queries instead of the dense model.
    """

    def __init__(
        self,
        model: SparseEncoder,
        head: KSparseAutoEncoder,
        dense: DenseModel,
        query_model: SentenceTransformer | None,
    ) -> None:
        self._model = model
        self._head = head
        self._dense = dense
        self._query_model = query_model

    def encode(
        self, texts: Sequence[str], task: Task, k: int | None, batch_size: int, *, dense: bool
    ) -> tuple[SparseVectors, NDArray[np.float32]]:
        """Return sparse vectors and, if `dense`, the embeddings."""
        kept = min(k or self._head.k, self._head.num_latents)
        candidates = dense and task == "query"
        stand_in = self._query_model if task == "query" else None
        batches = _batches(self._model, texts, task, batch_size, stand_in)
        # A query model is fast, and its output goes through the head like that of the dense model.
        run = self._dense if stand_in is None else TorchModel([])
        order, made, embedded = [], [], []
        for batch, embeddings in run.embed(batches):
            with torch.inference_mode():
                tokens = self._head.tokens_of(batch.features)
                found = self._head.strongest(embeddings, kept, task=task, tokens=tokens, candidates=candidates)
            made.append(found)
            order.append(batch.rows)
            if dense:
                embedded.append(embeddings)
        joined = [np.empty((0, self._head.dim if dense else 0), np.float32)]
        joined += [embeddings.float().cpu().numpy() for embeddings in embedded]
        vectors = _stacked(order, made, kept)
        return vectors, np.concatenate(joined)[_back(order)] if dense else joined[0]

    def embed(self, texts: Sequence[str], task: Task, batch_size: int) -> NDArray[np.float32]:
        """Embeddings of the dense model: (n, dim)."""
        return embed_texts(self._model, self._dense, texts, task, batch_size, dim=self._head.dim)

    def sparsify(
        self,
        embeddings: NDArray[np.float32],
        texts: Sequence[str] | None,
        task: Task,
        k: int | None,
        *,
        candidates: bool,
    ) -> SparseVectors:
        """Run only the head.

        Raises:
            ValueError: The shapes do not match, or a head with lexical features gets no texts.
        """
        head = self._head
        if embeddings.ndim != 2 or embeddings.shape[1] != head.dim:
            raise ValueError(f"embeddings must have shape (n, {head.dim}), got {embeddings.shape}.")
        if head.lexical is not None and (texts is None or len(texts) != len(embeddings)):
            raise ValueError(
                f"this head has lexical features: it needs the texts of all {len(embeddings)} embeddings, "
                f"got {'none' if texts is None else len(texts)}."
            )
        kept = min(k or head.k, head.num_latents)
        device = head.mean.device
        parts = []
        with torch.inference_mode():
            for start in range(0, len(embeddings), _BLOCK):
                rows = slice(start, start + _BLOCK)
                block = torch.from_numpy(embeddings[rows]).to(device)
                tokens = None
                if head.lexical is not None and texts is not None:
                    prompt, longest = self._model.prompts.get(task) or "", self._model.max_seq_length
                    counts = count_texts(self._model.tokenizer, [prompt + text for text in texts[rows]], longest)
                    tokens = pad_counts(counts).to(device)
                parts.append(_to_vectors(*head.strongest(block, kept, task=task, tokens=tokens, candidates=candidates)))
        return stack(parts, width=kept)


def embed_texts(
    model: BaseModel,
    dense: DenseModel,
    texts: Sequence[str],
    task: Task | None,
    batch_size: int,
    *,
    dim: int,
    progress: Callable[[float], None] | None = None,
) -> NDArray[np.float32]:
    """Embed texts with a dense model: (n, dim).

    Args:
        model: The model; its tokenizer and prompts are used.
        dense: Runs it.
        texts: A sequence even for one text.
        task: Task whose prompt is prepended; None for no prompt.
        batch_size: As in `TextEncoder.encode_document`.
        dim: Width of the embeddings.
        progress: Called with the completed fraction after each batch.
    """
    outputs, done = np.empty((len(texts), dim), dtype=np.float32), 0
    for batch, embeddings in dense.embed(_batches(model, texts, task, batch_size, None)):
        outputs[batch.rows] = embeddings.float().cpu().numpy()
        done += len(batch.rows)
        if progress is not None:
            progress(done / len(texts))
    return outputs


class PlainEncoding:
    """Any other sparse model: SPLADE, CSR.

    Args:
        model: The model.
        on_cpu: Returns an equivalent model that takes a third of the time on a CPU.
    """

    def __init__(self, model: SparseEncoder, on_cpu: Callable[[], SparseEncoder]) -> None:
        self._model = model
        self._on_cpu = on_cpu

    def encode(self, texts: Sequence[str], task: Task, k: int | None, batch_size: int) -> SparseVectors:
        """Return sparse vectors; all features above 0 if `k` is None."""
        model = self._on_cpu() if self._model.device.type == "cpu" else self._model
        kwargs: dict[str, Any] = {"task": task} if k is None else {"task": task, "max_active_dims": k}
        order, made = [], []
        for batch in _batches(self._model, texts, task, batch_size, None):
            with torch.inference_mode():
                activations = model(batch.features, **kwargs)["sentence_embedding"]
            order.append(batch.rows)
            made.append(_strongest(activations, k))
        return _stacked(order, made, k or 0)


def _strongest(activations: torch.Tensor, k: int | None) -> Strongest:
    if activations.is_sparse:
        activations = activations.to_dense()
    kept = k if k is not None else int((activations > 0).sum(dim=1).max())
    values, found = activations.topk(min(max(kept, 1), activations.shape[1]), dim=1)
    return found, values


def _batches(
    model: BaseModel,
    texts: Sequence[str],
    task: Task | None,
    batch_size: int,
    stand_in: SentenceTransformer | None,
) -> Iterator[Batch]:
    """Yield tokenized batches while the next ones are tokenized in a thread.

    With a query model, batches also contain its embeddings.
    """
    longest = model.max_seq_length
    prompt = model.prompts.get(task or "") or None

    def tokenized(rows: NDArray[np.int64]) -> Batch:
        block = [readable(texts[row], longest) for row in rows]
        features = model.preprocess(block, prompt=prompt, task=task)
        if stand_in is not None:
            with torch.inference_mode():
                features["sentence_embedding"] = stand_in(stand_in.preprocess(block))["sentence_embedding"]
        return Batch(rows, batch_to_device(features, model.device))

    parts = list(rows_by_length(texts, batch_size, longest))
    batches = map(tokenized, parts)
    # For a single batch, a thread would only cost time.
    return prefetched(batches, _AHEAD) if len(parts) > 1 else batches


def _stacked(order: Sequence[NDArray[np.int64]], made: Iterable[Strongest], width: int) -> SparseVectors:
    """Combine the vectors of all batches in the order of the texts.

    Called at the end, since each copy from the device waits for all its previous work.
    """
    stacked = stack([_to_vectors(*each) for each in made], width=width)
    return stacked.take(_back(order)) if order else stacked


def _back(order: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    return np.argsort(np.concatenate(order)) if order else np.empty(0, np.int64)


def _to_vectors(latents: torch.Tensor, values: torch.Tensor) -> SparseVectors:
    weights = values.float().cpu().numpy()
    weights[weights < SMALLEST_WEIGHT] = 0.0
    return SparseVectors(latents.to(torch.int32).cpu().numpy(), weights)
