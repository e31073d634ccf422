"""Encode and search for one index of the service."""

from __future__ import annotations

import asyncio
import base64
import math
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby
from typing import Any, NamedTuple, TypeVar

from opensearchpy import OpenSearch
from opensearchpy.exceptions import OpenSearchException

from connector.errors import ClusterError, ConnectorError, EncoderMismatchError, IndexMappingError
from connector.index.bulk_lines import to_features
from connector.limits import MAX_HITS
from connector.query.body import NO_OPTIONS, SearchOptions
from connector.query.filters import Filters, filter_clauses
from connector.query.pruning import Pruning
from connector.query.settings import DEFAULT_SETTINGS, SearchSettings
from connector.search.opened import CANDIDATES_TOP_K, OpenedIndex
from connector.search.retriever import Retriever
from connector.search.sparse_index import SparseIndex
from connector.service.batcher import Batcher
from connector.service.metrics import Metrics
from connector.service.settings import ServiceSettings
from connector.types import SparseVectors

T = TypeVar("T", "QueryVector", "DocumentVector")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class QueryText:
    """A query to encode; None uses the index's default."""

    text: str
    top_k: int = 10
    settings: SearchSettings = DEFAULT_SETTINGS
    alone: bool = False
    """Ignore the codes of the index."""
    filters: Filters = None
    options: SearchOptions = NO_OPTIONS
    clauses: Sequence[Mapping[str, Any]] = ()
    """Further filters, as query clauses that are sent unchanged."""

    def resolved(self, opened: OpenedIndex) -> SearchSettings:
        """Fill in the defaults of the index, as the search will."""
        if self.alone:
            return self.settings.features_alone
        clauses = filter_clauses(self.filters, fields=opened.schema.filterable if self.filters else ())
        return opened.resolve(self.settings, self.top_k, [*clauses, *self.clauses], self.options)

    def asks_server(self, opened: OpenedIndex) -> bool:
        """Whether `resolved` may send requests."""
        if self.alone:
            return False
        if self.filters or self.top_k > CANDIDATES_TOP_K:
            return True
        reach = opened.searcher.reach
        return reach.known_window < MAX_HITS or reach.may_be_narrow(self.clauses, self.options)


class _Resolved(NamedTuple):
    """A query with all settings, and the index that it is encoded for."""

    text: str
    settings: SearchSettings
    opened: OpenedIndex

    @property
    def unpruned(self) -> _Resolved:
        """The query without a budget of postings, for which the server counts documents."""
        pruning = self.settings.pruning
        if pruning is None or pruning.prune_type != "posting_budget":
            return self
        return self._replace(settings=replace(self.settings, pruning=Pruning()))

    def encoded(self) -> QueryVector:
        """Encode the query; errors as in `OpenedIndex.encode`."""
        return QueryVector(*self.opened.encode(self.text, self.settings), self.opened)


class QueryVector(NamedTuple):
    """An encoded query: features, the `rescore` part, and the index when it was encoded."""

    features: dict[str, float]
    rescore: dict[str, Any] | None
    opened: OpenedIndex


class DocumentVector(NamedTuple):
    """An encoded document: stored features as JSON, code in Base64, and the index."""

    features: str
    code: str | None
    opened: OpenedIndex


class ServedIndex:
    """Encodes and searches for one index. Belongs to one event loop.

    Args:
        client: A connected client.
        name: Name of the index or alias.
        settings: Limits.
        metrics: Records batches.
        executors: Executors of queries and of documents, with one thread each, since an encoder uses all cores.

    Raises:
        IndexMappingError: The index does not exist, or ksparse did not create it.
        EncoderError: Its encoder cannot be loaded.
        ClusterError: The server is unreachable or denies access.
    """

    def __init__(
        self,
        client: OpenSearch,
        name: str,
        *,
        settings: ServiceSettings,
        metrics: Metrics,
        executors: tuple[Executor, Executor],
    ) -> None:
        self.index = SparseIndex(name, client=client, encoder=settings.encoder)
        self.retriever = self.index.retriever
        self._opened: OpenedIndex | None = None
        self._learn_window()
        self._checked_s = time.monotonic()
        self._metrics = metrics
        self._settings = settings
        limits = {"max_batch": settings.max_batch, "max_waiting": settings.max_waiting}
        for_queries, for_documents = executors
        self._queries: Batcher[_Resolved, QueryVector] = Batcher(
            self._encode_queries, for_queries, on_batch=metrics.batches.labels("query").observe, **limits
        )
        self._documents: Batcher[str, DocumentVector] = Batcher(
            self._encode_documents, for_documents, on_batch=metrics.batches.labels("document").observe, **limits
        )

    async def encode_queries(self, queries: Sequence[QueryText], *, space: str | None = None) -> list[QueryVector]:
        """Encode queries as searches of the index do.

        Args:
            queries: The queries.
            space: Required space of the vectors; None accepts that of the index.

        Raises:
            EncoderMismatchError: The index now has another space.
            OverloadedError: The queue is full.
            SearchError: A query is empty, too long or has no features, or the index has no codes.
        """

        async def encode() -> list[QueryVector]:
            opened = self.retriever.opened

            def resolve() -> list[_Resolved]:
                return [_Resolved(query.text, query.resolved(opened), opened) for query in queries]

            # What a search reaches and a feature matches is counted by the server; other queries must not wait for it.
            counts = any(query.asks_server(opened) for query in queries)
            resolved = await asyncio.to_thread(resolve) if counts else resolve()
            vectors = await self._queries.submit([query.unpruned for query in resolved])
            if any(query.unpruned is not query for query in resolved):
                vectors = await asyncio.to_thread(lambda: [query.encoded() for query in resolved])
            return vectors

        return await self._within(space, encode)

    async def encode_documents(self, texts: Sequence[str], *, space: str | None = None) -> list[DocumentVector]:
        """Encode documents (title and text joined) as the writer of the index does; otherwise as `encode_queries`."""
        for number, text in enumerate(texts):
            if not text.strip():
                raise ValueError(f"text {number} is empty; there is nothing to encode.")
        if space is None:
            self._checked_s = -math.inf  # features of another encoder would be written into the index
        return await self._within(space, lambda: self._documents.submit(texts))

    async def exists(self) -> bool:
        """Whether the index still exists and is one of ksparse; True if the server does not say."""
        try:
            await self._recheck()
        except IndexMappingError:
            return False
        except (ConnectorError, OpenSearchException):
            pass
        return True

    async def _within(self, space: str | None, encode: Callable[[], Any]) -> list[T]:
        try:
            await self._recheck()
        except ClusterError:
            if space is not None:
                raise
            # Encoding needs no server, and a search will report it.
        vectors: list[T] = await encode()
        while len({vector.opened.schema.space for vector in vectors}) > 1:  # opened again between two batches
            vectors = await encode()
        if space is None or all(vector.opened.schema.space == space for vector in vectors):
            return vectors
        # The index was recreated since it was opened here, or since the caller was set up.
        await self._refresh()
        vectors = await encode()
        for vector in vectors:
            if vector.opened.schema.space != space:
                raise EncoderMismatchError(
                    f"Index {self.index.index!r} has another encoder ({vector.opened.schema.encoder}, space "
                    f"{vector.opened.schema.space}) than the request was set up for (space {space}). Run `ksparse "
                    f"connect {self.index.index}` again."
                )
        return vectors

    async def _recheck(self) -> None:
        if time.monotonic() - self._checked_s > self._settings.recheck_s:
            await self._refresh()

    async def _refresh(self) -> None:
        self._checked_s = time.monotonic()
        try:
            self.retriever = await asyncio.to_thread(self._refreshed)
        except IndexMappingError:
            self._checked_s = -math.inf  # the next request is not encoded for an index that is gone
            raise

    def _refreshed(self) -> Retriever:
        """The retriever of the index, which has opened another one if the index was deleted and created again."""
        retriever = self.index.retriever
        retriever.refresh()
        self._learn_window()
        return retriever

    def _learn_window(self) -> None:
        """Read the largest rescoring window once: others send what is encoded here, so no refusal would show it."""
        opened = self.index.retriever.opened
        if opened is not self._opened:
            self._opened = opened
            opened.searcher.reach.largest_window()

    def _encode_queries(self, batch: list[_Resolved]) -> list[QueryVector | Exception]:
        known = sum((text, said.k_query, said.window) in opened.cache for text, said, opened in batch)
        self._metrics.queries.labels("yes").inc(known)
        self._metrics.queries.labels("no").inc(len(batch) - known)
        for _, group in groupby(sorted(batch, key=_pass_of), key=_pass_of):
            alike = list(group)
            alike[0].opened.encode_ahead([query.text for query in alike], alike[0].settings)
        return [_attempt(query.encoded) for query in batch]

    def _encode_documents(self, batch: list[str]) -> list[DocumentVector | Exception]:
        opened = self.retriever.opened
        vectors = opened.encoder.encode_document(batch, batch_size=self._settings.max_batch)
        scale = 2.0**opened.schema.weight_exponent
        features = vectors.as_mappings()

        def finish(row: int) -> DocumentVector:
            return DocumentVector(to_features(features[row], scale), _code(vectors, row), opened)

        return [_attempt(partial(finish, row)) for row in range(len(batch))]


def _pass_of(query: _Resolved) -> tuple[int, int, int]:
    """What queries of one pass share: the index, opened again after a change, and the settings."""
    return id(query.opened), query.settings.k_query or 0, query.settings.window or 0


def _code(vectors: SparseVectors, row: int) -> str | None:
    return None if vectors.codes is None else base64.b64encode(vectors.codes[row].tobytes()).decode("ascii")


def _attempt(call: Callable[[], R]) -> R | Exception:
    """Return the result or the error, so that one text of a batch does not fail the others."""
    try:
        return call()
    except Exception as error:
        return error
