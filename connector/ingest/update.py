"""Partial updates: documents are read, changed, encoded again and written with concurrency control."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

from opensearchpy import OpenSearch

from connector.corpus.check import RecordChecker, read_routing
from connector.corpus.envelopes import HOW_TO_UPDATE, is_of_an_update
from connector.corpus.jsonl import read_jsonl
from connector.corpus.source import find_source
from connector.corpus.values import to_id
from connector.encoders.base import Encoder
from connector.index.hits import read_hits
from connector.index.lookup import DocumentLookup, Found
from connector.index.sizes import all_of
from connector.index.writer import BulkWriter
from connector.ingest.batches import without_repeats
from connector.ingest.dead_letters import DeadLetters
from connector.ingest.ledger import IngestResult
from connector.ingest.letters import Letter, digest_of
from connector.ingest.pipeline import WRITE_SIZE
from connector.ingest.rewrite import Refused, Rewriter
from connector.types import Document, MalformedRecord, StoredState

_ATTEMPTS = 5
"""Searches for documents that match a filter, if other writers keep changing them."""


@dataclass(frozen=True, slots=True)
class Change:
    """A partial update of a document.

    Attributes:
        doc_id: Id of the document.
        values: New values by key of a JSONL record: title, text, metadata, declared fields. `metadata` is merged key
            by key; None removes a key.
        version: External version; None detects concurrent changes by sequence number.
        routing: Routing of the document; None for that of the stored document.
        seen: State of the document that matched a filter; it may no longer match in another one. None for any state.
    """

    doc_id: str
    values: Mapping[str, Any] = field(default_factory=dict)
    version: int | None = None
    routing: str | None = None
    seen: StoredState | None = None

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Change:
        """Parse a change: `_id` (else `id`), the keys to change, and optionally `_version` and `_routing`.

        Raises:
            ValueError: `_id` is missing, or there is nothing to change.
        """
        if not isinstance(record, Mapping):
            raise ValueError(f"a change must be a mapping with '_id', got {record!r}; give a list of them.")
        if is_of_an_update(record):
            raise ValueError(f"is part of a bulk body, not a change; {HOW_TO_UPDATE}")
        name = "_id" if "_id" in record or "id" not in record else "id"
        values = {key: value for key, value in record.items() if key not in (name, "_version", "_routing")}
        version = record.get("_version")
        try:
            doc_id = to_id(record.get(name))
        except ValueError:
            raise ValueError(f"'_id' is {record.get(name)!r}, not a document id") from None
        if not values:
            raise ValueError("has only an '_id'; add the keys to change")
        return cls(doc_id, values, version, read_routing(record))

    def to_record(self) -> dict[str, Any]:
        """The change as a JSONL record."""
        optional = {"_version": self.version, "_routing": self.routing}
        kept = {name: value for name, value in optional.items() if value is not None}
        return {"_id": self.doc_id, **kept, **self.values}

    def merged_into(self, source: Mapping[str, Any]) -> dict[str, Any]:
        """Return the record of a document with the change applied."""
        record = {**source, **self.values}
        if isinstance(self.values.get("metadata"), Mapping):
            metadata = {**(source.get("metadata") or {}), **self.values["metadata"]}
            record["metadata"] = {key: value for key, value in metadata.items() if value is not None}
        kept = {key: value for key, value in record.items() if value is not None}
        return kept | {"_id": self.doc_id, "_version": self.version, "_routing": self.routing}

    def replaced_in(self, source: Mapping[str, Any]) -> str:
        """Digest of the values that the change replaces in a document."""
        values = {key: source.get(key) for key in self.values if key != "metadata"}
        metadata = self.values.get("metadata")
        held = source.get("metadata") or {}
        keys = metadata if isinstance(metadata, Mapping) else held
        return digest_of(values | {f"metadata.{key}": held.get(key) for key in keys if "metadata" in self.values})


@dataclass(frozen=True, slots=True)
class ChangeEdit:
    """A change as an edit.

    Attributes:
        change: The change.
        checker: Checks records against the fields of the index.
        upsert: Create the document if it does not exist.
        replaces: Digest of the values that the change must replace; otherwise it is superseded. None skips the check.
        moved: Takes the ids of documents that are no longer in the state `change.seen`, whose changes are superseded.
            None refuses these changes.
    """

    change: Change
    checker: RecordChecker
    upsert: bool = False
    replaces: str | None = None
    moved: list[str] | None = None

    @property
    def doc_id(self) -> str:
        """Id of the document."""
        return self.change.doc_id

    @property
    def routing(self) -> str | None:
        """Routing of the document; None for that of the stored document."""
        return self.change.routing

    @property
    def has_no_routing(self) -> bool:
        """Whether a search has found the document, without a routing."""
        return self.change.seen is not None and self.change.routing is None

    @property
    def names_place(self) -> bool:
        """A change must find its document; a document with another routing explains why it does not."""
        return False

    def become(self, found: Found | None) -> Document | None:
        """Return the changed document; None if the stored values, or the stored state, are no longer those to replace.

        Raises:
            ValueError: The document does not exist, or the result is not a valid document.
        """
        if self.change.seen is not None and (found is None or found.state != self.change.seen):
            if self.moved is None:
                raise ValueError(f"other writers changed the document in each of {_ATTEMPTS} attempts")
            self.moved.append(self.doc_id)
            return None
        if found is None and not self.upsert:
            raise ValueError("the document does not exist; update with upsert to create it")
        source = found.source if found is not None else {}
        if found is not None and self.replaces not in (None, self.change.replaced_in(source)):
            return None
        return self.checker.check(self.change.merged_into(source))


def read_changes(path: Path) -> Iterator[Change | MalformedRecord]:
    """Read changes from a JSONL file (see `Change.from_record`).

    Raises:
        CorpusError: The file cannot be read completely.
    """
    return read_jsonl(find_source(path, "jsonl").path, Change.from_record)


def matching_changes(
    client: OpenSearch, index: str, filters: Sequence[Mapping[str, Any]], values: Mapping[str, Any]
) -> Iterator[Change]:
    """Yield the same change for every document that matches all filters, in its present state.

    Raises:
        BulkWriteError: The server stayed busy or unreachable for ten minutes.
        ClusterError: The server denies access, or no longer has the index or the open search.
    """
    query = all_of(filters) | {"_source": False, "seq_no_primary_term": True}
    for hit in read_hits(client, index, query, patient=True):
        seen = StoredState(hit["_seq_no"], hit["_primary_term"])
        yield Change(hit["_id"], values, routing=hit.get("_routing"), seen=seen)


class DocumentUpdater:
    """Updates documents of one index.

    Features are not in `_source`, so a document is encoded again even if its text does not change.

    Args:
        client: A connected client, for reading.
        writer: Writer of the index.
        encoder: Encoder of the index.
        fields: Declared top-level fields of the index.
        upsert: Create missing documents instead of writing dead letters.
        dead_letters: File to which failed changes are appended.
        batch_size: Texts per forward pass.
        write_size: Documents read and written at a time.
    """

    def __init__(
        self,
        client: OpenSearch,
        writer: BulkWriter,
        encoder: Encoder,
        *,
        fields: Collection[str] = (),
        upsert: bool = False,
        dead_letters: str | Path | None = None,
        batch_size: int = 32,
        write_size: int = WRITE_SIZE,
    ) -> None:
        self._client = client
        self._writer = writer
        self._rewriter = Rewriter(
            writer,
            DocumentLookup(client, lambda: writer.target, writer.patiently),
            encoder,
            batch_size=batch_size,
        )
        self._checker = RecordChecker(fields, refuse_repeated=False)
        self._upsert = upsert
        self._dead_letters = dead_letters
        self._write_size = write_size

    def update_matching(
        self,
        filters: Sequence[Mapping[str, Any]],
        values: Mapping[str, Any],
        *,
        progress: Callable[[int], None] | None = None,
    ) -> IngestResult:
        """Apply the same change to every document that matches all filters, and refresh the index.

        What other writers change meanwhile is changed if it still matches, else it counts as superseded. A document
        that they change in each of several attempts becomes a dead letter.

        Args:
            filters: Query clauses.
            values: As in `Change`.
            progress: Called with the number of processed changes.

        Raises:
            ClusterError: The server denies access.
            BulkWriteError: A write failed; repeating is safe.
        """
        self._writer.refresh()
        index = self._writer.target.name
        moved: list[str] = []
        result = self.update(matching_changes(self._client, index, filters, values), moved=moved, progress=progress)
        for attempt in range(2, _ATTEMPTS + 1):
            if not moved:
                break
            wanted = [*filters, {"ids": {"values": moved}}]
            moved = []
            changes = matching_changes(self._client, index, wanted, values)
            again = self.update(changes, moved=moved if attempt < _ATTEMPTS else None)
            # These counted as superseded in the attempt before.
            before = replace(result, read=result.read - again.read, superseded=result.superseded - again.read)
            result = again.plus(before)
        return result

    def update(
        self,
        changes: Iterable[Change | MalformedRecord],
        *,
        moved: list[str] | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> IngestResult:
        """Apply changes in the given order and refresh the index.

        Args:
            changes: Changes, read lazily. Malformed ones become dead letters.
            moved: As in `ChangeEdit`.
            progress: Called with the number of processed changes.

        Raises:
            ClusterError: The server denies access.
            BulkWriteError: A write failed; repeating is safe.
        """
        started = time.monotonic()
        read = indexed = superseded = 0
        stream = iter(changes)
        letters = DeadLetters(self._dead_letters)
        while batch := list(islice(stream, self._write_size)):
            for rows in without_repeats(batch):
                some = batch[rows.start : rows.stop]
                for record in some:
                    if isinstance(record, MalformedRecord):
                        letters.add(malformed_change(record, upsert=self._upsert))
                changed = [each for each in some if isinstance(each, Change)]
                edits = [ChangeEdit(each, self._checker, self._upsert, moved=moved) for each in changed]
                result, refused = self._rewriter.rewrite(edits)
                indexed += result.indexed
                superseded += result.superseded
                for each in refused:
                    letters.add(refused_change(each))
            read += len(batch)
            if progress is not None:
                progress(read)
        self._writer.refresh()
        return IngestResult(
            read=read,
            indexed=indexed,
            dead_lettered=letters.count,
            reasons=tuple(letters.reasons),
            dead_letters=letters.path if letters.count else None,
            elapsed_s=time.monotonic() - started,
            superseded=superseded,
        )


def malformed_change(record: MalformedRecord, *, upsert: bool) -> Letter:
    """The dead letter of a malformed change."""
    return Letter(operation="update", reason=record.reason, raw=record.raw, location=record.location, upsert=upsert)


def refused_change(refused: Refused[ChangeEdit]) -> Letter:
    """The dead letter of a refused change, with a digest of the values to replace."""
    edit, refusal, found = refused
    return Letter(
        operation="update",
        status=refusal.status,
        kind=refusal.kind,
        reason=refusal.reason,
        attempts=refusal.attempts,
        doc_id=edit.doc_id,
        record=edit.change.to_record(),
        upsert=edit.upsert,
        replaced=None if found is None else edit.change.replaced_in(found.source),
    )
