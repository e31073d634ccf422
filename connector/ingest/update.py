"""Change documents that an index holds: read, changed, encoded and written again, unless another was faster."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from opensearchpy import OpenSearch
from opensearchpy.helpers import scan

from connector.connection.client import explained
from connector.corpus.check import RecordChecker, read_routing
from connector.corpus.jsonl import read_jsonl
from connector.corpus.source import find_source
from connector.corpus.values import to_id
from connector.encoders.base import Encoder
from connector.index.lookup import DocumentLookup, Found
from connector.index.sizes import all_of
from connector.index.writer import BulkWriter
from connector.ingest.batches import without_repeats
from connector.ingest.dead_letters import DeadLetters
from connector.ingest.ledger import IngestResult
from connector.ingest.letters import Letter, digest_of
from connector.ingest.pipeline import WRITE_SIZE
from connector.ingest.rewrite import Refused, Rewriter
from connector.types import Document, MalformedRecord


@dataclass(frozen=True, slots=True)
class Change:
    """What is to become of a document.

    Attributes:
        doc_id: Of the document.
        values: By key of a JSONL record: title, text, metadata, declared fields. Keys of `metadata` are changed one by
            one; None takes a key away.
        version: As of a document; None lets the server compare what was read with what is there.
        routing: Of the document; None for the one that the index holds it by.
    """

    doc_id: str
    values: Mapping[str, Any] = field(default_factory=dict)
    version: int | None = None
    routing: str | None = None

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Change:
        """Read a change from `_id` (else `id`), the keys to change, and `_version` and `_routing` if it has them.

        Raises:
            ValueError: There is no `_id`, or nothing to change.
        """
        name = "_id" if "_id" in record or "id" not in record else "id"
        values = {key: value for key, value in record.items() if key not in (name, "_version", "_routing")}
        version = record.get("_version")
        try:
            doc_id = to_id(record.get(name))
        except ValueError:
            raise ValueError(f"'_id' is {record.get(name)!r}, not the id of a document") from None
        if not values:
            raise ValueError("has nothing but an '_id'; name what is to change")
        return cls(doc_id, values, version, read_routing(record))

    def to_record(self) -> dict[str, Any]:
        """What a line of JSONL would hold of it."""
        optional = {"_version": self.version, "_routing": self.routing}
        kept = {name: value for name, value in optional.items() if value is not None}
        return {"_id": self.doc_id, **kept, **self.values}

    def merged_into(self, source: Mapping[str, Any]) -> dict[str, Any]:
        """The changed record of a document."""
        record = {**source, **self.values}
        if isinstance(self.values.get("metadata"), Mapping):
            metadata = {**(source.get("metadata") or {}), **self.values["metadata"]}
            record["metadata"] = {key: value for key, value in metadata.items() if value is not None}
        kept = {key: value for key, value in record.items() if value is not None}
        return kept | {"_id": self.doc_id, "_version": self.version, "_routing": self.routing}

    def replaced_in(self, source: Mapping[str, Any]) -> str:
        """Digest of the values that it replaces in a document."""
        values = {key: source.get(key) for key in self.values if key != "metadata"}
        metadata = self.values.get("metadata")
        held = source.get("metadata") or {}
        keys = metadata if isinstance(metadata, Mapping) else held
        return digest_of(values | {f"metadata.{key}": held.get(key) for key in keys if "metadata" in self.values})


@dataclass(frozen=True, slots=True)
class ChangeEdit:
    """A change, and what makes a document of it.

    Attributes:
        change: As it was given.
        checker: Knows the fields of the index.
        upsert: Make a document if there is none.
        replaces: Digest of what it must replace to be no older than the index; None makes it in any case.
    """

    change: Change
    checker: RecordChecker
    upsert: bool = False
    replaces: str | None = None

    @property
    def doc_id(self) -> str:
        """Of the document."""
        return self.change.doc_id

    @property
    def routing(self) -> str | None:
        """Of the document; None for the one that the index holds it by."""
        return self.change.routing

    def become(self, found: Found | None) -> Document | None:
        """The changed document; None if the index holds other values by now than those to be replaced.

        Raises:
            ValueError: The index does not hold it, or it would be no document.
        """
        if found is None and not self.upsert:
            raise ValueError("the index does not hold it; an upsert would create it")
        source = found.source if found is not None else {}
        if found is not None and self.replaces not in (None, self.change.replaced_in(source)):
            return None
        return self.checker.check(self.change.merged_into(source))


def read_changes(path: Path) -> Iterator[Change | MalformedRecord]:
    """Read changes from JSON lines (see `Change.from_record`).

    Raises:
        CorpusError: The file cannot be read to its end.
    """
    return read_jsonl(find_source(path, "jsonl").path, Change.from_record)


def matching_changes(
    client: OpenSearch, index: str, filters: Sequence[Mapping[str, Any]], values: Mapping[str, Any]
) -> Iterator[Change]:
    """The same change of every document that matches all filters now.

    Raises:
        ClusterError: The server is away or does not permit it.
    """
    with explained(client):
        for hit in scan(client, query=all_of(filters) | {"_source": False}, index=index):
            yield Change(hit["_id"], values, routing=hit.get("_routing"))


class DocumentUpdater:
    """Changes documents of one index.

    The features of a document are in no `_source`: it is encoded again even if its text stays as it is.

    Args:
        client: To read with.
        writer: Knows the index.
        encoder: The one that wrote the index.
        fields: Top-level fields that the index declares.
        upsert: Make a document of a change whose document does not exist, instead of a dead letter.
        dead_letters: A file that what could not be changed is appended to.
        batch_size: Texts per forward pass.
        write_size: Documents that are read and written at a time.
    """

    def __init__(
        self,
        client: OpenSearch,
        writer: BulkWriter,
        encoder: Encoder,
        *,
        fields: Collection[str] = (),
        upsert: bool = False,
        dead_letters: Path | None = None,
        batch_size: int = 32,
        write_size: int = WRITE_SIZE,
    ) -> None:
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

    def update(
        self, changes: Iterable[Change | MalformedRecord], *, progress: Callable[[int], None] | None = None
    ) -> IngestResult:
        """Make the changes, in the order given, and make them visible to searches.

        Args:
            changes: Read lazily. Malformed ones go to the dead letters.
            progress: Called with the number done.

        Raises:
            ClusterError: The server does not permit it.
            BulkWriteError: It takes no more. The same again is safe.
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
                edits = [ChangeEdit(each, self._checker, self._upsert) for each in some if isinstance(each, Change)]
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
    """The letter of a line that is not a change."""
    return Letter(operation="update", reason=record.reason, raw=record.raw, location=record.location, upsert=upsert)


def refused_change(refused: Refused[ChangeEdit]) -> Letter:
    """The letter of a change that was not made: the change alone, and what it was to replace."""
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
