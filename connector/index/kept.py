"""Count the documents that a search reaches, which decides how they are searched."""

from __future__ import annotations

import hashlib
import json
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from threading import Lock
from typing import Any

from opensearchpy import OpenSearch
from opensearchpy.exceptions import TransportError

from connector.index.complete import check_complete
from connector.index.sizes import all_of
from connector.limits import MAX_HITS

_WINDOWS = ("max_rescore_window", "max_result_window")
"""Settings that limit rescoring windows: the second one is the default of the first one."""

_REMEMBERED = 10_000
"""Capacity of the cache of counts: each tenant or user may have a filter."""


class KeptDocuments:
    """Counts the documents that match filters, and reads how many the index permits to rescore. Thread-safe.

    A filter is counted on first use, and again after `refresh_s`; the total and the limit as well.

    Args:
        client: A connected client.
        index: The index or alias.
        refresh_s: Seconds after which a count or the limit expires.
    """

    def __init__(self, client: OpenSearch, index: str, *, refresh_s: float = 60.0) -> None:
        self._client = client
        self._index = index
        self._refresh_s = refresh_s
        self._limit = -float("inf"), MAX_HITS
        self._total: tuple[float, frozenset[str], int | None] = -float("inf"), frozenset(), None
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
            count = self._count(self._index, filters, params)
            with self._lock:
                self._counts[key] = time.monotonic(), count
                self._counts.move_to_end(key)
                expired = time.monotonic() - self._refresh_s
                while len(self._counts) > 1 and (
                    len(self._counts) > _REMEMBERED or next(iter(self._counts.values()))[0] < expired
                ):
                    self._counts.popitem(last=False)
        return count

    def total(self, indices: frozenset[str]) -> int | None:
        """Return the number of documents of some indices; None if they may not be searched by their names.

        Args:
            indices: The indices behind the index or alias, whose filter and routing do not apply then.

        Raises:
            TransportError, SearchError: As in `count`.
        """
        if indices == {self._index}:
            return self.count((), {})
        counted, of, total = self._total
        if of != indices or time.monotonic() - counted > self._refresh_s:
            try:
                total = self._count(",".join(sorted(indices)), (), {})
            except TransportError:  # a user of the alias need not be permitted to search its indices
                total = None
            self._total = time.monotonic(), indices, total
        return total

    def hides_documents(self, indices: frozenset[str]) -> bool:
        """Whether a search without filters reaches only a part of the documents of some indices; True if unknown.

        Counted, not read from the definition of an alias: the name may also be a list or a pattern of aliases.

        Args:
            indices: The indices behind the index or alias.

        Raises:
            TransportError, SearchError: As in `count`.
        """
        # In this order, documents that are added meanwhile do not seem hidden.
        total = self.total(indices)
        return total is None or self.count((), {}) < total

    def largest_window(self) -> int:
        """Return the largest rescoring window that the index permits; what is known if its settings may not be read."""
        read, limit = self._limit
        if time.monotonic() - read > self._refresh_s:
            limit = self._read_limit()
            self._limit = time.monotonic(), limit
        return limit

    @property
    def known_window(self) -> int:
        """The largest rescoring window as far as it was read or learned."""
        return self._limit[1]

    def learn_window(self, largest: int) -> None:
        """Record the largest rescoring window, which the server names when it refuses a wider one."""
        self._limit = time.monotonic(), largest

    def _read_limit(self) -> int:
        path = ",".join(f"*.settings.index.{name}" for name in _WINDOWS)
        try:
            replies = self._client.indices.get_settings(index=self._index, params={"filter_path": path})
        except TransportError:  # a user who may search need not be permitted to do this
            return self.known_window
        found = [reply["settings"]["index"] for reply in replies.values()]
        limits = [int(next(own[name] for name in _WINDOWS if name in own)) for own in found]
        return min([MAX_HITS, *limits])

    def _count(self, index: str, filters: Sequence[Mapping[str, Any]], params: Mapping[str, str]) -> int:
        body = {"size": 0, "track_total_hits": True, **all_of(filters)}
        reply = self._client.search(index=index, body=body, params=dict(params))
        check_complete(index, reply)
        return int(reply["hits"]["total"]["value"])
