"""Text to sparse vectors with any sentence-transformers `SparseEncoder`: ours, SPLADE, CSR."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer, SparseEncoder
from sentence_transformers.util import batch_to_device

from connector.encoders.autoencoder import KSparseAutoEncoder, Task
from connector.sparsify import SMALLEST_WEIGHT
from connector.types import EncoderFingerprint, SparseVectors


class TextEncoder:
    """Encodes texts with a `SparseEncoder` and keeps the strongest features of each.

    Args:
        model: Any `SparseEncoder` of sentence-transformers.
        k: Features kept per document; if None, the head's or the model's own number, else all that are above 0.
        k_query: Features kept per query; None as above.
        base_model: The name to record in the fingerprint; the model's own if None.
        revision: The revision to record in the fingerprint.

    Raises:
        ValueError: `k` or `k_query` is below 1.
    """

    def __init__(
        self,
        model: SparseEncoder,
        *,
        k: int | None = None,
        k_query: int | None = None,
        base_model: str | None = None,
        revision: str = "",
    ) -> None:
        for name, value in (("k", k), ("k_query", k_query)):
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}.")
        self.model = model.eval()
        head = next((module for module in model if isinstance(module, KSparseAutoEncoder)), None)
        self._head = head
        self.k = k or (head.k if head is not None else model.max_active_dims)
        self.k_query = k_query or (head.k_query if head is not None else model.max_active_dims)
        self._base_model = base_model or (head.base_model if head is not None else "") or _name_of(model)
        self._revision = revision

    @property
    def head(self) -> KSparseAutoEncoder | None:
        """The TopK autoencoder, or None where the model is of another kind (SPLADE, CSR)."""
        return self._head

    @property
    def num_latents(self) -> int:
        """Width of the encoder's output."""
        return int(self.model.get_embedding_dimension() or 0)

    @property
    def max_seq_length(self) -> int | None:
        """Tokens after which a text is cut."""
        return cast("int | None", self.model.max_seq_length)

    def count_tokens(self, text: str) -> int:
        """Tokens of a text as the model reads it, special ones included."""
        return len(self.model.tokenizer(text, truncation=False, verbose=False)["input_ids"])

    @cached_property
    def fingerprint(self) -> EncoderFingerprint:
        """Hashes every tensor once (90 MB in 0.1 s) and remembers the result."""
        pooling = next((module for module in self.model if "Pooling" in type(module).__name__), None)
        mode = getattr(pooling, "pooling_mode", None) or getattr(pooling, "pooling_strategy", None)
        activation = getattr(pooling, "activation_function", None)
        return EncoderFingerprint(
            base_model=self._base_model,
            revision=self._revision,
            weights_sha256=_hash_weights(self.model),
            k=self.k,
            num_latents=self.num_latents,
            pooling="/".join(str(part) for part in (mode, activation) if part) or type(pooling).__name__,
            max_seq_length=self.max_seq_length,
            prompts=self._prompts,
        )

    def encode_document(self, texts: Sequence[str], *, batch_size: int = 32) -> SparseVectors:
        """Encode n documents and keep the `k` strongest features of each.

        Args:
            texts: A sequence even for one text. Each is cut after `max_seq_length` tokens.
            batch_size: Texts per forward pass, at least 1.

        Returns:
            `features` int32 and `weights` float32, both (n, k), strongest first; unused slots weigh 0.

        Raises:
            ValueError: `batch_size` is below 1, or `texts` is a single string.
        """
        return self._encode(texts, "document", self.k, batch_size)

    def encode_query(self, texts: Sequence[str], *, batch_size: int = 32, k: int | None = None) -> SparseVectors:
        """Encode n queries and keep the `k` (else `k_query`) strongest features of each, as `encode_document` does."""
        return self._encode(texts, "query", k if k is not None else self.k_query, batch_size)

    def embed(self, texts: Sequence[str], *, task: Task = "document", batch_size: int = 32) -> NDArray[np.float32]:
        """Run the dense model alone: float32 (n, dim), normalized if the model does so.

        Raises:
            ValueError: The model is no dense model with a head, so that there is nothing dense to return.
        """
        self._require_head()
        outputs = np.empty((len(texts), self._require_head().dim), dtype=np.float32)
        for rows, features in self._batches(texts, task, batch_size):
            outputs[rows] = self._forward(features, task, 1)["dense_embedding"].float().cpu().numpy()
        return outputs

    def dense_model(self) -> SentenceTransformer:
        """The dense model in front of the head, sharing its weights.

        Raises:
            ValueError: The model is no dense model with a head.
        """
        head = self._require_head()
        modules = [module for module in self.model if module is not head]
        return SentenceTransformer(modules=modules, device=str(self.model.device), prompts=self._prompts)

    def sparsify_embeddings(self, embeddings: NDArray[np.float32], *, k: int | None = None) -> SparseVectors:
        """Run the head alone on dense embeddings.

        Args:
            embeddings: (n, dim), from the same dense model (`embed`).
            k: Features kept; the document's `k` if None.

        Raises:
            ValueError: The model has no such head, or the width is another.
        """
        head = self._require_head()
        if embeddings.ndim != 2 or embeddings.shape[1] != head.dim:
            raise ValueError(f"embeddings must have shape (n, {head.dim}), got {embeddings.shape}.")
        kept = min(k if k is not None else self.k or head.k, head.num_latents)
        parts = []
        with torch.inference_mode():
            for block in torch.split(torch.from_numpy(embeddings), 4096):
                latents, values = head.strongest(block.to(head.encoder.weight.device), kept)
                parts.append(_to_vectors(latents, values))
        return _stack(parts, kept)

    @property
    def _prompts(self) -> dict[str, str]:
        return {task: prompt for task, prompt in sorted(self.model.prompts.items()) if prompt}

    def _require_head(self) -> KSparseAutoEncoder:
        if self._head is None:
            raise ValueError(
                f"{self._base_model} has no dense embedding: it is not a dense model with a K-sparse head."
            )
        return self._head

    def _encode(self, texts: Sequence[str], task: Task, k: int | None, batch_size: int) -> SparseVectors:
        if k is not None and k < 1:
            raise ValueError(f"k must be at least 1, got {k}.")
        order: list[NDArray[np.int64]] = []
        parts: list[SparseVectors] = []
        for rows, features in self._batches(texts, task, batch_size):
            activations = self._forward(features, task, k)["sentence_embedding"]
            if activations.is_sparse:
                activations = activations.to_dense()
            # Only (rows, kept) values leave the device, never a matrix as wide as the latents.
            kept = k if k is not None else int((activations > 0).sum(dim=1).max())
            values, latents = activations.topk(min(max(kept, 1), activations.shape[1]), dim=1)
            order.append(rows)
            parts.append(_to_vectors(latents, values))
        stacked = _stack(parts, k)
        if order:
            back = np.argsort(np.concatenate(order))
            stacked = SparseVectors(stacked.features[back], stacked.weights[back])
        return stacked

    def _batches(
        self, texts: Sequence[str], task: Task, batch_size: int
    ) -> Iterator[tuple[NDArray[np.int64], dict[str, Any]]]:
        """Yield row numbers and tokens, longest texts first, so that a batch holds little padding."""
        if isinstance(texts, str):
            raise ValueError("texts must be a sequence of strings, got a single string; put it in a list.")
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}.")
        prompt = self.model.prompts.get(task) or None
        order = np.argsort([-len(text) for text in texts], kind="stable")
        for start in range(0, len(texts), batch_size):
            rows = order[start : start + batch_size]
            features = self.model.preprocess([texts[row] for row in rows], prompt=prompt, task=task)
            yield rows, batch_to_device(features, self.model.device)

    def _forward(self, features: dict[str, Any], task: Task, k: int | None) -> dict[str, Any]:
        kwargs: dict[str, Any] = {"task": task}
        if k is not None:
            kwargs["max_active_dims"] = k
        with torch.inference_mode():
            return cast("dict[str, Any]", self.model(features, **kwargs))


def _to_vectors(latents: torch.Tensor, values: torch.Tensor) -> SparseVectors:
    weights = values.float().cpu().numpy()
    weights[weights < SMALLEST_WEIGHT] = 0.0
    return SparseVectors(latents.to(torch.int32).cpu().numpy(), weights)


def _stack(parts: Sequence[SparseVectors], k: int | None) -> SparseVectors:
    """Join batches whose widths differ, unused slots weighing 0."""
    width = max((part.weights.shape[1] for part in parts), default=k or 0)
    rows = sum(len(part.weights) for part in parts)
    stacked = SparseVectors(np.zeros((rows, width), np.int32), np.zeros((rows, width), np.float32))
    start = 0
    for part in parts:
        stop = start + len(part.weights)
        stacked.features[start:stop, : part.features.shape[1]] = part.features
        stacked.weights[start:stop, : part.weights.shape[1]] = part.weights
        start = stop
    return stacked


def _hash_weights(model: SparseEncoder) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name}:{tuple(tensor.shape)}:".encode())
        digest.update(tensor.detach().float().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _name_of(model: SparseEncoder) -> str:
    card = model.model_card_data
    return str(getattr(card, "base_model", None) or getattr(model.transformers_model, "name_or_path", "") or "unnamed")
