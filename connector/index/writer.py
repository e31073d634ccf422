"""Write documents into an index, and delete some: chunks, retries and refusals are handled here and nowhere else."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from threading import Event
from typing import Any

from opensearchpy import OpenSearch
from opensearchpy.exceptions import (
    ConnectionError,
    ConnectionTimeout,
    NotFoundError,
    SerializationError,
    TransportError,
)

from connector.connection.client import address_of, explained, reason_of
from connector.connection.transport import retry_after
from connector.errors import BulkWriteError, ClusterError
from connector.index.bulk_lines import to_lines
from connector.index.limit import InFlightLimit
from connector.index.schema import read_weight_exponent, uuids_of
from connector.types import Deletion, SparseDocument

_RETRIED_STATUS = (408, 429, 500, 502, 503, 504)
_KEPT_OF_REPLIES = ",".join(f"items.*.{name}" for name in ("status", "error.type", "error.reason", "error.caused_by"))


@dataclass(frozen=True, slots=True)
class Refusal:
    """A document that the index does not hold, or did not give up, and why.

    Attributes:
        document: As it was given, or its deletion.
        status: The server's status for it; 0 where it was never sent.
        kind: The server's type of error, or `invalid_document`.
        reason: In one line.
        attempts: Requests that carried it.
    """

    document: SparseDocument | Deletion
    status: int
    kind: str
    reason: str
    attempts: int


@dataclass(frozen=True, slots=True)
class WriteResult:
    """What became of what one call gave: `indexed`, `deleted`, `superseded` and the refused are all of it.

    Attributes:
        indexed: Documents that the index holds as they were given.
        refused: Those that it does not hold, and why.
        superseded: Those of which the index holds a newer version.
        deleted: Deletions after which the index does not hold the document, whether it held it before or not.
    """

    indexed: int
    refused: tuple[Refusal, ...] = ()
    superseded: int = 0
    deleted: int = 0


@dataclass(slots=True)
class _Action:
    """A document or a deletion as the bytes of a bulk request."""

    document: SparseDocument | Deletion
    payload: bytes
    attempts: int = 0


@dataclass(slots=True)
class _Outcome:
    """What is known of some documents so far."""

    indexed: int = 0
    deleted: int = 0
    superseded: int = 0
    refused: list[Refusal] = field(default_factory=list)


class BulkWriter:
    """Writes documents by `_bulk` and accounts for every one of them. Safe to use from several threads.

    `_id` is the document's id, so that writing again after an unclear reply changes nothing. A document with a version
    is sent as `external_gte`: it may be written again, and never over a newer one.

    Args:
        client: A ready client that does not retry by itself (`connect` makes one).
        index: The index or alias; it must exist. Its mapping says on what scale weights are stored.
        chunk_size: Documents per request, at most.
        max_chunk_bytes: Serialized bytes per request, at most; a larger document goes alone.
        max_in_flight: Requests at a time, whatever the number of threads; fewer while the server is busy.
        initial_backoff: Seconds of the first wait, at most; waits are random below a limit that doubles.
        max_backoff: Seconds of the longest wait.
        retry_deadline_s: How long one chunk is sent again before the writer gives up.

    Raises:
        ClusterError: The server is away or does not permit it.
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
        self._initial_backoff = initial_backoff
        self._max_backoff = max_backoff
        self._retry_deadline_s = retry_deadline_s
        self._scale = 2.0 ** read_weight_exponent(client, index)
        self._uuids: dict[str, str] = {}
        self._stopped = Event()
        self.limit = InFlightLimit(max_in_flight)

    def write(self, documents: Sequence[SparseDocument | Deletion]) -> WriteResult:
        """Index or delete documents, those of one id in the order given.

        Those that the server or `rank_features` cannot take come back as refusals.

        Raises:
            BulkWriteError: No retry helps, or none helped within `retry_deadline_s`. What was accepted stays
                indexed; writing the same documents again is safe.
        """
        actions: list[_Action] = []
        outcome = _Outcome()
        for document in documents:
            try:
                actions.append(_Action(document, to_lines(document, self._scale)))
            except (ValueError, TypeError, RecursionError) as error:
                outcome.refused.append(Refusal(document, 0, "invalid_document", str(error), 0))
        for chunk in self._chunks(actions):
            self._send(chunk, outcome)
        return WriteResult(outcome.indexed, tuple(outcome.refused), outcome.superseded, outcome.deleted)

    def stop(self) -> None:
        """Let no thread send anything more: each raises `BulkWriteError` once its request is answered."""
        self._stopped.set()

    def refresh(self) -> None:
        """Make everything written so far visible to searches; Amazon's Serverless does so by itself, in its own time.

        Raises:
            BulkWriteError: The index was deleted while it was written.
            ClusterError: The server is away or does not permit it.
        """
        with explained(self._client):
            self._check_index()
            try:
                self._client.indices.refresh(index=self.index)
            except NotFoundError:
                self._check_index()  # it is there: what is not found is the request

    def _chunks(self, actions: Sequence[_Action]) -> Iterator[list[_Action]]:
        chunk: list[_Action] = []
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

    def _send(self, chunk: list[_Action], outcome: _Outcome) -> None:
        """Send a chunk until the fate of each of its documents is known."""
        deadline = time.monotonic() + self._retry_deadline_s
        backoff = self._initial_backoff
        while chunk:
            wait = 0.0
            try:
                reply = self._request(chunk)
            except SerializationError:
                cause = "a reply that cannot be read"
            except TransportError as error:
                if error.status_code == 413:
                    self._send_halves(chunk, outcome)
                    return
                cause, wait = self._retryable_cause(error), retry_after(error)
                if error.status_code == 429:
                    self.limit.busy()
            else:
                chunk, cause = self._sort_out(chunk, reply, outcome)
            if not chunk:
                break
            if time.monotonic() + wait >= deadline:
                raise BulkWriteError(
                    f"{address_of(self._client)} has not taken {len(chunk)} documents for index {self.index!r} within "
                    f"{self._retry_deadline_s:.0f} s ({cause}). Mend it and run the same again; nothing is doubled."
                )
            self._stopped.wait(max(wait, random.uniform(0, backoff)))  # noqa: S311 - jitter, not a secret
            backoff = min(2 * backoff, self._max_backoff)

    def _request(self, chunk: list[_Action]) -> Any:  # noqa: ANN401
        with self.limit.slot():
            if self._stopped.is_set():
                raise BulkWriteError(f"Stopped; {len(chunk)} documents for index {self.index!r} were not sent.")
            self._check_index()
            for action in chunk:
                action.attempts += 1
            return self._client.bulk(
                body=b"".join(action.payload for action in chunk),
                index=self.index,
                params={"filter_path": _KEPT_OF_REPLIES},
            )

    def _check_index(self) -> None:
        """Stop where the index is gone: the server would make it again, with a mapping that it guesses.

        Deleted between this and a request, it comes back all the same; then its UUID is another one the next time.
        """
        try:
            found = uuids_of(self._client, self.index)
        except NotFoundError:
            raise self._gone() from None
        for name, uuid in found.items():
            if self._uuids.setdefault(name, uuid) != uuid:
                raise BulkWriteError(
                    f"Index {name!r} was deleted, and is another one now, whose mapping the server may have guessed. "
                    "Delete it, and ingest again."
                )

    def _gone(self) -> BulkWriteError:
        return BulkWriteError(f"Index {self.index!r} is gone; nothing more was written. Ingest into a new one.")

    def _send_halves(self, chunk: list[_Action], outcome: _Outcome) -> None:
        if len(chunk) == 1:
            size = len(chunk[0].payload)
            reason = f"{size} bytes are more than the server takes in one request (http.max_content_length)"
            outcome.refused.append(Refusal(chunk[0].document, 413, "content_too_long", reason, chunk[0].attempts))
            return
        middle = len(chunk) // 2
        self._send(chunk[:middle], outcome)
        self._send(chunk[middle:], outcome)

    def _retryable_cause(self, error: TransportError) -> str:
        """Say in a few words what happened, or raise where sending again cannot help."""
        if isinstance(error, ConnectionTimeout):
            return "no reply in time"
        if isinstance(error, ConnectionError):
            return str(error.info) if isinstance(error.info, ClusterError) else "no connection"
        if error.status_code in _RETRIED_STATUS:
            return f"status {error.status_code}: {reason_of(error)}"
        raise BulkWriteError(
            f"{address_of(self._client)} refuses the write into {self.index!r} ({error.status_code}): "
            f"{reason_of(error)}. Mend it and run the same again; nothing is doubled."
        ) from error

    def _sort_out(self, chunk: list[_Action], reply: Any, outcome: _Outcome) -> tuple[list[_Action], str]:  # noqa: ANN401
        """Note what became of a chunk by its reply; return what is to be sent again, and why."""
        if not isinstance(reply, dict):
            return chunk, "a reply that cannot be read"
        items = [next(iter(item.values())) for item in reply.get("items", [])]
        if len(items) != len(chunk):
            return chunk, f"the reply names {len(items)} of {len(chunk)} documents"
        again: list[_Action] = []
        cause = ""
        for action, item in zip(chunk, items, strict=True):
            gone = item["status"] == 404 and "error" not in item  # a deletion of what was not there
            if item["status"] < 300 or gone:
                outcome.deleted += isinstance(action.document, Deletion)
                outcome.indexed += isinstance(action.document, SparseDocument)
                continue
            error = item.get("error", {})
            kind, reason = str(error.get("type", "")), _reason_of_item(error)
            if kind == "index_not_found_exception":
                raise self._gone()
            if item["status"] in _RETRIED_STATUS or kind == "cluster_block_exception":
                again.append(action)
                cause = f"{kind}: {reason}"
            elif item["status"] == 409 and action.document.version is not None:
                outcome.superseded += 1
            else:
                outcome.refused.append(Refusal(action.document, item["status"], kind, reason, action.attempts))
        if any(item["status"] == 429 for item in items):
            self.limit.busy()
        elif not again:
            self.limit.clean()
        return again, cause


def _reason_of_item(error: Mapping[str, Any]) -> str:
    """The server's reason and the innermost one below it, which often says what the first one does not."""
    reason, cause = str(error.get("reason", "")), error
    while isinstance(cause.get("caused_by"), dict):
        cause = cause["caused_by"]
    innermost = str(cause.get("reason", ""))
    return reason if innermost in reason else f"{reason}: {innermost}"
