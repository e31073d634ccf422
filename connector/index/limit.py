"""Adaptive limit of concurrent requests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from logging import getLogger
from threading import Condition

_log = getLogger("ksparse.index")

_CLEAN_RUN = 20


class InFlightLimit:
    """A limit that is halved when the server is busy and raised by one after a series of successful requests.

    It never exceeds its initial value. Thread-safe.

    Args:
        most: Initial number of concurrent requests, at least 1.
    """

    def __init__(self, most: int) -> None:
        if most < 1:
            raise ValueError(f"max_in_flight must be at least 1, got {most}.")
        self._most = most
        self._allowed = most
        self._clean = 0
        self._under_way = 0
        self._changed = Condition()

    @property
    def allowed(self) -> int:
        """The current limit."""
        return self._allowed

    @contextmanager
    def slot(self) -> Iterator[None]:
        """Wait for a free slot and occupy it."""
        with self._changed:
            self._changed.wait_for(lambda: self._under_way < self._allowed)
            self._under_way += 1
        try:
            yield
        finally:
            with self._changed:
                self._under_way -= 1
                self._changed.notify_all()

    def clean(self) -> None:
        """Record that the server accepted a whole request."""
        with self._changed:
            self._clean += 1
            if self._clean >= _CLEAN_RUN and self._allowed < self._most:
                self._allowed += 1
                self._clean = 0
                self._changed.notify_all()

    def busy(self, cause: str = "429") -> None:
        """Record that the server rejected a request, or some of its documents, for lack of capacity."""
        with self._changed:
            before, self._allowed = self._allowed, max(1, self._allowed // 2)
            self._clean = 0
        if self._allowed < before:
            _log.warning("The server is busy (%s): %d concurrent requests instead of %d.", cause, self._allowed, before)
