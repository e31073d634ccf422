"""How many documents a filter keeps: where they are few, all of them can be scored."""

from __future__ import annotations

import json
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from threading import Lock
from typing import Any

from opensearchpy import OpenSearch

_REMEMBERED = 10_000
"""Filters whose counts are kept: a tenant or a user may have one each."""


class KeptDocuments:
    """Counts the documents that filters keep, up to a limit. Safe to use from several threads.

    A filter is counted when it is first used, and again after `refresh_s`.

    Args:
        client: A ready client.
        index: The index or alias.
        most: Counts above it are of no interest.
        refresh_s: How long a count is believed.
    """

    def __init__(self, client: OpenSearch, index: str, *, most: int, refresh_s: float = 60.0) -> None:
        self._client = client
        self._index = index
        self._most = most
        self._refresh_s = refresh_s
        self._counts: OrderedDict[str, tuple[float, int]] = OrderedDict()
        self._lock = Lock()

    def few(self, filters: Sequence[Mapping[str, Any]], params: Mapping[str, str]) -> int | None:
        """Return how many documents match all filters, or None if they are more than `most`.

        Args:
            filters: Query clauses.
            params: Of the search, such as its routing.

        Raises:
            TransportError: The server refuses a filter, or is away.
        """
        key = json.dumps([list(filters), params.get("routing")], sort_keys=True, default=str)
        with self._lock:
            counted, count = self._counts.get(key, (-float("inf"), 0))
        if time.monotonic() - counted > self._refresh_s:
            count = self._count(filters, params)
            with self._lock:
                self._counts[key] = time.monotonic(), count
                self._counts.move_to_end(key)
                while len(self._counts) > _REMEMBERED:
                    self._counts.popitem(last=False)
        return count if count <= self._most else None

    def _count(self, filters: Sequence[Mapping[str, Any]], params: Mapping[str, str]) -> int:
        query = {"bool": {"filter": [dict(clause) for clause in filters]}}
        body = {"size": 0, "track_total_hits": self._most + 1, "query": query}
        reply = self._client.search(index=self._index, body=body, params=dict(params))
        return int(reply["hits"]["total"]["value"])
