"""Encode texts in batches with the dense model and its head."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer, SparseEncoder
from sentence_transformers.base.model import BaseModel

from connector.encoders.autoencoder import KSparseAutoEncoder
from connector.encoders.backend import Batch, DenseModel, TorchModel
from connector.encoders.batches import (
    TOKENIZED_TOGETHER,
    TOKENIZING,
    TOKENS_ON_GPU,
    TOKENS_PER_TEXT,
    check_embedded,
    length_limit,
    rows_by_length,
    rows_by_tokens,
)
from connector.encoders.device_codes import device_code
from connector.encoders.lexical import Task, TokenCounts, count_texts, pad_counts, readable
from connector.encoders.prefetch import prefetched
from connector.encoders.splade_pooling import modules_behind_pooling
from connector.encoders.transfer import HostRows, to_device
from connector.types import SparseVectors
from connector.vectors.codes import RotatedCode
from connector.vectors.storage import SMALLEST_WEIGHT
from connector.vectors.top_k import stack

_BLOCK = 2_048
"""Embeddings per forward pass of a head."""

_AHEAD = 4
"""Blocks whose tokens are counted ahead."""


class Embedded(NamedTuple):
    """A batch before the head.

    Attributes:
        rows: Row numbers of the texts.
        embeddings: (rows, dim).
        tokens: Tokens of the texts; None for a head without lexical features.
    """

    rows: NDArray[np.int64]
    embeddings: torch.Tensor
    tokens: TokenCounts | None


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
        code: Quantizer of the embeddings of documents; None for no codes.
    """

    def __init__(
        self,
        model: SparseEncoder,
        head: KSparseAutoEncoder,
        dense: DenseModel,
        query_model: SentenceTransformer | None,
        code: RotatedCode | None = None,
    ) -> None:
        self._model = model
        self._head = head
        self._dense = dense
        self._query_model = query_model
        self._code = code

    def encode(
        self, texts: Sequence[str], task: Task, k: int | None, batch_size: int, *, dense: bool
    ) -> tuple[SparseVectors, NDArray[np.float32]]:
        """Return sparse vectors, documents with codes, and, if `dense`, the embeddings."""
        stand_in = self._query_model if task == "query" else None
        # A query model is fast, and its output goes through the head like that of the dense model.
        run = self._dense if stand_in is None else TorchModel([])
        batches = (
            Embedded(batch.rows, embeddings, self._head.tokens_of(batch.features))
            for batch, embeddings in run.embed(_batches(self._model, texts, task, batch_size, stand_in))
        )
        code = self._code if task == "document" else None
        candidates = dense and task == "query"
        return self._through_head(batches, len(texts), task, k, dense=dense, code=code, candidates=candidates)

    def _through_head(
        self,
        batches: Iterable[Embedded],
        rows: int,
        task: Task,
        k: int | None,
        *,
        dense: bool = False,
        code: RotatedCode | None = None,
        candidates: bool = False,
    ) -> tuple[SparseVectors, NDArray[np.float32]]:
        """Return sparse vectors, with codes if a `code` is given, and, if `dense`, the embeddings."""
        kept = min(k or self._head.k, self._head.num_latents)
        on_device = device_code(code, self._model.device)
        dense = dense or (code is not None and on_device is None)
        columns: list[tuple[int, type[np.generic]]] = [(kept, np.int32), (kept, np.float32)]
        columns += [(self._head.dim, np.float32)] if dense else []
        columns += [(on_device.num_bytes, np.uint8)] if on_device is not None else []
        collected = HostRows(rows, columns)
        for batch in batches:
            with torch.inference_mode():
                features, weights = self._head.strongest(
                    batch.embeddings, kept, task=task, tokens=batch.tokens, candidates=candidates
                )
                results = [features.to(torch.int32), weights.float()]
                results += [batch.embeddings.float()] if dense else []
                results += [on_device.encode(batch.embeddings)] if on_device is not None else []
            collected.put(batch.rows, *results)
        found, values, *others = collected.arrays()
        values[values < SMALLEST_WEIGHT] = 0.0
        embedded: NDArray[np.float32] = others.pop(0) if dense else np.empty((0, 0), np.float32)
        codes = others.pop() if others else code.encode(embedded) if code is not None else None
        return SparseVectors(found, values, codes), embedded

    def embed(
        self, texts: Sequence[str], task: Task, batch_size: int, progress: Callable[[float], None] | None = None
    ) -> NDArray[np.float32]:
        """Embeddings of the dense model: (n, dim)."""
        return embed_texts(self._model, self._dense, texts, task, batch_size, dim=self._head.dim, progress=progress)

    def sparsify(
        self,
        embeddings: NDArray[np.float32],
        texts: Sequence[str] | None,
        task: Task,
        k: int | None,
        *,
        candidates: bool = False,
        coded: bool = False,
    ) -> SparseVectors:
        """Run only the head; if `coded`, with the codes of documents.

        Raises:
            ValueError: The shapes do not match, or a head with lexical features gets no texts.
        """
        head = self._head
        check_embedded(embeddings, texts, dim=head.dim, lexical=head.lexical is not None)
        known = texts if head.lexical is not None else None
        starts = range(0, len(embeddings), _BLOCK)
        blocks = (self._block(embeddings, known, task, slice(start, start + _BLOCK)) for start in starts)
        ahead = prefetched(blocks, _AHEAD) if known is not None and len(starts) > 1 else blocks
        code = self._code if coded else None
        return self._through_head(ahead, len(embeddings), task, k, code=code, candidates=candidates)[0]

    def _block(self, embeddings: NDArray[np.float32], texts: Sequence[str] | None, task: Task, rows: slice) -> Embedded:
        block = {"embeddings": torch.from_numpy(embeddings[rows])}
        if texts is not None:
            prompt, longest = self._model.prompts.get(task) or "", length_limit(self._model.max_seq_length)
            counts = count_texts(self._model.tokenizer, [prompt + text for text in texts[rows]], longest)
            block |= pad_counts(counts)._asdict()
        moved = to_device(block, self._model.device)
        numbers = np.arange(rows.start, min(rows.stop, len(embeddings)))
        return Embedded(numbers, moved.pop("embeddings"), TokenCounts(**moved) if moved else None)


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
    collected, done = HostRows(len(texts), [(dim, np.float32)]), 0
    for batch, embeddings in dense.embed(_batches(model, texts, task, batch_size)):
        collected.put(batch.rows, embeddings.float())
        done += len(batch.rows)
        if progress is not None:
            progress(done / len(texts))
    [outputs] = collected.arrays()
    return outputs


class PlainEncoding:
    """Any other sparse model: SPLADE, CSR.

    Args:
        model: The model.
        on_cpu: Returns an equivalent model that takes a third of the time on a CPU.
        pooled: Runs the modules up to the pooling of that model, if it is a SPLADE, by OpenVINO or torch.
    """

    def __init__(self, model: SparseEncoder, on_cpu: Callable[[], SparseEncoder], pooled: DenseModel) -> None:
        self._model = model
        self._on_cpu = on_cpu
        self._pooled = pooled

    def encode(self, texts: Sequence[str], task: Task, k: int | None, batch_size: int) -> SparseVectors:
        """Return sparse vectors; all features above 0 if `k` is None."""
        kwargs: dict[str, Any] = {"task": task} if k is None else {"task": task, "max_active_dims": k}
        order, made = [], []
        for batch, activations in self._run(_batches(self._model, texts, task, batch_size, wide=True), kwargs):
            order.append(batch.rows)
            made.append(_strongest(activations, k))
        return _stacked(order, made, k or 0)

    def _run(self, batches: Iterable[Batch], kwargs: Mapping[str, Any]) -> Iterator[tuple[Batch, torch.Tensor]]:
        model = self._on_cpu() if self._model.device.type == "cpu" else self._model
        if self._pooled.backend == "torch":
            for batch in batches:
                with torch.inference_mode():
                    activations = model(batch.features, **kwargs)["sentence_embedding"]
                yield batch, activations
            return
        behind = modules_behind_pooling(model)
        for batch, embeddings in self._pooled.embed(batches):
            features = {**batch.features, "sentence_embedding": embeddings}
            with torch.inference_mode():
                for module in behind:
                    known = getattr(module, "forward_kwargs", ())
                    features = module(features, **{name: value for name, value in kwargs.items() if name in known})
            yield batch, features["sentence_embedding"]


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
    stand_in: SentenceTransformer | None = None,
    *,
    wide: bool = False,
) -> Iterator[Batch]:
    """Yield tokenized batches while the next ones are tokenized in a thread.

    Texts are tokenized many at a time and then grouped by number of tokens. With a query model, batches also contain
    its embeddings. Batches of a `wide` model, with an output for each token and each word of its vocabulary, are as
    small on a GPU as on a CPU.
    """
    longest = length_limit(model.max_seq_length)
    side = getattr(getattr(model, "tokenizer", None), "truncation_side", "right")
    prompt = model.prompts.get(task or "") or None
    large = model.device.type == "cuda" and not wide
    per_text = TOKENS_ON_GPU if large else TOKENS_PER_TEXT

    def tokenized(rows: NDArray[np.int64]) -> dict[str, Any]:
        with TOKENIZING:
            return model.preprocess([readable(texts[row], longest, side) for row in rows], prompt=prompt, task=task)

    def batch(rows: NDArray[np.int64], features: dict[str, Any]) -> Batch:
        if stand_in is not None:
            with torch.inference_mode():
                block = [readable(texts[row], longest) for row in rows]
                features["sentence_embedding"] = stand_in(stand_in.preprocess(block))["sentence_embedding"]
        return Batch(rows, to_device(features, model.device))

    def batches() -> Iterator[Batch]:
        for rows in rows_by_length(texts, batch_size, longest, per_text, batches=TOKENIZED_TOGETHER):
            features = tokenized(rows)
            mask = features.get("attention_mask")
            if isinstance(mask, torch.Tensor) and mask.shape[:-1] == (len(rows),):
                for part in rows_by_tokens(mask.sum(dim=1).numpy(), batch_size, per_text):
                    yield batch(rows[part], _trimmed(features, mask, part))
            else:  # texts without padding
                for part in rows_by_length([texts[row] for row in rows], batch_size, longest, per_text):
                    yield batch(rows[part], tokenized(rows[part]))

    # For a single batch, a thread would only cost time.
    return prefetched(batches(), TOKENIZED_TOGETHER) if len(texts) > batch_size else batches()


def _trimmed(features: Mapping[str, Any], mask: torch.Tensor, part: NDArray[np.int64]) -> dict[str, Any]:
    """Return some rows of a padded block, without the columns in which all of them are padding."""
    chosen = torch.from_numpy(part)
    used = mask[chosen].any(dim=0).nonzero()
    first, last = (int(used[0]), int(used[-1])) if len(used) else (0, 0)

    def cut(value: object) -> object:
        if not isinstance(value, torch.Tensor) or value.shape[:1] != mask.shape[:1]:
            return value
        return value[chosen, first : last + 1] if value.shape[:2] == mask.shape else value[chosen]

    return {name: cut(value) for name, value in features.items()}


def _stacked(order: Sequence[NDArray[np.int64]], made: Iterable[Strongest], width: int) -> SparseVectors:
    """Combine the vectors of all batches in the order of the texts.

    Called at the end, since each copy from the device waits for all its previous work.
    """
    stacked = stack([_to_vectors(*each) for each in made], width=width)
    return stacked.take(np.argsort(np.concatenate(order))) if order else stacked


def _to_vectors(latents: torch.Tensor, values: torch.Tensor) -> SparseVectors:
    weights = values.float().cpu().numpy()
    weights[weights < SMALLEST_WEIGHT] = 0.0
    return SparseVectors(latents.to(torch.int32).cpu().numpy(), weights)
