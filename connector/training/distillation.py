"""Corpora with the embeddings of a dense teacher, for training models that encode texts themselves."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from connector.training.data import TrainingData, rows_of_queries
from connector.training.embeddings import EmbeddingCache
from connector.training.sources import TextSource


@dataclass(frozen=True, slots=True)
class DistillationCorpus:
    """A corpus with the embeddings of its teacher.

    Attributes:
        source: The texts.
        teacher: Their embeddings, in the same order.
    """

    source: TextSource
    teacher: TrainingData

    @property
    def counts(self) -> dict[str, int]:
        """Number of documents and queries."""
        return {"documents": len(self.source.documents), "queries": len(self.source.queries)}

    def take(self, queries: NDArray[np.int64], documents: NDArray[np.int64] | None = None) -> DistillationCorpus:
        """Select queries and documents by row; `documents` is ascending and includes all positives, None keeps all."""
        kept = np.arange(len(self.source.documents)) if documents is None else documents
        positives = np.searchsorted(kept, self.teacher.positives[queries])
        source = replace(
            self.source,
            documents=tuple(self.source.documents[row] for row in kept),
            queries=tuple(self.source.queries[row] for row in queries),
            positives=tuple(positives.tolist()),
        )
        embeddings = self.teacher.documents if documents is None else self.teacher.documents[documents]
        teacher = replace(
            self.teacher, documents=embeddings, queries=self.teacher.queries[queries], positives=positives
        )
        return DistillationCorpus(source, teacher)


def digest_texts(corpora: Sequence[DistillationCorpus]) -> str:
    """Digest of the documents and queries of corpora."""
    digest = hashlib.sha256()
    for corpus in corpora:
        for texts in (corpus.source.documents, corpus.source.queries):
            digest.update(f"{len(texts)} ".encode())
            for text in texts:
                digest.update(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest())
    return digest.hexdigest()[:16]


def embed_corpora(
    sources: Sequence[TextSource], embedder: EmbeddingCache, *, report: Callable[[str, float], None]
) -> list[DistillationCorpus]:
    """Embed corpora with the teacher.

    Args:
        sources: Corpora with queries.
        embedder: The teacher.
        report: Called with the current task and its completed fraction.
    """
    return [DistillationCorpus(source, source.embed(embedder, report, lexical=False)) for source in sources]


def hold_out(
    corpora: Sequence[DistillationCorpus], queries: int, documents: int, seed: int
) -> tuple[list[DistillationCorpus], list[DistillationCorpus]]:
    """Hold out queries for validation, at most a tenth, with a sample of the documents.

    A text that is held out is in no training corpus.

    Args:
        corpora: The corpora; each contributes in proportion to its queries.
        queries: Number of queries to hold out.
        documents: Number of documents for searching them, including their positives.
        seed: Seed of the samples.

    Returns:
        The training corpora, with all documents, and the held-out ones.
    """
    random = np.random.default_rng(seed)
    total = max(1, sum(len(corpus.source.queries) for corpus in corpora))
    held = []
    for corpus in corpora:
        count = len(corpus.source.queries)
        own = np.sort(rows_of_queries(corpus.source.queries, round(min(queries / total, 0.1) * count), random))
        wanted = np.unique(corpus.teacher.positives[own])
        others = np.setdiff1d(np.arange(len(corpus.source.documents)), wanted)
        most = max(0, round(documents * count / total) - len(wanted))
        sample = np.sort(np.concatenate([wanted, random.permutation(others)[:most]]))
        if len(own):
            held.append(corpus.take(own, sample))
    texts = {text for corpus in held for text in corpus.source.queries}
    left = [
        corpus.take(np.array([row for row, text in enumerate(corpus.source.queries) if text not in texts], np.int64))
        for corpus in corpora
    ]
    return left, held
