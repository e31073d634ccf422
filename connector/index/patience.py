"""Retries with exponential backoff, and their log messages."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from logging import getLogger
from threading import Event, Lock
from typing import TypeVar

from opensearchpy.exceptions import ConnectionError, ConnectionTimeout, TransportError

from connector.connection.client import reason_of
from connector.connection.transport import retry_after
from connector.errors import BulkWriteError, ClusterError

_log = getLogger("ksparse.index")

T = TypeVar("T")

_SAID_AFTER_S = 5.0

RETRIED_STATUS = (408, 429, 500, 502, 503, 504)
"""Statuses of a request, or of a document in it, after which it is sent again."""

UNREADABLE = "an unreadable reply"
"""Cause of a retry: the request may have been executed, and is safe to repeat."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How requests are retried.

    Attributes:
        initial_backoff: Maximum of the first wait in seconds; waits are random below a limit that doubles.
        max_backoff: Maximum wait in seconds.
        deadline_s: Seconds after which a request fails.
    """

    initial_backoff: float = 0.5
    max_backoff: float = 30.0
    deadline_s: float = 600.0


class Pauses:
    """Logs waits: each at INFO, and once at WARNING when waiting has lasted 5 s. Thread-safe.

    Args:
        what: The waiting operation, as the subject of a sentence.
        deadline_s: Maximum duration in seconds.
    """

    def __init__(self, what: str, deadline_s: float) -> None:
        self._what = what
        self._deadline_s = deadline_s
        self._lock = Lock()
        self._since: float | None = None
        self._said = False

    def begin(self, cause: str, seconds: float) -> None:
        """Log a failure that is retried after some seconds."""
        _log.info("%s: %s; retrying in %.1f s", self._what, cause, seconds)
        now = time.monotonic()
        with self._lock:
            if self._since is None:
                self._since = now
            lasting = now + seconds - self._since
            if self._said or lasting < _SAID_AFTER_S:
                return
            self._said = True
        _log.warning("%s is waiting: %s. Retrying for up to %.0f s.", self._what, cause, self._deadline_s)

    def end(self) -> None:
        """Something succeeded."""
        with self._lock:
            said, since = self._said, self._since
            self._said, self._since = False, None
        if said and since is not None:
            _log.warning("%s continues after %.0f s.", self._what, time.monotonic() - since)


class Patience:
    """The waits of one request until its deadline.

    Args:
        policy: Lengths of the waits.
        pauses: Logs the waits.
        stopped: Ends a wait immediately when set.
    """

    def __init__(self, policy: RetryPolicy, pauses: Pauses, stopped: Event) -> None:
        self._policy = policy
        self._pauses = pauses
        self._stopped = stopped
        self._backoff = policy.initial_backoff
        self._deadline = time.monotonic() + policy.deadline_s

    def wait(self, cause: str, *, at_least: float = 0.0, given_up: str) -> None:
        """Wait before the next attempt.

        Args:
            cause: Reason of the last failure.
            at_least: Minimum wait in seconds, as requested by the server.
            given_up: Beginning of the error message.

        Raises:
            BulkWriteError: The deadline would pass during the wait.
        """
        if time.monotonic() + at_least >= self._deadline:
            raise BulkWriteError(
                f"{given_up} within {self._policy.deadline_s:.0f} s ({cause}). Fix the cause and rerun; no "
                "document is duplicated."
            )
        seconds = max(at_least, random.uniform(0, self._backoff))  # noqa: S311 - jitter, not a secret
        self._pauses.begin(cause, seconds)
        self._stopped.wait(seconds)
        self._backoff = min(2 * self._backoff, self._policy.max_backoff)


def patiently(send: Callable[[], T], *, what: str, given_up: str) -> T:
    """Call a function that sends requests, and call it again while the server is busy or unreachable.

    Args:
        send: The function; safe to repeat after it failed with an error of `explained`.
        what: The operation, as the subject of a sentence.
        given_up: Beginning of the error message when the time is over.

    Raises:
        BulkWriteError: The server stayed busy or unreachable.
    """
    policy = RetryPolicy()
    pauses = Pauses(what, policy.deadline_s)
    patience = Patience(policy, pauses, Event())
    while True:
        try:
            result = send()
        except ClusterError as error:
            reason = error.__cause__
            if not isinstance(reason, TransportError) or (cause := retryable_cause(reason)) is None:
                raise
            patience.wait(cause, at_least=retry_after(reason), given_up=given_up)
        else:
            pauses.end()
            return result


def retryable_cause(error: TransportError) -> str | None:
    """Describe an error in a few words; None if a retry cannot help."""
    if isinstance(error, ConnectionTimeout):
        return "no reply in time"
    if isinstance(error, ConnectionError):
        return str(error.info) if isinstance(error.info, ClusterError) else "no connection"
    return f"status {error.status_code}: {reason_of(error)}" if error.status_code in RETRIED_STATUS else None
