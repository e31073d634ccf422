"""Keep what could not be done, whole, so that it can be corrected and replayed."""

from __future__ import annotations

from pathlib import Path

from connector.corpus.check import REPEATED_ID
from connector.index.lookup import Held
from connector.index.outcome import Refusal
from connector.ingest.letter_file import LetterFile
from connector.ingest.letters import REPEATED, Letter
from connector.types import Deletion, Document, MalformedRecord

REASONS_KEPT = 10
"""Failures that a summary names; all of them are in the file."""


class DeadLetters:
    """A JSONL file, made or appended to when a record fails; `None` as a path counts and keeps nothing.

    `Letter` says what a line holds.
    """

    def __init__(self, path: Path | None, *, count: int = 0) -> None:
        """Prepare for records that fail; `count` of them are in the file already."""
        self.path = path
        self.count = count
        self.reasons: list[str] = []
        self._file = LetterFile(path) if path is not None else None

    @property
    def bytes(self) -> int:
        """Length of the file."""
        return self._file.size if self._file is not None else 0

    @property
    def identity(self) -> int:
        """Tells the file from another one of its name."""
        return self._file.identity if self._file is not None else 0

    def cut(self, length: int, identity: int) -> None:
        """Take off what was added after the file had some length: a run that goes on will add it again."""
        if self._file is not None:
            self._file.cut(length, identity)

    def sync(self) -> None:
        """Bring what was added down to the disk."""
        if self._file is not None:
            self._file.sync()

    def add(self, letter: Letter) -> None:
        """Keep a letter.

        Raises:
            OSError: The disk does not take it.
        """
        if self._file is not None:
            self._file.append(letter.to_line())
        self.count += 1
        if len(self.reasons) < REASONS_KEPT:
            self.reasons.append(letter.summary)

    def add_malformed(self, record: MalformedRecord, *, doc_id: str | None = None, held: Held | None = None) -> None:
        """Keep a record that is not a document.

        Args:
            record: As it was read.
            doc_id: Its id, if that can be read.
            held: What the index holds of that.
        """
        kind = REPEATED if REPEATED_ID in record.reason else "malformed_record"
        where, raw = record.location, record.raw
        self.add(
            Letter(
                operation="index", kind=kind, reason=record.reason, doc_id=doc_id, location=where, raw=raw, held=held
            )
        )

    def add_refusal(self, record: Document | Deletion, refusal: Refusal, *, held: Held | None = None) -> None:
        """Keep a document that the index does not hold, or a deletion that it did not make."""
        self.add(
            Letter(
                operation="delete" if isinstance(record, Deletion) else "index",
                status=refusal.status,
                kind=refusal.kind,
                reason=refusal.reason,
                attempts=refusal.attempts,
                doc_id=record.doc_id,
                record=record.to_record(),
                held=held,
            )
        )
