"""Read-modify-write of documents with optimistic concurrency control."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Generic, NamedTuple, Protocol, TypeVar

from connector.encoders.base import Encoder
from connector.index.lookup import DocumentLookup, Found, only_routing
from connector.index.outcome import STORED_ELSEWHERE, Refusal, WriteResult
from connector.index.writer import BulkWriter
from connector.ingest.preparation import to_sparse_documents
from connector.types import Deletion, Document, SparseDocument, StoredState

_CONFLICT = 409
_ATTEMPTS = 5
"""Attempts for a document that other writers change concurrently."""


class Edit(Protocol):
    """An edit of one document."""

    @property
    def doc_id(self) -> str:
        """Id of the document."""

    @property
    def routing(self) -> str | None:
        """Routing of the document; None for that of the stored document."""

    @property
    def has_no_routing(self) -> bool:
        """Whether the document is known to have no routing, of several with its id."""

    @property
    def names_place(self) -> bool:
        """Whether a document with its id on another shard than that of its routing is another document."""

    def become(self, found: Found | None) -> Document | Deletion | None:
        """Return the new document or deletion for the stored one; None if the stored one is newer.

        Raises:
            ValueError: The edit is impossible.
        """


E = TypeVar("E", bound=Edit)


class Refused(NamedTuple, Generic[E]):
    """A failed edit.

    Attributes:
        edit: The edit.
        refusal: The reason.
        found: The stored document when last read.
    """

    edit: E
    refusal: Refusal
    found: Found | None


class Rewriter:
    """Edits documents of one index.

    Args:
        writer: Writer of the index.
        lookup: Reads the documents.
        encoder: Encoder of the index.
        batch_size: Texts per forward pass.

    Raises:
        IndexMappingError: The writer's alias spans several indices.
    """

    def __init__(self, writer: BulkWriter, lookup: DocumentLookup, encoder: Encoder, *, batch_size: int = 32) -> None:
        writer.target.check_single("changed")
        self._writer = writer
        self._lookup = lookup
        self._encoder = encoder
        self._batch_size = batch_size

    def rewrite(self, edits: Iterable[E]) -> tuple[WriteResult, list[Refused[E]]]:
        """Apply edits of distinct documents; the result counts applied and superseded edits.

        Raises:
            ClusterError: The server denies access.
            BulkWriteError: A write failed; repeating is safe.
        """
        waiting = {edit.doc_id: edit for edit in edits}
        refused: list[Refused[E]] = []
        total = WriteResult(0)
        for attempt in range(1, _ATTEMPTS + 1):
            places = [doc_id for doc_id, edit in waiting.items() if edit.names_place]
            found = self._lookup.find({doc_id: edit.routing for doc_id, edit in waiting.items()}, placed=places)
            for doc_id, edit in waiting.items():
                if edit.has_no_routing:
                    found[doc_id] = [each for each in found.get(doc_id, []) if each.routing is None]
            records: list[Document | Deletion] = []
            for doc_id, edit in waiting.items():
                copies = found.get(doc_id, [])
                try:
                    record = self._become(edit, copies)
                except ValueError as error:
                    refusal = Refusal(Deletion(doc_id), 0, "invalid_document", str(error), 0)
                    refused.append(Refused(edit, refusal, copies[0] if copies else None))
                    continue
                if record is None:
                    total = replace(total, superseded=total.superseded + 1)
                else:
                    records.append(record)
            result = self._write(records, found)
            total = _sum(total, result)
            lost: dict[str, E] = {}
            for refusal in result.refused:
                doc_id = refusal.document.doc_id
                if refusal.status == _CONFLICT and refusal.kind != STORED_ELSEWHERE and attempt < _ATTEMPTS:
                    lost[doc_id] = waiting[doc_id]
                else:
                    copies = found.get(doc_id, [])
                    refused.append(Refused(waiting[doc_id], refusal, copies[0] if copies else None))
            waiting = lost
            if not waiting:
                break
        return total, refused

    def _become(self, edit: Edit, copies: Sequence[Found]) -> Document | Deletion | None:
        """Return the edited document with its routing."""
        routing = only_routing(edit.doc_id, copies)
        if copies and edit.routing not in (None, routing):
            raise ValueError(f"the document has the routing {routing!r}, not {edit.routing!r}")
        record = edit.become(copies[0] if copies else None)
        if record is None:
            return None
        if record.routing is None:
            record = replace(record, routing=routing)
        return replace(record, routing=self._writer.target.routing_of(record))

    def _write(self, records: Sequence[Document | Deletion], found: Mapping[str, Sequence[Found]]) -> WriteResult:
        """Write documents that have not changed since they were read, or that have no newer version."""
        if not records:
            return WriteResult(0)
        documents = [record for record in records if isinstance(record, Document)]
        sparse: list[SparseDocument] = []
        if documents:
            texts = [document.content for document in documents]
            vectors = self._encoder.encode_document(texts, batch_size=self._batch_size)
            sparse = to_sparse_documents(documents, vectors)
        actions: list[SparseDocument | Deletion] = [*sparse]
        actions += [record for record in records if isinstance(record, Deletion)]
        return self._writer.write([_on_condition(action, found) for action in actions])


def _on_condition(record: SparseDocument | Deletion, found: Mapping[str, Sequence[Found]]) -> SparseDocument | Deletion:
    if record.version is not None:
        return record
    copies = found.get(record.doc_id, [])
    return replace(record, replaces=copies[0].state if copies else StoredState())


def _sum(first: WriteResult, second: WriteResult) -> WriteResult:
    return WriteResult(
        first.indexed + second.indexed,
        superseded=first.superseded + second.superseded,
        deleted=first.deleted + second.deleted,
        not_found=first.not_found + second.not_found,
    )
