"""Count the documents that match filters, which decides how they are searched."""

from __future__ import annotations

import hashlib
import json
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from threading import Lock
from typing import Any

from opensearchpy import OpenSearch

from connector.index.complete import check_complete
from connector.index.sizes import all_of

_REMEMBERED = 10_000
"""Capacity of the cache of counts: each tenant or user may have a filter."""


class KeptDocuments:
    """Counts the documents that match filters, and caches the counts. Thread-safe.

    A filter is counted on first use, and again after `refresh_s`.

    Args:
        client: A connected client.
        index: The index or alias.
        refresh_s: Seconds after which a count expires.
    """

    def __init__(self, client: OpenSearch, index: str, *, refresh_s: float = 60.0) -> None:
        self._client = client
        self._index = index
        self._refresh_s = refresh_s
        self._counts: OrderedDict[bytes, tuple[float, int]] = OrderedDict()
        self._lock = Lock()

    def count(self, filters: Sequence[Mapping[str, Any]], params: Mapping[str, str]) -> int:
        """Return the number of documents that match all filters.

        Args:
            filters: Query clauses; without any, all documents are counted.
            params: Parameters of the search, such as its routing.

        Raises:
            TransportError: The server rejects a filter or is unreachable.
            SearchError: As in `check_complete`.
        """
        named = json.dumps([list(filters), params.get("routing")], sort_keys=True, default=str)
        key = hashlib.blake2b(named.encode(), digest_size=16).digest()  # a filter may name thousands of values
        with self._lock:
            counted, count = self._counts.get(key, (-float("inf"), 0))
        if time.monotonic() - counted > self._refresh_s:
            count = self._count(filters, params)
            with self._lock:
                self._counts[key] = time.monotonic(), count
                self._counts.move_to_end(key)
                expired = time.monotonic() - self._refresh_s
                while len(self._counts) > 1 and (
                    len(self._counts) > _REMEMBERED or next(iter(self._counts.values()))[0] < expired
                ):
                    self._counts.popitem(last=False)
        return count

    def _count(self, filters: Sequence[Mapping[str, Any]], params: Mapping[str, str]) -> int:
        body = {"size": 0, "track_total_hits": True, **all_of(filters)}
        reply = self._client.search(index=self._index, body=body, params=dict(params))
        check_complete(self._index, reply)
        return int(reply["hits"]["total"]["value"])
