"""Search by features: request, reply, hits."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from typing import Any

from opensearchpy import OpenSearch

from connector.index.complete import check_whole
from connector.index.guard import IndexGuard
from connector.index.point_in_time import point_in_time, tie_breakers
from connector.index.reach import Reach
from connector.index.schema import read_weight_exponent
from connector.index.sender import Sender
from connector.limits import MAX_HITS
from connector.query.body import NO_OPTIONS, SearchOptions, build_query, build_search, check_top_k
from connector.query.hybrid import build_hybrid_query, build_words_query, fuse
from connector.query.rescore import rescore_all
from connector.types import Hit


class Searcher:
    """Searches one index (or alias) by features.

    Requests name the alias, so that its filter and routing apply.

    Args:
        client: A connected client.
        index: The index or alias.
        source: Names of the fields to return with each hit, or whether to return all stored fields.
        weight_exponent: The weight exponent of the index; None reads it at the first search.
        guard: Checks that replies come from the index with the expected schema; None disables the check.
        scan_limit: As for `Reach`.
    """

    def __init__(
        self,
        client: OpenSearch,
        index: str,
        *,
        source: Sequence[str] | bool = True,
        weight_exponent: int | None = None,
        guard: IndexGuard | None = None,
        scan_limit: int = 0,
    ) -> None:
        self._client = client
        self.index = index
        self._source = source
        self._weight_exponent = weight_exponent
        self._sender = Sender(client, index, guard)
        self.reach = Reach(self._sender, scan_limit)

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

        Where codes rescore and the search reaches few documents (`Reach.scored`), all of these are scored by their
        codes, those that share no feature with the query as well.

        Args:
            features: Query weight of each feature name.
            top_k: Number of hits, 1 to 10,000.
            filters: Query clauses that a document must match; they do not change its score.
            rescore: The `rescore` part of the body (`build_rescore`).
            explain: Fill `matches` of the hits.
            options: Further parameters.
            doc_id: Return only this document, if it is among the hits.

        Raises:
            SearchError: The index does not exist, the server rejects the query, or the guard finds another schema.
            ClusterError: The server is unreachable or denies access.
            ValueError: A feature is invalid, or `top_k` is out of range.
        """
        body = self._body(features, top_k, filters, rescore, options, named=explain)
        if doc_id is not None:
            body["query"] = {"bool": {"must": [body["query"]], "filter": [{"ids": {"values": [doc_id]}}]}}
        # Only named clauses need single scores, and older servers do not support the parameter.
        params = options.params | ({"include_named_queries_score": "true"} if explain else {})
        return options.keep(self._sender.send(body, params, filters))

    def search_hybrid(
        self,
        text: str,
        features: Mapping[str, float],
        *,
        weight: float | None = None,
        alpha: float = 0.5,
        top_k: int = 10,
        rank_window_size: int = 100,
        filters: Sequence[Mapping[str, Any]] = (),
        rescore: Mapping[str, Any] | None = None,
        options: SearchOptions = NO_OPTIONS,
    ) -> list[Hit]:
        """Return the `top_k` documents by features and BM25 combined.

        Args:
            text: The query text, matched in `title` and `text`.
            features: Query weight of each feature name.
            weight: If set, the score is the dot product plus `weight` times BM25, in one query; otherwise the scores of
                two rankings are normalized and averaged (`fuse`), in one `_msearch` request.
            alpha: Weight of the ranking by features in the mean, 0 to 1; BM25 has the rest.
            top_k: Number of hits.
            rank_window_size: Hits of each ranking to fuse, `top_k` to 10,000.
            filters: Query clauses that a document must match.
            rescore: The `rescore` part for the hits by features, applied before fusion.
            options: Further parameters.

        Raises:
            SearchError, ClusterError, ValueError: As in `search`.
        """
        if weight is not None:
            query = build_hybrid_query(
                text, features, weight=weight, filters=filters, weight_exponent=self._exponent(), space=self._space
            )
            body = build_search(query, top_k=top_k, source=self._source, options=options)
            return options.keep(self._sender.send(body, options.params, filters))
        if not 0 <= alpha <= 1:
            raise ValueError(f"alpha must be between 0 (BM25 alone) and 1 (features alone), got {alpha}.")
        if not top_k <= rank_window_size <= MAX_HITS:
            raise ValueError(
                f"rank_window_size must be between top_k = {top_k} and {MAX_HITS:,}, got {rank_window_size}."
            )
        words = build_words_query(text, filters=filters)
        bodies = [
            self._body(features, rank_window_size, filters, rescore, options),
            build_search(words, top_k=rank_window_size, source=self._source, options=options),
        ]
        found = self._sender.send_many(bodies, options.params, filters, by_features=1)
        return options.keep(fuse(found, top_k=top_k, weights=(alpha, 1 - alpha)))

    def pages(
        self,
        features: Mapping[str, float],
        *,
        page_size: int = 100,
        filters: Sequence[Mapping[str, Any]] = (),
        options: SearchOptions = NO_OPTIONS,
        keep_alive: str = "5m",
    ) -> Generator[list[Hit], None, None]:
        """Yield all documents that share a feature with the query, page by page, best first.

        A point in time keeps the state of the first page, so concurrent writes neither repeat nor hide documents.
        Close or exhaust the iterator to release it.

        Args:
            features: Query weight of each feature name.
            page_size: Hits per page, 1 to 10,000.
            filters: Query clauses that a document must match.
            options: Further parameters.
            keep_alive: How long the server keeps the point in time between two pages.

        Raises:
            SearchError, ClusterError, ValueError: As in `search`.
        """
        check_top_k(page_size, "page_size")
        body = self._body(features, page_size, filters, None, options)
        params = options.params | {"keep_alive": keep_alive}
        with self._sender.errors(), point_in_time(self._client, self.index, params) as pit:
            body["pit"] = {"id": pit, "keep_alive": keep_alive}
            body["sort"] = [{"_score": "desc"}, *({name: "asc"} for name in tie_breakers(self._client))]
            while True:
                # The point in time includes the index, the alias's filter and the routing.
                reply = self._client.search(body=body)
                first = "search_after" not in body  # later pages come from the same indices
                found = self._sender.hits_of(reply, filters if first else (), guarded=first)
                check_whole(self.index, reply)
                if kept := options.keep(found):
                    yield kept
                if len(found) < page_size or len(kept) < len(found):
                    return
                body["search_after"] = reply["hits"]["hits"][-1]["sort"]

    def scan(self, clause: Mapping[str, Any], *, top_k: int = 10) -> list[Hit]:
        """Return the `top_k` documents by any query clause, e.g. of `build_scan`; errors as in `search`."""
        return self._sender.send(build_search(clause, top_k=top_k, source=self._source), {}, guarded=False)

    def search_many(
        self,
        queries: Sequence[Mapping[str, float]],
        *,
        top_k: int = 10,
        filters: Sequence[Mapping[str, Any]] = (),
        rescores: Sequence[Mapping[str, Any] | None] = (),
        options: SearchOptions = NO_OPTIONS,
    ) -> list[list[Hit]]:
        """Run several queries in one `_msearch` request; otherwise as `search`.

        A query without features has no hits.
        """
        bodies = [
            self._body(features, top_k, filters, rescore, options)
            for features, rescore in zip(queries, rescores or [None] * len(queries), strict=True)
            if features
        ]
        found = iter(self._sender.send_many(bodies, options.params, filters, by_features=len(bodies)))
        return [options.keep(next(found)) if features else [] for features in queries]

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
        if rescore is not None:
            query, rescore = self.scanned(query, rescore, filters, options)
        return build_search(query, top_k=top_k, source=self._source, rescore=rescore, options=options)

    def scanned(
        self,
        query: dict[str, Any],
        rescore: Mapping[str, Any],
        filters: Sequence[Mapping[str, Any]] = (),
        options: SearchOptions = NO_OPTIONS,
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Make a rescored query score all documents that it reaches by their codes if these are few.

        At most as many are scored as the index permits (`index.max_rescore_window`).

        Args:
            query: The query (`build_query`).
            rescore: Its `rescore` part.
            filters: Filters of the query, or of those that enclose it.
            options: Options of the search.

        Raises:
            SearchError, ClusterError: As for `search`.
        """
        kept = self.reach.scored(filters, options)
        if kept is None:
            return query, dict(rescore)
        return rescore_all(query, rescore, kept, self.reach.largest_window())

    @property
    def _space(self) -> str | None:
        return None if self._sender.guard is None else self._sender.guard.space

    def _exponent(self) -> int:
        if self._weight_exponent is None:
            self._weight_exponent = read_weight_exponent(self._client, self.index)
        return self._weight_exponent
