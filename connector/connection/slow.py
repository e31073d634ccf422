"""Warn of slow replies while waiting for them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from logging import getLogger
from threading import Lock, Thread

_log = getLogger("ksparse.connection")

_SAID_AFTER_S = 5.0
_POLL_S = 0.5
_IDLE_S = 10.0


class SlowReplies:
    """Warns once when a reply takes more than 5 s, and again only after a faster one. Thread-safe.

    One thread watches all requests, and ends when there are none: a timer for each would cost a search 5 % more.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._number = count()
        self._under_way: dict[int, tuple[float, str]] = {}
        self._watcher: Thread | None = None
        self._said = False

    @contextmanager
    def watched(self, request: str) -> Iterator[None]:
        """Watch a running request.

        Args:
            request: Method and address.
        """
        number, started = next(self._number), time.monotonic()
        with self._lock:
            self._under_way[number] = started, request
            if self._watcher is None or not self._watcher.is_alive():  # a fork leaves the thread behind
                self._watcher = Thread(target=self._watch, name="ksparse-slow-replies", daemon=True)
                self._watcher.start()
        try:
            yield
        finally:
            with self._lock:
                del self._under_way[number]
                if time.monotonic() - started < _SAID_AFTER_S:
                    self._said = False

    def _watch(self) -> None:
        idle_since = time.monotonic()
        while True:
            time.sleep(_POLL_S)
            now = time.monotonic()
            with self._lock:
                if self._under_way:
                    idle_since = now
                elif now - idle_since > _IDLE_S:
                    self._watcher = None
                    return
                late = [request for started, request in self._under_way.values() if now - started >= _SAID_AFTER_S]
                if not late or self._said:
                    continue
                self._said = True
            _log.warning("No reply for %.0f s: %s; still waiting.", _SAID_AFTER_S, late[0])


SLOW_REPLIES = SlowReplies()
"""Shared by all clients of this process."""
