"""Text to hits: an encoder in front of a searcher."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from opensearchpy import OpenSearch

from connector.errors import SearchError
from connector.index.documents import explain_absence
from connector.index.frequencies import DocumentFrequencies
from connector.index.guard import StaleSchemaError
from connector.index.schema import IndexSchema, existing_schema
from connector.index.searcher import Searcher
from connector.ingest.index_encoder import fitting_encoder
from connector.query.body import SearchOptions
from connector.query.explain import explain_score
from connector.query.pruning import Pruning
from connector.search.opened import OpenedIndex, Setting, features_alone
from connector.types import Hit

if TYPE_CHECKING:
    from connector.encoders.text import TextEncoder

T = TypeVar("T")

_RANK_WINDOW_SIZE = 100
_NOTHING_ELSE = SearchOptions()
_ATTEMPTS = 3
"""Times that a search is made while the index is replaced again and again."""


class Retriever:
    """Searches an index with the encoder that wrote it.

    An alias is searched by its name, so that its filter and its routing hold. Where it names other indices later, or an
    index is made anew under the same name, the retriever goes on with them if the same encoder wrote them, or if the
    cluster keeps their dictionary.

    Every search raises `EncoderMismatchError` if the index has become one of another encoder, `IndexMappingError` if it
    has become none of ours, and `ClusterError` if the server is away or does not permit it.

    Args:
        client: A ready client.
        index: The index, or the alias of those that are searched.
        encoder: Of the fingerprint that the index records, once it has the statistics that the index keeps. None loads
            the one that the index names or keeps.
        source: Names of the fields to return with each hit, or whether to return all that are stored.
        cached_queries: How many of the last single queries are kept encoded, since many are asked again; 0 for none.

    Raises:
        EncoderMismatchError: Another encoder wrote the index.
        IndexMappingError: There is no such index, or it is not one of ours.
        ClusterError: The server is away or does not permit it.
    """

    def __init__(
        self,
        client: OpenSearch,
        index: str,
        encoder: TextEncoder | None = None,
        *,
        source: Sequence[str] | bool = True,
        cached_queries: int = 1_024,
    ) -> None:
        def open_index(schema: IndexSchema, before: TextEncoder | None) -> OpenedIndex:
            fitting = fitting_encoder(client, schema, before)
            return OpenedIndex(client, schema, fitting, source=source, cached_queries=cached_queries)

        self._client = client
        self._open = open_index
        self._opened = open_index(existing_schema(client, index), encoder)

    @property
    def schema(self) -> IndexSchema:
        """What the index says of itself, when it was last read."""
        return self._opened.schema

    @property
    def encoder(self) -> TextEncoder:
        """The encoder, with the statistics that the index keeps."""
        return self._opened.encoder

    @property
    def frequencies(self) -> DocumentFrequencies:
        """The share of the documents that has each feature."""
        return self._opened.frequencies

    @property
    def searcher(self) -> Searcher:
        """Searches the index by features; raises `StaleSchemaError` where it was replaced."""
        return self._opened.searcher

    def search(
        self,
        query: str,
        *,
        top_k: int = 10,
        k_query: int | None = None,
        pruning: Pruning | None = None,
        filters: Sequence[Mapping[str, Any]] = (),
        window: int | None = None,
        explain: bool = False,
        options: SearchOptions = _NOTHING_ELSE,
    ) -> list[Hit]:
        """Return the documents nearest to a query.

        Args:
            query: At most as many tokens as the encoder reads.
            top_k: Hits asked for, 1 to 10,000.
            k_query: Features kept of the query; if None, what the index says of it, or the encoder's own number, or its
                `k_candidates` where hits are rescored and no pruning is asked for: candidates need no order.
            pruning: Which of these are left out; if None, and neither is `k_query` given, what the index says of it.
            filters: Query clauses that a document must match; they don't change its score.
            window: Hits of each shard that are rescored by the index's codes, 0 for none; if None, what the index says
                of it, or 100, and at least ten times `top_k`. Scores are then 1 plus the estimated inner product.
            explain: Keep with each hit why it was found (`Hit.explain`).
            options: What else is asked for: a least score, fields, highlights, routing.

        Raises:
            SearchError: The query is empty or too long, the server refuses it, or a window is asked for and the index
                has no codes.
        """

        def search(opened: OpenedIndex) -> list[Hit]:
            features, rescore = opened.encode(query, opened.setting(k_query, window, top_k, pruning))
            hits = opened.searcher.search(
                features, top_k=top_k, filters=filters, rescore=rescore, explain=explain, options=options
            )
            return [_explained(hit, features, opened.encoder) for hit in hits] if explain else hits

        return self._ask(search)

    def explain(
        self,
        query: str,
        doc_id: str,
        *,
        k_query: int | None = None,
        pruning: Pruning | None = None,
        filters: Sequence[Mapping[str, Any]] = (),
        window: int | None = None,
        options: SearchOptions = _NOTHING_ELSE,
    ) -> Hit:
        """Return one document as a search would, with the reason (`Hit.explain`), however far down it stands.

        Args:
            query: As in `search`, and so are the others.
            doc_id: Of the document.
            k_query: As in `search`.
            pruning: As in `search`.
            filters: As in `search`.
            window: As in `search`.
            options: As in `search`, apart from a least score.

        Raises:
            SearchError: It shares no feature with the query, the filters or the routing leave it out, or it does not
                exist, which includes what an alias hides: the message says which. Or as in `search`.
        """
        found = self.search(
            query,
            top_k=1,
            k_query=k_query,
            pruning=pruning,
            filters=[*filters, {"ids": {"values": [doc_id]}}],
            window=window,
            explain=True,
            options=replace(options, min_score=None),
        )
        if not found:
            why = explain_absence(self._client, self.schema, doc_id, filters=filters, routing=options.routing)
            raise SearchError(why)
        return found[0]

    def search_hybrid(
        self,
        query: str,
        *,
        weight: float | None = None,
        top_k: int = 10,
        k_query: int | None = None,
        pruning: Pruning | None = None,
        filters: Sequence[Mapping[str, Any]] = (),
        window: int | None = None,
        rank_window_size: int | None = None,
        options: SearchOptions = _NOTHING_ELSE,
    ) -> list[Hit]:
        """Return the nearest documents by meaning and by words (BM25 over `title` and `text`) together.

        Args:
            query: As in `search`.
            weight: If given, hits score the dot product plus `weight` times BM25, in one query without codes; 0.005 to
                0.05 is a start. Else both rankings are fused by reciprocal rank, which needs no weight.
            top_k: Hits asked for.
            k_query: As in `search`.
            pruning: As in `search`.
            filters: As in `search`.
            window: As in `search`; not with a weight.
            rank_window_size: Hits of each of the two rankings that are fused, `top_k` to 10,000; if None, 100, and at
                least `top_k` and as many as are rescored. Not with a weight.
            options: What else is asked for.

        Raises:
            SearchError: As in `search`.
            ValueError: `rank_window_size` is out of range, or it or a window is given together with a weight.
        """
        if weight is not None and (window or rank_window_size is not None):
            raise ValueError("a weight makes one query of both; leave window and rank_window_size out.")

        def search(opened: OpenedIndex) -> list[Hit]:
            by_weight = weight is not None
            setting = features_alone(k_query, pruning) if by_weight else opened.setting(k_query, window, top_k, pruning)
            depth = max(setting.window or _RANK_WINDOW_SIZE, top_k)
            features, rescore = opened.encode(query, setting)
            return opened.searcher.search_hybrid(
                query,
                features,
                weight=weight,
                top_k=top_k,
                rank_window_size=depth if rank_window_size is None else rank_window_size,
                filters=filters,
                rescore=rescore,
                options=options,
            )

        return self._ask(search)

    def pages(
        self,
        query: str,
        *,
        page_size: int = 100,
        k_query: int | None = None,
        pruning: Pruning | None = None,
        filters: Sequence[Mapping[str, Any]] = (),
        options: SearchOptions = _NOTHING_ELSE,
    ) -> Iterator[list[Hit]]:
        """Return all documents that share a feature with the query, page by page, best first by features alone.

        They come from the index as it was at the first page (`Searcher.pages`); the rest as in `search`.
        """
        setting = features_alone(k_query, pruning)
        self._opened.encode(query, setting)  # refuses a query before the first page is asked for

        def first(opened: OpenedIndex) -> tuple[list[Hit], Generator[list[Hit], None, None]]:
            features, _ = opened.encode(query, setting)
            pages = opened.searcher.pages(features, page_size=page_size, filters=filters, options=options)
            return next(pages, []), pages

        def all_pages() -> Iterator[list[Hit]]:
            page, others = self._ask(first)
            with closing(others):
                if page:
                    yield page
                yield from others

        return all_pages()

    def search_many(
        self,
        queries: Iterable[str],
        *,
        top_k: int = 10,
        k_query: int | None = None,
        pruning: Pruning | None = None,
        filters: Sequence[Mapping[str, Any]] = (),
        window: int | None = None,
        options: SearchOptions = _NOTHING_ELSE,
        queries_per_request: int = 64,
    ) -> list[list[Hit]]:
        """Search many queries by `_msearch`; one that is too long is cut as a document would be."""
        texts = list(queries)

        def search(opened: OpenedIndex) -> list[list[Hit]]:
            features, rescores = opened.encode_many(texts, opened.setting(k_query, window, top_k, pruning))
            found: list[list[Hit]] = []
            for start in range(0, len(features), queries_per_request):
                rows = slice(start, start + queries_per_request)
                found += opened.searcher.search_many(
                    features[rows], top_k=top_k, filters=filters, rescores=rescores[rows], options=options
                )
            return found

        return self._ask(search)

    def defaults(self, top_k: int = 10) -> Setting:
        """How a search is made that says nothing of it; `k_query` None for all features."""
        setting = self._opened.setting(None, None, top_k, None)
        return setting._replace(k_query=setting.k_query or self.encoder.k_query)

    @property
    def opened(self) -> OpenedIndex:
        """The index as its schema was last read, and the encoder that goes with it."""
        return self._opened

    def refresh(self) -> None:
        """Read the schema again, and open the index anew where it has another one: other features, fields or settings.

        Raises:
            EncoderMismatchError: Another encoder writes it now.
            IndexMappingError: It is gone, or not one of ours.
            ClusterError: The server is away or does not permit it.
        """
        schema = existing_schema(self._client, self._opened.schema.index)
        if (schema.space, schema.names) != (self.schema.space, self.schema.names):
            self._opened = self._open(schema, self.encoder)

    def _ask(self, search: Callable[[OpenedIndex], T]) -> T:
        """Search, and once more by the new schema where the index was replaced meanwhile."""
        for _ in range(_ATTEMPTS - 1):
            try:
                return search(self._opened)
            except StaleSchemaError as stale:
                self._opened = self._open(stale.schema, self.encoder)
        return search(self._opened)


def _explained(hit: Hit, features: Mapping[str, float], encoder: TextEncoder) -> Hit:
    return replace(hit, explanation=explain_score(hit.score, hit.matches, features, encoder.label))
