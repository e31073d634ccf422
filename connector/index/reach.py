"""Decide by the number of documents that a search reaches how these are found: by features, or all by their codes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from connector.errors import SearchError
from connector.index.kept import KeptDocuments
from connector.index.sender import Sender
from connector.limits import MAX_HITS
from connector.query.body import SearchOptions
from connector.query.rescore import MAX_RESCORED

_REFUSED_WINDOW = re.compile(
    r"Rescore window \[\d+\] is too large\. It must be less than \[(?P<largest>\d+)\]"
    r"|Result window is too large, from \+ size must be less than or equal to: \[(?P<most>\d+)\]"
)
"""The server's messages; a window may be as large as the number. The setting of the second limits the first, too."""


class Reach:
    """The documents that searches of an index reach: filters, a routing, or an alias with one of these hide others.

    Args:
        sender: Sends the searches.
        scan_limit: Maximum number of documents of an index whose codes a rescored search scores all if it reaches all
            of them.

    Attributes:
        by_features: Let features choose candidates however few documents there are.
    """

    def __init__(self, sender: Sender, scan_limit: int) -> None:
        self.by_features = False
        self._sender = sender
        self._scan_limit = scan_limit
        self._kept = KeptDocuments(sender.client, sender.index)

    def may_be_narrow(self, filters: Sequence[Mapping[str, Any]], options: SearchOptions) -> bool:
        """Whether documents may be hidden from a search; sends no request."""
        return bool(filters) or options.routing is not None or self._sender.names != {self._sender.index}

    def is_counted(self, filters: Sequence[Mapping[str, Any]], options: SearchOptions) -> bool:
        """Whether `scored` sends requests, once a minute."""
        return bool(self._scan_limit) or self.may_be_narrow(filters, options)

    def scored(self, filters: Sequence[Mapping[str, Any]], options: SearchOptions) -> int | None:
        """Return how many documents a search reaches, if these are so few that codes score all of them; else None.

        Raises:
            SearchError, ClusterError: As for `Searcher.search`.
        """
        if self.by_features:
            return None
        with self._sender.errors():
            limit = MAX_RESCORED if self._is_narrow(filters, options) else self._scan_limit
            if not limit:
                return None
            kept = self._kept.count(filters, options.params)
            return kept if kept <= limit and kept <= self._kept.largest_window() else None

    def share(self, filters: Sequence[Mapping[str, Any]], options: SearchOptions) -> float:
        """Return the fraction of the indices' documents that a search reaches; 1 where codes score all of these.

        Raises:
            SearchError, ClusterError: As for `Searcher.search`.
        """
        if not self.may_be_narrow(filters, options) or self.scored(filters, options) is not None:
            return 1.0
        with self._sender.errors():
            total = self._kept.total(self._sender.names)
            if total is None:
                total = self._kept.count((), {})
            kept = self._kept.count(filters, options.params)
            return kept / max(1, kept, total)

    def largest_window(self) -> int:
        """Return the largest rescoring window that the index permits, read at most once a minute."""
        return self._kept.largest_window()

    @property
    def known_window(self) -> int:
        """The largest rescoring window as far as it is known, without a request."""
        return self._kept.known_window

    def default_window(self, window: int) -> int:
        """Return a window or number of hits that the search does not set, lowered to what the index permits.

        Usual indices permit it, so the limit is read only after the server has refused a window.
        """
        return window if self.known_window >= MAX_HITS else min(window, self.largest_window())

    def learn_window(self, error: SearchError, known: int) -> bool:
        """Record the limit that the server names if it has refused a window or a number of hits.

        Args:
            error: The error of a search.
            known: `known_window` before the search.

        Returns:
            Whether the limit is lower than was known, so that another search may succeed.
        """
        refused = _REFUSED_WINDOW.search(str(error))
        if refused is None:
            return False
        largest = int(refused["largest"] or refused["most"])
        self._kept.learn_window(largest)
        return largest < known

    def _is_narrow(self, filters: Sequence[Mapping[str, Any]], options: SearchOptions) -> bool:
        if filters or options.routing is not None:
            return True
        return self.may_be_narrow(filters, options) and self._kept.hides_documents(self._sender.names)
