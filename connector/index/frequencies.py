"""Document frequencies of features, counted in the index."""

from __future__ import annotations

import time
from collections.abc import Iterable
from threading import Lock

from opensearchpy import OpenSearch
from opensearchpy.exceptions import TransportError

from connector.connection.client import explained, reason_of
from connector.errors import SearchError
from connector.query.body import FEATURES_FIELD

_PER_REQUEST = 1_000


class DocumentFrequencies:
    """The fraction of an index's documents that have each feature. Thread-safe.

    A feature is counted on first use, which costs about as much as searching for it, and again after `refresh_s`.

    Args:
        client: A connected client.
        index: The index or alias.
        refresh_s: Seconds after which a count expires.
    """

    def __init__(self, client: OpenSearch, index: str, *, refresh_s: float = 600.0) -> None:
        self._client = client
        self._index = index
        self._refresh_s = refresh_s
        self._shares: dict[str, float] = {}
        self._counted = -float("inf")
        self._lock = Lock()

    def shares(self, features: Iterable[str]) -> dict[str, float]:
        """Return the fraction of the documents that have each given feature.

        Raises:
            SearchError: The server rejects the request.
            ClusterError: The server is unreachable or denies access.
        """
        wanted = list(dict.fromkeys(features))
        with self._lock:
            if time.monotonic() - self._counted > self._refresh_s:
                self._shares = {}
                self._counted = time.monotonic()
            known = self._shares
        missing = [name for name in wanted if name not in known]
        for start in range(0, len(missing), _PER_REQUEST):
            known.update(self._count(missing[start : start + _PER_REQUEST]))
        return {name: known[name] for name in wanted}

    def _count(self, features: list[str]) -> dict[str, float]:
        clauses = [{"rank_feature": {"field": f"{FEATURES_FIELD}.{name}", "linear": {}}} for name in features]
        body = {"size": 0, "track_total_hits": True, "aggs": {"df": {"filters": {"filters": clauses}}}}
        try:
            with explained(self._client):
                reply = self._client.search(index=self._index, body=body)
        except TransportError as error:
            raise SearchError(f"Index {self._index!r} cannot count its features: {reason_of(error)}") from error
        documents = max(1, int(reply["hits"]["total"]["value"]))
        counts = [int(bucket["doc_count"]) for bucket in reply["aggregations"]["df"]["buckets"]]
        return {name: count / documents for name, count in zip(features, counts, strict=True)}
