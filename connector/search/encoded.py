"""A least-recently-used cache of encoded queries."""

from __future__ import annotations

from collections import OrderedDict
from threading import Lock
from typing import Any, NamedTuple

Key = tuple[str, int | None, int | None]
"""Query text, number of features, and number of hits to rescore."""


class EncodedQuery(NamedTuple):
    """An encoded query.

    Attributes:
        features: Weight of each feature name, before pruning.
        rescore: The `rescore` part of the search body; None without codes.
    """

    features: dict[str, float]
    rescore: dict[str, Any] | None


class EncodedQueries:
    """The most recently used queries. Thread-safe.

    Args:
        size: Capacity; 0 disables the cache.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._kept: OrderedDict[Key, EncodedQuery] = OrderedDict()
        self._lock = Lock()

    def get(self, key: Key) -> EncodedQuery | None:
        """Return the encoded query, or None if it is not cached."""
        with self._lock:
            encoded = self._kept.get(key)
            if encoded is not None:
                self._kept.move_to_end(key)
            return encoded

    def put(self, key: Key, encoded: EncodedQuery) -> None:
        """Cache a query and evict the least recently used one."""
        with self._lock:
            self._kept[key] = encoded
            self._kept.move_to_end(key)
            while len(self._kept) > self._size:
                self._kept.popitem(last=False)

    def __contains__(self, key: Key) -> bool:
        return key in self._kept
