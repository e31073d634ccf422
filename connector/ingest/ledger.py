"""Account for every record of a run in input order: counts, dead letters and checkpoint."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from connector.errors import CorpusError
from connector.index.lookup import Held
from connector.index.outcome import Refusal, WriteResult
from connector.ingest.checkpoint import Checkpoint, Watermark
from connector.ingest.dead_letters import REASONS_KEPT, DeadLetters
from connector.ingest.letters import id_of
from connector.types import Deletion, Document, MalformedRecord

Record = Document | Deletion | MalformedRecord

_SUPERSEDED_KEPT = 10_000


@dataclass(frozen=True, slots=True)
class IngestResult:
    """The outcome of a run; `indexed`, `deleted`, `not_found`, `superseded` and `dead_lettered` add up to `read`.

    Attributes:
        read: Input records, including malformed ones and those of the run that this one resumed.
        indexed: Indexed documents.
        dead_lettered: Failed records.
        reasons: The first few failures.
        dead_letters: The dead-letter file; None if nothing failed or no file was given.
        elapsed_s: Seconds from the first record to the last reply.
        superseded: Documents of which the index has a newer version.
        deleted: Deleted documents.
        not_found: Deletions of documents that did not exist.
        superseded_ids: Ids of the first 10,000 superseded documents, without those of the run that this one resumed;
            none for a job on Ray.
    """

    read: int
    indexed: int
    dead_lettered: int
    reasons: tuple[str, ...]
    dead_letters: Path | None
    elapsed_s: float
    superseded: int = 0
    deleted: int = 0
    not_found: int = 0
    superseded_ids: tuple[str, ...] = ()

    def plus(self, earlier: IngestResult | None) -> IngestResult:
        """Add an earlier result, whose reasons come first."""
        if earlier is None:
            return self
        counts = ("read", "indexed", "dead_lettered", "elapsed_s", "superseded", "deleted", "not_found")
        sums = {name: getattr(earlier, name) + getattr(self, name) for name in counts}
        reasons = (earlier.reasons + self.reasons)[:REASONS_KEPT]
        ids = (earlier.superseded_ids + self.superseded_ids)[:_SUPERSEDED_KEPT]
        letters = self.dead_letters or earlier.dead_letters
        return replace(self, reasons=reasons, dead_letters=letters, superseded_ids=ids, **sums)


class Ledger:
    """Accounts for batches in order.

    Args:
        dead_letters: File to which failed records are appended.
        checkpoint: Checkpoint of the run.
        resume: Start from the checkpoint.

    Attributes:
        done: The records whose outcome is known.
        broken: Whether a batch was only partly accounted for, after which no later batch may be.

    Raises:
        CheckpointError: `resume` is set and the checkpoint is missing or belongs to another run.
    """

    def __init__(self, dead_letters: str | Path | None, checkpoint: Checkpoint | None, *, resume: bool) -> None:
        self._checkpoint = checkpoint
        self._started = time.monotonic()
        self._superseded: list[str] = []
        self.done = Watermark(run="" if checkpoint is None else uuid.uuid4().hex)
        if resume and checkpoint is not None:
            self.done = checkpoint.load()
        self.broken = False
        self._letters = DeadLetters(dead_letters, count=self.done.dead_lettered, run=self.done.run)
        if resume:
            self._letters.cut(self.done.dead_letter_bytes, self.done.dead_letter_file)
        self.done = replace(self.done, dead_letter_bytes=self._letters.bytes, dead_letter_file=self._letters.identity)
        if resume:
            self.save()

    @property
    def keeps_letters(self) -> bool:
        """Whether failed records are stored rather than only counted."""
        return self._letters.path is not None

    def account(
        self,
        records: Sequence[Record],
        by_id: Mapping[str, Document | Deletion],
        result: WriteResult,
        *,
        refused: Sequence[Refusal] = (),
        held: Mapping[str, Held],
    ) -> None:
        """Account for the next records of the input.

        Args:
            records: All records of the batch.
            by_id: Its documents and deletions by id, with their routing.
            result: Result of those that were sent.
            refused: Those that were not sent, with reasons.
            held: States in the index of the documents that failed.
        """
        self.broken = True
        if not self.done.read:
            self.save()  # if the run is killed now, a resumed run must find and remove its letters
        for record in records:
            if isinstance(record, MalformedRecord):
                doc_id, _ = id_of(record) or (None, None)
                self._letters.add_malformed(record, doc_id=doc_id, held=held.get(doc_id or ""))
        for refusal in (*refused, *result.refused):
            doc_id = refusal.document.doc_id
            self._letters.add_refusal(by_id[doc_id], refusal, held=held.get(doc_id))
        self._superseded += result.superseded_ids[: _SUPERSEDED_KEPT - len(self._superseded)]
        self.done = Watermark(
            read=self.done.read + len(records),
            indexed=self.done.indexed + result.indexed,
            superseded=self.done.superseded + result.superseded,
            deleted=self.done.deleted + result.deleted,
            not_found=self.done.not_found + result.not_found,
            dead_lettered=self._letters.count,
            dead_letter_bytes=self._letters.bytes,
            dead_letter_file=self._letters.identity,
            run=self.done.run,
        )
        self.broken = False

    def check_strictly(self) -> None:
        """Raise if anything failed since the run started or was resumed.

        Raises:
            CorpusError: A record failed.
        """
        if self._letters.reasons:  # those of the run that this one resumed are only counted
            raise CorpusError(f"Stopped at the first failure: {self._letters.reasons[0]}")

    def save(self) -> None:
        """Flush letters and checkpoint to disk."""
        if self._checkpoint is not None:
            self._letters.sync()
            self._checkpoint.save(self.done)

    def finish(self) -> IngestResult:
        """Finish the run and return its result."""
        if self._checkpoint is not None:
            self._letters.sync()
            self._checkpoint.remove()
        return IngestResult(
            read=self.done.read,
            indexed=self.done.indexed,
            dead_lettered=self.done.dead_lettered,
            reasons=tuple(self._letters.reasons),
            dead_letters=self._letters.path if self._letters.count else None,
            elapsed_s=time.monotonic() - self._started,
            superseded=self.done.superseded,
            deleted=self.done.deleted,
            not_found=self.done.not_found,
            superseded_ids=tuple(self._superseded),
        )
