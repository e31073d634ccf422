"""Encode texts with any sentence-transformers `SparseEncoder`: K-sparse heads, SPLADE, CSR."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from connector.encoders.batches import check_k
from connector.encoders.encoding import DenseEncoding, PlainEncoding
from connector.encoders.idf import QueryIdf
from connector.encoders.lexical import Task, count_texts
from connector.encoders.variants import AdaptableModel
from connector.types import SparseVectors
from connector.vectors.statistics import MAX_EMBEDDED, CorpusStatistics


class TextEncoder(AdaptableModel):
    """Encodes texts with a `SparseEncoder` and keeps the strongest features of each.

    Args:
        model: Any `SparseEncoder` of sentence-transformers.
        k: Features kept per document; None uses the number of the head or model, else keeps all above 0.
        k_query: Features kept per query; None as for `k`.
        base_model: Name for the fingerprint; None uses the model's name.
        revision: Revision for the fingerprint.
        code: Quantizer of the dense embeddings of documents; None for no codes.
        labels: Terms of each latent (`ksparse label`).
        query_model: Embeds queries instead of the dense model, whose embeddings it approximates
            (`ksparse train queries`). It affects neither documents nor the fingerprint.
        name: Name by which `load_encoder` loads the same encoder, recorded in indices; empty if unknown.
        backend: Runtime of the dense model or the SPLADE: torch, openvino, or auto (OpenVINO if installed and on a
            CPU). OpenVINO copies the weights at the first text, so training needs torch. Vectors of both backends can
            be mixed in one index.
        precision: Precision of the dense model: float32, on torch also bfloat16 or float16, on OpenVINO int8. The
            fingerprint does not depend on it.

    Raises:
        EncoderError: The backend is not available.
        ValueError: `k` or `k_query` is below 1, or the width of `query_model` differs from the dense model's.
    """

    def encode_document(self, texts: Sequence[str], *, batch_size: int = 32) -> SparseVectors:
        """Encode n documents and keep the `k` strongest features of each.

        Args:
            texts: A sequence even for one text. Each is truncated to `max_seq_length` tokens.
            batch_size: Texts per forward pass, at least 1; batches of texts below 128 tokens are larger, on a GPU those
                of texts below 2,048.

        Returns:
            `features` int32 and `weights` float32, both (n, k), strongest first; unused slots have weight 0. `codes`
            if the encoder has a `code`.

        Raises:
            ValueError: `batch_size` is below 1, or `texts` is a single string.
        """
        return self._encode(texts, "document", self.k, batch_size, dense=False)[0]

    def encode_query(self, texts: Sequence[str], *, batch_size: int = 32, k: int | None = None) -> SparseVectors:
        """Encode n queries and keep the `k` (else `k_query`) strongest features of each, as `encode_document` does."""
        return self._encode(texts, "query", k if k is not None else self.k_query, batch_size, dense=False)[0]

    def encode_query_for_rescoring(
        self, texts: Sequence[str], *, batch_size: int = 32, k: int | None = None
    ) -> tuple[SparseVectors, NDArray[np.float32]]:
        """Encode n queries and also return their dense embeddings (n, dim), in one forward pass.

        With a dictionary, most of the k features are cells, which find candidates; codes rank them.

        Args:
            texts: As in `encode_query`.
            batch_size: As in `encode_query`.
            k: Features kept; `k_query` if None. `k_candidates` suffice.

        Raises:
            ValueError: The model is not a dense model with a head.
        """
        self._require_head()
        return self._encode(texts, "query", k if k is not None else self.k_query, batch_size, dense=True)

    def embed(
        self,
        texts: Sequence[str],
        *,
        task: Task = "document",
        batch_size: int = 32,
        progress: Callable[[float], None] | None = None,
    ) -> NDArray[np.float32]:
        """Embed texts with the dense model: float32 (n, dim), normalized if the model does so.

        Args:
            texts: As in `encode_document`.
            task: Task of the texts.
            batch_size: As in `encode_document`.
            progress: Called with the completed fraction after each batch.

        Raises:
            ValueError: The model is not a dense model with a head.
        """
        return self._dense_encoding.embed(texts, task, batch_size, progress)

    def measure_statistics(
        self, texts: Sequence[str], embeddings: NDArray[np.float32] | None = None
    ) -> CorpusStatistics:
        """Measure the corpus statistics on a sample of documents.

        Args:
            texts: Texts of documents: preferably thousands, at least hundreds.
            embeddings: (n, dim), their embeddings; None embeds up to 1,000 texts. For a SPLADE with `QueryIdf`, up to
                1,000 are always encoded.

        Raises:
            ValueError: The model has neither a head nor `QueryIdf`, or there are no texts.
        """
        if not texts:
            raise ValueError("texts must contain at least one document.")
        some = texts[:: -(-len(texts) // MAX_EMBEDDED)]
        if isinstance(self._calibrated, QueryIdf):
            return CorpusStatistics.measure_features(self.encode_document(some), self.num_latents)
        head = self._require_head()
        if embeddings is None:
            embeddings = self.embed(some)
        if head.lexical is None:
            return CorpusStatistics.measure(embeddings, prior=head.statistics)
        return CorpusStatistics.measure(embeddings, self.count_corpus(texts), self.special_ids, prior=head.statistics)

    def count_corpus(self, texts: Sequence[str]) -> csr_matrix:
        """Count the tokens of n documents with their prompt: float32 (n, vocabulary)."""
        prompt = self.model.prompts.get("document") or ""
        return count_texts(self.model.tokenizer, [prompt + text for text in texts], self.max_seq_length)

    @property
    def special_ids(self) -> list[int]:
        """Special tokens of the tokenizer."""
        return list(self.model.tokenizer.all_special_ids)

    def calibrate(self, texts: Sequence[str]) -> TextEncoder:
        """Return this encoder with the statistics of a sample of the documents to encode.

        Frequent tokens get low weights and the mean embedding is subtracted, which improves quality more than most
        training. The index stores the statistics (`prepare_index`), so every `Retriever` uses them.
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
        """Run only the head on dense embeddings.

        Args:
            embeddings: (n, dim), from the same dense model (`embed`).
            texts: The n texts, required by a head with lexical features.
            task: Task of the texts.
            k: Features kept; None uses the task's number.
            candidates: Encode queries whose hits are rescored by codes: `k_candidates` features, mostly cells for a
                dictionary.

        Raises:
            ValueError: The model has no head, the shapes do not match, or `texts` are missing.
        """
        encoding = self._dense_encoding
        check_k(k)
        own = self.k_candidates if candidates else self.k_query if task == "query" else self.k
        return encoding.sparsify(embeddings, texts, task, k or own, candidates=candidates)

    def encode_embedded(self, embeddings: NDArray[np.float32], texts: Sequence[str]) -> SparseVectors:
        """Encode n documents from their embeddings (n, dim), without the dense model.

        Raises:
            ValueError: As in `sparsify_embeddings`.
        """
        return self._dense_encoding.sparsify(embeddings, texts, "document", self.k, coded=self.code is not None)

    @cached_property
    def _dense_encoding(self) -> DenseEncoding:
        return DenseEncoding(self.model, self._require_head(), self._dense, self.query_model, self.code)

    def _encode(
        self, texts: Sequence[str], task: Task, k: int | None, batch_size: int, *, dense: bool
    ) -> tuple[SparseVectors, NDArray[np.float32]]:
        """Return sparse vectors and, if `dense`, the embeddings."""
        check_k(k)
        if self._head is not None:
            return self._dense_encoding.encode(texts, task, k, batch_size, dense=dense)
        plain = PlainEncoding(self.model, lambda: self._max_logit_model, self._dense)
        return plain.encode(texts, task, k, batch_size), np.empty((0, 0), np.float32)
