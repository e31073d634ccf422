"""Sparse queries to hits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from opensearchpy import OpenSearch
from opensearchpy.exceptions import NotFoundError, RequestError, TransportError

from connector.errors import SearchError
from connector.guided import build_guided_search
from connector.index.client import explained, reason_of, root_cause
from connector.index.schema import read_weight_exponent
from connector.query import build_query, build_search
from connector.types import Hit


class Searcher:
    """Searches one index (or alias) by features.

    Args:
        client: A ready client.
        index: The index or alias.
        source: Fields to return with each hit.
        weight_exponent: What the index's `_meta` says of it; read at the first search if None.
    """

    def __init__(
        self,
        client: OpenSearch,
        index: str,
        *,
        source: Sequence[str] | bool = ("title", "text", "metadata"),
        weight_exponent: int | None = None,
    ) -> None:
        self._client = client
        self.index = index
        self._source = source
        self._weight_exponent = weight_exponent

    def search(
        self,
        features: Mapping[str, float],
        *,
        top_k: int = 10,
        filters: Sequence[Mapping[str, Any]] = (),
        rescore: Mapping[str, Any] | None = None,
    ) -> list[Hit]:
        """Return the `top_k` documents with the highest dot product.

        Args:
            features: From feature name to weight in the query.
            top_k: Hits asked for, 1 to 10,000.
            filters: Query clauses that a document must match; they don't change its score.
            rescore: How the first hits are scored again (`build_rescore`).

        Raises:
            SearchError: There is no such index, or the server refuses the query.
            ClusterError: The server is away or does not permit it.
            ValueError: A feature cannot be searched, or `top_k` is out of range.
        """
        return self._send(self._body(features, top_k, filters, rescore))

    def search_guided(
        self,
        text: str,
        features: Mapping[str, float],
        *,
        top_k: int = 10,
        window: int = 100,
        filters: Sequence[Mapping[str, Any]] = (),
    ) -> list[Hit]:
        """Return the `top_k` of the first `window` documents by BM25 that have the highest dot product.

        Arguments as of `build_guided_search`, errors as in `search`.
        """
        body = build_guided_search(
            text,
            features,
            top_k=top_k,
            window=window,
            filters=filters,
            source=self._source,
            weight_exponent=self._exponent(),
        )
        return self._send(body)

    def scan(self, clause: Mapping[str, Any], *, top_k: int = 10) -> list[Hit]:
        """Return the `top_k` documents by any query clause, such as `build_scan` makes; errors as in `search`."""
        return self._send(build_search(clause, top_k=top_k, source=self._source))

    def search_many(
        self,
        queries: Sequence[Mapping[str, float]],
        *,
        top_k: int = 10,
        filters: Sequence[Mapping[str, Any]] = (),
        rescores: Sequence[Mapping[str, Any] | None] = (),
    ) -> list[list[Hit]]:
        """Run several queries in one `_msearch` request; the rest as in `search`.

        A query without features has no hits.
        """
        lines: list[dict[str, Any]] = []
        asked = [bool(features) for features in queries]
        for features, rescore in zip(queries, rescores or [None] * len(queries), strict=True):
            if features:
                lines += [{}, self._body(features, top_k, filters, rescore)]
        if not lines:
            return [[] for _ in queries]
        try:
            with explained(self._client):
                replies = iter(self._client.msearch(index=self.index, body=lines)["responses"])
        except TransportError as error:
            raise _search_error(self.index, error) from error
        found: list[list[Hit]] = []
        for has_features in asked:
            reply = next(replies) if has_features else {"hits": {"hits": []}}
            if "error" in reply:
                raise SearchError(f"Index {self.index!r} refuses a query: {root_cause(reply['error'])}")
            found.append(_hits(reply))
        return found

    def _send(self, body: dict[str, Any]) -> list[Hit]:
        try:
            with explained(self._client):
                reply = self._client.search(index=self.index, body=body)
        except TransportError as error:
            raise _search_error(self.index, error) from error
        return _hits(reply)

    def _body(
        self,
        features: Mapping[str, float],
        top_k: int,
        filters: Sequence[Mapping[str, Any]],
        rescore: Mapping[str, Any] | None,
    ) -> dict[str, Any]:
        query = build_query(features, filters=filters, weight_exponent=self._exponent())
        return build_search(query, top_k=top_k, source=self._source, rescore=rescore)

    def _exponent(self) -> int:
        if self._weight_exponent is None:
            self._weight_exponent = read_weight_exponent(self._client, self.index)
        return self._weight_exponent


def _hits(reply: Mapping[str, Any]) -> list[Hit]:
    return [Hit(hit["_id"], float(hit["_score"]), hit.get("_source", {})) for hit in reply["hits"]["hits"]]


def _search_error(index: str, error: TransportError) -> Exception:
    if isinstance(error, NotFoundError):
        return SearchError(f"There is no index {index!r}. Make it with `ksparse ingest CORPUS --index {index}`.")
    if isinstance(error, RequestError):
        return SearchError(f"Index {index!r} refuses the query: {reason_of(error)}")
    return SearchError(f"The search in {index!r} failed ({error.status_code}): {reason_of(error)}. Try again.")
