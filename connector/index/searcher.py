"""Sparse queries to hits."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from opensearchpy import OpenSearch
from opensearchpy.exceptions import NotFoundError, RequestError, TransportError

from connector.connection.client import explained, reason_of, root_cause, version_tuple
from connector.errors import SearchError
from connector.index.derived import restored
from connector.index.guard import IndexGuard
from connector.index.kept import KeptDocuments
from connector.index.point_in_time import point_in_time
from connector.index.schema import read_weight_exponent
from connector.limits import MAX_HITS
from connector.query.body import NO_OPTIONS, SearchOptions, build_query, build_search
from connector.query.hybrid import build_hybrid_query, build_words_query, fuse
from connector.query.rescore import MOST_RESCORED, rescore_all
from connector.types import Hit


class Searcher:
    """Searches one index (or alias) by features.

    Requests name the alias, so that its filter and its routing hold.

    Args:
        client: A ready client.
        index: The index or alias.
        source: Names of the fields to return with each hit, or whether to return all that are stored.
        weight_exponent: What the index's `_meta` says of it; read at the first search if None.
        guard: Checks that the answers to searches by features come from the index whose schema it was given; without
            one, features are searched in whatever the name stands for.
    """

    def __init__(
        self,
        client: OpenSearch,
        index: str,
        *,
        source: Sequence[str] | bool = True,
        weight_exponent: int | None = None,
        guard: IndexGuard | None = None,
    ) -> None:
        self._client = client
        self.index = index
        self._source = source
        self._weight_exponent = weight_exponent
        self._guard = guard
        self._kept = KeptDocuments(client, index, most=MOST_RESCORED)

    def search(
        self,
        features: Mapping[str, float],
        *,
        top_k: int = 10,
        filters: Sequence[Mapping[str, Any]] = (),
        rescore: Mapping[str, Any] | None = None,
        explain: bool = False,
        options: SearchOptions = NO_OPTIONS,
        doc_id: str | None = None,
    ) -> list[Hit]:
        """Return the `top_k` documents with the highest dot product.

        Where codes rescore and the filters keep few documents, all of these are scored by their codes, those that share
        no feature with the query as well.

        Args:
            features: From feature name to weight in the query.
            top_k: Hits asked for, 1 to 10,000.
            filters: Query clauses that a document must match; they don't change its score.
            rescore: How the first hits are scored again (`build_rescore`).
            explain: Fill the `matches` of hits.
            options: What else is asked for.
            doc_id: Return this document alone, if it is among the hits.

        Raises:
            SearchError: There is no such index, the server refuses the query, or the guard finds another schema.
            ClusterError: The server is away or does not permit it.
            ValueError: A feature cannot be searched, or `top_k` is out of range.
        """
        body = self._body(features, top_k, filters, rescore, options, named=explain)
        if doc_id is not None:
            body["query"] = {"bool": {"must": [body["query"]], "filter": [{"ids": {"values": [doc_id]}}]}}
        # Only named clauses are scored by themselves, and older servers do not know the word.
        params = options.params | ({"include_named_queries_score": "true"} if explain else {})
        return options.keep(self._send(body, params, self._guard))

    def search_hybrid(
        self,
        text: str,
        features: Mapping[str, float],
        *,
        weight: float | None = None,
        top_k: int = 10,
        rank_window_size: int = 100,
        filters: Sequence[Mapping[str, Any]] = (),
        rescore: Mapping[str, Any] | None = None,
        options: SearchOptions = NO_OPTIONS,
    ) -> list[Hit]:
        """Return the `top_k` documents by features and BM25 together.

        Args:
            text: Of the query, matched in `title` and `text`.
            features: From feature name to weight in the query.
            weight: If given, hits score the dot product plus `weight` times BM25, in one query; else both rankings are
                fused by reciprocal rank, in one `_msearch` request.
            top_k: Hits asked for.
            rank_window_size: Hits of each ranking that are fused, at least `top_k` and at most 10,000.
            filters: Query clauses that a document must match.
            rescore: How the first hits by features are scored again before they are fused.
            options: What else is asked for.

        Raises:
            SearchError, ClusterError, ValueError: As in `search`.
        """
        if weight is not None:
            query = build_hybrid_query(
                text,
                features,
                weight=weight,
                filters=filters,
                weight_exponent=self._exponent(),
                space=self._space,
            )
            body = build_search(query, top_k=top_k, source=self._source, options=options)
            return options.keep(self._send(body, options.params, self._guard))
        if not top_k <= rank_window_size <= MAX_HITS:
            raise ValueError(
                f"rank_window_size must be between top_k = {top_k} and {MAX_HITS:,}, got {rank_window_size}."
            )
        words = build_words_query(text, filters=filters)
        bodies = [
            self._body(features, rank_window_size, filters, rescore, options),
            build_search(words, top_k=rank_window_size, source=self._source, options=options),
        ]
        return options.keep(fuse(self._send_many(bodies, options.params), top_k=top_k))

    def pages(
        self,
        features: Mapping[str, float],
        *,
        page_size: int = 100,
        filters: Sequence[Mapping[str, Any]] = (),
        options: SearchOptions = NO_OPTIONS,
        keep_alive: str = "5m",
    ) -> Generator[list[Hit], None, None]:
        """Return all documents that share a feature with the query, page by page, best first.

        They come from the index as it was at the first page (a point in time), so none comes twice or is missed,
        whatever is written meanwhile. Close the iterator, or exhaust it, to let the server forget that state.

        Args:
            features: From feature name to weight in the query.
            page_size: Hits of a page, 1 to 10,000.
            filters: Query clauses that a document must match.
            options: What else is asked for.
            keep_alive: How long the server waits for the next page.

        Raises:
            SearchError, ClusterError, ValueError: As in `search`.
        """
        body = self._body(features, page_size, filters, None, options)
        params = options.params | {"keep_alive": keep_alive}
        guard = self._guard
        with self._errors(guard), point_in_time(self._client, self.index, params) as pit:
            body["pit"] = {"id": pit, "keep_alive": keep_alive}
            body["sort"] = [{"_score": "desc"}, {self._tie_breaker(): "asc"}]
            while True:
                # The point in time knows the index, the alias's filter and the routing.
                reply = self._client.search(body=body)
                if guard is not None:
                    guard.check([reply])
                    guard = None  # the further pages are of the same indices
                found = _hits(reply)
                if kept := options.keep(found):
                    yield kept
                if len(found) < page_size or len(kept) < len(found):
                    return
                body["search_after"] = reply["hits"]["hits"][-1]["sort"]

    def scan(self, clause: Mapping[str, Any], *, top_k: int = 10) -> list[Hit]:
        """Return the `top_k` documents by any query clause, such as `build_scan` makes; errors as in `search`."""
        return self._send(build_search(clause, top_k=top_k, source=self._source), {}, None)

    def search_many(
        self,
        queries: Sequence[Mapping[str, float]],
        *,
        top_k: int = 10,
        filters: Sequence[Mapping[str, Any]] = (),
        rescores: Sequence[Mapping[str, Any] | None] = (),
        options: SearchOptions = NO_OPTIONS,
    ) -> list[list[Hit]]:
        """Run several queries in one `_msearch` request; the rest as in `search`.

        A query without features has no hits.
        """
        bodies = [
            self._body(features, top_k, filters, rescore, options)
            for features, rescore in zip(queries, rescores or [None] * len(queries), strict=True)
            if features
        ]
        found = iter(self._send_many(bodies, options.params))
        return [options.keep(next(found)) if features else [] for features in queries]

    def _send(self, body: dict[str, Any], params: Mapping[str, str], guard: IndexGuard | None) -> list[Hit]:
        with self._errors(guard):
            reply = self._client.search(index=self.index, body=body, params=dict(params))
        if guard is not None:
            guard.check([reply])
        return _hits(reply)

    def _send_many(self, bodies: Sequence[dict[str, Any]], params: Mapping[str, str]) -> list[list[Hit]]:
        if not bodies:
            return []
        with self._errors(self._guard):
            lines = [line for body in bodies for line in (dict(params), body)]
            replies = self._client.msearch(index=self.index, body=lines)["responses"]
        errors = [root_cause(reply["error"]) for reply in replies if "error" in reply]
        if self._guard is not None:
            self._guard.recheck() if errors else self._guard.check(replies)
        if errors:
            raise SearchError(f"Index {self.index!r} refuses a query: {errors[0]}")
        return [_hits(reply) for reply in replies]

    @contextmanager
    def _errors(self, guard: IndexGuard | None = None) -> Iterator[None]:
        """Errors of the server become ours; a request that another index would take is an error of the guard's."""
        try:
            with explained(self._client):
                yield
        except TransportError as error:
            if guard is not None and isinstance(error, RequestError):
                guard.recheck()
            raise _search_error(self.index, error) from error

    def _tie_breaker(self) -> str:
        """What orders equal scores: a document's place, where the server knows it (3.3 and later), else its id."""
        with self._errors():
            version = self._client.info()["version"]["number"]
        return "_shard_doc" if version_tuple(version) >= (3, 3) else "_id"

    def _body(
        self,
        features: Mapping[str, float],
        top_k: int,
        filters: Sequence[Mapping[str, Any]],
        rescore: Mapping[str, Any] | None,
        options: SearchOptions,
        *,
        named: bool = False,
    ) -> dict[str, Any]:
        query = build_query(features, filters=filters, weight_exponent=self._exponent(), named=named, space=self._space)
        if rescore is not None and filters:
            with self._errors(self._guard):
                kept = self._kept.few(filters, options.params)
            if kept is not None:
                query, rescore = rescore_all(query, rescore, kept)
        return build_search(query, top_k=top_k, source=self._source, rescore=rescore, options=options)

    @property
    def _space(self) -> str | None:
        return None if self._guard is None else self._guard.space

    def _exponent(self) -> int:
        if self._weight_exponent is None:
            self._weight_exponent = read_weight_exponent(self._client, self.index)
        return self._weight_exponent


def _hits(reply: Mapping[str, Any]) -> list[Hit]:
    return [
        Hit(
            hit["_id"],
            float(hit["_score"]),
            restored(hit.get("_source", {})),
            hit.get("matched_queries", {}),
            highlight=hit.get("highlight", {}),
            index=hit["_index"],
        )
        for hit in reply["hits"]["hits"]
    ]


def _search_error(index: str, error: TransportError) -> Exception:
    if isinstance(error, NotFoundError):
        return SearchError(f"There is no index {index!r}. Create it with `ksparse ingest CORPUS --index {index}`.")
    if isinstance(error, RequestError):
        return SearchError(f"Index {index!r} refuses the query: {reason_of(error)}")
    return SearchError(f"The search in {index!r} failed ({error.status_code}): {reason_of(error)}. Try again.")
