"""The writing half of `SparseIndex`: add, update, delete, read and count documents."""

from __future__ import annotations

from collections.abc import AsyncIterable, Callable, Iterable, Iterator, Mapping, Sized
from threading import Event
from typing import Any

from connector.corpus.read import check_documents
from connector.corpus.values import to_ids
from connector.errors import BulkWriteError, IndexMappingError
from connector.index.delete import delete_matching, number_deleted
from connector.index.documents import read_documents
from connector.index.names import no_index
from connector.index.probe import probe_write
from connector.index.schema import existing_schema
from connector.index.sizes import count_matching
from connector.index.writer import BulkWriter
from connector.ingest.ledger import IngestResult
from connector.ingest.pipeline import IngestJob
from connector.ingest.sample import Sampled
from connector.ingest.update import Change, DocumentUpdater
from connector.query.filters import Filters
from connector.search.prepared_index import PreparedIndex
from connector.search.threads import streamed
from connector.types import Deletion, Document, MalformedRecord

InputRecord = Document | MalformedRecord | Mapping[str, Any]
"""What can be added: a document, a dictionary like a line of a JSONL corpus, or a record that a reader refused."""


class WritableIndex(PreparedIndex):
    """Writes the documents of one index; `SparseIndex` adds searching."""

    def add(
        self,
        documents: Iterable[InputRecord],
        *,
        raise_on_error: bool = True,
        refresh: bool = True,
        progress: Callable[[int], None] | None = None,
        stopped: Event | None = None,
    ) -> IngestResult:
        """Encode and write documents; a document replaces the stored one with the same id.

        Of several documents of a call with the same id, all but the first are refused.

        Args:
            documents: Any number, read lazily: `Document`s, dictionaries like lines of a JSONL corpus
                (`_id`, `text`, `title`, `metadata`), or the records of `read_corpus`; or a table of pandas, Polars or
                Arrow, whose other columns are metadata. A new index builds its dictionary from the first ones;
                without any, none is created.
            raise_on_error: Raise if a document was refused, after all others were written.
            refresh: Make the documents visible to searches.
            progress: Called with the number of processed documents.
            stopped: When another thread sets it, nothing more is sent, and the call raises.

        Raises:
            BulkWriteError: Documents were refused; the message names the first one and the reason. Or `stopped` was
                set; documents already written stay indexed.
            ConnectorError: The index cannot be created or written to.
        """
        count = len(documents) if isinstance(documents, Sized) else None
        records = Sampled(check_documents(documents, fields=self._fields()))
        if records.sample(1) or self.exists():
            self.prepare(records.sample, documents=count)
            job = self.job(refresh=refresh, progress=progress, stopped=stopped)
        else:  # no documents by which a new index could be calibrated
            job = IngestJob(BulkWriter(self.client, self.index), refresh=False, progress=progress)
        with job:
            job.add(records)
        return _checked(job.result, raise_on_error)

    async def add_async(
        self,
        documents: AsyncIterable[InputRecord],
        *,
        raise_on_error: bool = True,
        refresh: bool = True,
        progress: Callable[[int], None] | None = None,
    ) -> IngestResult:
        """Add documents from an asynchronous iterable, as `add` does; they are encoded and written in a thread.

        A new index builds its dictionary from the first 10,000, which are kept in memory until then. If it is
        cancelled, nothing more is sent.
        """
        return await streamed(self.add, documents, raise_on_error=raise_on_error, refresh=refresh, progress=progress)

    def update(
        self, changes: Iterable[Change | Mapping[str, Any]], *, upsert: bool = False, raise_on_error: bool = True
    ) -> IngestResult:
        """Update documents partially: only the keys that a change names; `metadata` is merged key by key.

        Args:
            changes: `Change`s, or dictionaries with `_id` and the keys to change.
            upsert: Create documents that do not exist.
            raise_on_error: Raise if a change was refused, after all others were made.

        Raises:
            BulkWriteError: Changes were refused; the message names the first one and the reason.
            ValueError: A value is neither a `Change` nor a dictionary.
        """
        encoder = self._fitting(existing_schema(self.client, self.index))
        writer = BulkWriter(self.client, self.index)
        updater = DocumentUpdater(self.client, writer, encoder, fields=self._fields(), upsert=upsert)
        return _checked(updater.update(_changes(changes)), raise_on_error)

    def delete(
        self,
        doc_ids: Iterable[Any] = (),
        *,
        filters: Filters = None,
        everything: bool = False,
        refresh: bool = True,
    ) -> int:
        """Delete documents by id or by filters; return the number of deleted documents.

        Args:
            doc_ids: Ids; missing ones are ignored.
            filters: Filters that a document must match, as in a search.
            everything: Allow filters that match every document, such as `{}`.
            refresh: Make the deletion visible to searches immediately.

        Raises:
            BulkWriteError: A deletion was refused, or other writers kept changing a matching document; all others were
                made.
            IndexMappingError: The index does not exist, or ids are given and the alias has several indices.
            ValueError: Both ids and filters are given, or the filters match every document without `everything`.
        """
        ids = to_ids(doc_ids)
        if not self.exists():
            raise IndexMappingError(no_index(self.index))
        if filters is None:
            writer = BulkWriter(self.client, self.index)
            if ids:
                writer.target.check_single("deleted")
                probe_write(self.client, self.index, deletes=True)
            with IngestJob(writer, refresh=refresh) as job:
                job.add(Deletion(doc_id) for doc_id in ids)
            return _checked(job.result, True).deleted
        if ids:
            raise ValueError("delete by ids or by filters, not by both.")
        clauses = self._clauses(filters)
        done = delete_matching(self.client, self.index, clauses, everything=everything, refresh=refresh)
        return number_deleted(done, self.index)

    def get(self, doc_ids: Iterable[Any]) -> dict[str, dict[str, Any]]:
        """Return the stored fields of documents by id; missing and hidden documents are omitted."""
        found = read_documents(self.client, self.index, to_ids(doc_ids))
        return {doc_id: each.source for doc_id, each in found.items()}

    def count(self, filters: Filters = None) -> int:
        """Return the number of documents that match all filters, or of all documents without filters."""
        return count_matching(self.client, self.index, self._clauses(filters))


def _changes(changes: Iterable[Change | Mapping[str, Any]]) -> Iterator[Change | MalformedRecord]:
    for number, change in enumerate(changes, 1):
        try:
            yield change if isinstance(change, Change) else Change.from_record(change)
        except ValueError as error:
            if not isinstance(change, Mapping):
                raise
            yield MalformedRecord(f"change {number}", str(error), repr(change))


def _checked(result: IngestResult, raise_on_error: bool) -> IngestResult:
    if result.dead_lettered and raise_on_error:
        raise BulkWriteError(
            f"{result.dead_lettered} of {result.read} documents were refused, the first: {result.reasons[0]}. "
            f"{'All others were' if result.dead_lettered < result.read else 'None was'} written; correct these and "
            "write them again."
        )
    return result
