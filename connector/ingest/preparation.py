"""Prepare a batch for the writer: set routings, encode, and refuse invalid documents."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import repeat

import numpy as np

from connector.encoders.base import Encoder
from connector.index.outcome import Refusal
from connector.index.writer import BulkWriter
from connector.types import Deletion, Document, SparseDocument, SparseVectors


@dataclass(frozen=True, slots=True)
class PreparedBatch:
    """A batch that is ready to be written.

    Attributes:
        actions: Encoded documents and deletions.
        by_id: All documents and deletions by id, with their routing.
        refused: Those that cannot be sent, with reasons.
    """

    actions: Sequence[SparseDocument | Deletion] = ()
    by_id: Mapping[str, Document | Deletion] = field(default_factory=dict)
    refused: Sequence[Refusal] = ()


class BatchPreparation:
    """Prepares documents and deletions for a writer.

    Args:
        writer: Writer of the index.
        encoder: Encoder of the documents; None if vectors are given.
        batch_size: Texts per forward pass.
    """

    def __init__(self, writer: BulkWriter, encoder: Encoder | None, *, batch_size: int) -> None:
        self._writer = writer
        self._encoder = encoder
        self._batch_size = batch_size

    def prepare(self, named: Sequence[Document | Deletion], vectors: SparseVectors | None) -> PreparedBatch:
        """Set routings and encode a batch without duplicate ids.

        Raises:
            TypeError: There are neither vectors nor an encoder.
            BulkWriteError: The routings cannot be read from the server.
        """
        by_id: dict[str, Document | Deletion] = {}
        refused: list[Refusal] = []
        sent = self._routed(named, by_id, refused)
        if vectors is not None:
            vectors = vectors.take(sent)
        records = [by_id[named[row].doc_id] for row in sent]
        documents = [record for record in records if isinstance(record, Document)]
        sparse, unfit = self._sparse(documents, vectors)
        deletions = [record for record in records if isinstance(record, Deletion)]
        return PreparedBatch([*sparse, *deletions], by_id, refused + unfit)

    def _routed(
        self, records: Sequence[Document | Deletion], by_id: dict[str, Document | Deletion], refused: list[Refusal]
    ) -> list[int]:
        """Set the routing of each record; return the rows of valid records."""
        rows = []
        for row, (record, routed) in enumerate(zip(records, self._writer.resolve(records), strict=True)):
            if isinstance(routed, str):
                refused.append(Refusal(record, 0, "invalid_document", routed, 0))
                by_id[record.doc_id] = record
            else:
                rows.append(row)
                by_id[record.doc_id] = routed
        return rows

    def _sparse(
        self, documents: list[Document], vectors: SparseVectors | None
    ) -> tuple[list[SparseDocument], list[Refusal]]:
        """Return encoded documents and refusals; documents are encoded unless vectors are given."""
        if not documents:
            return [], []
        if vectors is None:
            if self._encoder is None:
                raise TypeError("this job has no encoder: pass one, or add documents with vectors.")
            vectors = self._encoder.encode_document([each.content for each in documents], batch_size=self._batch_size)
        return _without_repeated_features(to_sparse_documents(documents, vectors), vectors)


def _without_repeated_features(
    documents: Sequence[SparseDocument], vectors: SparseVectors
) -> tuple[list[SparseDocument], list[Refusal]]:
    """Refuse documents whose vector contains a feature twice: a mapping would silently keep one weight."""
    slots = np.arange(vectors.features.shape[1], dtype=np.int64)
    names = np.sort(np.where(vectors.weights != 0.0, vectors.features, -1 - slots), axis=1)
    repeats = (np.diff(names, axis=1) == 0).any(axis=1).tolist()
    reason = "the vector contains a feature twice."
    sent = [document for document, repeated in zip(documents, repeats, strict=True) if not repeated]
    refused = [document for document, repeated in zip(documents, repeats, strict=True) if repeated]
    return sent, [Refusal(document, 0, "invalid_document", reason, 0) for document in refused]


def to_sparse_documents(documents: Iterable[Document], vectors: SparseVectors) -> list[SparseDocument]:
    """Combine documents with their vectors."""
    codes = repeat(None) if vectors.codes is None else (code.tobytes() for code in vectors.codes)
    return [
        SparseDocument(document.doc_id, features, to_source(document), code, document.version, routing=document.routing)
        for (document, features), code in zip(zip(documents, vectors.as_mappings(), strict=True), codes, strict=False)
    ]


def to_source(document: Document) -> dict[str, object]:
    """The stored fields of a document; empty fields are omitted."""
    source: dict[str, object] = {"text": document.text, **document.fields}
    if document.title:
        source["title"] = document.title
    if document.metadata:
        source["metadata"] = dict(document.metadata)
    return source
