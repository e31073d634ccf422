"""The writing half of `SparseIndex`: create the index; add, update, delete, read and count documents."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterable, Callable, Iterable, Iterator, Mapping, Sequence, Sized
from dataclasses import asdict
from threading import Event, RLock
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from opensearchpy import OpenSearch

from connector.arguments import rename
from connector.connection.access import CREDENTIALS, access_from_environment, url_from_environment
from connector.connection.client import connect
from connector.corpus.read import CorpusRecord, check_documents
from connector.corpus.values import to_ids
from connector.encoders.base import Encoder
from connector.errors import BulkWriteError, IndexMappingError
from connector.index.delete import delete_matching, number_deleted
from connector.index.documents import read_documents
from connector.index.names import check_index_name
from connector.index.new_index import DEFAULT_INDEX, NewIndex
from connector.index.probe import probe_write
from connector.index.schema import IndexSchema, existing_schema, read_schema
from connector.index.sizes import count_matching
from connector.index.writer import BulkWriter
from connector.ingest.index_encoder import encoder_of, load_index_encoder, load_new_encoder
from connector.ingest.ledger import IngestResult
from connector.ingest.pipeline import IngestJob
from connector.ingest.prepare import prepare_encoder
from connector.ingest.sample import MAX_SAMPLED, Sampled
from connector.ingest.update import Change, DocumentUpdater
from connector.query.filters import Filters, filter_clauses
from connector.search.threads import stoppable
from connector.types import Deletion, Document, MalformedRecord

if TYPE_CHECKING:
    from connector.encoders.text import TextEncoder
    from connector.ingest.own_dictionary import Sample

T = TypeVar("T")

InputRecord = Document | MalformedRecord | Mapping[str, Any]
"""What can be added: a document, a dictionary like a line of a JSONL corpus, or a record that a reader refused."""

_ASYNC_BATCH = 500


class WritableIndex:
    """Writes the documents of one index; `SparseIndex` adds searching."""

    def __init__(
        self,
        index: str,
        *,
        encoder: TextEncoder | str | os.PathLike[str] | None = None,
        client: OpenSearch | None = None,
        url: str | Sequence[str] | None = None,
        new: NewIndex = DEFAULT_INDEX,
        **connection: Any,
    ) -> None:
        given = {} if url is None else {"url": url}
        connection = rename(given | connection, type(self).__name__, {"opensearch_url": "url"})
        if client is not None and connection:
            raise ValueError(f"a client is already connected; leave out {', '.join(sorted(connection))}.")
        check_index_name(index)
        if isinstance(encoder, os.PathLike):
            encoder = os.fspath(encoder)
        if encoder is not None and not isinstance(encoder, str) and not hasattr(type(encoder), "fingerprint"):
            raise ValueError(
                f"an encoder must be a TextEncoder, a name or a folder, got {type(encoder).__name__}; put a "
                "SparseEncoder into a TextEncoder, and give a dense model by its name."
            )
        self.index = index
        self.new = new
        self._owns_client = client is None
        self.client = _connect(connection) if client is None else client
        self._encoder = encoder
        self._preparing = RLock()
        self._prepared: tuple[str, TextEncoder] | None = None
        self._encoding: Encoder | None = None

    @property
    def schema(self) -> IndexSchema | None:
        """The schema of the index; None if the index does not exist."""
        return read_schema(self.client, self.index)

    def exists(self) -> bool:
        """Whether the index exists."""
        return read_schema(self.client, self.index) is not None

    @property
    def encoder(self) -> TextEncoder:
        """The given encoder, else the one that wrote the index, else the shipped one. Loaded on first use."""
        if self._encoder is not None and not isinstance(self._encoder, str):
            return self._encoder
        schema = read_schema(self.client, self.index)
        if self._encoder is None:
            return load_new_encoder() if schema is None else self._load(schema)
        found = load_new_encoder(self._encoder) if schema is None else self._load(schema, self._encoder)
        self._encoder = found
        return found

    def prepare(
        self,
        sample: Sample | Sequence[str] = (),
        *,
        documents: int | None = None,
        progress: Callable[[str, float], None] | None = None,
    ) -> TextEncoder:
        """Create the index unless it exists and return the calibrated encoder. `add` calls this itself.

        Args:
            sample: Texts of the first documents, or a function that returns a requested number of them.
            documents: Expected number of documents, which sets the size of a dictionary; None if unknown.
            progress: Called with a step of building the dictionary and its completed fraction.

        Raises:
            ConnectorError, ValueError: As for `prepare_encoder`.
        """
        with self._preparing:  # of several threads, one builds the dictionary
            return self._prepare(sample, documents, progress)

    def _prepare(
        self,
        sample: Sample | Sequence[str],
        documents: int | None,
        progress: Callable[[str, float], None] | None,
    ) -> TextEncoder:
        schema = read_schema(self.client, self.index)
        if self._prepared is not None and schema is not None and schema.space == self._prepared[0]:
            return self._prepared[1]
        builds = self.new.dictionary
        if builds is None:
            builds = self._encoder is None or (schema is None and self.encoder.needs_dictionary)
        own = None
        if builds:
            from connector.ingest.own_dictionary import OwnDictionary

            own = OwnDictionary(sample, documents=documents, progress=progress)
        encoder = prepare_encoder(self.client, self.index, self.encoder, sample=sample, dictionary=own, new=self.new)
        self._encoding = encoder if own is None else own.reuse(encoder)
        self._prepared = existing_schema(self.client, self.index).space, encoder
        return encoder

    def job(
        self,
        *,
        encoder: Encoder | None = None,
        writer: BulkWriter | None = None,
        **options: Any,  # noqa: ANN401
    ) -> IngestJob:
        """Create an ingestion job, for what `add` does not offer: dead letters, checkpoints, precomputed vectors.

        Args:
            encoder: Encoder to use instead of that of `prepare`, e.g. one on several devices.
            writer: Writer to use instead of a default one, e.g. with other request sizes.
            **options: As for `IngestJob`.

        Raises:
            IndexMappingError: The index does not exist; `prepare` creates it, calibrated by a sample of documents.
            ConnectorError: As for `prepare`, which need not be called if the index exists.
        """
        if self._prepared is None:
            if not self.exists():
                raise IndexMappingError(
                    f"There is no index {self.index!r}; call prepare() with the texts of its first documents before."
                )
            self.prepare()
        # The embeddings of the dictionary's sample are reused by one job and then released.
        encoding, self._encoding = self._encoding, self._prepared[1] if self._prepared else None
        return IngestJob(writer or BulkWriter(self.client, self.index), encoder or encoding, **options)

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
        checked = check_documents(documents, fields=self._fields())
        added = self._add(checked, documents=count, refresh=refresh, progress=progress, stopped=stopped)
        return _checked(added, raise_on_error)

    async def add_async(
        self,
        documents: AsyncIterable[InputRecord],
        *,
        raise_on_error: bool = True,
        refresh: bool = True,
        progress: Callable[[int], None] | None = None,
    ) -> IngestResult:
        """Add documents from an asynchronous iterable, as `add` does; they are encoded and written in threads.

        A new index builds its dictionary from the first 10,000, which are kept in memory until then. If it is
        cancelled, nothing more is sent.
        """
        arrived: list[InputRecord] = []
        fields = await asyncio.to_thread(self._fields)
        checked = check_documents(_popped(arrived), fields=fields)  # one at a time, and all by the same checker
        pending: list[CorpusRecord] = []
        total: IngestResult | None = None

        def processed(number: int) -> None:
            if progress is not None:
                progress(number + (total.read if total is not None else 0))

        size = _ASYNC_BATCH if await asyncio.to_thread(self.exists) else MAX_SAMPLED
        async for document in documents:
            arrived.append(document)
            pending.append(next(checked))
            if len(pending) == size:
                added = await stoppable(self._add, pending, documents=size, refresh=False, progress=processed)
                total, pending, size = added.plus(total), [], _ASYNC_BATCH
        added = await stoppable(self._add, pending, documents=len(pending), refresh=refresh, progress=processed)
        total = added.plus(total)
        return _checked(total, raise_on_error)

    def _add(
        self,
        checked: Iterable[CorpusRecord],
        *,
        documents: int | None,
        refresh: bool,
        progress: Callable[[int], None] | None = None,
        stopped: Event | None = None,
    ) -> IngestResult:
        records = Sampled(checked)
        if records.sample(1) or self.exists():
            self.prepare(records.sample, documents=documents)
            job = self.job(refresh=refresh, progress=progress, stopped=stopped)
        else:  # no documents by which a new index could be calibrated
            job = IngestJob(BulkWriter(self.client, self.index), refresh=False, progress=progress)
        with job:
            job.add(records)
        return job.result

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
        encoder = encoder_of(existing_schema(self.client, self.index), self.encoder)
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
            raise IndexMappingError(f"There is no index {self.index!r}.")
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

    def close(self) -> None:
        """Close the client, unless it was passed in."""
        if self._owns_client:
            self.client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __getstate__(self) -> dict[str, Any]:
        raise TypeError(f"a {type(self).__name__} holds a connection and cannot be copied or pickled; create another.")

    def _load(self, schema: IndexSchema, name: str | None = None) -> TextEncoder:
        return load_index_encoder(self.client, schema, name)

    def _fields(self) -> tuple[str, ...]:
        """Names of the top-level fields that the index declares or will declare."""
        schema = self.schema
        declared = (*self.new.fields, *self.new.mappings.get("properties", {}))
        return tuple(schema.fields) if schema is not None else declared

    def _clauses(self, filters: Filters) -> list[dict[str, Any]]:
        return filter_clauses(filters, fields=self._filterable() if filters else ())

    def _filterable(self) -> Mapping[str, str]:
        """Types of the fields that filters can name beside metadata, by path."""
        schema = self.schema
        return self.new.fields if schema is None else schema.filterable


def _popped(arrived: list[T]) -> Iterator[T]:
    while True:
        yield arrived.pop()


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


def _connect(connection: dict[str, Any]) -> OpenSearch:
    """Connect to the given URL, else to OPENSEARCH_URL as the environment says, else to http://localhost:9200."""
    url = connection.pop("url", None)
    found = url_from_environment() if url is None else None
    if found is not None and not connection.keys() & CREDENTIALS:
        connection = asdict(access_from_environment()) | connection
    return connect(url or found or "http://localhost:9200", **connection)
