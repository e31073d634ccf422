"""An encoder without torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Self

import numpy as np
from numpy.typing import NDArray

from connector.encoders.batches import Task, check_embedded, check_k
from connector.encoders.light_heads import (
    CellsHead,
    Head,
    count_ids,
    with_statistics,
)
from connector.encoders.light_parts import LightParts
from connector.types import SparseVectors
from connector.vectors.codes import Bits, RotatedCode
from connector.vectors.statistics import MAX_EMBEDDED, CorpusStatistics, DistinctTokens
from connector.vectors.storage import SMALLEST_WEIGHT

_BLOCK = 512
"""Texts per pass of a head."""


class LightEncoder(LightParts):
    """A torch-free `TextEncoder` of a dense model with a head, with the same fingerprint.

    Arguments as in `LightParts`.
    """

    def encode_document(self, texts: Sequence[str], *, batch_size: int = 32) -> SparseVectors:
        """As in `TextEncoder`."""
        vectors, embeddings = self._encode(texts, "document", self.k, batch_size)
        return vectors if self.code is None else vectors._replace(codes=self.code.encode(embeddings))

    def encode_query(self, texts: Sequence[str], *, batch_size: int = 32, k: int | None = None) -> SparseVectors:
        """As in `TextEncoder`."""
        return self._encode(texts, "query", k if k is not None else self.k_query, batch_size)[0]

    def encode_query_for_rescoring(
        self, texts: Sequence[str], *, batch_size: int = 32, k: int | None = None
    ) -> tuple[SparseVectors, NDArray[np.float32]]:
        """As in `TextEncoder`."""
        kept = k if k is not None else self.k_query
        return self._encode(texts, "query", kept, batch_size, candidates=True)

    def embed(
        self,
        texts: Sequence[str],
        *,
        task: Task = "document",
        batch_size: int = 32,
        progress: Callable[[float], None] | None = None,
    ) -> NDArray[np.float32]:
        """As in `TextEncoder`."""
        outputs, done = np.empty((len(texts), self._dense.dim), np.float32), 0
        for batch in self._dense.embed(texts, task, batch_size):
            outputs[batch.rows] = batch.embeddings
            done += len(batch.rows)
            if progress is not None:
                progress(done / len(texts))
        return outputs

    def sparsify_embeddings(
        self,
        embeddings: NDArray[np.float32],
        texts: Sequence[str] | None = None,
        *,
        task: Task = "document",
        k: int | None = None,
        candidates: bool = False,
    ) -> SparseVectors:
        """As in `TextEncoder`."""
        check_k(k)
        check_embedded(embeddings, texts, dim=self._dense.dim, lexical=bool(self.head.config.get("lexical_config")))
        ids = self._dense.tokenize(texts, task) if texts is not None else [[]] * len(embeddings)
        own = self.k_candidates if candidates else self.k_query if task == "query" else self.k
        return self._sparsify(embeddings, ids, task, k or own, candidates=candidates)

    def encode_embedded(self, embeddings: NDArray[np.float32], texts: Sequence[str]) -> SparseVectors:
        """As in `TextEncoder`."""
        vectors = self.sparsify_embeddings(embeddings, texts)
        return vectors if self.code is None else vectors._replace(codes=self.code.encode(embeddings))

    def count_corpus(self, texts: Sequence[str]) -> DistinctTokens:
        """As in `TextEncoder`."""
        ids = self._dense.tokenize(texts, "document")
        parts = [count_ids(ids[start : start + _BLOCK]) for start in range(0, len(ids), _BLOCK)]
        used = [part.counts > 0 for part in parts]
        return DistinctTokens(
            (len(texts), self._dense.num_tokens),
            np.concatenate([part.ids[slots] for part, slots in zip(parts, used, strict=True)]),
            np.concatenate([part.counts[slots] for part, slots in zip(parts, used, strict=True)]),
        )

    def measure_statistics(
        self, texts: Sequence[str], embeddings: NDArray[np.float32] | None = None
    ) -> CorpusStatistics:
        """As in `TextEncoder`."""
        if not texts:
            raise ValueError("texts must contain at least one document.")
        if embeddings is None:
            embeddings = self.embed(texts[:: -(-len(texts) // MAX_EMBEDDED)])
        counts = self.count_corpus(texts) if self.head.config.get("lexical_config") else None
        return CorpusStatistics.measure(embeddings, counts, self.special_ids, prior=self.statistics)

    def calibrate(self, texts: Sequence[str]) -> Self:
        """As in `TextEncoder`."""
        return self.with_statistics(self.measure_statistics(texts))

    def make_code(self, bits: Bits, norm: float = 1.0) -> RotatedCode:
        """As in `TextEncoder`."""
        if isinstance(self.head, CellsHead):
            return self.head.code(bits, norm)
        return RotatedCode(self.statistics.mean, bits, norm=norm)

    def with_head(self, head: Head) -> Self:
        """As in `TextEncoder`."""
        return type(self)(self._dense, head, base_model=self._base_model, revision=self._revision)

    def with_idf(self) -> Self:
        """Raise ValueError: only a SPLADE supports IDF.

        Raises:
            ValueError: Always.
        """
        raise ValueError("only the queries of a SPLADE are weighted by IDF; this is a dense model with a head.")

    def with_statistics(self, statistics: CorpusStatistics | None) -> Self:
        """As in `TextEncoder`."""
        return self if statistics is None else self._with(with_statistics(self.head, statistics), self.code)

    def with_code(self, code: RotatedCode | None) -> Self:
        """As in `TextEncoder`."""
        if code is not None and code.dim != self._dense.dim:
            raise ValueError(f"codes of {code.dim} dimensions do not fit embeddings of {self._dense.dim}.")
        if code is not None and code.groups and isinstance(self.head, CellsHead):
            code = code.with_components(self.head.principal_components)
        return self._with(self.head, code)

    def _with(self, head: Head, code: RotatedCode | None) -> Self:
        made = type(self)(
            self._dense,
            head,
            base_model=self._base_model,
            revision=self._revision,
            k=self.k,
            k_query=self.k_query,
            code=code,
            name=self.name,
            labels=self._labels,
        )
        if head is self.head and "fingerprint" in vars(self):
            vars(made)["fingerprint"] = self.fingerprint  # hashing 90 MB takes 0.1 s
        return made

    def _encode(
        self, texts: Sequence[str], task: Task, k: int, batch_size: int, *, candidates: bool = False
    ) -> tuple[SparseVectors, NDArray[np.float32]]:
        check_k(k)
        outputs = np.empty((len(texts), self._dense.dim), np.float32)
        ids: list[list[int]] = [[] for _ in texts]
        for batch in self._dense.embed(texts, task, batch_size):
            outputs[batch.rows] = batch.embeddings
            for row, found in zip(batch.rows, batch.ids, strict=True):
                ids[row] = found
        return self._sparsify(outputs, ids, task, k, candidates=candidates), outputs

    def _sparsify(
        self,
        embeddings: NDArray[np.float32],
        ids: Sequence[Sequence[int]],
        task: Task,
        k: int,
        *,
        candidates: bool = False,
    ) -> SparseVectors:
        """Run only the head on embeddings (n, dim) and the token ids of the n texts."""
        kept = min(k, self.head.num_latents)
        lexical = bool(self.head.config.get("lexical_config"))
        features = np.zeros((len(ids), kept), np.int32)
        weights = np.zeros((len(ids), kept), np.float32)
        for start in range(0, len(ids), _BLOCK):
            rows = slice(start, start + _BLOCK)
            tokens = count_ids(ids[rows]) if lexical else None
            found, values = self.head.strongest(embeddings[rows], kept, task, tokens, candidates=candidates)
            features[rows, : found.shape[1]], weights[rows, : found.shape[1]] = found, values
        weights[weights < SMALLEST_WEIGHT] = 0.0
        return SparseVectors(features, weights)
