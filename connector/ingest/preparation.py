"""A batch as the writer takes it: routed, encoded, and without what cannot be sent."""

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
    """What is sent of a batch.

    Attributes:
        actions: To write.
        by_id: All documents and deletions, with the routing that they are sent by.
        refused: Those that cannot be sent, and why.
    """

    actions: Sequence[SparseDocument | Deletion] = ()
    by_id: Mapping[str, Document | Deletion] = field(default_factory=dict)
    refused: Sequence[Refusal] = ()


class BatchPreparation:
    """Turns documents and deletions into what a writer takes.

    Args:
        writer: Knows the index.
        encoder: Documents to sparse vectors; None where vectors are given.
        batch_size: Texts per forward pass.
    """

    def __init__(self, writer: BulkWriter, encoder: Encoder | None, *, batch_size: int) -> None:
        self._writer = writer
        self._encoder = encoder
        self._batch_size = batch_size

    def prepare(self, named: Sequence[Document | Deletion], vectors: SparseVectors | None) -> PreparedBatch:
        """Route and encode a batch in which no id comes twice.

        Raises:
            TypeError: There is neither an encoder nor vectors.
            BulkWriteError: The server does not say how the documents are routed.
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
        """Note the routing that each record is sent by, and return the rows of those that can be."""
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
        """Documents with their vectors, encoded unless these are given, and those that cannot be sent."""
        if not documents:
            return [], []
        if vectors is None:
            if self._encoder is None:
                raise TypeError("this job has no encoder: give it one, or add documents with their vectors.")
            vectors = self._encoder.encode_document([each.content for each in documents], batch_size=self._batch_size)
        return _without_repeated_features(to_sparse_documents(documents, vectors), vectors)


def _without_repeated_features(
    documents: Sequence[SparseDocument], vectors: SparseVectors
) -> tuple[list[SparseDocument], list[Refusal]]:
    """Refuse documents whose vector names a feature twice: a mapping keeps one of the weights, and says nothing."""
    slots = np.arange(vectors.features.shape[1], dtype=np.int64)
    names = np.sort(np.where(vectors.weights != 0.0, vectors.features, -1 - slots), axis=1)
    repeats = (np.diff(names, axis=1) == 0).any(axis=1).tolist()
    reason = "the vector names a feature twice; name each once."
    sent = [document for document, repeated in zip(documents, repeats, strict=True) if not repeated]
    refused = [document for document, repeated in zip(documents, repeats, strict=True) if repeated]
    return sent, [Refusal(document, 0, "invalid_document", reason, 0) for document in refused]


def to_sparse_documents(documents: Iterable[Document], vectors: SparseVectors) -> list[SparseDocument]:
    """Join documents with their vectors."""
    codes = repeat(None) if vectors.codes is None else (code.tobytes() for code in vectors.codes)
    return [
        SparseDocument(document.doc_id, features, to_source(document), code, document.version, routing=document.routing)
        for (document, features), code in zip(zip(documents, vectors.as_mappings(), strict=True), codes, strict=False)
    ]


def to_source(document: Document) -> dict[str, object]:
    """What an index keeps of a document beside its vectors; empty fields are left out."""
    source: dict[str, object] = {"text": document.text, **document.fields}
    if document.title:
        source["title"] = document.title
    if document.metadata:
        source["metadata"] = dict(document.metadata)
    return source
