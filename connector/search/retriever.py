"""Search by text: encode the query, build the request, return hits."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING, Any

from opensearchpy import OpenSearch

from connector.corpus.values import to_id
from connector.errors import SearchError
from connector.index.documents import explain_absence
from connector.index.schema import IndexSchema
from connector.query.body import NO_OPTIONS, SearchOptions
from connector.query.settings import DEFAULT_SETTINGS, SearchSettings
from connector.search.current import CurrentIndex
from connector.search.opened import OpenedIndex
from connector.types import Hit

if TYPE_CHECKING:
    from connector.encoders.text import TextEncoder

_RANK_WINDOW_SIZE = 100
_ALPHA = 0.5


class Retriever:
    """Searches an index with the encoder that wrote it.

    An alias is searched by its name, so its filter and routing apply. If the alias or index is replaced, searches
    continue in the new index if the same encoder wrote it, if the cluster stores its dictionary, or if no `encoder` is
    given. Otherwise they raise `EncoderMismatchError`, `IndexMappingError` (not an index of ksparse) or `ClusterError`
    (server unreachable).

    Args:
        client: A connected client.
        index: The index or alias.
        encoder: The encoder that wrote the index; None loads the one that the index names or stores.
        source: Names of the fields to return with each hit, or whether to return all stored fields.
        cached_queries: Capacity of the cache of encoded queries; 0 disables it.
        known: A loaded encoder to use without `encoder`, as long as it is that of the index.

    Raises:
        EncoderMismatchError: Another encoder wrote the index.
        IndexMappingError: The index does not exist, or ksparse did not create it.
        ClusterError: The server is unreachable or denies access.
    """

    def __init__(
        self,
        client: OpenSearch,
        index: str,
        encoder: TextEncoder | None = None,
        *,
        source: Sequence[str] | bool = True,
        cached_queries: int = 1_024,
        known: TextEncoder | None = None,
    ) -> None:
        self._client = client
        self._index = CurrentIndex(client, index, encoder, source=source, cached_queries=cached_queries, known=known)

    @property
    def schema(self) -> IndexSchema:
        """The schema of the index when it was last read."""
        return self.opened.schema

    @property
    def encoder(self) -> TextEncoder:
        """The encoder, calibrated with the statistics stored in the index."""
        return self.opened.encoder

    def search(
        self,
        query: str,
        *,
        top_k: int = 10,
        settings: SearchSettings = DEFAULT_SETTINGS,
        filters: Sequence[Mapping[str, Any]] = (),
        explain: bool = False,
        options: SearchOptions = NO_OPTIONS,
    ) -> list[Hit]:
        """Return the documents most similar to a query.

        Args:
            query: The query text; it must fit into the encoder's maximum length.
            top_k: Number of hits, 1 to 10,000.
            settings: Without `k_query`, the settings that the index stores apply, then the encoder's own number of
                features, or its `k_candidates` where hits are rescored and nothing is pruned: candidates need no order.
                They grow with a `top_k` above 10. Without `window`, at least ten times `top_k` hits are rescored where
                the index has codes, as far as it permits (`index.max_rescore_window`); their scores are 1 plus the
                estimated inner product.
            filters: Filters that a document must match; they do not change scores. Where codes rescore, narrow filters,
                a routing and an alias that hides documents search more features. If at most 5,000 documents are left,
                or are in an index without a dictionary, codes score all of them.
            explain: Store the contribution of each feature with each hit (`Hit.explain`).
            options: Minimum score, returned fields, highlighting, routing.

        Raises:
            SearchError: The query is empty or too long, the server rejects it, or a window is set and the index has
                no codes.
        """
        asked: dict[str, Any] = {"top_k": top_k, "filters": filters, "explain": explain, "options": options}
        return self._index.ask(lambda opened: opened.search(query, settings, **asked))

    def explain(
        self,
        query: str,
        doc_id: str,
        *,
        settings: SearchSettings = DEFAULT_SETTINGS,
        filters: Sequence[Mapping[str, Any]] = (),
        options: SearchOptions = NO_OPTIONS,
    ) -> Hit:
        """Return one document as a hit with its explanation (`Hit.explain`), whatever its rank and score.

        Raises:
            SearchError: The document shares no feature with the query, filters or routing exclude it, or it does not
                exist (or the alias hides it); the message says which. Or as in `search`.
            ValueError: `doc_id` is not an id.
        """
        doc_id = to_id(doc_id)
        asked: dict[str, Any] = {"filters": filters, "options": replace(options, min_score=None), "doc_id": doc_id}
        found = self._index.ask(lambda opened: opened.search(query, settings, top_k=1, explain=True, **asked))
        if not found:
            why = explain_absence(self._client, self.schema, doc_id, filters=filters, routing=options.routing)
            raise SearchError(why)
        return found[0]

    def search_hybrid(
        self,
        query: str,
        *,
        bm25_weight: float | None = None,
        alpha: float | None = None,
        top_k: int = 10,
        settings: SearchSettings = DEFAULT_SETTINGS,
        filters: Sequence[Mapping[str, Any]] = (),
        options: SearchOptions = NO_OPTIONS,
    ) -> list[Hit]:
        """Combine sparse search with BM25 over `title` and `text`.

        Args:
            query: As in `search`.
            bm25_weight: If set, the score is the dot product plus this weight times BM25, in one query without
                rescoring; start with 0.005 to 0.05. Otherwise the scores of both rankings are normalized to 0 to 1 and
                averaged, as OpenSearch's normalization processor does by default.
            alpha: Weight of the sparse ranking in this mean, 0 to 1; BM25 has the rest. None means 0.5.
            top_k: Number of hits.
            settings: As in `search`. Without `rank_window_size` (`top_k` to 10,000), 100 hits of each ranking are
                fused, but no more than are rescored, and at least `top_k`; with it, at least as many are rescored
                unless `window` is set. With a weight neither applies.
            filters: As in `search`.
            options: As in `search`.

        Raises:
            SearchError: As in `search`.
            ValueError: `rank_window_size` or `alpha` is out of range, or `bm25_weight` is combined with one of these or
                with a window.
        """
        weighted = bm25_weight is not None
        if weighted and (settings.window or settings.rank_window_size is not None or alpha is not None):
            raise ValueError("bm25_weight adds both scores in one query; leave alpha, window and rank_window_size out.")

        def search(opened: OpenedIndex) -> list[Hit]:
            resolved = settings.features_alone if weighted else opened.resolve(settings, top_k, filters, options)
            depth = min(resolved.window or _RANK_WINDOW_SIZE, _RANK_WINDOW_SIZE)
            depth = max(opened.searcher.reach.default_window(depth), top_k)
            features, rescore = opened.encode(query, resolved)
            return opened.searcher.search_hybrid(
                query,
                features,
                weight=bm25_weight,
                alpha=_ALPHA if alpha is None else alpha,
                top_k=top_k,
                rank_window_size=depth if settings.rank_window_size is None else settings.rank_window_size,
                filters=filters,
                rescore=rescore,
                options=options,
            )

        return self._index.ask(search)

    def pages(
        self,
        query: str,
        *,
        page_size: int = 100,
        settings: SearchSettings = DEFAULT_SETTINGS,
        filters: Sequence[Mapping[str, Any]] = (),
        options: SearchOptions = NO_OPTIONS,
    ) -> Iterator[list[Hit]]:
        """Yield all documents that share a feature with the query, page by page, best first, from one snapshot."""
        alone = settings.features_alone
        self.opened.encode(query, alone)  # refuse an invalid query before the first page

        def first(opened: OpenedIndex) -> tuple[list[Hit], Generator[list[Hit], None, None]]:
            features, _ = opened.encode(query, alone)
            pages = opened.searcher.pages(features, page_size=page_size, filters=filters, options=options)
            return next(pages, []), pages

        def all_pages() -> Iterator[list[Hit]]:
            page, others = self._index.ask(first)
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
        settings: SearchSettings = DEFAULT_SETTINGS,
        filters: Sequence[Mapping[str, Any]] = (),
        options: SearchOptions = NO_OPTIONS,
        queries_per_request: int = 64,
    ) -> list[list[Hit]]:
        """Search many queries with `_msearch`; queries that are too long are truncated.

        Args:
            queries: The query texts.
            top_k: As in `search`.
            settings: As in `search`.
            filters: As in `search`.
            options: As in `search`.
            queries_per_request: Queries per request, at least 1.

        Raises:
            SearchError: As in `search`; one empty query refuses all.
            ValueError: A single query is given instead of a list, a query is no string, or `queries_per_request` is
                below 1.
        """
        if isinstance(queries, str):
            raise ValueError(f"queries must be a list of queries, got {queries!r}; pass [{queries!r}].")
        if queries_per_request < 1:
            raise ValueError(f"queries_per_request must be at least 1, got {queries_per_request}.")
        texts = list(queries)

        def search(opened: OpenedIndex) -> list[list[Hit]]:
            features, rescores = opened.encode_many(texts, opened.resolve(settings, top_k, filters, options))
            asked: dict[str, Any] = {"top_k": top_k, "filters": filters, "options": options}
            starts = range(0, len(features), queries_per_request)
            parts = (slice(start, start + queries_per_request) for start in starts)
            searched = (opened.searcher.search_many(features[at], rescores=rescores[at], **asked) for at in parts)
            return list(chain.from_iterable(searched))

        return self._index.ask(search)

    def defaults(self, top_k: int = 10) -> SearchSettings:
        """The settings of a search without `settings`; `k_query` None means all features."""
        self.opened.searcher.reach.largest_window()  # a search would learn it from the server's error
        settings = self.opened.resolve(DEFAULT_SETTINGS, top_k)
        return replace(settings, k_query=settings.k_query or self.encoder.k_query)

    @property
    def opened(self) -> OpenedIndex:
        """The index with its current schema."""
        return self._index.opened

    def refresh(self) -> None:
        """Read the schema again and reopen the index if the schema changed.

        Raises:
            EncoderMismatchError: The index now belongs to another encoder.
            IndexMappingError: The index no longer exists, or ksparse did not create it.
            ClusterError: The server is unreachable or denies access.
        """
        self._index.refresh()
