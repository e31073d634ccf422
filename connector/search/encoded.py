"""The last queries of an index, encoded: many are asked again, and a service encodes several in one pass."""

from __future__ import annotations

from collections import OrderedDict
from threading import Lock
from typing import Any, NamedTuple

Key = tuple[str, int | None, int | None]
"""Query, features kept, and hits that codes rescore."""


class EncodedQuery(NamedTuple):
    """What a query became.

    Attributes:
        features: From name to weight, before pruning.
        rescore: How its hits are scored again; None without codes.
    """

    features: dict[str, float]
    rescore: dict[str, Any] | None


class EncodedQueries:
    """The queries that were used last. Safe to use from several threads.

    Args:
        size: How many are kept; 0 for none.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._kept: OrderedDict[Key, EncodedQuery] = OrderedDict()
        self._lock = Lock()

    def get(self, key: Key) -> EncodedQuery | None:
        """What a query became, None if that is not known."""
        with self._lock:
            encoded = self._kept.get(key)
            if encoded is not None:
                self._kept.move_to_end(key)
            return encoded

    def put(self, key: Key, encoded: EncodedQuery) -> None:
        """Remember a query, and forget the one that was not used for longest."""
        with self._lock:
            self._kept[key] = encoded
            self._kept.move_to_end(key)
            while len(self._kept) > self._size:
                self._kept.popitem(last=False)

    def __contains__(self, key: Key) -> bool:
        return key in self._kept
