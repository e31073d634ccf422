"""Corpora of texts with the embeddings of a dense teacher, for models that read texts themselves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from connector.training.data import TrainingData
from connector.training.embeddings import EmbeddingCache
from connector.training.sources import TextSource


@dataclass(frozen=True, slots=True)
class TaughtCorpus:
    """A corpus with the embeddings of a teacher.

    Attributes:
        source: Texts.
        teacher: Their embeddings, in the same order.
    """

    source: TextSource
    teacher: TrainingData

    @property
    def counts(self) -> dict[str, int]:
        """How many documents and queries there are."""
        return {"documents": len(self.source.documents), "queries": len(self.source.queries)}

    def take(self, queries: NDArray[np.int64], documents: NDArray[np.int64] | None = None) -> TaughtCorpus:
        """Some of the queries, in some of the documents (rows, ascending, those asked for among them) or in all."""
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
        return TaughtCorpus(source, teacher)


def teach(
    sources: Sequence[TextSource], embedder: EmbeddingCache, *, report: Callable[[str, float], None]
) -> list[TaughtCorpus]:
    """Let the teacher embed corpora.

    Args:
        sources: With queries.
        embedder: The teacher.
        report: Called with the current task and the share of it done.
    """
    return [
        TaughtCorpus(source, source.embed(embedder, partial(report, f"embedding {source.name}"), lexical=False))
        for source in sources
    ]


def hold_out(
    corpora: Sequence[TaughtCorpus], queries: int, documents: int, seed: int
) -> tuple[list[TaughtCorpus], list[TaughtCorpus]]:
    """Set aside queries for validation, at most a tenth of all, with a sample of documents to search them in.

    Args:
        corpora: Each gives queries and documents by its share of all queries.
        queries: To set aside.
        documents: To search them in, those that they ask for among them.
        seed: Of the samples.

    Returns:
        What is left to train on, all documents included, and what is held out.
    """
    random = np.random.default_rng(seed)
    total = max(1, sum(len(corpus.source.queries) for corpus in corpora))
    left, held = [], []
    for corpus in corpora:
        count = len(corpus.source.queries)
        order = random.permutation(count)
        out = round(min(queries / total, 0.1) * count)
        own, rest = np.sort(order[:out]), np.sort(order[out:])
        left.append(corpus.take(rest))
        wanted = np.unique(corpus.teacher.positives[own])
        others = np.setdiff1d(np.arange(len(corpus.source.documents)), wanted)
        most = max(0, round(documents * count / total) - len(wanted))
        sample = np.sort(np.concatenate([wanted, random.permutation(others)[:most]]))
        if out:
            held.append(corpus.take(own, sample))
    return left, held
