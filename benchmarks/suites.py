"""The systems, settings and documents of each suite."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Literal

import numpy as np

from benchmarks.datasets import EncodedSet
from benchmarks.progress import Report, silent
from benchmarks.systems.base import System
from benchmarks.systems.bm25 import BM25, Hybrid
from benchmarks.systems.lucene_hnsw import LuceneHnsw
from benchmarks.systems.neural_sparse import NeuralSparse
from benchmarks.systems.rank_features import RankFeatures
from benchmarks.systems.rescored import Kind, Rescored
from benchmarks.systems.seismic import Seismic
from benchmarks.systems.static_queries import StaticQueries
from connector.encoders.dictionary import TwoLevelDictionary
from connector.encoders.dictionary_file import pack_dictionary
from connector.errors import ConnectorError
from connector.ingest.own_dictionary import dictionary_encoder
from connector.ingest.prepare import window_for
from connector.query.pruning import Pruning
from connector.training.dictionary.settings import MIN_DOCUMENTS
from connector.types import EncoderFingerprint, SparseVectors
from connector.vectors.storage import find_weight_exponent
from connector.vectors.top_k import prune

EF_SEARCH = (10, 50, 100, 200)
PREFIX = "ksparse-bench"

Splade = tuple[EncoderFingerprint, SparseVectors, SparseVectors]
"""Fingerprint, documents and queries of a SPLADE."""


def all_systems(data: EncodedSet, *, splade: Splade | None = None) -> list[System]:
    """Systems of the suite `frontier`: all systems at all settings, HNSW at its default first.

    Args:
        data: The set, encoded with 128 features per document and 64 per query.
        splade: The set encoded by a SPLADE.
    """
    hnsw, in_bytes = _graphs(data)
    features, half = _features(data, 64), _features(data, 32)
    more = replace(_features(data, 128), name="k-sparse, 128 a document")
    exponent = features.weight_exponent
    systems: list[System] = [hnsw, in_bytes, BM25(f"{PREFIX}-bm25")]
    systems += [replace(each, ef_search=ef) for each in (hnsw, in_bytes) for ef in EF_SEARCH]
    systems += [replace(features, k_query=k) for k in (8, 16, 32, 64)]
    systems += [replace(half, name="k-sparse, 32 a document", k_query=k) for k in (16, 32, 64)]
    systems += [replace(more, k_query=k) for k in (16, 32, 64)]
    systems += [replace(features, name="k-sparse, two phases", k_query=k, window=100) for k in (8, 16)]
    systems += [NeuralSparse(replace(features, k_query=k)) for k in (16, 32, 64)]
    systems += [NeuralSparse(features, two_phase=True)]
    systems += [Seismic(f"{PREFIX}-seismic", top_n, k_doc=64) for top_n in (4, 8, 16)]
    systems += [Hybrid(f"{PREFIX}-hybrid", 0.005, k, k_doc=64, weight_exponent=exponent) for k in (16, 32)]
    kinds: tuple[Kind, ...] = ("2 bits", "4 bits", "knn byte")
    for kind in kinds:
        systems += [
            _rescored(data, kind, k_doc, k_query, window)
            for k_doc, k_query, window in ((32, 16, 100), (32, 32, 100), (64, 8, 100), (64, 16, 100), (64, 16, 200))
        ]
    systems += dictionary_systems(data)
    if splade is not None:
        own, documents, queries = splade
        exponent = find_weight_exponent(documents.weights, margin=1)
        cut = RankFeatures(
            f"{PREFIX}-splade", own, 32, vectors=(documents, queries), name="SPLADE", weight_exponent=exponent
        )
        systems += [replace(cut, k_query=k) for k in (8, 16, 32, 64)]
        budgets = (Pruning("posting_budget", budget) for budget in (0.1, 0.2, 0.4, 0.8))
        systems += [replace(cut, k_query=64, pruning=pruning) for pruning in budgets]
    return systems


def lever_systems(data: EncodedSet) -> list[System]:
    """Systems of the suite `levers`, which reduce the cost of queries and postings.

    Args:
        data: The set, encoded with 64 features per document and 64 per query.
    """
    features = _features(data, 64)
    plain = replace(features, index=f"{PREFIX}-plain", weight_exponent=0, name="weights as they are")
    systems: list[System] = [*_graphs(data)]
    systems += [replace(plain, k_query=k) for k in (16, 32)]
    systems += [replace(features, name="scaled weights", k_query=k) for k in (8, 16, 32)]
    systems += [NeuralSparse(replace(features, k_query=k)) for k in (16, 32)]
    systems += [
        replace(features, name="posting_budget", pruning=Pruning("posting_budget", budget))
        for budget in (0.1, 0.15, 0.2)
    ]
    systems += [replace(features, name="max_ratio", pruning=Pruning("max_ratio", ratio)) for ratio in (0.4, 0.5)]
    systems += [
        replace(features, name="two phases", k_query=k, window=window) for k, window in ((8, 50), (8, 100), (16, 100))
    ]
    systems += [replace(_features(data, 32), name="32 a document", k_query=k) for k in (16, 32)]
    kinds: tuple[Kind, ...] = ("1 bit", "2 bits", "4 bits", "knn byte")
    systems += [_rescored(data, kind, 32, 16, 100) for kind in kinds]
    systems += [_rescored(data, kind, 64, 16, 100) for kind in kinds]
    systems += [_rescored(data, "4 bits", 16, k_query, 100) for k_query in (8, 16)]
    several = _rescored(data, "4 bits", 32, 32, 100)
    systems += [replace(several, k_query=k) for k in (8, 12, 24, 32)]
    systems += [replace(several, window=window) for window in (50, 200)]
    systems += [replace(several, pruning=Pruning("posting_budget", budget)) for budget in (0.08, 0.1)]
    return systems


def _graphs(data: EncodedSet) -> tuple[LuceneHnsw, LuceneHnsw]:
    """The references: HNSW on floats at its default, and on bytes."""
    dim = data.document_embeddings.shape[1]
    return LuceneHnsw(f"{PREFIX}-hnsw", dim), LuceneHnsw(f"{PREFIX}-hnsw-byte", dim, data_type="byte")


def _features(data: EncodedSet, k_doc: int) -> RankFeatures:
    """Features as `ksparse ingest` stores them."""
    exponent = find_weight_exponent(prune(data.document_vectors, k_doc).weights, margin=1)
    fingerprint = data.encoder.fingerprint
    return RankFeatures(f"{PREFIX}-features-{k_doc}", fingerprint, 64, k_doc=k_doc, weight_exponent=exponent)


def _rescored(data: EncodedSet, kind: Kind, k_doc: int, k_query: int, window: int) -> Rescored:
    index = f"{PREFIX}-{kind.replace(' ', '-')}-{k_doc}"
    exponent = _features(data, k_doc).weight_exponent
    return Rescored(index, kind, k_query, window, k_doc=k_doc, weight_exponent=exponent)


def require_dictionary_size(data: EncodedSet) -> None:
    """Raise ConnectorError if a set is too small for a dictionary."""
    if len(data.documents) < MIN_DOCUMENTS:
        raise ConnectorError(
            f"{data.name} has {len(data.documents):,} documents, but a dictionary needs {MIN_DOCUMENTS:,}; choose a "
            "larger set."
        )


class OwnDictionary:
    """A new index with its own dictionary, at any setting.

    Args:
        data: A set of at least 1,000 documents.
        report: Called with the current task and its completed fraction.

    Raises:
        ConnectorError: There are fewer documents.
    """

    def __init__(self, data: EncodedSet, report: Report = silent) -> None:
        require_dictionary_size(data)
        texts = [document.content for document in data.documents]
        self._data = data
        self._encoder = dictionary_encoder(
            data.encoder, texts, data.document_embeddings, progress=partial(report, "building the dictionary")
        )
        assert isinstance(self._encoder.head, TwoLevelDictionary)
        self._head = self._encoder.head
        report("encoding with the dictionary", 0.0)
        self._documents = self._encoder.sparsify_embeddings(data.document_embeddings, texts)
        report("encoding with the dictionary", 1.0)
        self._exponent = find_weight_exponent(self._documents.weights, margin=1)
        self._bytes = len(pack_dictionary(self._head))
        self.k = self._head.k_candidates
        self.window = window_for(self._head.num_latents)

    def system(self, k: int | None = None, window: int | None = None, *, bits: Literal[3, 4] = 4) -> Rescored:
        """Return the system at some setting.

        Args:
            k: Query features; None uses the default.
            window: Hits to rescore; None uses the default. With 0, features alone rank, and are selected for that.
            bits: Bits per dimension of the codes.
        """
        alone = window == 0
        if k is None:
            k = self._encoder.k_query if alone else self.k
        questions = [query.text for query in self._data.judged.queries]
        queries = self._encoder.sparsify_embeddings(
            self._data.query_embeddings, questions, task="query", k=k, candidates=not alone
        )
        return Rescored(
            f"{PREFIX}-own-{bits}",
            "4 bits" if bits == 4 else "3 bits",
            queries.features.shape[1],
            self.window if window is None else window,
            weight_exponent=self._exponent,
            vectors=(self._documents, queries),
            code=self._head.code(bits),
            label="own dictionary",
            more_bytes=self._bytes,
        )

    def wide(self) -> Rescored:
        """Return the system with three times the features and 1,000 hits rescored: nearer to exact search, slower."""
        return self.system(3 * self.k, 1_000)


def dictionary_systems(data: EncodedSet, report: Report = silent) -> list[Rescored]:
    """A new index by default, with a dictionary and codes; none for fewer than 1,000 documents."""
    if len(data.documents) < MIN_DOCUMENTS:
        return []
    own = OwnDictionary(data, report)
    return [own.system(), own.wide(), own.system(bits=3)]


def default_systems(data: EncodedSet, report: Report = silent) -> list[System]:
    """Systems of the suite `dictionary`: HNSW and a new index at their defaults."""
    return [_graphs(data)[0], *dictionary_systems(data, report)]


def demo_systems(data: EncodedSet, k_queries: Sequence[int]) -> list[System]:
    """Systems of `make demo`: HNSW on floats and on bytes, a new index, features of the shipped head, with codes.

    Args:
        data: The encoded set.
        k_queries: Numbers of query features.
    """
    features = _features(data, 64)
    return [
        *_graphs(data),
        *dictionary_systems(data)[:2],
        *(replace(features, k_query=k) for k in k_queries),
        _rescored(data, "4 bits", 32, 16, 100),
    ]


def subset(data: EncodedSet, documents: int, *, queries: int, seed: int = 0) -> EncodedSet:
    """Sample queries, and documents including all relevant ones.

    Args:
        data: The complete set.
        documents: Number of documents.
        queries: Maximum number of queries.
        seed: Seed of the sampled documents that are not relevant.

    Raises:
        ConnectorError: The set is smaller, or there are more relevant documents.
    """
    judged = data.judged.first(queries)
    row_of = {doc_id: row for row, doc_id in enumerate(data.doc_ids)}
    wanted = {
        row_of[doc_id]
        for grades in judged.qrels.values()
        for doc_id, grade in grades.items()
        if grade and doc_id in row_of
    }
    if not len(wanted) <= documents <= len(data.documents):
        raise ConnectorError(
            f"cannot sample {documents:,} of {data.name}'s {len(data.documents):,} documents, {len(wanted):,} of which "
            "are relevant."
        )
    others = np.setdiff1d(np.arange(len(data.documents)), sorted(wanted))
    drawn = np.random.default_rng(seed).permutation(others)[: documents - len(wanted)]
    rows = np.sort(np.concatenate([np.array(sorted(wanted), dtype=np.int64), drawn]))
    asked = len(judged.queries)
    return replace(
        data,
        documents=tuple(data.documents[row] for row in rows),
        judged=judged,
        document_embeddings=data.document_embeddings[rows],
        query_embeddings=data.query_embeddings[:asked],
        document_vectors=data.document_vectors.take(rows),
        query_vectors=data.query_vectors.take(np.arange(asked)),
    )


def table_4_systems(data: EncodedSet, papers: Mapping[int, EncodedSet]) -> list[System]:
    """Systems of Table 4 of the K-sparse paper: HNSW, the paper's encoders at each k, and the shipped one.

    Args:
        data: The subset, encoded by the shipped encoder.
        papers: The subset, encoded by the paper's encoder for each k.
    """
    systems: list[System] = [_graphs(data)[0]]
    for k, other in papers.items():
        vectors = other.document_vectors, other.query_vectors
        index = f"{PREFIX}-paper-{k}"
        systems.append(RankFeatures(index, other.encoder.fingerprint, k, vectors=vectors, name=f"K-sparse, k = {k}"))
    ours = replace(_features(data, 64), k_query=32, name="ours")
    return [*systems, replace(ours, k_query=16), ours, _rescored(data, "4 bits", 32, 16, 100)]


def query_encoder_systems(data: EncodedSet, asked: EncodedSet) -> list[System]:
    """Systems of the suite `query-encoders`: HNSW and ksparse with queries of the dense model and of a query model.

    Args:
        data: The set, encoded with 64 features per document and 32 per query.
        asked: The same set with the query model's queries.
    """
    systems: list[System] = [_graphs(data)[0], replace(_features(data, 64), k_query=32)]
    systems.append(_rescored(data, "4 bits", 32, 16, 100))
    return [*systems, *(StaticQueries(system, asked) for system in systems)]


def growth_systems(data: EncodedSet, report: Report = silent) -> list[System]:
    """Systems of the suite `growth`: HNSW on floats and on bytes, a new index, features, features with codes.

    The settings of a new index follow from the number of documents, so they are named, for one line in plots.
    """
    features, coded = _features(data, 64), _rescored(data, "4 bits", 32, 32, 100)
    names = ("default", "three times the features, 1000 rescored")
    return [
        *_graphs(data),
        *(replace(system, setting=name) for system, name in zip(dictionary_systems(data, report), names, strict=False)),
        *(replace(features, k_query=k) for k in (16, 32)),
        replace(features, k_query=32, pruning=Pruning("posting_budget", 0.1)),
        *(replace(coded, k_query=k) for k in (8, 16)),
        *(replace(coded, pruning=Pruning("posting_budget", budget)) for budget in (0.04, 0.08)),
    ]
