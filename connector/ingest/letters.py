"""The format of dead letters: operation, record, reason and the state of the document in the index."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Self

from connector.corpus.check import read_routing
from connector.corpus.envelopes import kept_of, split_action
from connector.corpus.raw import abridge
from connector.index.lookup import Held
from connector.limits import MAX_ID_BYTES
from connector.types import MalformedRecord, StoredState

Operation = Literal["index", "update", "delete"]

_KEYS: dict[Operation, str] = {"index": "document", "update": "change", "delete": "deletion"}
_OF_A_CHANGE = "change of "
"""Prefix of the location of changes in letters of ksparse 0.1, which lacked the operation."""

REPEATED = "repeated_id"
"""Error type of a record whose id occurred earlier in the same run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """A line of a dead-letter file.

    Attributes:
        operation: The failed operation.
        status: The server's status; 0 if nothing was sent.
        kind: Error type of the server or of ksparse.
        reason: The reason in one line.
        attempts: Number of requests that contained it.
        doc_id: Id of the document; None if unreadable.
        record: The document, change or deletion as a JSONL record; None if malformed.
        raw: The raw input of a malformed record.
        location: Location of the malformed record.
        upsert: Whether an update creates missing documents.
        held: State of the document in the index at that time; None if unknown.
        replaced: Digest of the values that an update was to replace; None if the document was missing or unknown.
        run: Identity of the run that can resume and write this letter again; empty for other runs.
        partition: Values from the folders of the file of a malformed record, by name.
        flat: Whether a malformed record is a row of a table, of which other columns are metadata.
        current: Whether the letter was written by a version that records the state in the index.
    """

    operation: Operation
    status: int = 0
    kind: str = "malformed_record"
    reason: str
    attempts: int = 0
    doc_id: str | None = None
    record: Mapping[str, Any] | None = None
    raw: str | None = None
    location: str | None = None
    upsert: bool = False
    held: Held | None = None
    replaced: str | None = None
    run: str = ""
    partition: Mapping[str, str | int] = field(default_factory=dict)
    flat: bool = False
    current: bool = True

    @property
    def summary(self) -> str:
        """The document or record with the reason."""
        return f"{self.location or f'document {self.doc_id!r}'}: {self.reason}"

    def to_line(self) -> bytes:
        """Serialize to a line with line feed."""
        line: dict[str, Any] = {"operation": self.operation}
        named = {"_id": self.doc_id} if self.raw is None else {"location": self.location}
        line |= {name: value for name, value in named.items() if value is not None}
        line |= {"status": self.status, "type": self.kind, "reason": self.reason, "attempts": self.attempts}
        if self.operation == "update":
            line["upsert"] = self.upsert
        held = {} if self.held is None else {"index": self.held.uuid} | self.held.state._asdict()
        if self.raw is not None and self.doc_id is not None:
            held = {"_id": self.doc_id} | held
        if held:
            line["held"] = held
        if self.replaced is not None:
            line["replaced"] = self.replaced
        if self.run:
            line["run"] = self.run
        if self.partition:
            line["partition"] = dict(self.partition)
        if self.flat:
            line["flat"] = True
        if self.raw is not None:
            line["raw"] = self.raw
            return _encode(json.dumps(line, ensure_ascii=False))
        content = dict(self.record or {})
        try:
            # Convert values of any type to JSON.
            return _encode(json.dumps(line | {_KEYS[self.operation]: content}, ensure_ascii=False, default=str))
        except (ValueError, TypeError, RecursionError):
            return _encode(json.dumps(line | {_KEYS[self.operation]: abridge(content)}, ensure_ascii=False))

    @classmethod
    def from_line(cls, line: str) -> Self:
        """Parse a line written by any version of ksparse.

        Raises:
            ValueError, KeyError, TypeError, RecursionError: The line is not a dead letter.
        """
        read = json.loads(line)
        raw, location = read.get("raw"), read.get("location")
        current = "operation" in read
        if current:
            operation: Operation = read["operation"]
        elif "deletion" in read:
            operation = "delete"
        else:
            operation = "update" if str(location).startswith(_OF_A_CHANGE) else "index"
        record = None if raw is not None else dict(read[_KEYS[operation]])
        if record is not None and "doc_id" in record:  # a deletion of ksparse 0.1
            record = {"_id": record["doc_id"], "_version": record.get("version")}
        held = read.get("held", {})
        state = StoredState(int(held["seq_no"]), int(held["primary_term"])) if "index" in held else None
        return cls(
            operation=operation,
            status=int(read["status"]),
            kind=str(read["type"]),
            reason=str(read["reason"]),
            attempts=int(read["attempts"]),
            doc_id=read.get("_id", held.get("_id")),
            record=record,
            raw=raw,
            location=location,
            upsert=bool(read.get("upsert", False)),
            held=None if state is None else Held(str(held["index"]), state),
            replaced=read.get("replaced"),
            run=str(read.get("run", "")),
            partition=dict(read.get("partition", {})),
            flat=bool(read.get("flat", False)),
            current=current,
        )


def id_of(record: MalformedRecord) -> tuple[str, str | None] | None:
    """Id and routing of a malformed record; None if they are unreadable or invalid."""
    return _id_in(record.raw) if record.doc_id is None else (record.doc_id, record.routing)


def _id_in(raw: str) -> tuple[str, str | None] | None:
    """Id and routing in a raw record whose layout is unknown, or which could not be parsed."""
    try:
        action, text = split_action(raw)
        record = {} if action is None else kept_of(action[1])
        if "_id" not in record:
            record = json.loads(text) | record
        given, routing = record.get("_id", record.get("id")), read_routing(record)
        if isinstance(given, bool) or not isinstance(given, str | int):
            return None
        doc_id = str(given)
        return (doc_id, routing) if 1 <= len(doc_id.encode()) <= MAX_ID_BYTES else None
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None


def run_of(line: bytes) -> str:
    """The run of a letter; empty if it has none or the line is not a letter."""
    try:
        return str(json.loads(line).get("run", ""))
    except (ValueError, AttributeError, RecursionError):
        return ""


def digest_of(values: Mapping[str, Any]) -> str:
    """Digest of values (16 hex digits)."""
    return hashlib.sha256(json.dumps(values, sort_keys=True, default=str).encode(errors="replace")).hexdigest()[:16]


def _encode(line: str) -> bytes:
    return f"{line}\n".encode(errors="backslashreplace")
