"""What became of every record of a run: counts, dead letters and checkpoint, in the order of the input."""

from __future__ import annotations

import time
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


@dataclass(frozen=True, slots=True)
class IngestResult:
    """What became of every record: `indexed`, `deleted`, `not_found`, `superseded` and `dead_lettered` make `read`.

    Attributes:
        read: Records of the input, malformed ones among them, and those of an earlier run that this one goes on with.
        indexed: Documents that the index holds.
        dead_lettered: Records that it does not hold.
        reasons: The first few failures, in words.
        dead_letters: The file that keeps them, None where nothing failed or no file was asked for.
        elapsed_s: Seconds from the first record to the last reply.
        superseded: Documents of which the index holds a newer version.
        deleted: Documents that the index held and holds no longer.
        not_found: Documents to delete that it did not hold.
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

    def plus(self, earlier: IngestResult | None) -> IngestResult:
        """The sum of two results, whose reasons begin with the earlier ones."""
        if earlier is None:
            return self
        counts = ("read", "indexed", "dead_lettered", "elapsed_s", "superseded", "deleted", "not_found")
        sums = {name: getattr(earlier, name) + getattr(self, name) for name in counts}
        reasons = (earlier.reasons + self.reasons)[:REASONS_KEPT]
        return replace(self, reasons=reasons, dead_letters=self.dead_letters or earlier.dead_letters, **sums)


class Ledger:
    """Accounts for batches, one after the other.

    Args:
        dead_letters: A file that what failed is appended to.
        checkpoint: Kept while the run goes on.
        resume: Begin where the checkpoint says.

    Attributes:
        done: The records whose fate is known.
        broken: Whether a batch is not accounted for whole, after which no later one may be.

    Raises:
        CheckpointError: `resume`, and the checkpoint is missing or of another run.
    """

    def __init__(self, dead_letters: Path | None, checkpoint: Checkpoint | None, *, resume: bool) -> None:
        self._checkpoint = checkpoint
        self._started = time.monotonic()
        self.done = checkpoint.load() if resume and checkpoint else Watermark()
        self.broken = False
        self._letters = DeadLetters(dead_letters, count=self.done.dead_lettered)
        if resume:
            self._letters.cut(self.done.dead_letter_bytes, self.done.dead_letter_file)

    @property
    def keeps_letters(self) -> bool:
        """Whether what fails is kept, and not counted only."""
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
        """Note what became of the next records of the input.

        Args:
            records: All of them.
            by_id: The documents and deletions among them, as they were to be sent.
            result: Of those that were sent.
            refused: Those that were not, and why.
            held: What the index holds of those that failed.
        """
        self.broken = True
        for record in records:
            if isinstance(record, MalformedRecord):
                doc_id, _ = id_of(record.raw) or (None, None)
                self._letters.add_malformed(record, doc_id=doc_id, held=held.get(doc_id or ""))
        for refusal in (*refused, *result.refused):
            doc_id = refusal.document.doc_id
            self._letters.add_refusal(by_id[doc_id], refusal, held=held.get(doc_id))
        self.done = Watermark(
            read=self.done.read + len(records),
            indexed=self.done.indexed + result.indexed,
            superseded=self.done.superseded + result.superseded,
            deleted=self.done.deleted + result.deleted,
            not_found=self.done.not_found + result.not_found,
            dead_lettered=self._letters.count,
            dead_letter_bytes=self._letters.bytes,
            dead_letter_file=self._letters.identity,
        )
        self.broken = False

    def check_strictly(self) -> None:
        """Make sure that nothing failed.

        Raises:
            CorpusError: Something did.
        """
        if self._letters.count:
            raise CorpusError(f"Stopped at the first failure: {self._letters.reasons[0]}")

    def save(self) -> None:
        """Bring what is known down to the disk, for a run that goes on."""
        if self._checkpoint is not None:
            self._letters.sync()
            self._checkpoint.save(self.done)

    def finish(self) -> IngestResult:
        """The run came to its end."""
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
        )
