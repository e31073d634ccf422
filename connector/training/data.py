"""Embeddings for training, and batches of them."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, vstack

from connector.training.distinct import distinct_of
from connector.vectors.statistics import CorpusStatistics


@dataclass(frozen=True, slots=True)
class TrainingData:
    """Embeddings of documents and queries.

    Attributes:
        documents: float32 (n, dim), grouped by corpus.
        queries: float32 (m, dim); m may be 0.
        positives: int64 (m,), row of the relevant document of each query.
        corpus_starts: int64 (c,), first row of each corpus, ascending from 0. Neighbours and batches do not cross
            corpora.
        document_tokens: float32 (n, vocabulary), token counts of each document; None without lexical features.
        query_tokens: float32 (m, vocabulary), token counts of each query.
    """

    documents: NDArray[np.float32]
    queries: NDArray[np.float32]
    positives: NDArray[np.int64]
    corpus_starts: NDArray[np.int64]
    document_tokens: csr_matrix | None = None
    query_tokens: csr_matrix | None = None

    def __post_init__(self) -> None:
        if self.documents.ndim != 2 or len(self.documents) < 2:
            raise ValueError(f"documents must have shape (n, dim) with n of 2 or more, got {self.documents.shape}.")
        if self.queries.shape[1:] != self.documents.shape[1:]:
            raise ValueError(f"queries {self.queries.shape} and documents {self.documents.shape} differ in width.")
        if len(self.positives) != len(self.queries):
            raise ValueError(f"{len(self.queries)} queries need as many positives, got {len(self.positives)}.")
        if len(self.positives) and not (0 <= self.positives.min() and self.positives.max() < len(self.documents)):
            raise ValueError(f"positives must be rows of the {len(self.documents)} documents.")
        for name, tokens, rows in (
            ("document_tokens", self.document_tokens, self.documents),
            ("query_tokens", self.query_tokens, self.queries),
        ):
            if tokens is not None and tokens.shape[0] != len(rows):
                raise ValueError(f"{name} must have {len(rows)} rows, got {tokens.shape[0]}.")
        if (self.document_tokens is None) != (self.query_tokens is None):
            raise ValueError("document_tokens and query_tokens must be given together.")

    @property
    def corpora(self) -> list[slice]:
        """The rows of each corpus."""
        stops = [*self.corpus_starts[1:].tolist(), len(self.documents)]
        return [slice(start, stop) for start, stop in zip(self.corpus_starts.tolist(), stops, strict=True)]

    @property
    def digest(self) -> str:
        """Digest of the sizes, the positives and the tokens, which unlike embeddings do not depend on the device."""
        digest = hashlib.sha256(f"{self.documents.shape} {self.queries.shape}".encode())
        counts = [each.indices for each in (self.document_tokens, self.query_tokens) if each is not None]
        for values in (self.positives, self.corpus_starts, *counts):
            digest.update(np.asarray(values, dtype=np.int64).tobytes())
        return digest.hexdigest()[:16]

    def without_queries(self, rows: NDArray[np.int64]) -> TrainingData:
        """Return the data without some of its queries."""
        keep = np.ones(len(self.queries), dtype=bool)
        keep[rows] = False
        return replace(
            self,
            queries=self.queries[keep],
            positives=self.positives[keep],
            query_tokens=None if self.query_tokens is None else self.query_tokens[keep],
        )

    def statistics(self, special_ids: Sequence[int] = ()) -> list[CorpusStatistics]:
        """Measure the statistics of each corpus; of equal documents, only one counts for the mean embedding.

        Args:
            special_ids: Special tokens of the tokenizer, which are not counted.
        """
        return [
            CorpusStatistics.measure(
                distinct_of(self.documents[rows]),
                None if self.document_tokens is None else self.document_tokens[rows],
                special_ids,
            )
            for rows in self.corpora
        ]


def concatenate(parts: Sequence[TrainingData]) -> TrainingData:
    """Concatenate the data of several corpora.

    Raises:
        ValueError: There are no parts, or only some have tokens.
    """
    if not parts:
        raise ValueError("training needs at least one corpus.")
    with_tokens = [part.document_tokens is not None for part in parts]
    if any(with_tokens) and not all(with_tokens):
        raise ValueError("either all parts or none must have tokens.")
    shifts = np.cumsum([0, *(len(part.documents) for part in parts[:-1])])
    return TrainingData(
        documents=np.concatenate([part.documents for part in parts]),
        queries=np.concatenate([part.queries for part in parts]),
        positives=np.concatenate([part.positives + shift for part, shift in zip(parts, shifts, strict=True)]),
        corpus_starts=np.concatenate(
            [part.corpus_starts + shift for part, shift in zip(parts, shifts, strict=True)]
        ).astype(np.int64),
        document_tokens=vstack([part.document_tokens for part in parts], format="csr") if any(with_tokens) else None,
        query_tokens=vstack([part.query_tokens for part in parts], format="csr") if any(with_tokens) else None,
    )


class Batch(NamedTuple):
    """One batch of a single corpus; document i is relevant to query i.

    Attributes:
        documents: float32 (batch_size, dim).
        queries: float32 (batch_size, dim).
        corpus: Number of the corpus.
        document_rows: int64 (batch_size,), rows of the documents in the data.
        query_rows: int64 (batch_size,), rows of the queries; -1 for synthetic ones.
    """

    documents: NDArray[np.float32]
    queries: NDArray[np.float32]
    corpus: int
    document_rows: NDArray[np.int64]
    query_rows: NDArray[np.int64]


def root_shares(sizes: Sequence[int]) -> NDArray[np.float64]:
    """Sampling probability of each corpus, proportional to the square root of its size."""
    roots = np.sqrt(np.asarray(sizes, dtype=np.float64))
    shares: NDArray[np.float64] = roots / roots.sum()
    return shares


class NeighbourBatches:
    """Draws batches in which every document has near neighbours, because only their ranking is difficult to preserve.

    Each document comes with one of its queries, or with a synthetic one: the document's embedding moved up to halfway
    to one of its neighbours, plus noise half as long as the document's.

    Args:
        data: The training data.
        neighbours: int32 (n, c), rows of each document's nearest neighbours in the same corpus.
        batch_size: Documents per batch.
        neighbours_per_seed: Documents of a neighbourhood, including its seed.
        seed: Seed of the random generator.
    """

    def __init__(
        self,
        data: TrainingData,
        neighbours: NDArray[np.int32],
        *,
        batch_size: int,
        neighbours_per_seed: int,
        seed: int,
    ) -> None:
        self._data = data
        self._neighbours = neighbours
        self._batch_size = batch_size
        self._per_seed = neighbours_per_seed
        self.random = np.random.default_rng(seed)
        self._by_document = np.argsort(data.positives, kind="stable")
        self._first_query = np.searchsorted(data.positives[self._by_document], np.arange(len(data.documents) + 1))
        self._shares = root_shares([rows.stop - rows.start for rows in data.corpora])

    def draw(self) -> Batch:
        """Draw one batch from one corpus."""
        number = int(self.random.choice(len(self._shares), p=self._shares))
        corpus = self._data.corpora[number]
        seeds = self.random.integers(corpus.start, corpus.stop, size=self._batch_size // self._per_seed)
        columns = self.random.integers(0, self._neighbours.shape[1], size=(len(seeds), self._per_seed - 1))
        near = np.take_along_axis(self._neighbours[seeds], columns, axis=1)
        rows = np.concatenate([seeds[:, None], near], axis=1).ravel()
        queries, query_rows = self._queries_for(rows)
        return Batch(self._data.documents[rows], queries, number, rows, query_rows)

    def _queries_for(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        first, count = self._first_query[rows], self._first_query[rows + 1] - self._first_query[rows]
        own = np.nonzero(count)[0]
        query_rows = np.full(len(rows), -1, dtype=np.int64)
        query_rows[own] = self._by_document[first[own] + (self.random.random(len(own)) * count[own]).astype(np.int64)]
        queries = np.empty((len(rows), self._data.documents.shape[1]), dtype=np.float32)
        queries[own] = self._data.queries[query_rows[own]]
        without = np.nonzero(count == 0)[0]
        if len(without):
            queries[without] = self.make_queries(rows[without])
        return queries, query_rows

    def make_queries(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return a synthetic query for each document, as long as the document: float32 (len(rows), dim)."""
        documents = self._data.documents[rows]
        lengths = np.linalg.norm(documents, axis=1, keepdims=True)
        column = self.random.integers(0, self._neighbours.shape[1], size=len(rows))
        neighbours = self._data.documents[self._neighbours[rows, column]]
        way = self.random.uniform(0.0, 0.5, size=(len(rows), 1)).astype(np.float32)
        noise = self.random.standard_normal(documents.shape).astype(np.float32)
        noise *= 0.5 * lengths / np.linalg.norm(noise, axis=1, keepdims=True)
        queries = documents + way * (neighbours - documents) + noise
        queries *= lengths / np.maximum(np.linalg.norm(queries, axis=1, keepdims=True), np.finfo(np.float32).tiny)
        return np.asarray(queries, dtype=np.float32)


def rows_of_queries(queries: Sequence[Hashable], most: int, random: np.random.Generator) -> NDArray[np.int64]:
    """Draw queries with all of their rows, of which there are one per relevant document: at most `most` rows.

    If all queries have more, that with the fewest is drawn.

    Args:
        queries: The query of each row; equal ones are one query.
        most: Maximum number of rows.
        random: Random generator.
    """
    known: dict[Hashable, int] = {}
    numbers = np.array([known.setdefault(query, len(known)) for query in queries], dtype=np.int64)
    order = random.permutation(len(numbers))
    sizes = np.bincount(numbers)
    drawn, left = [], most
    for number in dict.fromkeys(numbers[order].tolist()):
        if sizes[number] <= left:
            drawn.append(number)
            left -= int(sizes[number])
    if most and not drawn:
        drawn.append(int(sizes.argmin()))
    return order[np.isin(numbers[order], drawn)]
