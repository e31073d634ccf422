"""What the stores of all frameworks share: an index that is made by the first write, and searched once it is there."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Self

from opensearchpy import OpenSearch
from opensearchpy.exceptions import NotFoundError, OpenSearchException, RequestError, TransportError
from opensearchpy.helpers import scan

from connector.arguments import refuse_unknown, rename
from connector.connection.access import url_from_environment
from connector.connection.client import connect, explained, reason_of
from connector.connection.factory import connection_options
from connector.connection.transport import PatientConnection
from connector.corpus.read import check_documents
from connector.corpus.values import to_ids
from connector.encoders.load import load_encoder
from connector.encoders.text import TextEncoder
from connector.errors import BulkWriteError, ClusterError, IndexMappingError, SearchError
from connector.index.delete import check_narrowed, delete_matching
from connector.index.derived import restored
from connector.index.documents import read_documents
from connector.index.names import check_index_name
from connector.index.schema import IndexSchema, read_schema
from connector.index.searcher import Searcher
from connector.index.sizes import all_of, count_matching
from connector.index.writer import BulkWriter
from connector.ingest.index_encoder import load_index_encoder
from connector.ingest.own_dictionary import OwnDictionary
from connector.ingest.pipeline import WRITE_SIZE, IngestJob
from connector.ingest.prepare import prepare_encoder
from connector.query.hybrid import build_words_query
from connector.query.terms import META_FIELD, TERMS_FIELD
from connector.search.diversify import diversify
from connector.search.retriever import Retriever
from connector.types import Deletion, Document, Hit, MalformedRecord, SparseVectors
from connector.vectors.codes import CodeBits


class StoreWriteError(BulkWriteError):
    """Documents were not written, or not all of them.

    Attributes:
        ids: Of all documents that were given, those that were made for them as well: with the same ids, writing again
            leaves no copies.
    """

    def __init__(self, message: str, ids: Sequence[str]) -> None:
        super().__init__(message)
        self.ids = tuple(ids)


class RefusedDocumentsError(StoreWriteError, ValueError):
    """Documents cannot be indexed as they are."""


class QueryRefusedError(SearchError, ValueError):
    """The server refuses a query or a filter."""


class IndexStore:
    """An index and its encoder.

    Nothing is sent before the first call, and the encoder is loaded when it is first needed.

    Args:
        index: Its name; made by the first write if it is not there.
        encoder: A loaded one, or a name or folder for `load_encoder`. None takes the one that wrote the index; a new
            index gets a dictionary of the first documents written, or the shipped encoder for fewer than 1,000.
        client: A ready client; else one is made.
        url: Of the server, where no client is given; if None, OPENSEARCH_URL, or http://localhost:9200 without that.
        rescore: Of a new index: bits a dimension of a code that puts the first hits into the dense order.
        sample: Texts that a new index's statistics are measured on; the first documents written if there are none.
        settings: Of a new index.
        mappings: Of a new index: further parts of its mapping, as in `index_body`.
        refresh: Make what is written visible to searches at once, where the server can.
        **options: Passed on to `connect`.

    Raises:
        ValueError: There are both a client and what a connection is made of.
        TypeError: An option is unknown.
        IndexMappingError: No index can have the name.
    """

    def __init__(
        self,
        index: str,
        *,
        encoder: TextEncoder | str | None = None,
        client: OpenSearch | None = None,
        url: str | Sequence[str] | None = None,
        rescore: CodeBits = "auto",
        sample: Sequence[str] = (),
        settings: Mapping[str, Any] | None = None,
        mappings: Mapping[str, Any] | None = None,
        refresh: bool = True,
        **options: Any,
    ) -> None:
        check_index_name(index)
        if client is not None and (url is not None or options):
            names = ", ".join((["url"] if url is not None else []) + sorted(options))
            raise ValueError(f"a ready client has a connection already; leave out {names}.")
        self.index = index
        self.client = client if client is not None else _connect(url, options)
        self._encoder = encoder
        self._rescore = rescore
        self._sample = sample
        self._settings = settings
        self._mappings = mappings
        self._declared = tuple(name for name in (mappings or {}).get("properties", {}) if name != TERMS_FIELD)
        self._source = ("title", "text", "metadata", *self._declared)
        self._refresh = refresh
        self._told: TextEncoder | None = None
        self._retriever: Retriever | None = None

    @classmethod
    def of(cls, owner: str, index: str | None, options: Mapping[str, Any], **fixed: Any) -> Self:
        """Make a store of the options of a framework's class, which may have the names that others give them.

        Args:
            owner: The class, for errors.
            index: Its name, or None where the options have it.
            options: As given.
            **fixed: Arguments that are not the caller's to choose.

        Raises:
            ValueError, TypeError, IndexMappingError: As of the class.
        """
        given = rename(({} if index is None else {"index": index}) | dict(options), owner)
        known = set(inspect.signature(cls).parameters) - {"options", *fixed}
        refuse_unknown(given, known | connection_options(given.get("connection_class", PatientConnection)), owner)
        if "index" not in given:
            raise TypeError(f"{owner} needs the name of an index.")
        return cls(**given, **fixed)

    @property
    def encoder(self) -> TextEncoder:
        """As given, without the statistics of the index; else the one that wrote the index, else the shipped one."""
        if self._encoder is None:
            schema = read_schema(self.client, self.index)
            return load_encoder() if schema is None else load_index_encoder(self.client, schema)
        if isinstance(self._encoder, str):
            self._encoder = load_encoder(self._encoder)
        return self._encoder

    def write(
        self, documents: Sequence[Document], vectors: SparseVectors | None = None, *, batch_size: int | None = None
    ) -> None:
        """Write documents in the place of those with the same ids; the last of several with one id is written.

        All are checked before any is written.

        Args:
            documents: With a text each, unless there are vectors.
            vectors: Theirs; if None, the documents are encoded.
            batch_size: Documents that are encoded and sent at a time.

        Raises:
            RefusedDocumentsError: Some cannot be indexed; the message names the first, and whether others are written.
            StoreWriteError: The server takes no more.
            ConnectorError: As of `prepare_encoder`.
        """
        if not documents:
            return
        ids = [str(document.doc_id) for document in documents]
        checked = self._checked(documents, with_text=vectors is None)
        latest = sorted({document.doc_id: row for row, document in enumerate(checked)}.values())
        kept = [checked[row] for row in latest]
        own = None
        if self._told is None:
            texts = self._sample or [document.content for document in kept]
            if self._encoder is None and vectors is None:
                own = OwnDictionary(texts, documents=len(texts))
            self._told = prepare_encoder(
                self.client,
                self.index,
                self.encoder,
                sample=texts,
                dictionary=own,
                rescore=self._rescore,
                settings=self._settings,
                mappings=self._mappings,
            )
        try:
            writer = BulkWriter(self.client, self.index)
            size = WRITE_SIZE if batch_size is None else batch_size
            encoding = own.reuse(self._told) if own is not None else self._told
            with IngestJob(writer, encoding, refresh=self._refresh, write_size=size) as job:
                if vectors is not None:
                    job.add_vectors(kept, vectors.take(latest))
                else:
                    job.add(kept)
        except BulkWriteError as error:
            raise StoreWriteError(str(error), ids) from error
        if job.result.dead_lettered:
            raise RefusedDocumentsError(
                f"{job.result.dead_lettered} of {len(documents)} documents were refused, {job.result.reasons[0]}. "
                "The others are written.",
                ids,
            )

    def _checked(self, documents: Sequence[Document], *, with_text: bool) -> list[Document]:
        """Documents as they are stored; all of them, or an error."""
        # What has vectors already need not have a text.
        given = documents if with_text else [replace(document, text="-") for document in documents]
        found = list(check_documents(given, fields=self._declared, refuse_repeated=False))
        malformed = [record for record in found if isinstance(record, MalformedRecord)]
        if malformed:
            raise RefusedDocumentsError(
                f"{len(malformed)} of {len(documents)} documents were refused, {malformed[0].location}: "
                f"{malformed[0].reason}. None is written.",
                [str(document.doc_id) for document in documents],
            )
        checked = [record for record in found if isinstance(record, Document)]
        if with_text:
            return checked
        return [replace(record, text=document.text) for record, document in zip(checked, documents, strict=True)]

    def delete(self, doc_ids: Sequence[Any]) -> None:
        """Delete documents; one that is not there is no error.

        Raises:
            ValueError: An id is none.
            BulkWriteError: The server does not delete some.
        """
        deletions = [Deletion(doc_id) for doc_id in to_ids(doc_ids)]
        if not deletions or not self.exists():
            return
        with IngestJob(BulkWriter(self.client, self.index), refresh=self._refresh) as job:
            job.add(deletions)
        if job.result.dead_lettered:
            raise BulkWriteError(
                f"{job.result.dead_lettered} of {len(deletions)} documents were not deleted, {job.result.reasons[0]}."
            )

    def delete_all(self) -> None:
        """Delete every document, and keep the index."""
        if self.exists():
            delete_matching(self.client, self.index, [], refresh=self._refresh, everything=True)

    def delete_matching(self, clauses: Sequence[Mapping[str, Any]]) -> int:
        """Delete the documents that match all query clauses; return how many.

        Raises:
            ValueError: There are no clauses, or they match every document, whatever it holds.
        """
        check_narrowed(clauses)
        if not self.exists():
            return 0
        with self._errors():
            return delete_matching(self.client, self.index, clauses, refresh=self._refresh).deleted

    def count(self, clauses: Sequence[Mapping[str, Any]] = ()) -> int:
        """Count the documents that match all query clauses."""
        with self._errors():
            return count_matching(self.client, self.index, clauses) if self.exists() else 0

    def matching(self, clauses: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield id and stored fields of all documents that match all query clauses, in no order."""
        if self.exists():
            with self._errors():
                for hit in scan(self.client, index=self.index, query=all_of(clauses)):
                    yield hit["_id"], restored(hit["_source"])

    def get(self, doc_ids: Sequence[Any]) -> dict[str, dict[str, Any]]:
        """Return the stored fields of documents, from id to them; those that are not there are left out."""
        wanted = to_ids(doc_ids)
        if not wanted or not self.exists():
            return {}
        with self._errors():
            return {doc_id: each.source for doc_id, each in read_documents(self.client, self.index, wanted).items()}

    def exists(self) -> bool:
        """Whether the index is there."""
        return self._told is not None or self.schema is not None

    @property
    def schema(self) -> IndexSchema | None:
        """What the index says of itself; None as long as it is not there."""
        return self._retriever.schema if self._retriever is not None else read_schema(self.client, self.index)

    @property
    def typed(self) -> bool:
        """Whether the index keeps metadata typed, as a new one of this store does.

        Raises:
            IndexMappingError: It does so in the way of an earlier version.
        """
        fields = schema.fields if (schema := self.schema) is not None else self._declared
        if TERMS_FIELD in fields or schema is None:
            return META_FIELD in self._declared
        if META_FIELD in fields:
            raise IndexMappingError(
                f"Index {self.index!r} keeps metadata as an earlier version of ksparse did, which this one cannot "
                "filter; write the documents into a new index."
            )
        return False

    @property
    def retriever(self) -> Retriever | None:
        """Searches the index; None as long as it is not there."""
        if self._retriever is None and self.exists():
            encoder = None if self._encoder is None else self.encoder
            self._retriever = Retriever(self.client, self.index, encoder, source=self._source)
        return self._retriever

    def search(
        self, query: str, *, top_k: int, filters: Sequence[Mapping[str, Any]] = (), hybrid: bool = False, **options: Any
    ) -> list[Hit]:
        """Return the nearest documents; none as long as the index is not there.

        Args:
            query: Not empty.
            top_k: Hits asked for.
            filters: Query clauses that a document must match.
            hybrid: Fuse the ranking with BM25's.
            **options: Of `Retriever.search` or `search_hybrid`; see `check_search_options`.

        Raises:
            QueryRefusedError: The query is empty or too long, or the server refuses it.
        """
        retriever = self.retriever
        if retriever is None:
            return []
        search = retriever.search_hybrid if hybrid else retriever.search
        with self._errors():
            return search(query, top_k=top_k, filters=filters, **options)

    def search_diverse(
        self,
        query: str,
        *,
        top_k: int,
        fetch_k: int,
        relevance: float,
        filters: Sequence[Mapping[str, Any]] = (),
        hybrid: bool = False,
        **options: Any,
    ) -> list[Hit]:
        """Return hits that are near to the query and far from each other (maximal marginal relevance).

        Args:
            query: Not empty.
            top_k: Hits asked for.
            fetch_k: The nearest documents that they are chosen of.
            relevance: What nearness to the query weighs, 0 to 1; the rest is for distance from the hits before.
            filters: As of `search`, like the others.
            hybrid: The same.
            **options: The same.
        """
        hits = self.search(query, top_k=max(top_k, fetch_k), filters=filters, hybrid=hybrid, **options)
        if not hits or (retriever := self.retriever) is None:
            return []
        with self._errors():
            return diversify(self.client, retriever, query, hits, top_k=top_k, relevance=relevance)

    def search_words(self, query: str, *, top_k: int = 10, filters: Sequence[Mapping[str, Any]] = ()) -> list[Hit]:
        """Return the nearest documents by words alone (BM25), for which no encoder is loaded.

        Raises:
            QueryRefusedError: The query is empty, or the server refuses it.
        """
        with self._errors():
            clause = build_words_query(query, filters=filters)
            searcher = Searcher(self.client, self.index, source=self._source)
            return searcher.scan(clause, top_k=top_k) if self.exists() else []

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """No error of opensearch-py's leaves this class."""
        try:
            with explained(self.client):
                yield
        except NotFoundError as error:
            raise IndexMappingError(f"There is no index {self.index!r}.") from error
        except RequestError as error:
            raise QueryRefusedError(f"Index {self.index!r} refuses this: {reason_of(error)}") from error
        except TransportError as error:
            raise ClusterError(f"Index {self.index!r} failed ({error.status_code}): {reason_of(error)}.") from error
        except OpenSearchException as error:
            raise ClusterError(f"Index {self.index!r} failed: {error}.") from error
        except SearchError as error:
            raise QueryRefusedError(str(error)) from error


def check_search_options(
    options: Mapping[str, Any], owner: str, known: Collection[str] = (), *, hybrid: bool = False
) -> None:
    """Refuse options that a search of the retriever does not have, before it is known whether there is an index.

    Args:
        options: As given.
        owner: What errors call the method.
        known: Further options of the method, to be named where one is near.
        hybrid: For a search by both.

    Raises:
        TypeError: One is unknown.
    """
    method = Retriever.search_hybrid if hybrid else Retriever.search
    ours = {"self", "query", "top_k", "filters", "explain"}
    taken = set(inspect.signature(method).parameters) - ours
    refuse_unknown(options, taken | {"hybrid", *known}, owner)


def _connect(url: str | Sequence[str] | None, options: Mapping[str, Any]) -> OpenSearch:
    given = url_from_environment() if url is None else None
    if given is not None and not options:
        return connect()  # with the credentials that the environment has for it
    return connect(url or given or "http://localhost:9200", **options)
