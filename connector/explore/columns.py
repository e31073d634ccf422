"""Run one query with several methods and compare hits and latencies."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from statistics import median
from threading import Lock
from time import perf_counter
from typing import Any, NamedTuple

from opensearchpy import OpenSearch

from connector.errors import ConnectorError
from connector.explore.hnsw import HnswIndex
from connector.index.searcher import Searcher
from connector.index.sizes import count_matching
from connector.query.body import check_text, parse_filter
from connector.query.hybrid import build_words_query
from connector.query.settings import SearchSettings
from connector.search.retriever import Retriever
from connector.types import Hit

TOP_K = 10
ROUNDS = 5
_MAX_K_QUERY = 64
_MAX_WINDOW = 500

Search = Callable[[], list[Hit]]


class Place(NamedTuple):
    """A rank in another column."""

    column: str
    rank: int


class QueryFeature(NamedTuple):
    """A query feature: name in the index, label (may be empty), weight."""

    name: str
    label: str
    weight: float


class Row(NamedTuple):
    """A hit with its ranks in other columns."""

    hit: Hit
    elsewhere: tuple[Place, ...]


@dataclass(frozen=True, slots=True)
class Column:
    """The result of one method.

    Attributes:
        name: Name of the method.
        how: Its settings.
        rows: Hits, best first.
        latency_ms: Median of `ROUNDS` requests; 0 after an error.
        error: Error message; empty without an error.
    """

    name: str
    how: str
    rows: tuple[Row, ...]
    latency_ms: float
    error: str = ""


@dataclass(frozen=True, slots=True)
class Question:
    """A question of the user.

    Attributes:
        text: The query.
        settings: Query features, rescoring window and pruning.
        filter: NAME=VALUE, or empty.
    """

    text: str
    settings: SearchSettings
    filter: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to a question.

    Attributes:
        documents: Number of documents in the index.
        encoding_ms: Time to encode the query.
        features: Query features of the K-sparse search, strongest first.
        columns: Columns in display order.
    """

    documents: int
    encoding_ms: float
    features: tuple[QueryFeature, ...]
    columns: tuple[Column, ...]


class Explorer:
    """Searches one index with several methods.

    Args:
        client: A connected client.
        retriever: Retriever of the index.
        hnsw: Its complete HNSW index; None disables HNSW.
    """

    def __init__(self, client: OpenSearch, retriever: Retriever, hnsw: HnswIndex | None = None) -> None:
        self.retriever = retriever
        self.hnsw = hnsw
        self._client = client
        defaults = retriever.defaults(TOP_K)
        # An encoder may keep all features; a slider needs a maximum.
        k_query = defaults.k_query or _MAX_K_QUERY
        self.defaults = replace(defaults, k_query=k_query)
        self.max_k_query = max(_MAX_K_QUERY, k_query, retriever.encoder.k_query or 0)
        self.max_window = max(_MAX_WINDOW, defaults.window or 0) if retriever.encoder.code is not None else 0
        self._words = Searcher(client, retriever.schema.index)
        self._one_at_a_time = Lock()

    def ask(self, question: Question) -> Answer:
        """Search with every method and measure latencies.

        Raises:
            ConnectorError: The query is empty or too long, or the server is unreachable or rejects it.
            ValueError: The filter is not of the form NAME=VALUE.
        """
        check_text(question.text)
        fields = self.retriever.schema.filterable
        settings = question.settings
        if settings.k_query != self.defaults.k_query:
            settings = replace(settings, pruning=None)  # the stored budget applies to another number of features
        asked: dict[str, Any] = {"top_k": TOP_K, "settings": settings}
        asked["filters"] = [parse_filter(question.filter, fields=fields)] if question.filter else []
        # Concurrent questions would distort each other's latencies.
        with self._one_at_a_time:
            # A separate search, since explaining is slower; it also puts the encoded query into the cache.
            explained = self.retriever.search(question.text, explain=True, **asked)
            opened = self.retriever.opened
            resolved = opened.resolve(settings, TOP_K, asked["filters"])
            started = perf_counter()
            [features], _ = opened.encode_many([question.text], resolved)  # as a search does, without its cache
            encoding_ms = 1e3 * (perf_counter() - started)
            return Answer(
                count_matching(self._client, self.retriever.schema.index),
                encoding_ms,
                tuple(QueryFeature(name, opened.encoder.label(name), features[name]) for name in features),
                self._columns(question, asked, explained),
            )

    def _columns(self, question: Question, asked: dict[str, Any], explained: Sequence[Hit]) -> tuple[Column, ...]:
        ways: dict[str, Search] = {"K-sparse": partial(self.retriever.search, question.text, **asked)}
        filters = asked["filters"]
        if self.hnsw is not None:
            [embedding] = self.retriever.encoder.embed([question.text], task="query")
            ways["HNSW"] = partial(self.hnsw.search, embedding, top_k=TOP_K, filters=filters)
        words = build_words_query(question.text, filters=filters)
        ways["BM25"] = partial(self._words.scan, words, top_k=TOP_K)
        ways["Hybrid"] = partial(self.retriever.search_hybrid, question.text, **asked)
        found = _in_turns(ways)
        # The same hits, with explanations.
        found["K-sparse"] = found["K-sparse"]._replace(hits=explained)
        rescored = f", {question.settings.window} rescored" if question.settings.window else ""
        features = f"{question.settings.k_query} features{rescored}"
        how = {"K-sparse": features, "HNSW": "dense embeddings", "BM25": "words", "Hybrid": f"BM25 and {features}"}
        ranks = {
            name: {hit.doc_id: rank for rank, hit in enumerate(each.hits, start=1)} for name, each in found.items()
        }
        return tuple(
            Column(
                name,
                how[name],
                tuple(Row(hit, _elsewhere(hit.doc_id, name, ranks)) for hit in each.hits),
                each.latency_ms,
                each.error,
            )
            for name, each in found.items()
        )


class _Found(NamedTuple):
    hits: Sequence[Hit] = ()
    latency_ms: float = 0.0
    error: str = ""


def _in_turns(ways: Mapping[str, Search]) -> dict[str, _Found]:
    """Hits and median latency of each method; the first round is a warm-up."""
    found, times = {name: _Found() for name in ways}, {name: list[float]() for name in ways}
    for _ in range(1 + ROUNDS):
        for name, search in ways.items():
            if found[name].error:
                continue
            started = perf_counter()
            try:
                found[name] = _Found(search())
            except ConnectorError as error:
                found[name] = _Found(error=str(error))
            times[name].append(1e3 * (perf_counter() - started))
    return {
        name: each if each.error else each._replace(latency_ms=median(times[name][1:])) for name, each in found.items()
    }


def _elsewhere(doc_id: str, own: str, ranks: Mapping[str, Mapping[str, int]]) -> tuple[Place, ...]:
    return tuple(Place(name, rank[doc_id]) for name, rank in ranks.items() if name != own and doc_id in rank)
