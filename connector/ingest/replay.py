"""Replay dead letters after their cause was fixed, and remove those that are accounted for."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from connector.corpus.check import RecordChecker, listed, read_routing, repeated
from connector.corpus.jsonl import parse_object, read_document
from connector.corpus.layout import Layout, RecordMapper
from connector.encoders.base import Encoder
from connector.errors import CorpusError
from connector.index.lookup import Found
from connector.index.outcome import Refusal
from connector.index.writer import BulkWriter
from connector.ingest.batches import without_repeats
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
    """A letter and its parsed operation.

    Attributes:
        line: The line in the file.
        letter: The letter.
        wanted: The operation, or the reason why it is invalid.
    """

    line: bytes
    letter: Letter
    wanted: Document | Deletion | Change | str

    @property
    def doc_id(self) -> str | None:
        """Id of the document; None if unreadable."""
        return self.letter.doc_id if isinstance(self.wanted, str) else self.wanted.doc_id

    @property
    def routing(self) -> str | None:
        """Routing that the letter names; None if it names none, or an unreadable one."""
        if not isinstance(self.wanted, str):
            return self.wanted.routing
        with suppress(ValueError):
            return read_routing(self.letter.record or {})
        return None


@dataclass(frozen=True, slots=True)
class _LettersOfOne:
    """All letters of one document, combined into one edit.

    The last document or deletion applies, followed by later changes. They are written in one operation, so an
    interrupted replay can be repeated.

    Attributes:
        doc_id: Id of the document.
        routing: Its routing; None if no letter names one.
        entries: The letters in file order.
        base: The last document or deletion, if any.
        changes: The changes after it.
        unread: Why a letter is invalid; empty if all are valid.
        checker: Checks records against the fields of the index.
        uuid: UUID of the index.
    """

    doc_id: str
    routing: str | None
    entries: Sequence[_Entry]
    base: tuple[Letter, Document | Deletion] | None
    changes: Sequence[tuple[Letter, Change]]
    unread: str
    checker: RecordChecker
    uuid: str | None

    @classmethod
    def of(
        cls,
        place: tuple[str, str | None],
        entries: Sequence[_Entry],
        checker: RecordChecker,
        uuid: str | None,
    ) -> Self:
        """Group the letters of a document."""
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
        return cls(*place, entries, base, changes, unread, checker, uuid)

    @property
    def has_no_routing(self) -> bool:
        """No letter says it."""
        return False

    @property
    def names_place(self) -> bool:
        """Whether a document or deletion names its routing; a change must find its document."""
        return self.base is not None and self.routing is not None

    def become(self, found: Found | None) -> Document | Deletion | None:
        """Return the new document or deletion; None if the stored document is newer.

        Raises:
            ValueError: A letter is still invalid, or it is unknown which version is newer.
        """
        if self.unread:
            raise ValueError(self.unread)
        if self.base is None or self._is_overtaken(*self.base, found):
            due = [change for letter, change in self.changes if not _is_void(letter, change, found)]
            return self._changed(found.source if found is not None else {}, due, None)
        _, record = self.base
        if not self.changes:
            return replace(record, routing=self.routing)
        if isinstance(record, Deletion):
            raise ValueError("is changed after it was deleted; remove one of these letters")
        return self._changed(to_source(record), [change for _, change in self.changes], record.version)

    def _is_overtaken(self, letter: Letter, record: Document | Deletion, found: Found | None) -> bool:
        """Whether the stored document has changed since the letter was written.

        Raises:
            ValueError: That is unknown.
        """
        if record.version is not None:
            return False  # the server compares versions
        if letter.held is not None and letter.held.uuid == self.uuid and letter.doc_id == record.doc_id:
            return letter.held.state != (found.state if found is not None else StoredState())
        if found is None:
            return False
        if isinstance(record, Document) and digest_of(to_source(record)) == digest_of(found.source):
            return True  # written by an interrupted replay
        raise ValueError(
            "the index has a document with this id, and the letter does not tell which one is newer; ingest the "
            "letter's document, or remove the letter"
        )

    def _changed(self, source: Mapping[str, Any], changes: Sequence[Change], version: int | None) -> Document | None:
        """Apply changes to a document; None without changes."""
        upsert = any(letter.upsert for letter, _ in self.changes)
        document: Document | None = None
        for change in changes:
            if not source and not upsert:
                raise ValueError(
                    "the document does not exist, and the update was made without upsert; ingest the document, or "
                    "remove the letter"
                )
            document = self.checker.check(change.merged_into(source))
            source = to_source(document)
            version = version if change.version is None else change.version
        return document and replace(document, version=version, routing=self.routing)


def _is_void(letter: Letter, change: Change, found: Found | None) -> bool:
    """Whether the stored values are no longer those that a change was to replace."""
    if found is None or letter.replaced is None or change.version is not None:
        return False
    return change.replaced_in(found.source) != letter.replaced


class LetterReplayer:
    """Replays a dead-letter file into one index.

    A letter is superseded if its document has changed since it was written, or if its `_version` is older. All letters
    of a document are written together; letters that a later one overrides also count as superseded. However the replay
    ends, processed letters are removed from the file atomically; after a crash they are replayed again and superseded
    by their own writes.

    Args:
        writer: Writer of the index.
        encoder: Encoder of the index.
        fields: Declared top-level fields of the index.
        layout: Layout of the corpus of malformed records.
        generate_ids: Use the SHA-256 of the content as the id of malformed records without one.
        dead_letters: File to which letters that fail again are moved; None keeps them in place.
        batch_size: Texts per forward pass.
        write_size: Documents read and written at a time.
        progress: Called with the number of processed letters.

    Raises:
        IndexMappingError: The writer's alias spans several indices.
    """

    def __init__(
        self,
        writer: BulkWriter,
        encoder: Encoder,
        *,
        fields: Collection[str] = (),
        layout: Layout | None = None,
        generate_ids: bool = False,
        dead_letters: str | Path | None = None,
        batch_size: int = 32,
        write_size: int = WRITE_SIZE,
        progress: Progress | None = None,
    ) -> None:
        self._writer = writer
        self._rewriter = Rewriter(writer, writer.lookup, encoder, batch_size=batch_size)
        self._checker = RecordChecker(fields, generate_ids=generate_ids, refuse_repeated=False)
        self._mapper = RecordMapper(self._checker, layout or Layout())
        self._dead_letters = None if dead_letters is None else Path(dead_letters)
        self._write_size = write_size
        self._progress = progress

    def replay(self, path: str | Path) -> IngestResult:
        """Replay a dead-letter file.

        Raises:
            CorpusError: A line is not a dead letter; nothing was sent.
            ClusterError: The server denies access.
            BulkWriteError: A write failed; repeating is safe.
        """
        started = time.monotonic()
        path = Path(path)
        file = LetterFile(path)
        read = [_Entry(line, letter, _wanted(letter, self._mapper)) for line, letter in _read(path)]
        entries = self._noted(file, read)
        failed: list[tuple[_Entry, str, Refusal | None]] = []
        done: list[_Entry] = []
        indexed = deleted = not_found = 0
        by_place, unplaced = _by_place(entries)
        failed += [(entry, reason, None) for entry, reason in unplaced]
        edits = [_LettersOfOne.of(*each, self._checker, self._writer.lookup.uuid) for each in by_place.items()]
        try:
            for batch in self._batches(edits):
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

    def _batches(self, edits: Sequence[_LettersOfOne]) -> Iterator[Sequence[_LettersOfOne]]:
        """Split edits into batches, in which no id occurs twice."""
        for start in range(0, len(edits), self._write_size):
            batch = edits[start : start + self._write_size]
            yield from (batch[rows.start : rows.stop] for rows in without_repeats(batch))

    def _noted(self, file: LetterFile, entries: list[_Entry]) -> list[_Entry]:
        """Record the current state of the documents in letters whose record was corrected.

        A later replay can then tell whether an interrupted one has already written them.
        """
        repaired = [
            (each, each.wanted)
            for each in entries
            if each.letter.current and each.letter.doc_id is None and isinstance(each.wanted, Document)
        ]
        documents = [document for _, document in repaired]
        noted: dict[int, Letter] = {}
        for rows in without_repeats(documents):
            some = repaired[rows.start : rows.stop]
            held = self._writer.held({document.doc_id: document.routing for _, document in some})
            for each, document in some:
                noted[id(each)] = replace(each.letter, doc_id=document.doc_id, held=held.get(document.doc_id))
        file.take_out([each.line for each, _ in repaired], [noted[id(each)].to_line() for each, _ in repaired])
        return [
            replace(each, letter=noted[id(each)], line=noted[id(each)].to_line().rstrip(b"\n"))
            if id(each) in noted
            else each
            for each in entries
        ]

    def _account(
        self, file: LetterFile, done: Sequence[_Entry], failed: Sequence[tuple[_Entry, str, Refusal | None]]
    ) -> None:
        """Remove processed letters from the file and record why others failed again."""
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
            yield line, Letter.from_line(line.decode("utf-8-sig"))  # editors may add a mark
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise CorpusError(
                f"{path}:{number} is not a dead letter ({_fault(error)}); correct or remove the line."
            ) from error


def _by_place(
    entries: Sequence[_Entry],
) -> tuple[dict[tuple[str, str | None], list[_Entry]], list[tuple[_Entry, str]]]:
    """Group letters by id and routing: documents of several tenants can share an id.

    A letter without a routing belongs to the only routing that other letters name for its id.

    Returns:
        The letters of each document, and those that belong to none, with reasons.
    """
    named: dict[str, set[str]] = {}
    for entry in entries:
        if entry.doc_id is not None and entry.routing is not None:
            named.setdefault(entry.doc_id, set()).add(entry.routing)
    grouped: dict[tuple[str, str | None], list[_Entry]] = {}
    unplaced: list[tuple[_Entry, str]] = []
    for entry in entries:
        routings = sorted(named.get(entry.doc_id or "", ()))
        if entry.doc_id is None or (entry.routing is None and len(routings) > 1):
            ambiguous = f"other letters of this id name the routings {listed(routings)}; name one as '_routing'"
            unplaced.append((entry, entry.wanted if isinstance(entry.wanted, str) else ambiguous))
            continue
        routing = routings[0] if entry.routing is None and routings else entry.routing
        grouped.setdefault((entry.doc_id, routing), []).append(entry)
    return grouped, unplaced


def _wanted(letter: Letter, mapper: RecordMapper) -> Document | Deletion | Change | str:
    """Parse the operation of a letter; return the reason if it is invalid."""
    try:
        if letter.record is None and letter.operation not in ("update", "delete"):
            mapper = mapper.with_partition(tuple(letter.partition.items()))
            document = read_document(letter.raw or "", mapper, flat=letter.flat)
        else:
            record = letter.record if letter.record is not None else parse_object(letter.raw or "")
            if letter.operation == "update":
                return Change.from_record(record)
            if letter.operation == "delete":
                return Deletion(str(record["_id"]), record.get("_version"), record.get("_routing"))
            document = mapper.checker.check(record)
    except (ValueError, KeyError) as error:
        return f"has no {error}" if isinstance(error, KeyError) else str(error)
    # It is unknown whether the repeated record is the better one, and its id was not corrected.
    same = letter.doc_id == document.doc_id or repeated(document.doc_id) in letter.reason
    return letter.reason if letter.kind == REPEATED and same else document


def _failed_again(letter: Letter, reason: str, refusal: Refusal | None) -> Letter:
    if refusal is None:
        return replace(letter, reason=reason)
    attempts = letter.attempts + refusal.attempts
    kind = REPEATED if letter.kind == REPEATED else refusal.kind  # which the next replay must know
    return replace(letter, reason=reason, status=refusal.status, kind=kind, attempts=attempts)


def _name_of(entry: _Entry) -> str:
    return entry.letter.location or f"document {entry.doc_id!r}"


def _fault(error: Exception) -> str:
    return f"it has no {error}" if isinstance(error, KeyError) else str(error)
