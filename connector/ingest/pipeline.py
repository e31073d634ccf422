"""The ingestion pipeline: encodes and writes documents and accounts for each of them."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterable, Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from logging import getLogger
from pathlib import Path
from threading import Event
from types import TracebackType
from typing import Any, Self

from connector.encoders.base import Encoder
from connector.errors import BulkWriteError, CorpusError
from connector.index.lookup import Held
from connector.index.outcome import Refusal, WriteResult
from connector.index.writer import BulkWriter
from connector.ingest.batches import without_repeats
from connector.ingest.checkpoint import Checkpoint
from connector.ingest.ledger import IngestResult, Ledger, Record
from connector.ingest.letters import id_of
from connector.ingest.preparation import BatchPreparation, PreparedBatch
from connector.ingest.size import size_of
from connector.types import Deletion, Document, MalformedRecord, SparseDocument, SparseVectors

_log = getLogger("ksparse.ingest")

Progress = Callable[[int], None]
"""Called with the number of records whose outcome is known."""

WRITE_SIZE = 500
"""Documents per write batch; more if their texts are short."""

_SHORT_WRITE_SIZE, _SHORT_CHARACTERS = 2_000, 150_000
"""Maximum documents per batch, and characters of a batch above `WRITE_SIZE`.

Few short texts do not keep all cores busy: 500 package summaries take 1.3 ms each, 2,000 take 0.7 ms.
"""

_MAX_WAITING_CHARACTERS = 32 * 2**20
"""Maximum size of a batch with its metadata: 500 texts of 100 MB would be 50 GB."""


@dataclass(slots=True)
class _Written:
    """The outcome of a batch.

    Attributes:
        result: Result of the documents that were sent.
        held: States in the index of the documents that were refused.
    """

    result: WriteResult
    held: Mapping[str, Held]


@dataclass(slots=True)
class _Batch:
    """Consecutive records of the input.

    Attributes:
        records: The records.
        ids: Their ids, as far as readable.
        by_id: The documents and deletions by id, with their routing.
        written: Outcome of those that are sent; None if no request is needed.
        refused: Documents and deletions that are not sent, with reasons.
    """

    records: Sequence[Record]
    ids: frozenset[str]
    by_id: Mapping[str, Document | Deletion]
    written: Future[_Written] | None
    refused: Sequence[Refusal] = ()


class _Waiting:
    """The records of the batch that is being collected.

    Args:
        write_size: Records of a full batch, if their texts are not short; None chooses by their length.
    """

    def __init__(self, write_size: int | None) -> None:
        self.write_size = write_size or WRITE_SIZE
        self._most = write_size or _SHORT_WRITE_SIZE
        self._records: list[Record] = []
        self._characters = 0
        self._size = 0

    def add(self, record: Record) -> bool:
        """Add a record; return whether the batch is full."""
        self._records.append(record)
        if not isinstance(record, Deletion):
            self._characters += len(record.raw if isinstance(record, MalformedRecord) else record.text)
        self._size += size_of(record)
        count = len(self._records)
        if self._size > _MAX_WAITING_CHARACTERS or count >= self._most:
            return True
        return count >= self.write_size and self._characters >= _SHORT_CHARACTERS

    def take(self) -> list[Record]:
        """Return the records and begin the next batch."""
        records, self._records = self._records, []
        self._characters = self._size = 0
        return records


class IngestJob:
    """Encodes and writes documents in overlapping batches with bounded memory. The last record of an id wins.

    Use it as a context manager: its end waits for the last reply, refreshes the index and sets `result`. After an
    error, running batches are completed; after an error of the writer or an interrupt, nothing more is sent. Accepted
    documents stay indexed, and the writer can be used again. If an error of the encoder or the writer is caught inside
    of the block, further calls and the end of the block raise `RuntimeError`, since the failed batch is lost.

    Args:
        writer: Writer of the index.
        encoder: Encoder of the documents; not needed if vectors are given.
        dead_letters: File to which failed records are appended.
        checkpoint: Checkpoint of the job, deleted when the job has finished.
        resume: Resume from the checkpoint: the records that it counts are skipped.
        strict: Stop at the first failed record.
        batch_size: Texts per forward pass.
        write_size: Documents per write batch, at least 1; fewer if they are large. None chooses 500 to 2,000 by the
            length of their texts.
        max_in_flight: Batches that may wait for the server before encoding pauses.
        refresh: Make the documents visible to searches at the end.
        progress: Called with the number of processed records.
        stopped: When another thread sets it, nothing more is sent: the job fails. The end of the job sets it, too.

    Raises:
        CheckpointError: `resume` is set and the checkpoint is missing or belongs to another run.
        ValueError: A size is below 1, or `resume` is set without a checkpoint.
    """

    def __init__(
        self,
        writer: BulkWriter,
        encoder: Encoder | None = None,
        *,
        dead_letters: str | Path | None = None,
        checkpoint: Checkpoint | None = None,
        resume: bool = False,
        strict: bool = False,
        batch_size: int = 32,
        write_size: int | None = None,
        max_in_flight: int = 4,
        refresh: bool = True,
        progress: Progress | None = None,
        stopped: Event | None = None,
    ) -> None:
        if (write_size is not None and write_size < 1) or max_in_flight < 1:
            raise ValueError(f"write_size {write_size} and max_in_flight {max_in_flight} must be at least 1.")
        if resume and checkpoint is None:
            # A resumed job needs the checkpoint to truncate the dead letters.
            raise ValueError("resume needs the checkpoint of the run to continue.")
        self._writer = writer
        self._strict = strict
        self._preparation = BatchPreparation(writer, encoder, batch_size=batch_size)
        self._max_in_flight = max_in_flight
        self._refresh = refresh
        self._progress = progress
        self._ledger = Ledger(dead_letters, checkpoint, resume=resume)
        self._skip = self._ledger.done.read
        self._waiting = _Waiting(write_size)
        self._pending: deque[_Batch] = deque()
        self._pool = ThreadPoolExecutor(max_in_flight, "bulk")
        self._stopped = stopped or Event()
        self._open = False
        self._failure: BaseException | None = None
        self._result: IngestResult | None = None

    @property
    def result(self) -> IngestResult:
        """The outcome of every record, after the job has finished.

        Raises:
            RuntimeError: The job has not finished.
        """
        if self._result is None:
            raise RuntimeError("the job has not finished, or an error stopped it; leave its `with` block first.")
        return self._result

    def add(self, records: Iterable[Record]) -> None:
        """Encode and write records, read lazily in full batches. Malformed records become dead letters.

        Deletions are applied in the given order.

        Raises:
            RuntimeError: The job is used outside of its `with` block, or an earlier call failed.
            CorpusError: `strict` is set and a record failed. Documents written before stay indexed.
            TypeError: A record has the wrong type, or there is no encoder.
            BulkWriteError: A write failed. Accepted documents stay indexed; repeating is safe.
        """
        self._check_open()
        for record in records:
            self._add(record)

    async def add_async(self, records: AsyncIterable[Record]) -> None:
        """Add records from an asynchronous iterable; encoding blocks the event loop.

        Raises:
            RuntimeError, CorpusError, TypeError, BulkWriteError: As in `add`.
        """
        self._check_open()
        async for record in records:
            self._add(record)

    def add_vectors(self, documents: Iterable[Document], vectors: SparseVectors) -> None:
        """Write documents with precomputed vectors, one row each.

        Raises:
            ValueError: The numbers of documents and vectors differ.
            RuntimeError, CorpusError, BulkWriteError: As in `add`.
        """
        self._check_open()
        listed = list(documents)
        if len(listed) != len(vectors.weights):
            raise ValueError(f"{len(listed)} documents need as many vectors, got {len(vectors.weights)}.")
        self._flush()
        skipped = min(self._skip, len(listed))
        self._skip -= skipped
        size = self._waiting.write_size
        for start in range(skipped, len(listed), size):
            rows = range(start, min(start + size, len(listed)))
            self._take(listed[rows.start : rows.stop], vectors.take(rows))

    def __enter__(self) -> Self:
        if self._stopped.is_set():
            raise RuntimeError("this job has finished; create another one.")
        self._open = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open = False
        try:
            if error is not None:
                self._abandon(error)
                return
            if self._failure is not None:
                self._abandon(self._failure)
                raise _stopped_by(self._failure) from self._failure
            try:
                self._flush()
                while self._pending:
                    self._settle()
                if self._refresh:
                    self._writer.refresh()
            except BaseException as failure:
                self._abandon(failure)
                raise
            self._finish()
        finally:
            self._stopped.set()

    def _check_open(self) -> None:
        if not self._open:
            raise RuntimeError(
                "this job has finished; create another one."
                if self._stopped.is_set()
                else "add records inside the job's `with` block, whose end waits for the last reply: "
                "with IngestJob(...) as job: job.add(...)"
            )
        if self._failure is not None:
            raise _stopped_by(self._failure) from self._failure

    def _add(self, record: Record) -> None:
        if not isinstance(record, Record):
            raise TypeError(f"{type(record).__name__} is not a Document; send records through check_documents.")
        if self._skip:
            self._skip -= 1  # accounted for by the resumed run
            return
        if self._strict and isinstance(record, MalformedRecord):
            raise CorpusError(f"Stopped at the first failure: {record.location}: {record.reason}")
        if self._waiting.add(record):
            self._flush()

    def _flush(self) -> None:
        """Encode the pending partial batch."""
        if batch := self._waiting.take():
            self._take(batch, None)

    def _take(self, batch: Sequence[Record], vectors: SparseVectors | None) -> None:
        try:
            for part in without_repeats(batch):
                some = vectors.take(part) if vectors is not None else None
                self._submit(batch[part.start : part.stop], some)
        except BaseException as error:
            self._failure = error  # the batch is neither written nor accounted for
            raise

    def _submit(self, batch: Sequence[Record], vectors: SparseVectors | None) -> None:
        named = [record for record in batch if not isinstance(record, MalformedRecord)]
        malformed = [id_of(record) for record in batch if isinstance(record, MalformedRecord)]
        unread = dict(each for each in malformed if each is not None) if self._ledger.keeps_letters else {}
        ids = frozenset((*(record.doc_id for record in named), *unread))
        # Batches are written concurrently: a later record of an id must wait for the earlier one.
        while any(not ids.isdisjoint(pending.ids) for pending in self._pending):
            self._settle()
        written: Future[_Written] | None = None
        prepared = self._preparation.prepare(named, vectors) if named else PreparedBatch()
        if prepared.actions or unread or prepared.refused:
            unread |= {each.document.doc_id: prepared.by_id[each.document.doc_id].routing for each in prepared.refused}
            written = self._pool.submit(self._write, prepared.actions, unread)
        self._pending.append(_Batch(batch, ids, prepared.by_id, written, prepared.refused))
        settled = False
        while self._pending and (len(self._pending) > self._max_in_flight or _is_over(self._pending[0])):
            self._settle()
            settled = True
        if settled:
            # Save every time, so that a killed run repeats only the batches in flight.
            self._ledger.save()

    def _write(self, actions: Sequence[SparseDocument | Deletion], unread: dict[str, str | None]) -> _Written:
        """Write a batch and read the state of documents that become dead letters; runs in a thread."""
        result = self._writer.write(actions, stopped=self._stopped) if actions else WriteResult(0)
        if not self._ledger.keeps_letters:
            return _Written(result, {})
        wanted = unread | {refusal.document.doc_id: refusal.document.routing for refusal in result.refused}
        return _Written(result, self._writer.held(wanted, stopped=self._stopped) if wanted else {})

    def _settle(self) -> None:
        """Wait for the oldest batch and account for it."""
        batch = self._pending[0]
        written = batch.written.result() if batch.written is not None else _Written(WriteResult(0), {})
        # If it is only partly accounted for (interrupt, full disk), no later batch may be.
        self._ledger.broken = True
        self._pending.popleft()
        self._ledger.account(batch.records, batch.by_id, written.result, refused=batch.refused, held=written.held)
        if self._strict:
            self._ledger.check_strictly()
        if self._progress is not None:
            self._progress(self._ledger.done.read)

    def _finish(self) -> None:
        self._pool.shutdown()
        self._result = self._ledger.finish()
        _log.info("Done: %s.", self._ledger.done)

    def _abandon(self, error: BaseException) -> None:
        """Complete running batches, unless the writer itself failed, and account for them."""
        interrupted = isinstance(error, KeyboardInterrupt)
        if interrupted or isinstance(error, BulkWriteError):
            self._stopped.set()
        # On an interrupt, do not wait for slow replies.
        self._pool.shutdown(wait=not interrupted)
        self._strict = False
        while self._pending and not self._ledger.broken and _is_known(self._pending[0]):
            self._settle()
        # The previous checkpoint is still valid, and the first error is more informative.
        with suppress(OSError):
            self._ledger.save()


def typical_write_size(characters: float) -> float:
    """Return the number of documents per write batch for texts of this mean length."""
    return min(max(WRITE_SIZE, _SHORT_CHARACTERS / max(1.0, characters)), _SHORT_WRITE_SIZE)


def ingest_documents(
    records: Iterable[Record],
    encoder: Encoder,
    writer: BulkWriter,
    **options: Any,
) -> IngestResult:
    """Run an `IngestJob` from beginning to end.

    Args:
        records: Records, read lazily. Malformed ones become dead letters.
        encoder: Encoder of the documents.
        writer: Writer of the index.
        **options: As in `IngestJob`.

    Raises:
        CorpusError: `strict` is set and a record failed. Documents written before stay indexed.
        TypeError: A record has the wrong type.
        BulkWriteError: A write failed. Accepted documents stay indexed; repeating is safe.
    """
    with IngestJob(writer, encoder, **options) as job:
        job.add(records)
    return job.result


def _stopped_by(error: BaseException) -> RuntimeError:
    return RuntimeError(f"this job was stopped by an error ({error!r}) and has lost a batch; create another job.")


def _is_over(batch: _Batch) -> bool:
    return batch.written is None or batch.written.done()


def _is_known(batch: _Batch) -> bool:
    return batch.written is None or (batch.written.done() and batch.written.exception() is None)
