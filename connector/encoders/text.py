"""Text to sparse vectors with any sentence-transformers `SparseEncoder`: ours, SPLADE, CSR."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from connector.encoders.encoding import DenseEncoding, PlainEncoding
from connector.encoders.idf import QueryIdf
from connector.encoders.lexical import Task, count_texts
from connector.encoders.variants import AdaptableModel
from connector.types import SparseVectors
from connector.vectors.statistics import CorpusStatistics

_MOST_EMBEDDED = 1_000
"""Documents whose mean embedding stands for that of all."""


class TextEncoder(AdaptableModel):
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
        backend: What runs the dense model: torch, openvino, or auto for OpenVINO where it is installed and the model
            is on a CPU. OpenVINO runs a copy of the weights as they are at the first text, so a model that is still
            trained needs torch. Vectors of both are near enough for one index.

    Raises:
        EncoderError: There is no such backend here.
        ValueError: `k` or `k_query` is below 1, or the `query_model` is not as wide as the dense model.
    """

    def encode_document(self, texts: Sequence[str], *, batch_size: int = 32) -> SparseVectors:
        """Encode n documents and keep the `k` strongest features of each.

        Args:
            texts: A sequence even for one text. Each is cut after `max_seq_length` tokens.
            batch_size: Texts per forward pass, at least 1; below 128 tokens, more of them.

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

        With a dictionary, most of the k features are cells, which find neighbours; codes put them into order.

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
        return self._dense_encoding.embed(texts, task, batch_size)

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
                mostly cells.

        Raises:
            ValueError: The model has no such head, the shapes do not fit, or `texts` are missing.
        """
        encoding = self._dense_encoding
        if k is not None and k < 1:
            raise ValueError(f"k must be at least 1, got {k}.")
        own = self.k_candidates if candidates else self.k_query if task == "query" else self.k
        return encoding.sparsify(embeddings, texts, task, k or own, candidates=candidates)

    def encode_embedded(self, embeddings: NDArray[np.float32], texts: Sequence[str]) -> SparseVectors:
        """Encode n documents whose embeddings (n, dim) are known, as `encode_document` does, without the dense model.

        Raises:
            ValueError: As of `sparsify_embeddings`.
        """
        return self._with_codes(self.sparsify_embeddings(embeddings, texts), embeddings)

    def _with_codes(self, vectors: SparseVectors, embeddings: NDArray[np.float32]) -> SparseVectors:
        return vectors if self.code is None else vectors._replace(codes=self.code.encode(embeddings))

    @cached_property
    def _dense_encoding(self) -> DenseEncoding:
        return DenseEncoding(self.model, self._require_head(), self._dense, self.query_model)

    def _encode(
        self, texts: Sequence[str], task: Task, k: int | None, batch_size: int, *, dense: bool
    ) -> tuple[SparseVectors, NDArray[np.float32]]:
        """Sparse vectors, and the embeddings that they come from if `dense`."""
        if k is not None and k < 1:
            raise ValueError(f"k must be at least 1, got {k}.")
        if self._head is not None:
            return self._dense_encoding.encode(texts, task, k, batch_size, dense=dense)
        plain = PlainEncoding(self.model, lambda: self._max_logit_model)
        return plain.encode(texts, task, k, batch_size), np.empty((0, 0), np.float32)
