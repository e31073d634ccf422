"""Documents to an index: encode a batch while the ones before it are being written."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice, repeat
from pathlib import Path

from connector.encoders.base import DocumentEncoder
from connector.errors import CorpusError
from connector.index.writer import BulkWriter, WriteResult
from connector.ingest.dead_letters import DeadLetters
from connector.sparsify import round_to_stored
from connector.types import Document, MalformedRecord, SparseDocument, SparseVectors

Progress = Callable[[int], None]
"""Called with the number of records whose fate is known."""


@dataclass(frozen=True, slots=True)
class IngestResult:
    """What became of every record: `indexed` plus `dead_lettered` is `read`.

    Attributes:
        read: Records of the input, malformed ones among them.
        indexed: Documents that the index holds.
        dead_lettered: Records that it does not hold.
        reasons: The first few failures, in words.
        dead_letters: The file that keeps them, None where nothing failed or no file was asked for.
        elapsed_s: Seconds from the first record to the last reply.
    """

    read: int
    indexed: int
    dead_lettered: int
    reasons: tuple[str, ...]
    dead_letters: Path | None
    elapsed_s: float


def ingest_documents(
    records: Iterable[Document | MalformedRecord],
    encoder: DocumentEncoder,
    writer: BulkWriter,
    *,
    dead_letters: Path | None = None,
    strict: bool = False,
    batch_size: int = 32,
    write_size: int = 256,
    max_in_flight: int = 4,
    refresh: bool = True,
    progress: Progress | None = None,
) -> IngestResult:
    """Encode documents and write them, in batches that overlap, with bounded memory.

    Args:
        records: Read lazily. Malformed ones go to the dead letters.
        encoder: Documents to sparse vectors.
        writer: Knows the index.
        dead_letters: A file that what could not be indexed is appended to.
        strict: Stop at the first record that fails.
        batch_size: Texts per forward pass.
        write_size: Documents encoded before they are handed to the writer, at least 1.
        max_in_flight: Such batches that may wait for the server; then encoding waits too.
        refresh: Make the documents visible to searches at the end.
        progress: Told how many records are done.

    Raises:
        CorpusError: `strict`, and a record failed. What was written before stays.
        TypeError: A record is neither a document nor a malformed one.
        BulkWriteError: The server takes no more. What was accepted stays indexed; the same run again is safe.
    """
    if write_size < 1 or max_in_flight < 1:
        raise ValueError(f"write_size {write_size} and max_in_flight {max_in_flight} must be at least 1.")
    started = time.monotonic()
    read = indexed = 0
    pending: deque[tuple[list[Document], Future[WriteResult]]] = deque()

    with DeadLetters(dead_letters) as letters, ThreadPoolExecutor(max_in_flight, "bulk") as pool:

        def settle() -> int:
            documents, future = pending.popleft()
            result = future.result()
            by_id = {document.doc_id: document for document in documents}
            for refusal in result.refused:
                letters.add_refusal(by_id[refusal.document.doc_id], refusal)
            if strict and letters.count:
                raise CorpusError(f"Stopped, as --strict asks: {letters.reasons[0]}")
            return result.indexed

        for batch in _batches(_stop_at_malformed(records) if strict else records, write_size):
            read += len(batch)
            documents: list[Document] = []
            for record in batch:
                if isinstance(record, Document):
                    documents.append(record)
                elif isinstance(record, MalformedRecord):
                    letters.add_malformed(record)
                else:
                    raise TypeError(f"{type(record).__name__} is no Document; send records through check_documents.")
            if documents:
                vectors = encoder.encode_document([each.content for each in documents], batch_size=batch_size)
                pending.append((documents, pool.submit(writer.write, to_sparse_documents(documents, vectors))))
            while len(pending) > max_in_flight or (pending and pending[0][1].done()):
                indexed += settle()
            if progress is not None:
                progress(indexed + letters.count)
        while pending:
            indexed += settle()
            if progress is not None:
                progress(indexed + letters.count)
        if refresh:
            writer.refresh()
        return IngestResult(
            read=read,
            indexed=indexed,
            dead_lettered=letters.count,
            reasons=tuple(letters.reasons),
            dead_letters=dead_letters if letters.count else None,
            elapsed_s=time.monotonic() - started,
        )


def to_sparse_documents(documents: Iterable[Document], vectors: SparseVectors) -> list[SparseDocument]:
    """Join documents with their vectors, weights rounded to what the server can hold."""
    rounded = vectors._replace(weights=round_to_stored(vectors.weights))
    codes = repeat(None) if vectors.codes is None else (code.tobytes() for code in vectors.codes)
    return [
        SparseDocument(document.doc_id, features, _source(document), code)
        for (document, features), code in zip(zip(documents, rounded.as_mappings(), strict=True), codes, strict=False)
    ]


def _source(document: Document) -> dict[str, object]:
    source: dict[str, object] = {"text": document.text, **document.fields}
    if document.title:
        source["title"] = document.title
    if document.metadata:
        source["metadata"] = dict(document.metadata)
    return source


def _batches(records: Iterable[Document | MalformedRecord], size: int) -> Iterator[list[Document | MalformedRecord]]:
    remaining = iter(records)
    while batch := list(islice(remaining, size)):
        yield batch


def _stop_at_malformed(records: Iterable[Document | MalformedRecord]) -> Iterator[Document]:
    for record in records:
        if isinstance(record, MalformedRecord):
            raise CorpusError(f"Stopped, as --strict asks: {record.location}: {record.reason}")
        yield record
