"""Watch a write target between requests: an index that was deleted or replaced must not be written."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event
from typing import TypeVar

from opensearchpy import OpenSearch
from opensearchpy.exceptions import (
    AuthorizationException,
    NotFoundError,
    SerializationError,
    TransportError,
)

from connector.connection.client import address_of, explained, reason_of
from connector.connection.transport import retry_after
from connector.errors import BulkWriteError, IndexMappingError
from connector.index.patience import UNREADABLE, Patience, Pauses, RetryPolicy, retryable_cause
from connector.index.target import read_states, read_target

T = TypeVar("T")


class WatchedTarget:
    """The write target of a name, and which errors are worth a retry. Thread-safe.

    Args:
        client: A connected client.
        index: The index or alias.
        policy: Retry policy.

    Attributes:
        current: The write target when last read.
        policy: Retry policy.
        pauses: Logs the waits.

    Raises:
        ClusterError: The server is unreachable or denies access.
        IndexMappingError: The name is a pattern or a list, or an alias spans indices that store weights on different
            scales.
    """

    def __init__(self, client: OpenSearch, index: str, policy: RetryPolicy) -> None:
        if "*" in index or "," in index:
            raise IndexMappingError(f"{index!r} may name several indices, but a write goes to one; name that one.")
        self._client = client
        self._index = index
        self.policy = policy
        self.pauses = Pauses(f"Writing into {index!r}", policy.deadline_s)
        with explained(client):
            self.current = read_target(client, index)
        self._uuids = {name: state.uuid for name, state in self.current.states.items()}

    def patiently(self, call: Callable[[], T], *, stopped: Event | None = None) -> T:
        """Send a request with the same retries as for chunks.

        Raises:
            BulkWriteError: The error is permanent, or retries failed within `retry_deadline_s`.
            NotFoundError, AuthorizationException: Passed through.
        """
        patience = Patience(self.policy, self.pauses, stopped or Event())
        given_up = f"{address_of(self._client)} did not answer a request about index {self._index!r}"
        while True:
            wait = 0.0
            try:
                reply = call()
            except SerializationError:
                cause = UNREADABLE
            except (NotFoundError, AuthorizationException):
                raise
            except TransportError as error:
                cause, wait = self.retryable_cause(error), retry_after(error)
            else:
                self.pauses.end()
                return reply
            if stopped is not None and stopped.is_set():
                raise BulkWriteError(f"Stopped while reading documents of index {self._index!r}.")
            patience.wait(cause, at_least=wait, given_up=given_up)

    def check(self) -> None:
        """Fail if the index was deleted: a write would recreate it with a guessed mapping.

        If it is deleted between this check and a write, it is recreated, but the next check sees another UUID.
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
        """Read the target again, e.g. after a rollover or a change of settings."""
        known = set(self.current.formats.values())
        try:
            target = self.patiently(lambda: read_target(self._client, self._index))
        except AuthorizationException as error:
            raise self._refused(error) from error
        for name, stored in target.formats.items():
            if known and stored not in known:
                raise BulkWriteError(
                    f"{self._index!r} now writes to index {name!r}, which has another encoder or weight scale than "
                    "the index before; nothing more was written. Create the new index with `ksparse ingest`, or with "
                    "the mapping of the old one, and rerun."
                )
        self.current = target

    def gone(self) -> BulkWriteError:
        """The error for a deleted index."""
        return BulkWriteError(f"Index {self._index!r} was deleted; nothing more was written. Ingest into a new one.")

    def retryable_cause(self, error: TransportError) -> str:
        """Describe the error in a few words, or raise if a retry cannot help."""
        cause = retryable_cause(error)
        if cause is None:
            raise self._refused(error) from error
        return cause

    def _refused(self, error: TransportError) -> BulkWriteError:
        return BulkWriteError(
            f"{address_of(self._client)} refused a write to {self._index!r} ({error.status_code}): "
            f"{reason_of(error)}. Fix the cause and rerun; no document is duplicated."
        )
