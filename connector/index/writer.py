"""Bulk writes: chunks, retries and refusals."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from logging import getLogger
from threading import Event
from typing import Any, TypeVar

from opensearchpy import OpenSearch
from opensearchpy.exceptions import (
    AuthorizationException,
    NotFoundError,
    SerializationError,
    TransportError,
)

from connector.connection.client import address_of, explained, reason_of
from connector.connection.transport import retry_after
from connector.errors import BulkWriteError, ClusterError
from connector.index.bulk_lines import to_lines
from connector.index.bulk_replies import FILTER_PATH, read_items
from connector.index.limit import InFlightLimit
from connector.index.lookup import DocumentLookup, Held
from connector.index.outcome import STORED_ELSEWHERE, Action, Outcome, Refusal, WriteResult
from connector.index.patience import UNREADABLE, Patience, RetryPolicy
from connector.index.target import WriteTarget
from connector.index.tombstones import warn_of_deletions
from connector.index.watched_target import WatchedTarget
from connector.types import Deletion, Document, SparseDocument

T = TypeVar("T")

_log = getLogger("ksparse.index")


class BulkWriter:
    """Writes documents by `_bulk` and accounts for each of them. Thread-safe.

    `_id` is the document's id, so repeating a write after a lost reply changes nothing. A document with a version is
    sent as `external_gte`: it can be repeated and never overwrites a newer one. Documents that an ingest pipeline
    drops, or stores in another index or under another id, are refused.

    Args:
        client: A connected client that does not retry by itself (see `connect`).
        index: The index or alias; it must exist. Its mapping defines the weight scale.
        chunk_size: Maximum documents per request.
        max_chunk_bytes: Maximum serialized bytes per request; a larger document is sent alone.
        max_in_flight: Maximum concurrent requests of all threads; reduced while the server is busy.
        initial_backoff: Maximum of the first wait in seconds; waits are random below a limit that doubles.
        max_backoff: Maximum wait in seconds.
        retry_deadline_s: Seconds after which a chunk is given up.

    Attributes:
        index: The given name.
        lookup: Finds documents of the index by id.
        limit: Limit of concurrent requests.

    Raises:
        ClusterError: The server is unreachable or denies access.
        IndexMappingError: An alias spans indices that store weights on different scales.
    """

    def __init__(
        self,
        client: OpenSearch,
        index: str,
        *,
        chunk_size: int = 1_000,
        max_chunk_bytes: int = 10 * 1024 * 1024,
        max_in_flight: int = 4,
        initial_backoff: float = 0.5,
        max_backoff: float = 30.0,
        retry_deadline_s: float = 600.0,
    ) -> None:
        if chunk_size < 1 or max_chunk_bytes < 1:
            raise ValueError(f"chunk_size {chunk_size} and max_chunk_bytes {max_chunk_bytes} must be at least 1.")
        self._client = client
        self.index = index
        self._chunk_size = chunk_size
        self._max_chunk_bytes = max_chunk_bytes
        self._target = WatchedTarget(client, index, RetryPolicy(initial_backoff, max_backoff, retry_deadline_s))
        self._scale = 2.0**self.target.weight_exponent
        self.lookup = DocumentLookup(client, lambda: self.target, self._target.patiently)
        self.limit = InFlightLimit(max_in_flight)
        self._warned = False

    @property
    def target(self) -> WriteTarget:
        """The current write target: the write index and the routing of an alias."""
        return self._target.current

    def write(self, documents: Sequence[SparseDocument | Deletion], *, stopped: Event | None = None) -> WriteResult:
        """Index or delete documents with their own routing or the alias's; the order per id is kept.

        Documents that the server or `rank_features` rejects are returned as refusals. Documents that the alias hides
        from searches are not deleted (they count as not found) and not replaced (the new ones are refused).

        Args:
            documents: Documents and deletions.
            stopped: When set, nothing more is sent: the call raises `BulkWriteError` after the next reply.

        Raises:
            BulkWriteError: The error is permanent, or retries failed within `retry_deadline_s`. Accepted documents
                stay indexed; writing the same documents again is safe.
        """
        stopped = stopped or Event()
        actions: list[Action] = []
        outcome = Outcome()
        for document in documents:
            try:
                routed = self._routed(document)
                actions.append(Action(routed, to_lines(routed, self._scale, self.target.derived)))
            except (ValueError, TypeError, RecursionError) as error:
                outcome.refused.append(Refusal(document, 0, "invalid_document", str(error), 0))
        for chunk in self._chunks(actions):
            if self.target.hides_documents:
                hidden = self.lookup.hidden([action.place for action in chunk], stopped=stopped)
                chunk = outcome.without_hidden(chunk, hidden, self.index)
            self._send(chunk, outcome, stopped)
        if self.target.has_pipeline:
            self._find_displaced(outcome, stopped)
        if outcome.superseded and not self._warned:
            self._warned = warn_of_deletions(self.lookup, self.index, actions, set(outcome.superseded), stopped)
        return outcome.result

    def patiently(self, call: Callable[[], T], *, stopped: Event | None = None) -> T:
        """Send a request with retries; see `WatchedTarget`."""
        return self._target.patiently(call, stopped=stopped)

    def resolve(self, records: Sequence[Document | Deletion]) -> list[Document | Deletion | str]:
        """Before encoding, set the routing of each record, or return the reason why it cannot be written or deleted.

        A record without a routing gets that of the alias, or of the stored document with its id.

        Raises:
            BulkWriteError: The error is permanent, or retries failed within `retry_deadline_s`.
        """
        return self.lookup.resolve(records)

    def held(self, wanted: Mapping[str, str | None], *, stopped: Event | None = None) -> dict[str, Held]:
        """Return the current states of documents; see `DocumentLookup.held`."""
        return self.lookup.held(wanted, stopped=stopped)

    def refresh(self) -> None:
        """Make all writes visible to searches; Amazon's Serverless refreshes automatically.

        A user who may only write need not be permitted to do it: it is logged.

        Raises:
            BulkWriteError: The index was deleted meanwhile, the error is permanent, or retries failed within
                `retry_deadline_s`.
            ClusterError: The server denies access.
        """
        with explained(self._client):
            self.patiently(self._target.check)
            try:
                self.patiently(lambda: self._client.indices.refresh(index=self.target.index or self.index))
            except AuthorizationException as error:
                said = "%s is not refreshed, so searches may find what was written only later: %s"
                _log.warning(said, self.index, reason_of(error))
            except NotFoundError:
                self._target.check()  # the index exists, so the API is missing

    def _routed(self, document: SparseDocument | Deletion) -> SparseDocument | Deletion:
        routing = self.target.routing_of(document)
        return document if routing == document.routing else replace(document, routing=routing)

    def _chunks(self, actions: Sequence[Action]) -> Iterator[list[Action]]:
        chunk: list[Action] = []
        ids: set[str] = set()
        size = 0
        for action in actions:
            full = len(chunk) == self._chunk_size or size + len(action.payload) > self._max_chunk_bytes
            # Two writes of one id in one request: the first might be retried after the second.
            if chunk and (full or action.document.doc_id in ids):
                yield chunk
                chunk, ids, size = [], set(), 0
            chunk.append(action)
            ids.add(action.document.doc_id)
            size += len(action.payload)
        if chunk:
            yield chunk

    def _send(self, chunk: list[Action], outcome: Outcome, stopped: Event) -> None:
        """Send a chunk until the outcome of each document is known."""
        patience = Patience(self._target.policy, self._target.pauses, stopped)
        while chunk:
            wait = 0.0
            try:
                reply = self._request(chunk, stopped)
            except SerializationError:
                cause = UNREADABLE
            except TransportError as error:
                if error.status_code == 413:
                    self._send_halves(chunk, outcome, stopped)
                    return
                cause, wait = self._target.retryable_cause(error), retry_after(error)
                if error.status_code == 429:
                    self.limit.busy(cause)
            else:
                chunk, cause = self._sort_out(chunk, reply, outcome)
            if chunk:
                given_up = f"{address_of(self._client)} did not accept {len(chunk)} documents for index {self.index!r}"
                patience.wait(cause, at_least=wait, given_up=given_up)
        self._target.pauses.end()

    def _request(self, chunk: list[Action], stopped: Event) -> Any:  # noqa: ANN401
        with self.limit.slot():
            if stopped.is_set():
                raise BulkWriteError(f"Stopped; {len(chunk)} documents for index {self.index!r} were not sent.")
            self._target.check()
            for action in chunk:
                action.attempts += 1
            # A write to a deleted alias would create an index with a guessed mapping.
            required = {"require_alias": "true"} if self.target.is_alias else {}
            return self._client.bulk(
                body=b"".join(action.payload for action in chunk),
                index=self.index,
                params={"filter_path": FILTER_PATH} | required,
            )

    def _send_halves(self, chunk: list[Action], outcome: Outcome, stopped: Event) -> None:
        if len(chunk) == 1:
            size = len(chunk[0].payload)
            reason = f"{size} bytes exceed the server's limit for one request (http.max_content_length)"
            outcome.refused.append(chunk[0].refused(413, "content_too_long", reason))
            return
        middle = len(chunk) // 2
        self._send(chunk[:middle], outcome, stopped)
        self._send(chunk[middle:], outcome, stopped)

    def _sort_out(self, chunk: list[Action], reply: Any, outcome: Outcome) -> tuple[list[Action], str]:  # noqa: ANN401
        """Record the outcomes of a chunk from its reply; return the actions to retry and the reason."""
        items = read_items(reply)
        if items is None:
            return chunk, UNREADABLE
        if len(items) != len(chunk):
            return chunk, f"the reply names {len(items)} of {len(chunk)} documents"
        before = self.target
        if any(item.stored_in and not before.takes(item.stored_in) for item in items):
            self._target.reread()  # a rollover during the request must not be taken for a pipeline
        again: list[Action] = []
        cause = ""
        for action, item in zip(chunk, items, strict=True):
            if item.index_is_gone and (item.stored_in in ("", self.index) or before.takes(item.stored_in)):
                raise self._target.gone()
            if item.concerns_the_index:
                raise BulkWriteError(
                    f"Index {self.index!r} accepts no documents: {item.reason}. Fix the cause and rerun; no "
                    "document is duplicated."
                )
            if item.is_temporary(action.attempts, pipeline=self.target.has_pipeline):
                again.append(action)
                cause = f"{item.kind}: {item.reason}"
            else:
                outcome.note(action, item, (before, self.target))
        if any(item.status == 429 for item in items):
            self.limit.busy(cause)
        elif not again:
            self.limit.clean()
        return again, cause

    def _find_displaced(self, outcome: Outcome, stopped: Event) -> None:
        """Refuse documents that an ingest pipeline stored with another routing, which the reply does not show."""
        stored, outcome.stored = outcome.stored, []
        for start in range(0, len(stored), self._chunk_size):
            some = stored[start : start + self._chunk_size]
            wanted = {action.document.doc_id: action.document.routing for action in some}
            try:
                found = self.lookup.find(wanted, source=False, hidden=True, stopped=stopped)
            except ClusterError:  # no read permission
                outcome.stored += some
                continue
            for action in some:
                document = action.document
                by = [each.routing for each in found.get(document.doc_id, [])]
                if document.routing in by:
                    outcome.stored.append(action)
                    continue
                reason = f"an ingest pipeline stored it by the routing {by[0]!r}" if by else "it is not in the index"
                outcome.refused.append(action.refused(200, STORED_ELSEWHERE, reason))
