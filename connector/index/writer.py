"""Write documents into an index, and delete some: chunks, retries and refusals are handled here and nowhere else."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from threading import Event
from typing import Any, TypeVar

from opensearchpy import OpenSearch
from opensearchpy.exceptions import (
    NotFoundError,
    SerializationError,
    TransportError,
)

from connector.connection.client import address_of, explained
from connector.connection.transport import retry_after
from connector.errors import BulkWriteError, ClusterError
from connector.index.bulk_lines import to_lines
from connector.index.bulk_replies import FILTER_PATH, read_items
from connector.index.limit import InFlightLimit
from connector.index.lookup import DocumentLookup, Held
from connector.index.outcome import Action, Outcome, Refusal, WriteResult
from connector.index.patience import Patience, RetryPolicy
from connector.index.target import WriteTarget
from connector.index.watched_target import WatchedTarget
from connector.types import Deletion, Document, SparseDocument

T = TypeVar("T")


class BulkWriter:
    """Writes documents by `_bulk` and accounts for every one of them. Safe to use from several threads.

    `_id` is the document's id, so that writing again after an unclear reply changes nothing. A document with a version
    is sent as `external_gte`: it may be written again, and never over a newer one. What an ingest pipeline dropped, or
    stored elsewhere than under its own id in this index, is refused.

    Args:
        client: A ready client that does not retry by itself (`connect` makes one).
        index: The index or alias; it must exist. Its mapping says on what scale weights are stored.
        chunk_size: Documents per request, at most.
        max_chunk_bytes: Serialized bytes per request, at most; a larger document goes alone.
        max_in_flight: Requests at a time, whatever the number of threads; fewer while the server is busy.
        initial_backoff: Seconds of the first wait, at most; waits are random below a limit that doubles.
        max_backoff: Seconds of the longest wait.
        retry_deadline_s: How long one chunk is sent again before the writer gives up.

    Attributes:
        index: As it was given.
        lookup: Finds documents there by their ids.
        limit: How many requests may be under way.

    Raises:
        ClusterError: The server is away or does not permit it.
        IndexMappingError: An alias joins indices that store weights on several scales.
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

    @property
    def target(self) -> WriteTarget:
        """What the name stands for: the index that is written to, and the routing of an alias."""
        return self._target.current

    def write(self, documents: Sequence[SparseDocument | Deletion], *, stopped: Event | None = None) -> WriteResult:
        """Index or delete documents, those of one id in the order given, by the routing that they or the alias have.

        Those that the server or `rank_features` cannot take come back as refusals.

        Args:
            documents: To write.
            stopped: Once it is set nothing more is sent: the call raises `BulkWriteError` after the next reply.

        Raises:
            BulkWriteError: No retry helps, or none helped within `retry_deadline_s`. What was accepted stays
                indexed; writing the same documents again is safe.
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
            self._send(chunk, outcome, stopped)
        if self.target.has_pipeline:
            self._find_displaced(outcome, stopped)
        return outcome.result

    def patiently(self, call: Callable[[], T], *, stopped: Event | None = None) -> T:
        """Ask the server something, and again where that may help; as for `WatchedTarget`."""
        return self._target.patiently(call, stopped=stopped)

    def resolve(self, records: Sequence[Document | Deletion]) -> list[Document | Deletion | str]:
        """Give each record the routing that it is written or deleted by, or say why it cannot be: before encoding.

        Without one of its own that is the alias's, or the one that the index holds its id under.

        Raises:
            BulkWriteError: No retry helps, or none helped within `retry_deadline_s`.
        """
        return self.lookup.resolve(records)

    def held(self, wanted: Mapping[str, str | None], *, stopped: Event | None = None) -> dict[str, Held]:
        """What the index holds now of documents, from id to routing; as `DocumentLookup.held`."""
        return self.lookup.held(wanted, stopped=stopped)

    def refresh(self) -> None:
        """Make everything written so far visible to searches; Amazon's Serverless does so by itself, in its own time.

        Raises:
            BulkWriteError: The index was deleted while it was written.
            ClusterError: The server is away or does not permit it.
        """
        with explained(self._client):
            self._target.check()
            try:
                self._client.indices.refresh(index=self.index)
            except NotFoundError:
                self._target.check()  # it is there: what is not found is the request

    def _routed(self, document: SparseDocument | Deletion) -> SparseDocument | Deletion:
        routing = self.target.routing_of(document)
        return document if routing == document.routing else replace(document, routing=routing)

    def _chunks(self, actions: Sequence[Action]) -> Iterator[list[Action]]:
        chunk: list[Action] = []
        ids: set[str] = set()
        size = 0
        for action in actions:
            full = len(chunk) == self._chunk_size or size + len(action.payload) > self._max_chunk_bytes
            # Of two of the same id in one request, the first might be sent again after the second.
            if chunk and (full or action.document.doc_id in ids):
                yield chunk
                chunk, ids, size = [], set(), 0
            chunk.append(action)
            ids.add(action.document.doc_id)
            size += len(action.payload)
        if chunk:
            yield chunk

    def _send(self, chunk: list[Action], outcome: Outcome, stopped: Event) -> None:
        """Send a chunk until the fate of each of its documents is known."""
        patience = Patience(self._target.policy, self._target.pauses, stopped)
        while chunk:
            wait = 0.0
            try:
                reply = self._request(chunk, stopped)
            except SerializationError:
                cause = "a reply that cannot be read"
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
                given_up = f"{address_of(self._client)} has not taken {len(chunk)} documents for index {self.index!r}"
                patience.wait(cause, at_least=wait, given_up=given_up)
        self._target.pauses.end()

    def _request(self, chunk: list[Action], stopped: Event) -> Any:  # noqa: ANN401
        with self.limit.slot():
            if stopped.is_set():
                raise BulkWriteError(f"Stopped; {len(chunk)} documents for index {self.index!r} were not sent.")
            self._target.check()
            for action in chunk:
                action.attempts += 1
            # An alias that is gone would come back as an index, with a mapping that the server guesses.
            required = {"require_alias": "true"} if self.target.is_alias else {}
            return self._client.bulk(
                body=b"".join(action.payload for action in chunk),
                index=self.index,
                params={"filter_path": FILTER_PATH} | required,
            )

    def _send_halves(self, chunk: list[Action], outcome: Outcome, stopped: Event) -> None:
        if len(chunk) == 1:
            size = len(chunk[0].payload)
            reason = f"{size} bytes are more than the server takes in one request (http.max_content_length)"
            outcome.refused.append(chunk[0].refused(413, "content_too_long", reason))
            return
        middle = len(chunk) // 2
        self._send(chunk[:middle], outcome, stopped)
        self._send(chunk[middle:], outcome, stopped)

    def _sort_out(self, chunk: list[Action], reply: Any, outcome: Outcome) -> tuple[list[Action], str]:  # noqa: ANN401
        """Note what became of a chunk by its reply; return what is to be sent again, and why."""
        items = read_items(reply)
        if items is None:
            return chunk, "a reply that cannot be read"
        if len(items) != len(chunk):
            return chunk, f"the reply names {len(items)} of {len(chunk)} documents"
        before = self.target
        if any(item.stored_in and not before.takes(item.stored_in) for item in items):
            self._target.reread()  # a rollover while the request was under way is not a pipeline
        again: list[Action] = []
        cause = ""
        for action, item in zip(chunk, items, strict=True):
            if item.index_is_gone and (item.stored_in in ("", self.index) or before.takes(item.stored_in)):
                raise self._target.gone()
            if item.concerns_the_index:
                raise BulkWriteError(
                    f"Index {self.index!r} takes no documents: {item.reason}. Fix the cause and rerun; no "
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
        """Refuse what an ingest pipeline wrote by another routing, of which the reply says nothing."""
        stored, outcome.stored = outcome.stored, []
        for start in range(0, len(stored), self._chunk_size):
            some = stored[start : start + self._chunk_size]
            wanted = {action.document.doc_id: action.document.routing for action in some}
            try:
                found = self.lookup.find(wanted, source=False, stopped=stopped)
            except ClusterError:  # who may only write cannot know
                outcome.stored += some
                continue
            for action in some:
                document = action.document
                by = [each.routing for each in found.get(document.doc_id, [])]
                if document.routing in by:
                    outcome.stored.append(action)
                    continue
                reason = f"an ingest pipeline stored it by the routing {by[0]!r}" if by else "it is not in the index"
                outcome.refused.append(action.refused(200, "stored_elsewhere", reason))
