"""Do what dead letters say, once what made them fail is corrected; those that are accounted for leave the file."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from connector.corpus.check import RecordChecker
from connector.corpus.jsonl import parse_object, read_document
from connector.corpus.layout import Layout, RecordMapper
from connector.encoders.base import Encoder
from connector.errors import CorpusError
from connector.index.lookup import Found
from connector.index.outcome import Refusal
from connector.index.writer import BulkWriter
from connector.ingest.dead_letters import REASONS_KEPT, DeadLetters
from connector.ingest.ledger import IngestResult
from connector.ingest.letter_file import LetterFile
from connector.ingest.letters import REPEATED, Letter, digest_of
from connector.ingest.pipeline import WRITE_SIZE, Progress
from connector.ingest.preparation import to_source
from connector.ingest.rewrite import Rewriter
from connector.ingest.update import Change
from connector.types import Deletion, Document, StoredState


@dataclass(frozen=True, slots=True)
class _Entry:
    """A letter, and what it says now.

    Attributes:
        line: As it stands in the file.
        letter: As it was kept.
        wanted: What is to be done; the reason where that cannot be read.
    """

    line: bytes
    letter: Letter
    wanted: Document | Deletion | Change | str

    @property
    def doc_id(self) -> str | None:
        """Of the document; None if it cannot be read."""
        return self.letter.doc_id if isinstance(self.wanted, str) else self.wanted.doc_id


@dataclass(frozen=True, slots=True)
class _LettersOfOne:
    """All letters of one document, as the one edit that they come to.

    The last document or deletion among them counts, and the changes after it. Written together they are there or not,
    so that a replay that was interrupted can be run again.

    Attributes:
        doc_id: Of the document.
        entries: In the order of the file.
        base: The last document or deletion, if there is one.
        changes: After it.
        unread: Why a letter says nothing that could be done; empty if all do.
        checker: Knows the fields of the index.
        uuid: Of the index.
    """

    doc_id: str
    entries: Sequence[_Entry]
    base: tuple[Letter, Document | Deletion] | None
    changes: Sequence[tuple[Letter, Change]]
    unread: str
    checker: RecordChecker
    uuid: str | None

    @classmethod
    def of(cls, doc_id: str, entries: Sequence[_Entry], checker: RecordChecker, uuid: str | None) -> Self:
        """Sort the letters of a document."""
        base: tuple[Letter, Document | Deletion] | None = None
        changes: list[tuple[Letter, Change]] = []
        unread = ""
        for entry in entries:
            if isinstance(entry.wanted, Change):
                changes.append((entry.letter, entry.wanted))
            elif isinstance(entry.wanted, str):
                unread = unread or entry.wanted
            else:
                base, changes = (entry.letter, entry.wanted), []
        return cls(doc_id, entries, base, changes, unread, checker, uuid)

    @property
    def routing(self) -> str | None:
        """The last one that a letter names."""
        named = [change.routing for _, change in self.changes]
        if self.base is not None:
            named.insert(0, self.base[1].routing)
        return next((routing for routing in reversed(named) if routing is not None), None)

    def become(self, found: Found | None) -> Document | Deletion | None:
        """What the document becomes; None if the index holds something newer.

        Raises:
            ValueError: A letter still is not a document or change, or it is not known which is newer.
        """
        if self.unread:
            raise ValueError(self.unread)
        if self.base is None or self._is_overtaken(*self.base, found):
            due = [change for letter, change in self.changes if not _is_void(letter, change, found)]
            return self._changed(found.source if found is not None else {}, due, None)
        _, record = self.base
        if not self.changes:
            return record
        if isinstance(record, Deletion):
            raise ValueError("is changed after it was deleted; take one of these letters out")
        return self._changed(to_source(record), [change for _, change in self.changes], record.version)

    def _is_overtaken(self, letter: Letter, record: Document | Deletion, found: Found | None) -> bool:
        """Whether the index holds another document than when a letter was written.

        Raises:
            ValueError: That cannot be known.
        """
        if record.version is not None:
            return False  # the server compares
        if letter.held is not None and letter.held.uuid == self.uuid and letter.doc_id == record.doc_id:
            return letter.held.state != (found.state if found is not None else StoredState())
        if found is None:
            return False
        if isinstance(record, Document) and digest_of(to_source(record)) == digest_of(found.source):
            return True  # a replay that was interrupted wrote it
        raise ValueError(
            "the index holds a document of this id, and the letter does not say which of the two is newer; ingest the "
            "letter's, or take the letter out"
        )

    def _changed(self, source: Mapping[str, Any], changes: Sequence[Change], version: int | None) -> Document | None:
        """A document with changes made to it; None without any."""
        upsert = any(letter.upsert for letter, _ in self.changes)
        document: Document | None = None
        for change in changes:
            if not source and not upsert:
                raise ValueError("the index does not hold it; an upsert would create it")
            document = self.checker.check(change.merged_into(source))
            source = to_source(document)
            version = version if change.version is None else change.version
        return document and replace(document, version=version, routing=self.routing)


def _is_void(letter: Letter, change: Change, found: Found | None) -> bool:
    """Whether the index holds other values by now than those that a change was to replace."""
    if found is None or letter.replaced is None or change.version is not None:
        return False
    return change.replaced_in(found.source) != letter.replaced


class LetterReplayer:
    """Replays a file of dead letters into one index.

    A letter that the index has overtaken is superseded: one whose document was changed since it was written, or whose
    `_version` is older. All letters of a document are written at once; those that a later one makes void count as
    superseded, too. What is accounted for leaves the file, whatever ends the replay, in one step at its end; after a
    crash the same letters come again, and are superseded by what they wrote themselves.

    Args:
        writer: Knows the index.
        encoder: The one that wrote it.
        fields: Top-level fields that the index declares.
        layout: Of the corpus that records came from which were malformed.
        dead_letters: A file that letters which fail again are moved to; if None they stay where they are.
        batch_size: Texts per forward pass.
        write_size: Documents that are read and written at a time.
        progress: Called with the number of letters done.

    Raises:
        IndexMappingError: The writer's alias joins several indices.
    """

    def __init__(
        self,
        writer: BulkWriter,
        encoder: Encoder,
        *,
        fields: Collection[str] = (),
        layout: Layout | None = None,
        dead_letters: Path | None = None,
        batch_size: int = 32,
        write_size: int = WRITE_SIZE,
        progress: Progress | None = None,
    ) -> None:
        self._writer = writer
        self._rewriter = Rewriter(writer, writer.lookup, encoder, batch_size=batch_size)
        self._checker = RecordChecker(fields, refuse_repeated=False)
        self._mapper = RecordMapper(self._checker, layout or Layout())
        self._dead_letters = dead_letters
        self._write_size = write_size
        self._progress = progress

    def replay(self, path: Path) -> IngestResult:
        """Replay a file of dead letters.

        Raises:
            CorpusError: A line is not a dead letter; nothing was sent.
            ClusterError: The server does not permit it.
            BulkWriteError: It takes no more. The same again is safe.
        """
        started = time.monotonic()
        file = LetterFile(path)
        read = [_Entry(line, letter, _wanted(letter, self._mapper)) for line, letter in _read(path)]
        entries = self._noted(file, read)
        failed: list[tuple[_Entry, str, Refusal | None]] = []
        done: list[_Entry] = []
        indexed = deleted = not_found = 0
        by_id: dict[str, list[_Entry]] = {}
        for entry in entries:
            if entry.doc_id is not None:
                by_id.setdefault(entry.doc_id, []).append(entry)
            elif isinstance(entry.wanted, str):
                failed.append((entry, entry.wanted, None))
        edits = [_LettersOfOne.of(*each, self._checker, self._writer.lookup.uuid) for each in by_id.items()]
        try:
            for start in range(0, len(edits), self._write_size):
                batch = edits[start : start + self._write_size]
                result, refused = self._rewriter.rewrite(batch)
                again = {each.edit.doc_id: each.refusal for each in refused}
                for edit in batch:
                    if edit.doc_id in again:
                        refusal = again[edit.doc_id]
                        failed += [(entry, refusal.reason, refusal) for entry in edit.entries]
                    else:
                        done += edit.entries
                indexed, deleted = indexed + result.indexed, deleted + result.deleted
                not_found += result.not_found
                if self._progress is not None:
                    self._progress(len(done) + len(failed))
            self._writer.refresh()
        finally:
            self._account(file, done, failed)
        reasons = [f"{_name_of(entry)}: {reason}" for entry, reason, _ in failed]
        return IngestResult(
            read=len(entries),
            indexed=indexed,
            dead_lettered=len(failed),
            reasons=tuple(reasons[:REASONS_KEPT]),
            dead_letters=(self._dead_letters or path) if failed else None,
            elapsed_s=time.monotonic() - started,
            superseded=len(done) - indexed - deleted - not_found,
            deleted=deleted,
            not_found=not_found,
        )

    def _noted(self, file: LetterFile, entries: list[_Entry]) -> list[_Entry]:
        """Note in letters whose record was repaired what the index holds now: it is what they are to replace.

        From here on an interrupted replay knows them from what it wrote itself.
        """
        repaired = [
            each
            for each in entries
            if each.letter.current and each.letter.doc_id is None and isinstance(each.wanted, Document)
        ]
        wanted = {each.doc_id: each.wanted.routing for each in repaired if isinstance(each.wanted, Document)}
        held = self._writer.held({doc_id: routing for doc_id, routing in wanted.items() if doc_id is not None})
        noted = {
            id(each): replace(each.letter, doc_id=each.doc_id, held=held.get(each.doc_id or "")) for each in repaired
        }
        file.take_out([each.line for each in repaired], [noted[id(each)].to_line() for each in repaired])
        return [
            replace(each, letter=noted[id(each)], line=noted[id(each)].to_line().rstrip(b"\n"))
            if id(each) in noted
            else each
            for each in entries
        ]

    def _account(
        self, file: LetterFile, done: Sequence[_Entry], failed: Sequence[tuple[_Entry, str, Refusal | None]]
    ) -> None:
        """Take out of the file what is done, and keep why the others failed again."""
        again = [_failed_again(entry.letter, reason, refusal) for entry, reason, refusal in failed]
        lines = [entry.line for entry, _, _ in failed]
        instead: list[bytes] = []
        if self._dead_letters is None:
            instead = [letter.to_line() for letter in again]
        else:
            letters = DeadLetters(self._dead_letters)
            for letter in again:
                letters.add(letter)
            letters.sync()
        file.take_out([*lines, *(entry.line for entry in done)], instead)


def count_letters(path: Path) -> int:
    """Count the letters of a file.

    Raises:
        CorpusError: A line is not a dead letter.
    """
    return sum(1 for _ in _read(path))


def _read(path: Path) -> Iterator[tuple[bytes, Letter]]:
    for number, line in enumerate(LetterFile(path).read(), 1):
        if not line.strip():
            continue
        try:
            yield line, Letter.from_line(line.decode())
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise CorpusError(
                f"{path}:{number} is not a dead letter ({_fault(error)}); correct the line or take it out."
            ) from error


def _wanted(letter: Letter, mapper: RecordMapper) -> Document | Deletion | Change | str:
    """What a letter says is to be done; the reason where that cannot be read."""
    try:
        if letter.record is None and letter.operation not in ("update", "delete"):
            document = read_document(letter.raw or "", mapper)
        else:
            record = letter.record if letter.record is not None else parse_object(letter.raw or "")
            if letter.operation == "update":
                return Change.from_record(record)
            if letter.operation == "delete":
                return Deletion(str(record["_id"]), record.get("_version"), record.get("_routing"))
            document = mapper.checker.check(record)
    except (ValueError, KeyError) as error:
        return str(error)
    # Nothing tells that the repeated record is the better one, and nobody gave it an id of its own.
    return letter.reason if letter.kind == REPEATED and letter.doc_id == document.doc_id else document


def _failed_again(letter: Letter, reason: str, refusal: Refusal | None) -> Letter:
    if refusal is None:
        return replace(letter, reason=reason)
    attempts = letter.attempts + refusal.attempts
    return replace(letter, reason=reason, status=refusal.status, kind=refusal.kind, attempts=attempts)


def _name_of(entry: _Entry) -> str:
    return entry.letter.location or f"document {entry.doc_id!r}"


def _fault(error: Exception) -> str:
    return f"it has no {error}" if isinstance(error, KeyError) else str(error)
