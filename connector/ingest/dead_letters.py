"""Keep what could not be indexed, whole, so that it can be mended and sent again."""

from __future__ import annotations

import json
import os
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from connector.corpus.raw import abridge
from connector.index.writer import Refusal
from connector.types import Deletion, Document, MalformedRecord

REASONS_KEPT = 10
"""Failures that a summary names; all of them are in the file."""


class DeadLetters:
    """A JSONL file, made or appended to when a record fails; `None` as a path counts and keeps nothing.

    Each line holds `location` or `_id`, `status`, `type`, `reason`, `attempts`, and the `document` as it was read or
    the `raw` input where it was none.
    """

    def __init__(self, path: Path | None, *, count: int = 0) -> None:
        """Prepare for records that fail; `count` of them are in the file already."""
        self.path = path
        self.count = count
        self.reasons: list[str] = []
        self._file: FileIO | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def bytes(self) -> int:
        """Length of the file."""
        return self.path.stat().st_size if self.path is not None and self.path.exists() else 0

    def cut(self, length: int) -> None:
        """Take off what was added after the file had some length: a run that goes on will add it again."""
        if self.path is not None and self.bytes > length:
            with self.path.open("r+b") as file:
                file.truncate(length)

    def sync(self) -> None:
        """Bring what was added down to the disk."""
        if self._file is not None:
            os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def add_malformed(self, record: MalformedRecord) -> None:
        """Keep a record that is no document."""
        line = {"location": record.location, "status": 0, "type": "malformed_record", "reason": record.reason}
        self._add(line | {"attempts": 0, "raw": record.raw}, f"{record.location}: {record.reason}")

    def add_refusal(self, document: Document | Deletion, refusal: Refusal) -> None:
        """Keep a document that the index does not hold, or a deletion that it did not make."""
        line: dict[str, Any] = {
            "_id": document.doc_id,
            "status": refusal.status,
            "type": refusal.kind,
            "reason": refusal.reason,
            "attempts": refusal.attempts,
        }
        if isinstance(document, Document):
            # As JSON can hold it, whatever kind of mapping it is.
            line["document"] = document.to_record() | {"metadata": dict(document.metadata)}
        else:
            line["deletion"] = {"doc_id": document.doc_id, "version": document.version}
            if document.routing is not None:
                line["deletion"]["routing"] = document.routing
        self._add(line, f"document {document.doc_id!r}: {refusal.reason}")

    def _add(self, line: dict[str, Any], summary: str) -> None:
        self.count += 1
        if len(self.reasons) < REASONS_KEPT:
            self.reasons.append(summary)
        if self.path is None:
            return
        if self._file is None:
            # Without a buffer: one that a full disk does not take would be written when the file is closed.
            self._file = self.path.open("ab", buffering=0)
        length = self.bytes
        rest = (_write(line) + "\n").encode(errors="backslashreplace")
        try:
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError:
            self.cut(length)  # no half a line, if another run appends to it
            raise


def _write(line: dict[str, Any]) -> str:
    try:
        return json.dumps(line, ensure_ascii=False, default=str)
    except (ValueError, TypeError, RecursionError):
        return json.dumps(line | {"document": abridge(line["document"])}, ensure_ascii=False)
