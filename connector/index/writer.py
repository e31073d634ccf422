"""Write sparse documents into an index: chunks, retries and refusals are handled here and nowhere else."""

from __future__ import annotations

import base64
import json
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from opensearchpy import OpenSearch
from opensearchpy.exceptions import ConnectionError, ConnectionTimeout, SerializationError, TransportError

from connector.errors import BulkWriteError
from connector.index.client import address_of, explained, reason_of
from connector.index.schema import read_weight_exponent
from connector.query import FEATURES_FIELD, PRESENCE_FEATURE, check_features
from connector.rescore import CODE_FIELD
from connector.sparsify import SMALLEST_WEIGHT
from connector.types import SparseDocument

_RETRIED_STATUS = (408, 429, 500, 502, 503, 504)


@dataclass(frozen=True, slots=True)
class Refusal:
    """A document that the index does not hold, and why.

    Attributes:
        document: As it was given.
        status: The server's status for it; 0 where it was never sent.
        kind: The server's type of error, or `invalid_document`.
        reason: In one line.
        attempts: Requests that carried it.
    """

    document: SparseDocument
    status: int
    kind: str
    reason: str
    attempts: int


@dataclass(frozen=True, slots=True)
class WriteResult:
    """What became of the documents of one call: `indexed` plus the refused ones are all of them."""

    indexed: int
    refused: tuple[Refusal, ...] = ()


@dataclass(slots=True)
class _Action:
    """A document as the bytes of a bulk request."""

    document: SparseDocument
    payload: bytes
    attempts: int = 0


class BulkWriter:
    """Writes documents by `_bulk` and accounts for every one of them. Safe to use from several threads.

    `_id` is the document's id, so that writing again after an unclear reply changes nothing.

    Args:
        client: A ready client that does not retry by itself (`connect` makes one).
        index: The index or alias; it must exist. Its mapping says on what scale weights are stored.
        chunk_size: Documents per request, at most.
        max_chunk_bytes: Serialized bytes per request, at most; a larger document goes alone.
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

    def write(self, documents: Sequence[SparseDocument]) -> WriteResult:
        """Index the documents; those that the server or `rank_features` cannot take come back as refusals.

        Raises:
            BulkWriteError: No retry helps, or none helped within `retry_deadline_s`. What was accepted stays
                indexed; writing the same documents again is safe.
        """
        actions: list[_Action] = []
        refused: list[Refusal] = []
        for document in documents:
            try:
                actions.append(_Action(document, _serialize(document, self._scale)))
            except (ValueError, TypeError) as error:
                refused.append(Refusal(document, 0, "invalid_document", str(error), 0))
        for chunk in self._chunks(actions):
            refused += self._send(chunk)
        return WriteResult(len(documents) - len(refused), tuple(refused))

    def refresh(self) -> None:
        """Make everything written so far visible to searches."""
        with explained(self._client):
            self._client.indices.refresh(index=self.index)

    def _chunks(self, actions: Sequence[_Action]) -> Iterator[list[_Action]]:
        chunk: list[_Action] = []
        size = 0
        for action in actions:
            if chunk and (len(chunk) == self._chunk_size or size + len(action.payload) > self._max_chunk_bytes):
                yield chunk
                chunk, size = [], 0
            chunk.append(action)
            size += len(action.payload)
        if chunk:
            yield chunk

    def _send(self, chunk: list[_Action]) -> list[Refusal]:
        """Send a chunk until each of its documents is indexed or refused."""
        refused: list[Refusal] = []
        deadline = time.monotonic() + self._retry_deadline_s
        backoff = self._initial_backoff
        while chunk:
            for action in chunk:
                action.attempts += 1
            self._check_index()
            try:
                reply = self._client.bulk(
                    body=b"".join(action.payload for action in chunk),
                    index=self.index,
                    params={"filter_path": "items.*.status,items.*.error.type,items.*.error.reason"},
                )
            except SerializationError:
                cause = "a reply that cannot be read"
            except TransportError as error:
                if error.status_code == 413:
                    return refused + self._send_halves(chunk, error)
                cause = self._retryable_cause(error)
            else:
                chunk, found, cause = self._sort_out(chunk, reply)
                refused += found
            if not chunk:
                break
            if time.monotonic() >= deadline:
                raise BulkWriteError(
                    f"{address_of(self._client)} has not taken {len(chunk)} documents for index {self.index!r} within "
                    f"{self._retry_deadline_s:.0f} s ({cause}). Mend it and run the same again; nothing is doubled."
                )
            time.sleep(random.uniform(0, backoff))  # noqa: S311 - jitter, not a secret
            backoff = min(2 * backoff, self._max_backoff)
        return refused

    def _check_index(self) -> None:
        """Stop where the index is gone: the server would make it again, with a mapping that it guesses."""
        try:
            if self._client.indices.exists(index=self.index):
                return
        except TransportError as error:
            self._retryable_cause(error)
            return
        raise BulkWriteError(f"Index {self.index!r} is gone; nothing more was written. Ingest into a new one.")

    def _send_halves(self, chunk: list[_Action], error: TransportError) -> list[Refusal]:
        if len(chunk) == 1:
            size = len(chunk[0].payload)
            reason = f"{size} bytes are more than the server takes in one request (http.max_content_length)"
            return [Refusal(chunk[0].document, 413, "content_too_long", reason, chunk[0].attempts)]
        middle = len(chunk) // 2
        return self._send(chunk[:middle]) + self._send(chunk[middle:])

    def _retryable_cause(self, error: TransportError) -> str:
        """Say in a few words what happened, or raise where sending again cannot help."""
        if isinstance(error, ConnectionTimeout):
            return "no reply in time"
        if isinstance(error, ConnectionError):
            return "no connection"
        if error.status_code in _RETRIED_STATUS:
            return f"status {error.status_code}: {reason_of(error)}"
        raise BulkWriteError(
            f"{address_of(self._client)} refuses the write into {self.index!r} ({error.status_code}): "
            f"{reason_of(error)}. Mend it and run the same again; nothing is doubled."
        ) from error

    def _sort_out(self, chunk: list[_Action], reply: Any) -> tuple[list[_Action], list[Refusal], str]:  # noqa: ANN401
        """Split a chunk by its reply: to send again, refused, and why some are to be sent again."""
        if not isinstance(reply, dict):
            return chunk, [], "a reply that cannot be read"
        items = [next(iter(item.values())) for item in reply.get("items", [])]
        if len(items) != len(chunk):
            return chunk, [], f"the reply names {len(items)} of {len(chunk)} documents"
        again: list[_Action] = []
        refused: list[Refusal] = []
        cause = ""
        for action, item in zip(chunk, items, strict=True):
            if item["status"] < 300:
                continue
            error = item.get("error", {})
            kind, reason = str(error.get("type", "")), str(error.get("reason", ""))
            if item["status"] in _RETRIED_STATUS or kind == "cluster_block_exception":
                again.append(action)
                cause = f"{kind}: {reason}"
            else:
                refused.append(Refusal(action.document, item["status"], kind, reason, action.attempts))
        return again, refused, cause


def _serialize(document: SparseDocument, scale: float) -> bytes:
    """The two lines of a bulk request.

    Args:
        document: To write.
        scale: A power of two that weights are multiplied by. What would fall below the smallest weight is raised to it.

    Raises:
        ValueError: A feature cannot be stored, the id is not 1 to 512 bytes, or a value is no JSON.
    """
    if not 1 <= len(document.doc_id.encode()) <= 512:
        raise ValueError(f"_id {document.doc_id[:40]!r} must be 1 to 512 bytes long.")
    check_features(document.features)
    if PRESENCE_FEATURE in document.features:
        raise ValueError(f"feature name {PRESENCE_FEATURE!r} is taken; every document gets it.")
    stored = {**document.features, PRESENCE_FEATURE: 1.0}
    if scale != 1.0:
        stored = {name: max(weight * scale, SMALLEST_WEIGHT) for name, weight in stored.items()}
    body = {**document.source, FEATURES_FIELD: stored}
    if document.code is not None:
        body[CODE_FIELD] = base64.b64encode(document.code).decode("ascii")
    lines = ({"index": {"_id": document.doc_id}}, body)
    return "".join(
        json.dumps(line, ensure_ascii=False, allow_nan=False, separators=(",", ":")) + "\n" for line in lines
    ).encode()
