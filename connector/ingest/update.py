"""Change documents that an index holds: read, changed, encoded and written again, unless another was faster."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

from opensearchpy import OpenSearch
from opensearchpy.helpers import scan

from connector.connection.client import explained
from connector.corpus.check import RecordChecker
from connector.corpus.jsonl import read_jsonl
from connector.corpus.source import find_source
from connector.encoders.base import Encoder
from connector.index.sizes import all_of
from connector.index.writer import BulkWriter, WriteResult
from connector.ingest.batches import without_repeats
from connector.ingest.dead_letters import DeadLetters
from connector.ingest.pipeline import WRITE_SIZE, IngestResult, to_sparse_documents
from connector.types import Document, MalformedRecord, StoredState

_CONFLICT = 409
_ATTEMPTS = 5
"""Times that a change is made anew after another writer changed the same document."""


@dataclass(frozen=True, slots=True)
class Change:
    """What is to become of a document.

    Attributes:
        doc_id: Of the document.
        values: By key of a JSONL record: title, text, metadata, declared fields. Keys of `metadata` are changed one by
            one; None takes a key away.
        version: As of a document; None lets the server compare what was read with what is there.
    """

    doc_id: str
    values: Mapping[str, Any] = field(default_factory=dict)
    version: int | None = None

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Change:
        """Read a change from `_id`, the keys to change, and `_version` if it has one.

        Raises:
            ValueError: There is no `_id`, or nothing to change.
        """
        values = {key: value for key, value in record.items() if key not in ("_id", "_version")}
        doc_id, version = record.get("_id"), record.get("_version")
        if not isinstance(doc_id, str) or not doc_id:
            raise ValueError(f"'_id' is {doc_id!r}, not the id of a document")
        if not values:
            raise ValueError("has nothing but an '_id'; name what is to change")
        return cls(doc_id, values, version)


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
            yield Change(hit["_id"], values)


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
        self._client = client
        self._writer = writer
        self._encoder = encoder
        self._checker = RecordChecker(fields, refuse_repeated=False)
        self._upsert = upsert
        self._dead_letters = dead_letters
        self._batch_size = batch_size
        self._write_size = write_size

    def update(
        self, changes: Iterable[Change | MalformedRecord], *, progress: Callable[[int], None] | None = None
    ) -> IngestResult:
        """Make the changes, in the order given, and make them visible to searches.

        Args:
            changes: Read lazily. Malformed ones go to the dead letters.
            progress: Told how many are done.

        Raises:
            ClusterError: The server is away or does not permit it.
            BulkWriteError: It takes no more. The same again is safe.
        """
        started = time.monotonic()
        read = indexed = superseded = 0
        stream = iter(changes)
        with DeadLetters(self._dead_letters) as letters:
            while batch := list(islice(stream, self._write_size)):
                for rows in without_repeats(batch):
                    result = self._update(batch[rows.start : rows.stop], letters)
                    indexed += result.indexed
                    superseded += result.superseded
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

    def _update(self, batch: Sequence[Change | MalformedRecord], letters: DeadLetters) -> WriteResult:
        """Change documents that differ from each other."""
        for record in batch:
            if isinstance(record, MalformedRecord):
                letters.add_malformed(record)
        waiting = {record.doc_id: record for record in batch if isinstance(record, Change)}
        indexed = superseded = 0
        for attempt in range(1, _ATTEMPTS + 1):
            documents = self._changed(waiting.values(), letters)
            result = self._write(documents)
            indexed += result.indexed
            superseded += result.superseded
            lost: dict[str, Change] = {}
            for refusal in result.refused:
                doc_id = refusal.document.doc_id
                if refusal.status == _CONFLICT and attempt < _ATTEMPTS:
                    lost[doc_id] = waiting[doc_id]
                else:
                    letters.add_refusal(documents[doc_id][0], refusal)
            if not lost:
                break
            waiting = lost
        return WriteResult(indexed, superseded=superseded)

    def _write(self, documents: Mapping[str, tuple[Document, StoredState | None]]) -> WriteResult:
        if not documents:
            return WriteResult(0)
        changed = [document for document, _ in documents.values()]
        vectors = self._encoder.encode_document([each.content for each in changed], batch_size=self._batch_size)
        return self._writer.write(
            [replace(each, replaces=documents[each.doc_id][1]) for each in to_sparse_documents(changed, vectors)]
        )

    def _changed(
        self, changes: Collection[Change], letters: DeadLetters
    ) -> dict[str, tuple[Document, StoredState | None]]:
        """What documents become, and the write that each rests on: None where a version is compared instead."""
        found = self._read([change.doc_id for change in changes])
        changed: dict[str, tuple[Document, StoredState | None]] = {}
        for change in changes:
            source, state = found.get(change.doc_id, ({}, StoredState()))
            try:
                if change.doc_id not in found and not self._upsert:
                    raise ValueError("the index does not hold it; an upsert would make it")
                document = self._checker.check(_merge(change, source))
            except ValueError as error:
                raw = json.dumps({"_id": change.doc_id, **change.values}, default=str)
                letters.add_malformed(MalformedRecord(f"change of {change.doc_id!r}", str(error), raw))
            else:
                changed[change.doc_id] = document, state if change.version is None else None
        return changed

    def _read(self, ids: Sequence[str]) -> dict[str, tuple[Mapping[str, Any], StoredState]]:
        """The documents of these ids that exist."""
        if not ids:
            return {}
        with explained(self._client):
            reply = self._client.mget(index=self._writer.index, body={"ids": list(ids)})
        return {
            each["_id"]: (each["_source"], StoredState(each["_seq_no"], each["_primary_term"]))
            for each in reply["docs"]
            if each.get("found")
        }


def _merge(change: Change, source: Mapping[str, Any]) -> dict[str, Any]:
    """The record that a change makes of a document."""
    record = {**source, **change.values}
    if isinstance(change.values.get("metadata"), Mapping):
        metadata = {**source.get("metadata", {}), **change.values["metadata"]}
        record["metadata"] = {key: value for key, value in metadata.items() if value is not None}
    kept = {key: value for key, value in record.items() if value is not None}
    return kept | {"_id": change.doc_id, "_version": change.version}
