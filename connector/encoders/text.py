"""Text to sparse vectors with any sentence-transformers `SparseEncoder`: ours, SPLADE, CSR."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer, SparseEncoder
from sentence_transformers.base.modules.module import Module
from sentence_transformers.sparse_encoder.modules import SpladePooling
from sentence_transformers.util import batch_to_device
from torch import nn

from connector.encoders.autoencoder import KSparseAutoEncoder
from connector.encoders.dictionary import TwoLevelDictionary
from connector.encoders.idf import QueryIdf, with_query_idf
from connector.encoders.labels import Labels
from connector.encoders.lexical import Task, count_texts, pad_counts, readable
from connector.encoders.prefetch import prefetched
from connector.encoders.splade_pooling import with_max_logit_pooling
from connector.encoders.thresholds import Thresholding, TopKMasking
from connector.types import EncoderFingerprint, SparseVectors
from connector.vectors.codes import RotatedCode
from connector.vectors.statistics import CorpusStatistics
from connector.vectors.storage import SMALLEST_WEIGHT
from connector.vectors.top_k import stack

_BLOCK = 2_048
"""Embeddings per pass of a head alone."""

_MOST_EMBEDDED = 1_000
"""Documents whose mean embedding stands for that of all."""

_AHEAD = 4
"""Batches tokenized and sent to a GPU while it computes."""


class TextEncoder:
    """Encodes texts with a `SparseEncoder` and keeps the strongest features of each.

    Args:
        model: Any `SparseEncoder` of sentence-transformers.
        k: Features kept per document; if None, the head's or the model's own number, else all that are above 0.
        k_query: Features kept per query; None as above.
        base_model: The name to record in the fingerprint; the model's own if None.
        revision: The revision to record in the fingerprint.
        code: If given, documents get a compact code of their dense embedding beside their features.
        labels: The terms of each latent, where somebody named them (`ksparse label`).
        query_model: Embeds queries in the place of the dense model, of whose vectors its own are near
            (`ksparse train queries`). What documents become does not depend on it, nor does the fingerprint.
        name: What `load_encoder` takes to load the same again, for an index to remember; empty if nothing does.

    Raises:
        ValueError: `k` or `k_query` is below 1, or the `query_model` is not as wide as the dense model.
    """

    def __init__(
        self,
        model: SparseEncoder,
        *,
        k: int | None = None,
        k_query: int | None = None,
        base_model: str | None = None,
        revision: str = "",
        code: RotatedCode | None = None,
        labels: Labels = (),
        query_model: SentenceTransformer | None = None,
        name: str = "",
    ) -> None:
        for setting, value in (("k", k), ("k_query", k_query)):
            if value is not None and value < 1:
                raise ValueError(f"{setting} must be at least 1, got {value}.")
        self.model = model.eval()
        head = next((module for module in model if isinstance(module, KSparseAutoEncoder)), None)
        self._head = head
        self._told = head or next((module for module in model if isinstance(module, QueryIdf)), None)
        self.k = k or (head.k if head is not None else model.max_active_dims)
        self.k_query = k_query or (head.k_query if head is not None else model.max_active_dims)
        self._base_model = base_model or (head.base_model if head is not None else "") or _name_of(model)
        self._revision = revision
        self.code = code
        self.labels = labels
        self.query_model = query_model
        self.name = name
        if query_model is not None and query_model.get_embedding_dimension() != self._require_head().dim:
            raise ValueError(
                f"query_model has {query_model.get_embedding_dimension()} dimensions, the dense model has "
                f"{self._require_head().dim}."
            )

    @property
    def head(self) -> KSparseAutoEncoder | None:
        """The TopK autoencoder, or None where the model is of another kind (SPLADE, CSR)."""
        return self._head

    @property
    def k_candidates(self) -> int | None:
        """Features kept of a query whose hits are rescored by codes: they have to find candidates, not to order them.

        Cells of a dictionary, or half of a query's features; None where the model says no number.
        """
        if isinstance(self._head, TwoLevelDictionary):
            return self._head.candidate_cells
        return max(1, self.k_query // 2) if self.k_query is not None else None

    @property
    def is_splade(self) -> bool:
        """Whether its features are tokens that a masked-language model predicts."""
        return any(isinstance(module, SpladePooling) for module in self.model)

    @property
    def statistics(self) -> CorpusStatistics | None:
        """What the model knows of the corpus; None where it has neither a head nor `QueryIdf`."""
        return self._told.statistics if self._told is not None else None

    @property
    def num_latents(self) -> int:
        """Width of the encoder's output."""
        # The given model does not know its own width if it is a SPLADE that never encoded anything.
        return int(self._max_logit_model.get_embedding_dimension() or 0)

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
            weights_sha256=_hash_weights(self.model, self._head),
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
            `features` int32 and `weights` float32, both (n, k), strongest first; unused slots weigh 0. `codes` if
            the encoder has a `code`.

        Raises:
            ValueError: `batch_size` is below 1, or `texts` is a single string.
        """
        vectors, embeddings = self._encode(texts, "document", self.k, batch_size, dense=self.code is not None)
        return self._with_codes(vectors, embeddings)

    def encode_query(self, texts: Sequence[str], *, batch_size: int = 32, k: int | None = None) -> SparseVectors:
        """Encode n queries and keep the `k` (else `k_query`) strongest features of each, as `encode_document` does."""
        return self._encode(texts, "query", k if k is not None else self.k_query, batch_size, dense=False)[0]

    def encode_query_for_rescoring(
        self, texts: Sequence[str], *, batch_size: int = 32, k: int | None = None
    ) -> tuple[SparseVectors, NDArray[np.float32]]:
        """Encode n queries, and return their dense embeddings (n, dim) as well, in one pass of the model.

        With a dictionary, all k features are cells: codes put the hits into order, and cells find the neighbours.

        Args:
            texts: As of `encode_query`.
            batch_size: As of `encode_query`.
            k: Features kept; `k_query` if None. `k_candidates` are enough.

        Raises:
            ValueError: The model is no dense model with a head.
        """
        self._require_head()
        return self._encode(texts, "query", k if k is not None else self.k_query, batch_size, dense=True)

    def embed(self, texts: Sequence[str], *, task: Task = "document", batch_size: int = 32) -> NDArray[np.float32]:
        """Run the dense model alone: float32 (n, dim), normalized if the model does so.

        Raises:
            ValueError: The model is no dense model with a head, so that there is nothing dense to return.
        """
        self._require_head()
        outputs = np.empty((len(texts), self._require_head().dim), dtype=np.float32)
        for rows, features in self._batches(texts, task, batch_size):
            with torch.inference_mode():
                outputs[rows] = self._embedding(features).float().cpu().numpy()
        return outputs

    def dense_model(self) -> SentenceTransformer:
        """The dense model in front of the head, sharing its weights.

        Raises:
            ValueError: The model is no dense model with a head.
        """
        head = self._require_head()
        modules = [module for module in self.model if module is not head]
        return SentenceTransformer(modules=modules, device=str(self.model.device), prompts=self._prompts)

    def measure_statistics(
        self, texts: Sequence[str], embeddings: NDArray[np.float32] | None = None
    ) -> CorpusStatistics:
        """Take the statistics of a corpus from a sample of its documents.

        Args:
            texts: Thousands are good, hundreds will do.
            embeddings: (n, dim), of these texts; if None, up to 1,000 of them are embedded. For a SPLADE with
                `QueryIdf`, up to 1,000 are encoded in any case.

        Raises:
            ValueError: The model has neither a head nor `QueryIdf`, or there are no texts.
        """
        if not texts:
            raise ValueError("texts must hold one document at least.")
        some = texts[:: -(-len(texts) // _MOST_EMBEDDED)]
        if isinstance(self._told, QueryIdf):
            return CorpusStatistics.measure_features(self.encode_document(some), self.num_latents)
        head = self._require_head()
        if embeddings is None:
            embeddings = self.embed(some)
        if head.lexical is None:
            return CorpusStatistics.measure(embeddings, prior=head.statistics)
        prompt, tokenizer = self.model.prompts.get("document") or "", self.model.tokenizer
        counts = count_texts(tokenizer, [prompt + text for text in texts], self.max_seq_length)
        return CorpusStatistics.measure(embeddings, counts, tokenizer.all_special_ids, prior=head.statistics)

    def with_statistics(self, statistics: CorpusStatistics | None) -> TextEncoder:
        """The same encoder for another corpus; the dense model is shared.

        Args:
            statistics: Of that corpus; None returns this encoder.

        Raises:
            ValueError: The model has neither a head nor `QueryIdf`, or one of other sizes.
        """
        if statistics is None:
            return self
        told = copy.deepcopy(self._told if self._told is not None else self._require_head())
        told.use_statistics(statistics)
        return self._of([told if module is self._told else module for module in self.model])

    def with_idf(self) -> TextEncoder:
        """The same SPLADE, its queries weighed by how rare features are in the corpus that is searched (`QueryIdf`).

        What the corpus is, `prepare_encoder` tells it, and the index keeps it: searches need not ask for it again.

        Raises:
            ValueError: The model is no SPLADE.
        """
        if isinstance(self._told, QueryIdf):
            return self
        return self._of(with_query_idf(self.model))

    def with_code(self, code: RotatedCode | None) -> TextEncoder:
        """The same encoder, giving documents such codes.

        Raises:
            ValueError: The model is no dense model with a head, or the codes are of another width.
        """
        if code is not None and code.dim != self._require_head().dim:
            raise ValueError(f"codes of {code.dim} dimensions do not fit embeddings of {self._require_head().dim}.")
        return self._with(self.model, code)

    def with_head(self, head: KSparseAutoEncoder) -> TextEncoder:
        """The same dense model with another head, without codes, labels and a name.

        Raises:
            ValueError: The model is no dense model with a head, or the other one is of another width.
        """
        own = self._require_head()
        if head.dim != own.dim:
            raise ValueError(f"a head of {head.dim} dimensions does not fit embeddings of {own.dim}.")
        modules = [head.to(self.model.device) if module is own else module for module in self.model]
        model = SparseEncoder(
            modules=modules, device=str(self.model.device), prompts=self._prompts, similarity_fn_name="dot"
        )
        return TextEncoder(model, base_model=self._base_model, revision=self._revision, query_model=self.query_model)

    def on_device(self, device: str) -> TextEncoder:
        """A copy of the same encoder that computes on another device, or on this one beside it."""
        return self._with(copy.deepcopy(self.model).to(device), self.code)

    def calibrate(self, texts: Sequence[str]) -> TextEncoder:
        """The same encoder, told the statistics of a sample of the documents it will encode.

        Common words then weigh nothing and the mean document is taken off, as any ranking may; it is worth more
        than most training. The index keeps the statistics (`prepare_index`), so that every `Retriever` finds them.
        """
        return self.with_statistics(self.measure_statistics(texts))

    def sparsify_embeddings(
        self,
        embeddings: NDArray[np.float32],
        texts: Sequence[str] | None = None,
        *,
        task: Task = "document",
        k: int | None = None,
        candidates: bool = False,
    ) -> SparseVectors:
        """Run the head alone on dense embeddings.

        Args:
            embeddings: (n, dim), from the same dense model (`embed`).
            texts: The n texts, for a head with lexical features.
            task: What the texts are.
            k: Features kept; the task's own number if None.
            candidates: Of queries whose hits are rescored by codes: `k_candidates` features, and with a dictionary
                cells alone.

        Raises:
            ValueError: The model has no such head, the shapes do not fit, or `texts` are missing.
        """
        head = self._require_head()
        if embeddings.ndim != 2 or embeddings.shape[1] != head.dim:
            raise ValueError(f"embeddings must have shape (n, {head.dim}), got {embeddings.shape}.")
        if head.lexical is not None and (texts is None or len(texts) != len(embeddings)):
            raise ValueError(
                f"this head has lexical features: it needs the texts of all {len(embeddings)} embeddings, "
                f"got {'none' if texts is None else len(texts)}."
            )
        if k is not None and k < 1:
            raise ValueError(f"k must be at least 1, got {k}.")
        own = self.k_candidates if candidates else self.k_query if task == "query" else self.k
        by_cells = candidates and isinstance(head, TwoLevelDictionary)
        kept = min(k or own or head.k, head.num_latents)
        device = head.mean.device
        parts = []
        with torch.inference_mode():
            for start in range(0, len(embeddings), _BLOCK):
                rows = slice(start, start + _BLOCK)
                block = torch.from_numpy(embeddings[rows]).to(device)
                tokens = None
                if head.lexical is not None and texts is not None and not by_cells:
                    prompt = self.model.prompts.get(task) or ""
                    counts = count_texts(
                        self.model.tokenizer, [prompt + text for text in texts[rows]], self.max_seq_length
                    )
                    tokens = pad_counts(counts).to(device)
                parts.append(_to_vectors(*head.strongest(block, kept, task=task, tokens=tokens)))
        return stack(parts, width=kept)

    def encode_embedded(self, embeddings: NDArray[np.float32], texts: Sequence[str]) -> SparseVectors:
        """Encode n documents whose embeddings (n, dim) are known, as `encode_document` does, without the dense model.

        Raises:
            ValueError: As of `sparsify_embeddings`.
        """
        return self._with_codes(self.sparsify_embeddings(embeddings, texts), embeddings)

    def _with_codes(self, vectors: SparseVectors, embeddings: NDArray[np.float32]) -> SparseVectors:
        return vectors if self.code is None else vectors._replace(codes=self.code.encode(embeddings))

    def label(self, feature: str) -> str:
        """What a feature stands for: a quoted token, or the terms of a latent; empty where nobody named it.

        Args:
            feature: Its name in the index.
        """
        number, latents = int(feature), self._head.num_latents if self._head is not None else 0
        if number < latents:
            return ", ".join(self.labels[number]) if number < len(self.labels) else ""
        tokens = len(self.model.tokenizer)
        if self.num_latents != latents + tokens:
            return ""
        return f'"{self.model.tokenizer.convert_ids_to_tokens(number - latents)}"' if number < latents + tokens else ""

    def _of(self, modules: list[nn.Module]) -> TextEncoder:
        model = SparseEncoder(modules=modules, device=str(self.model.device), prompts=self._prompts)
        return self._with(model, self.code)

    def _with(self, model: SparseEncoder, code: RotatedCode | None) -> TextEncoder:
        return TextEncoder(
            model,
            k=self.k,
            k_query=self.k_query,
            base_model=self._base_model,
            revision=self._revision,
            code=code,
            labels=self.labels,
            query_model=self.query_model,
            name=self.name,
        )

    @cached_property
    def _max_logit_model(self) -> SparseEncoder:
        """The same model; a SPLADE with the cheaper pooling."""
        return with_max_logit_pooling(self.model)

    @property
    def _prompts(self) -> dict[str, str]:
        return {task: prompt for task, prompt in sorted(self.model.prompts.items()) if prompt}

    def _require_head(self) -> KSparseAutoEncoder:
        if self._head is None:
            raise ValueError(
                f"{self._base_model} has no dense embedding: it is not a dense model with a K-sparse head."
            )
        return self._head

    def _encode(
        self, texts: Sequence[str], task: Task, k: int | None, batch_size: int, *, dense: bool
    ) -> tuple[SparseVectors, NDArray[np.float32]]:
        """Sparse vectors, and the embeddings that they come from if `dense`."""
        if k is not None and k < 1:
            raise ValueError(f"k must be at least 1, got {k}.")
        stand_in = self.query_model if task == "query" else None
        batches: Iterable[tuple[NDArray[np.int64], dict[str, Any]]] = self._batches(texts, task, batch_size, stand_in)
        if self.model.device.type != "cpu":
            batches = prefetched(batches, _AHEAD)
        order: list[NDArray[np.int64]] = []
        made: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]] = []
        for rows, features in batches:
            order.append(rows)
            found, values, embedded = self._strongest(features, task, k, candidates=dense and task == "query")
            made.append((found, values, embedded if dense else None))
        # Fetched only now: every copy waits until the device has done all that it was asked before.
        stacked = stack([_to_vectors(found, values) for found, values, _ in made], width=k or 0)
        embeddings = [np.empty((0, self._require_head().dim if dense else 0), np.float32)]
        if dense:
            embeddings += [embedded.float().cpu().numpy() for _, _, embedded in made if embedded is not None]
        joined = np.concatenate(embeddings)
        if order:
            back = np.argsort(np.concatenate(order))
            stacked = stacked.take(back)
            joined = joined[back] if dense else joined
        return stacked, joined

    def _batches(
        self, texts: Sequence[str], task: Task, batch_size: int, stand_in: SentenceTransformer | None = None
    ) -> Iterator[tuple[NDArray[np.int64], dict[str, Any]]]:
        """Yield row numbers and tokens, longest texts first, so that a batch holds little padding.

        The tokens come with the embedding of a model that stands in for the dense one, if there is such a model.
        """
        if isinstance(texts, str):
            raise ValueError("texts must be a sequence of strings, got a single string; put it in a list.")
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}.")
        prompt = self.model.prompts.get(task) or None
        order = np.argsort([-len(text) for text in texts], kind="stable")
        for start in range(0, len(texts), batch_size):
            rows = order[start : start + batch_size]
            block = [readable(texts[row], self.max_seq_length) for row in rows]
            features = self.model.preprocess(block, prompt=prompt, task=task)
            if stand_in is not None:
                with torch.inference_mode():
                    features["sentence_embedding"] = stand_in(stand_in.preprocess(block))["sentence_embedding"]
            yield rows, batch_to_device(features, self.model.device)

    def _strongest(
        self, features: dict[str, Any], task: Task, k: int | None, *, candidates: bool
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
        """Features and values, strongest first, both (rows, kept), and the dense embeddings where there are any.

        With a head of ours nothing as wide as the latents is made beside the product with its weights.
        """
        head = self._head
        if head is not None:
            with torch.inference_mode():
                embeddings = self._embedding(features)
                kept = min(k or head.k, head.num_latents)
                by_cells = candidates and isinstance(head, TwoLevelDictionary)
                tokens = None if by_cells else head.tokens_of(features)
                return *head.strongest(embeddings, kept, task=task, tokens=tokens), embeddings
        kwargs: dict[str, Any] = {"task": task}
        if k is not None:
            kwargs["max_active_dims"] = k
        # On a CPU the same vectors in a third of the time.
        model = self._max_logit_model if self.model.device.type == "cpu" else self.model
        with torch.inference_mode():
            output = model(features, **kwargs)
        activations = output["sentence_embedding"]
        if activations.is_sparse:
            activations = activations.to_dense()
        kept = k if k is not None else int((activations > 0).sum(dim=1).max())
        values, found = activations.topk(min(max(kept, 1), activations.shape[1]), dim=1)
        return found, values, None

    def _embedding(self, features: dict[str, Any]) -> torch.Tensor:
        """What the modules in front of the head make of a batch: (rows, dim)."""
        if "sentence_embedding" not in features:
            for module in self.model:
                if module is self._head:
                    break
                features.update(module(features))
        return cast("torch.Tensor", features["sentence_embedding"])


def adapt(encoder: TextEncoder, statistics: CorpusStatistics | None, code: RotatedCode | None) -> TextEncoder:
    """The encoder, told what an index keeps of it; as it is where that is nothing, or not of its sizes."""
    if encoder.statistics is None and encoder.is_splade and statistics is not None and not statistics.mean.size:
        encoder = encoder.with_idf()
    own = encoder.statistics
    if own is None:
        return encoder
    if statistics is not None:
        fits = (own.mean.shape, own.token_weights.shape) == (statistics.mean.shape, statistics.token_weights.shape)
        encoder = encoder.with_statistics(statistics) if fits and not own.equals(statistics) else encoder
    if code is encoder.code or (code is not None and (encoder.head is None or code.dim != len(own.mean))):
        return encoder
    return encoder.with_code(code)


def _to_vectors(latents: torch.Tensor, values: torch.Tensor) -> SparseVectors:
    weights = values.float().cpu().numpy()
    weights[weights < SMALLEST_WEIGHT] = 0.0
    return SparseVectors(latents.to(torch.int32).cpu().numpy(), weights)


def _hash_weights(model: SparseEncoder, head: KSparseAutoEncoder | None) -> str:
    digest = hashlib.sha256()
    if head is not None and head.lexical_config is not None:
        digest.update(json.dumps(head.lexical_config, sort_keys=True).encode())
    for module in model.modules():
        if isinstance(module, (Thresholding, TopKMasking, TwoLevelDictionary)):
            digest.update(json.dumps(_config_of(module), sort_keys=True).encode())
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name}:{tuple(tensor.shape)}:".encode())
        if tensor.dtype is not torch.uint8:
            tensor = tensor.float()
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _config_of(module: Module) -> dict[str, Any]:
    """Without the dense model's name: copies of the same weights are the same encoder."""
    return {name: value for name, value in module.get_config_dict().items() if name != "base_model"}


def _name_of(model: SparseEncoder) -> str:
    card = model.model_card_data
    return str(getattr(card, "base_model", None) or getattr(model.transformers_model, "name_or_path", "") or "unnamed")
