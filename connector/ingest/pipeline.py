"""An ingestion: documents go in, and out, in any number of calls, and every one of them is accounted for."""

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
from connector.types import Deletion, Document, MalformedRecord, SparseDocument, SparseVectors

_log = getLogger("ksparse.ingest")

Progress = Callable[[int], None]
"""Called with the number of records whose fate is known."""

WRITE_SIZE = 500
"""Documents encoded before they are handed to the writer: as many as a request has, unless it may have fewer."""

_MOST_WAITING_CHARACTERS = 32 * 2**20
"""Of a batch that is not full: 500 texts of 100 MB would be 50 GB."""


@dataclass(slots=True)
class _Written:
    """What became of a batch.

    Attributes:
        result: Of those that were sent.
        held: What the index holds of those that it did not take.
    """

    result: WriteResult
    held: Mapping[str, Held]


@dataclass(slots=True)
class _Batch:
    """Records that follow each other in the input.

    Attributes:
        records: All of them.
        ids: Of all of them, as far as they can be read.
        by_id: The documents and deletions among them, with the routing that they are sent by.
        written: What becomes of those that are sent; None where there is nothing to ask the server.
        refused: Documents and deletions among them that are not sent, and why.
    """

    records: Sequence[Record]
    ids: frozenset[str]
    by_id: Mapping[str, Document | Deletion]
    written: Future[_Written] | None
    refused: Sequence[Refusal] = ()


class IngestJob:
    """Encodes documents and writes them, in batches that overlap, with bounded memory. The last word on an id counts.

    A context manager, and to be used as one: leaving it waits for the last reply, makes the documents visible and fills
    `result`. After an error, what is under way comes to its end; after an error of the writer or an interrupt, nothing
    more is sent. What was accepted stays indexed, and the writer may be used again.

    Args:
        writer: Knows the index.
        encoder: Documents to sparse vectors; may be left out where vectors are given.
        dead_letters: A file that what could not be indexed is appended to.
        checkpoint: Kept while the job runs, and removed when it has come to its end.
        resume: Go on from the checkpoint: as many records as it says are left out of what is added.
        strict: Stop at the first record that fails.
        batch_size: Texts per forward pass.
        write_size: Documents encoded before they are handed to the writer, at least 1; fewer if they are large.
        max_in_flight: Such batches that may wait for the server; then encoding waits too.
        refresh: Make the documents visible to searches at the end.
        progress: Called with the number of records done.

    Raises:
        CheckpointError: `resume`, and the checkpoint is missing or of another run.
        ValueError: A size is below 1, or `resume` comes without a checkpoint.
    """

    def __init__(
        self,
        writer: BulkWriter,
        encoder: Encoder | None = None,
        *,
        dead_letters: Path | None = None,
        checkpoint: Checkpoint | None = None,
        resume: bool = False,
        strict: bool = False,
        batch_size: int = 32,
        write_size: int = WRITE_SIZE,
        max_in_flight: int = 4,
        refresh: bool = True,
        progress: Progress | None = None,
    ) -> None:
        if write_size < 1 or max_in_flight < 1:
            raise ValueError(f"write_size {write_size} and max_in_flight {max_in_flight} must be at least 1.")
        if resume and checkpoint is None:
            # Without one nothing is known of the dead letters, which a resumed job cuts to what is.
            raise ValueError("resume needs the checkpoint of the run to continue.")
        self._writer = writer
        self._strict = strict
        self._preparation = BatchPreparation(writer, encoder, batch_size=batch_size)
        self._write_size = write_size
        self._max_in_flight = max_in_flight
        self._refresh = refresh
        self._progress = progress
        self._ledger = Ledger(dead_letters, checkpoint, resume=resume)
        self._skip = self._ledger.done.read
        self._waiting: list[Record] = []
        self._waiting_characters = 0
        self._pending: deque[_Batch] = deque()
        self._pool = ThreadPoolExecutor(max_in_flight, "bulk")
        self._stopped = Event()
        self._open = False
        self._result: IngestResult | None = None

    @property
    def result(self) -> IngestResult:
        """What became of every record, once the job is over.

        Raises:
            RuntimeError: It is not over.
        """
        if self._result is None:
            raise RuntimeError("the job is not over, or was stopped by an error; leave its `with` first.")
        return self._result

    def add(self, records: Iterable[Record]) -> None:
        """Encode and write documents, read lazily, a full batch at a time. Malformed records go to the dead letters.

        Deletions among them take documents out again, in the order given.

        Raises:
            RuntimeError: The job is not in its `with` block.
            CorpusError: `strict`, and a record failed. What was written before stays.
            TypeError: A record is not a document, deletion or malformed one, or there is no encoder.
            BulkWriteError: The server takes no more. What was accepted stays indexed; the same again is safe.
        """
        self._check_open()
        for record in records:
            self._add(record)

    async def add_async(self, records: AsyncIterable[Record]) -> None:
        """Do as `add` does with documents that come one by one from elsewhere; encoding blocks the event loop.

        Raises:
            RuntimeError, CorpusError, TypeError, BulkWriteError: As `add`.
        """
        self._check_open()
        async for record in records:
            self._add(record)

    def add_vectors(self, documents: Iterable[Document], vectors: SparseVectors) -> None:
        """Write documents whose vectors are made already, by any encoder, row by row.

        Raises:
            ValueError: There are more or fewer documents than vectors.
            RuntimeError, CorpusError, BulkWriteError: As `add`.
        """
        self._check_open()
        listed = list(documents)
        if len(listed) != len(vectors.weights):
            raise ValueError(f"{len(listed)} documents need as many vectors, got {len(vectors.weights)}.")
        self._flush()
        skipped = min(self._skip, len(listed))
        self._skip -= skipped
        for start in range(skipped, len(listed), self._write_size):
            rows = range(start, min(start + self._write_size, len(listed)))
            self._take(listed[rows.start : rows.stop], vectors.take(rows))

    def __enter__(self) -> Self:
        if self._stopped.is_set():
            raise RuntimeError("this job is over; create another one.")
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
                "this job is over; create another one."
                if self._stopped.is_set()
                else "records are added inside of a job's `with` block, whose end waits for the last of them: "
                "with IngestJob(...) as job: job.add(...)"
            )

    def _add(self, record: Record) -> None:
        if not isinstance(record, Record):
            raise TypeError(f"{type(record).__name__} is not a Document; send records through check_documents.")
        if self._skip:
            self._skip -= 1  # an earlier run has accounted for it
            return
        if self._strict and isinstance(record, MalformedRecord):
            raise CorpusError(f"Stopped at the first failure: {record.location}: {record.reason}")
        self._waiting.append(record)
        if not isinstance(record, Deletion):
            self._waiting_characters += len(record.raw if isinstance(record, MalformedRecord) else record.text)
        if len(self._waiting) == self._write_size or self._waiting_characters > _MOST_WAITING_CHARACTERS:
            self._flush()

    def _flush(self) -> None:
        """Encode what waits for a batch to be full."""
        batch, self._waiting, self._waiting_characters = self._waiting, [], 0
        if batch:
            self._take(batch, None)

    def _take(self, batch: Sequence[Record], vectors: SparseVectors | None) -> None:
        for part in without_repeats(batch):
            some = vectors.take(part) if vectors is not None else None
            self._submit(batch[part.start : part.stop], some)

    def _submit(self, batch: Sequence[Record], vectors: SparseVectors | None) -> None:
        named = [record for record in batch if not isinstance(record, MalformedRecord)]
        malformed = [id_of(record.raw) for record in batch if isinstance(record, MalformedRecord)]
        unread = dict(each for each in malformed if each is not None) if self._ledger.keeps_letters else {}
        ids = frozenset((*(record.doc_id for record in named), *unread))
        # Batches are written side by side: what comes later for an id has to wait for what came before.
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
            # Every time, so that a run that is killed encodes no more again than what waits for the server.
            self._ledger.save()

    def _write(self, actions: Sequence[SparseDocument | Deletion], unread: dict[str, str | None]) -> _Written:
        """Write a batch, and read what the index holds of those that will be dead letters; in a thread of its own."""
        result = self._writer.write(actions, stopped=self._stopped) if actions else WriteResult(0)
        if not self._ledger.keeps_letters:
            return _Written(result, {})
        wanted = unread | {refusal.document.doc_id: refusal.document.routing for refusal in result.refused}
        return _Written(result, self._writer.held(wanted, stopped=self._stopped) if wanted else {})

    def _settle(self) -> None:
        """Wait for the oldest batch, and note what became of it."""
        batch = self._pending[0]
        written = batch.written.result() if batch.written is not None else _Written(WriteResult(0), {})
        # If it is not accounted for whole (an interrupt, a full disk), no later batch may be.
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
        """Let what is under way come to its end unless the writer itself fails, and keep what is known of it."""
        interrupted = isinstance(error, KeyboardInterrupt)
        if interrupted or isinstance(error, BulkWriteError):
            self._stopped.set()
        # Who interrupts does not want to wait for an answer that may take long.
        self._pool.shutdown(wait=not interrupted)
        self._strict = False
        while self._pending and not self._ledger.broken and _is_known(self._pending[0]):
            self._settle()
        # The checkpoint before this one is as good, and the first error says more.
        with suppress(OSError):
            self._ledger.save()


def ingest_documents(
    records: Iterable[Record],
    encoder: Encoder,
    writer: BulkWriter,
    **options: Any,
) -> IngestResult:
    """Encode documents and write them: an `IngestJob` from beginning to end.

    Args:
        records: Read lazily. Malformed ones go to the dead letters.
        encoder: Documents to sparse vectors.
        writer: Knows the index.
        **options: As for `IngestJob`.

    Raises:
        CorpusError: `strict`, and a record failed. What was written before stays.
        TypeError: A record is not a document, deletion or malformed one.
        BulkWriteError: The server takes no more. What was accepted stays indexed; the same run again is safe.
    """
    with IngestJob(writer, encoder, **options) as job:
        job.add(records)
    return job.result


def _is_over(batch: _Batch) -> bool:
    return batch.written is None or batch.written.done()


def _is_known(batch: _Batch) -> bool:
    return batch.written is None or (batch.written.done() and batch.written.exception() is None)
