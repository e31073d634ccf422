"""How well a head keeps the dense ranking of queries that it was not trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from connector.encoders.autoencoder import KSparseAutoEncoder
from connector.encoders.training.data import TrainingData
from connector.evaluation.exact import document_frequencies, exact_search, exact_sparse_search, postings_read
from connector.sparsify import prune
from connector.types import Hit, SparseVectors

MAX_DOCUMENTS = 20_000
"""Documents of a corpus that are searched at most: enough to tell heads apart, few enough to be quick."""


@dataclass(frozen=True, slots=True)
class ValidationResult:
    """Of the held-out queries, each searched in its own corpus.

    Attributes:
        step: Steps taken before.
        overlap_at_10: Share of the dense top 10 in the sparse top 10.
        recall_at_100: Share of the dense top 10 in the sparse first 100: what a first phase owes.
        postings: Postings that a query reads, per document of the corpus.
        highest_document_frequency: Share of the documents that the commonest latent fires in.
        dead_latents: Share of the latents that fire in no document.
    """

    step: int
    overlap_at_10: float
    recall_at_100: float
    postings: float
    highest_document_frequency: float
    dead_latents: float

    @property
    def score(self) -> float:
        """What the best step is chosen by."""
        return (self.overlap_at_10 + self.recall_at_100) / 2


@dataclass(frozen=True, slots=True)
class _HeldOutCorpus:
    documents: NDArray[np.float32]
    queries: NDArray[np.float32]
    dense_top_10: list[set[str]]


class Validation:
    """Held-out queries with the documents that they are searched in.

    Args:
        documents: float32 (n, dim) of each corpus.
        queries: float32 (m, dim) held out of each corpus, m may be 0.
    """

    def __init__(self, documents: Sequence[NDArray[np.float32]], queries: Sequence[NDArray[np.float32]]) -> None:
        self._corpora = []
        for rows, asked in zip(documents, queries, strict=True):
            if len(asked) == 0:
                continue
            hits = exact_search(rows, asked, _row_names(rows), 10)
            self._corpora.append(_HeldOutCorpus(rows, asked, [{hit.doc_id for hit in top} for top in hits]))

    def run(self, head: KSparseAutoEncoder, step: int) -> ValidationResult:
        """Search all held-out queries with the head as it is."""
        overlaps: list[float] = []
        recalls: list[float] = []
        postings: list[float] = []
        fires = np.zeros(head.num_latents, dtype=bool)
        highest = 0.0
        for corpus in self._corpora:
            documents = _encode(head, corpus.documents, head.k)
            queries = _encode(head, corpus.queries, head.k_query)
            found = exact_sparse_search(documents, queries, _row_names(corpus.documents), head.num_latents, 100)
            overlaps += [_recall(hits[:10], top) for hits, top in zip(found, corpus.dense_top_10, strict=True)]
            recalls += [_recall(hits, top) for hits, top in zip(found, corpus.dense_top_10, strict=True)]
            frequencies = document_frequencies(documents, head.num_latents)
            postings += (postings_read(queries, frequencies) / len(corpus.documents)).tolist()
            fires |= frequencies > 0
            highest = max(highest, float(frequencies.max()) / len(corpus.documents))
        return ValidationResult(
            step=step,
            overlap_at_10=float(np.mean(overlaps)),
            recall_at_100=float(np.mean(recalls)),
            postings=float(np.mean(postings)),
            highest_document_frequency=highest,
            dead_latents=float(1.0 - fires.mean()),
        )


def hold_out(data: TrainingData, count: int, seed: int, *, share: float = 0.1) -> tuple[TrainingData, Validation]:
    """Set aside queries for validation: `count`, but at most `share` of all.

    Documents stay in the training data; a corpus of more than `MAX_DOCUMENTS` is searched in a sample of these.
    """
    random = np.random.default_rng(seed)
    held = random.permutation(len(data.queries))[: min(count, int(share * len(data.queries)))]
    documents, queries = [], []
    for rows in data.corpora:
        sample = np.arange(rows.start, rows.stop)
        if len(sample) > MAX_DOCUMENTS:
            sample = np.sort(random.permutation(sample)[:MAX_DOCUMENTS])
        own = held[(data.positives[held] >= rows.start) & (data.positives[held] < rows.stop)]
        documents.append(data.documents[sample])
        queries.append(data.queries[own])
    return data.without_queries(held), Validation(documents, queries)


def _encode(head: KSparseAutoEncoder, embeddings: NDArray[np.float32], k: int) -> SparseVectors:
    device = head.encoder.weight.device
    latents, values = [], []
    with torch.inference_mode():
        for block in torch.split(torch.from_numpy(embeddings), 4096):
            found = head.strongest(block.to(device), k)
            latents.append(found[0].to(torch.int32).cpu().numpy())
            values.append(found[1].float().cpu().numpy())
    return prune(SparseVectors(np.concatenate(latents), np.concatenate(values)), k)


def _recall(hits: Sequence[Hit], relevant: set[str]) -> float:
    return len(relevant & {hit.doc_id for hit in hits}) / len(relevant)


def _row_names(rows: NDArray[np.float32]) -> list[str]:
    return [str(row) for row in range(len(rows))]
