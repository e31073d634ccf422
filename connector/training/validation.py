"""Validate on held-out queries how well a head preserves the dense ranking."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from connector.encoders.autoencoder import KSparseAutoEncoder
from connector.encoders.lexical import Task, pad_counts
from connector.evaluation.exact import document_frequencies, exact_search, exact_sparse_search, postings_read
from connector.training.data import TrainingData, rows_of_queries
from connector.types import Hit, SparseVectors
from connector.vectors.statistics import CorpusStatistics
from connector.vectors.top_k import prune

MAX_DOCUMENTS = 20_000
"""Maximum number of documents searched per corpus: enough to distinguish heads, and still fast."""

FRONTIER = ((32, 8), (32, 16), (64, 8), (64, 16), (64, 32), (64, 64), (128, 32), (128, 64))
"""Features per document and per query at which encoders are compared."""

_BLOCK = 2_048


@dataclass(frozen=True, slots=True)
class ValidationResult:
    """Results on held-out queries, each searched in its own corpus.

    Attributes:
        step: Number of steps before the validation.
        ndcg_share: NDCG@10 of the relevant documents relative to exact dense search.
        overlap_at_10: Fraction of the dense top 10 among the sparse top 10.
        recall_at_100: Fraction of the dense top 10 among the first 100 sparse hits.
        rescored_ndcg_share: As `ndcg_share`, with the first 100 sparse hits rescored by dense scores.
        postings: Postings that a query reads, per document of the corpus.
        highest_document_frequency: Fraction of the documents in which the most frequent latent fires.
        dead_latents: Fraction of the latents that fire in no document.
        k: Features kept per document.
        k_query: Features kept per query.
    """

    step: int
    ndcg_share: float
    overlap_at_10: float
    recall_at_100: float
    rescored_ndcg_share: float
    postings: float
    highest_document_frequency: float
    dead_latents: float
    k: int
    k_query: int

    @property
    def score(self) -> float:
        """Criterion for the best step. Quality above dense search is ignored, because synthetic queries share words
        with their documents and would favour tokens.
        """
        return (min(1.0, self.ndcg_share) + self.recall_at_100) / 2


class Validation:
    """Held-out queries with the documents that they are searched in.

    Args:
        corpora: One corpus each, with its held-out queries and their positives. Corpora without queries are ignored.
        statistics: Statistics of each corpus, with which the head encodes it.
    """

    def __init__(self, corpora: Sequence[TrainingData], statistics: Sequence[CorpusStatistics]) -> None:
        known = zip(corpora, statistics, strict=True)
        self._corpora = [(corpus, facts) for corpus, facts in known if len(corpus.queries)]
        self._dense_top_10 = []
        for corpus, _ in self._corpora:
            hits = exact_search(corpus.documents, corpus.queries, _row_names(corpus.documents), 10)
            self._dense_top_10.append([[hit.doc_id for hit in top] for top in hits])

    def run(
        self, head: KSparseAutoEncoder, step: int = 0, *, k: int | None = None, k_query: int | None = None
    ) -> ValidationResult:
        """Search all held-out queries with a head.

        Args:
            head: The head, which uses the statistics of each corpus in turn and keeps those of the last.
            step: Number of steps before the validation.
            k: Features kept per document; None uses the head's number.
            k_query: Features kept per query; None uses the head's number.
        """
        k, k_query = k or head.k, k_query or head.k_query
        gains: list[float] = []
        dense_gains: list[float] = []
        overlaps: list[float] = []
        recalls: list[float] = []
        rescored_gains: list[float] = []
        postings: list[float] = []
        fires = np.zeros(head.num_latents, dtype=bool)
        highest = 0.0
        for (corpus, statistics), dense_top_10 in zip(self._corpora, self._dense_top_10, strict=True):
            head.use_statistics(statistics)
            documents = _encode(head, corpus.documents, "document", corpus.document_tokens, k)
            queries = _encode(head, corpus.queries, "query", corpus.query_tokens, k_query)
            hits = exact_sparse_search(documents, queries, _row_names(corpus.documents), head.num_features, 100)
            for query, positive, found, dense in zip(corpus.queries, corpus.positives, hits, dense_top_10, strict=True):
                ranking = [hit.doc_id for hit in found]
                gains.append(known_item_gain(ranking[:10], str(positive)))
                dense_gains.append(known_item_gain(dense, str(positive)))
                overlaps.append(_recall(ranking[:10], dense))
                recalls.append(_recall(ranking, dense))
                candidates = np.array([int(row) for row in ranking], dtype=np.int64)
                order = np.argsort(-(corpus.documents[candidates] @ query), kind="stable")[:10]
                rescored_gains.append(known_item_gain([ranking[place] for place in order], str(positive)))
            frequencies = document_frequencies(documents, head.num_features)
            postings += (postings_read(queries, frequencies) / len(corpus.documents)).tolist()
            fires |= frequencies[: head.num_latents] > 0
            highest = max(highest, float(frequencies.max()) / len(corpus.documents))
        return ValidationResult(
            step=step,
            ndcg_share=_share(gains, dense_gains),
            overlap_at_10=float(np.mean(overlaps)),
            recall_at_100=float(np.mean(recalls)),
            rescored_ndcg_share=_share(rescored_gains, dense_gains),
            postings=float(np.mean(postings)),
            highest_document_frequency=highest,
            dead_latents=float(1.0 - fires.mean()),
            k=k,
            k_query=k_query,
        )

    def document_frequencies(self, head: KSparseAutoEncoder) -> NDArray[np.float32]:
        """Fraction of the documents of all corpora in which each latent fires: float32 (num_latents,)."""
        counts, documents = np.zeros(head.num_latents, dtype=np.int64), 0
        for corpus, statistics in self._corpora:
            head.use_statistics(statistics)
            vectors = _encode(head, corpus.documents, "document", corpus.document_tokens, head.k)
            counts += document_frequencies(vectors, head.num_features)[: head.num_latents]
            documents += len(corpus.documents)
        return (counts / max(1, documents)).astype(np.float32)


def hold_out(
    data: TrainingData,
    statistics: Sequence[CorpusStatistics],
    count: int,
    seed: int,
    *,
    share: float = 0.1,
    max_documents: int = MAX_DOCUMENTS,
) -> tuple[TrainingData, Validation]:
    """Hold out `count` queries for validation, but at most the fraction `share`, with all rows of equal ones.

    All documents stay in the training data. In a corpus of more than `max_documents`, validation searches a sample that
    includes the relevant ones.
    """
    random = np.random.default_rng(seed)
    queries = [hash(row.tobytes()) for row in data.queries]
    held = rows_of_queries(queries, min(count, int(share * len(queries))), random)
    corpora = []
    for rows in data.corpora:
        own = held[(data.positives[held] >= rows.start) & (data.positives[held] < rows.stop)]
        sample = np.arange(rows.start, rows.stop)
        if len(sample) > max_documents:
            wanted = np.unique(data.positives[own])
            others = random.permutation(np.setdiff1d(sample, wanted))[: max_documents - len(wanted)]
            sample = np.sort(np.concatenate([wanted, others]))
        corpora.append(
            TrainingData(
                data.documents[sample],
                data.queries[own],
                np.searchsorted(sample, data.positives[own]),
                np.zeros(1, dtype=np.int64),
                None if data.document_tokens is None else data.document_tokens[sample],
                None if data.query_tokens is None else data.query_tokens[own],
            )
        )
    return data.without_queries(held), Validation(corpora, statistics)


def _encode(
    head: KSparseAutoEncoder, embeddings: NDArray[np.float32], task: Task, counts: csr_matrix | None, k: int
) -> SparseVectors:
    device, k = head.mean.device, min(k, head.num_latents)
    features, values = [], []
    with torch.inference_mode():
        for start in range(0, len(embeddings), _BLOCK):
            rows = slice(start, start + _BLOCK)
            tokens = None if counts is None else pad_counts(counts[rows]).to(device)
            block = torch.from_numpy(embeddings[rows]).to(device)
            found = head.strongest(block, k, task=task, tokens=tokens)
            features.append(found[0].to(torch.int32).cpu().numpy())
            values.append(found[1].float().cpu().numpy())
    return prune(SparseVectors(np.concatenate(features), np.concatenate(values)), k)


def known_item_gain(ranking: Sequence[str], wanted: str) -> float:
    """NDCG of a ranking with one relevant document."""
    return 1.0 / float(np.log2(ranking.index(wanted) + 2)) if wanted in ranking else 0.0


def known_item_gains(found: Sequence[Sequence[Hit]], wanted: Sequence[int]) -> list[float]:
    """NDCG of several rankings with one relevant document each, given by its row."""
    return [known_item_gain([hit.doc_id for hit in hits], str(row)) for hits, row in zip(found, wanted, strict=True)]


def _share(gains: Sequence[float], dense_gains: Sequence[float]) -> float:
    return float(np.sum(gains) / np.sum(dense_gains)) if any(dense_gains) else 0.0


def _recall(found: Sequence[str], relevant: Sequence[str]) -> float:
    return len(set(relevant) & set(found)) / len(relevant)


def _row_names(rows: NDArray[np.float32]) -> list[str]:
    return [str(row) for row in range(len(rows))]
