"""Store failed records completely, so that they can be corrected and replayed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from connector.corpus.check import REPEATED_ID
from connector.index.lookup import Held
from connector.index.outcome import Refusal
from connector.ingest.letter_file import LetterFile
from connector.ingest.letters import REPEATED, Letter, run_of
from connector.types import Deletion, Document, MalformedRecord

REASONS_KEPT = 10
"""Number of failures listed in a summary; the file has all of them."""


class DeadLetters:
    """A JSONL file to which failed records are appended; with `None` as path, failures are only counted.

    See `Letter` for the format of a line.
    """

    def __init__(self, path: str | Path | None, *, count: int = 0, run: str = "") -> None:
        """Open lazily.

        Args:
            path: The file.
            count: Number of letters already in the file.
            run: Identity of the run, if it can be resumed; part of its letters.
        """
        self.path = None if path is None else Path(path)
        self.count = count
        self._run = run
        self.reasons: list[str] = []
        self._file = LetterFile(self.path) if self.path is not None else None

    @property
    def bytes(self) -> int:
        """Length of the file."""
        return self._file.size if self._file is not None else 0

    @property
    def identity(self) -> int:
        """Identity of the file, to detect a replaced one."""
        return self._file.identity if self._file is not None else 0

    def cut(self, length: int, identity: int) -> None:
        """Truncate the file to a length; a resumed run will append its letters again, and those of others stay."""
        if self._file is not None:
            self._file.cut(length, identity, lambda line: run_of(line) == self._run or not self._run)

    def sync(self) -> None:
        """Flush the file to disk."""
        if self._file is not None:
            self._file.sync()

    def add(self, letter: Letter) -> None:
        """Append a letter.

        Raises:
            OSError: The file cannot be written.
        """
        if self._file is not None:
            self._file.append((replace(letter, run=self._run) if self._run else letter).to_line())
        self.count += 1
        if len(self.reasons) < REASONS_KEPT:
            self.reasons.append(letter.summary)

    def add_malformed(self, record: MalformedRecord, *, doc_id: str | None = None, held: Held | None = None) -> None:
        """Append a malformed record.

        Args:
            record: The record.
            doc_id: Its id, if readable.
            held: State of the document with this id in the index.
        """
        kind = REPEATED if REPEATED_ID in record.reason else "malformed_record"
        where, raw = record.location, record.raw
        self.add(
            Letter(
                operation="index",
                kind=kind,
                reason=record.reason,
                doc_id=doc_id,
                location=where,
                raw=raw,
                held=held,
                partition=dict(record.partition),
                flat=record.flat,
            )
        )

    def add_refusal(self, record: Document | Deletion, refusal: Refusal, *, held: Held | None = None) -> None:
        """Append a refused document or deletion."""
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
