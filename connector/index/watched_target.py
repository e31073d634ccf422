"""What a name is written to, watched between requests: an index that is gone or replaced must not be written."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event
from typing import TypeVar

from opensearchpy import OpenSearch
from opensearchpy.exceptions import (
    AuthorizationException,
    ConnectionError,
    ConnectionTimeout,
    NotFoundError,
    SerializationError,
    TransportError,
)

from connector.connection.client import address_of, explained, reason_of
from connector.connection.transport import retry_after
from connector.errors import BulkWriteError, ClusterError
from connector.index.patience import Patience, Pauses, RetryPolicy
from connector.index.target import read_states, read_target

T = TypeVar("T")

_RETRIED_STATUS = (408, 429, 500, 502, 503, 504)


class WatchedTarget:
    """Knows what a name stands for, and which errors of its server are worth another try. Thread-safe.

    Args:
        client: A ready client.
        index: The index or alias.
        policy: How long a request is sent again.

    Attributes:
        current: What the name stood for when it was last read.
        policy: As given.
        pauses: Logs the waits.

    Raises:
        ClusterError: The server is away or does not permit it.
        IndexMappingError: An alias joins indices that store weights on several scales.
    """

    def __init__(self, client: OpenSearch, index: str, policy: RetryPolicy) -> None:
        self._client = client
        self._index = index
        self.policy = policy
        self.pauses = Pauses(f"Writing into {index!r}", policy.deadline_s)
        with explained(client):
            self.current = read_target(client, index)
        self._uuids = {name: state.uuid for name, state in self.current.states.items()}

    def patiently(self, call: Callable[[], T], *, stopped: Event | None = None) -> T:
        """Ask the server something, and again where that may help, as long as a chunk is sent again.

        Raises:
            BulkWriteError: No retry helps, or none helped within `retry_deadline_s`.
            NotFoundError, AuthorizationException: As the server has it.
        """
        patience = Patience(self.policy, self.pauses, stopped or Event())
        given_up = f"{address_of(self._client)} has not answered a question about index {self._index!r}"
        while True:
            wait = 0.0
            try:
                reply = call()
            except SerializationError:
                cause = "a reply that cannot be read"
            except (NotFoundError, AuthorizationException):
                raise
            except TransportError as error:
                cause, wait = self.retryable_cause(error), retry_after(error)
            else:
                self.pauses.end()
                return reply
            if stopped is not None and stopped.is_set():
                raise BulkWriteError(f"Stopped while index {self._index!r} was asked for documents.")
            patience.wait(cause, at_least=wait, given_up=given_up)

    def check(self) -> None:
        """Stop where the index is gone: the server would make it again, with a mapping that it guesses.

        Deleted between this and a request, it comes back all the same; then its UUID is another one the next time.
        """
        try:
            found = read_states(self._client, self._index)
        except NotFoundError:
            raise self.gone() from None
        for name, state in found.items():
            if self._uuids.setdefault(name, state.uuid) != state.uuid:
                raise BulkWriteError(
                    f"Index {name!r} was deleted and recreated with a mapping that the server may have guessed. "
                    "Delete it, and ingest again."
                )
        if found != self.current.states:
            self.reread()

    def reread(self) -> None:
        """The alias names another index now, as after a rollover, or the settings were changed."""
        known = set(self.current.formats.values())
        try:
            target = self.patiently(lambda: read_target(self._client, self._index))
        except AuthorizationException as error:
            raise self._refused(error) from error
        for name, stored in target.formats.items():
            if known and stored not in known:
                raise BulkWriteError(
                    f"{self._index!r} is now written into index {name!r}, which has another encoder or scale of "
                    "weights than the index before it; nothing more was written. Make the new index with `ksparse "
                    "ingest`, or with the mapping of the old one, and run the same again."
                )
        self.current = target

    def gone(self) -> BulkWriteError:
        """The error where the index is gone."""
        return BulkWriteError(f"Index {self._index!r} is gone; nothing more was written. Ingest into a new one.")

    def retryable_cause(self, error: TransportError) -> str:
        """Say in a few words what happened, or raise where sending again cannot help."""
        if isinstance(error, ConnectionTimeout):
            return "no reply in time"
        if isinstance(error, ConnectionError):
            return str(error.info) if isinstance(error.info, ClusterError) else "no connection"
        if error.status_code in _RETRIED_STATUS:
            return f"status {error.status_code}: {reason_of(error)}"
        raise self._refused(error) from error

    def _refused(self, error: TransportError) -> BulkWriteError:
        return BulkWriteError(
            f"{address_of(self._client)} refused a write to {self._index!r} ({error.status_code}): "
            f"{reason_of(error)}. Fix the cause and rerun; no document is duplicated."
        )
