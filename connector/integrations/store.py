"""What the stores of all frameworks share: an index that is made by the first write, and searched once it is there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from opensearchpy import OpenSearch
from opensearchpy.helpers import scan

from connector.connection.client import connect, explained
from connector.corpus.read import check_documents
from connector.encoders.load import DEFAULT_ENCODER, load_encoder
from connector.encoders.text import TextEncoder
from connector.errors import BulkWriteError
from connector.index.delete import delete_matching
from connector.index.documents import read_documents
from connector.index.schema import IndexSchema, read_schema
from connector.index.searcher import Searcher
from connector.index.sizes import all_of
from connector.index.writer import BulkWriter
from connector.ingest.pipeline import IngestJob
from connector.ingest.prepare import prepare_encoder
from connector.query.hybrid import build_words_query
from connector.search.retriever import Retriever
from connector.types import Deletion, Document, Hit, SparseVectors
from connector.vectors.codes import Bits


class IndexStore:
    """An index and its encoder.

    Nothing is sent before the first call, and the encoder is loaded when it is first needed.

    Args:
        index: Its name; made by the first write if it is not there.
        encoder: A loaded one, or a name or folder for `load_encoder`.
        client: A ready client; else one is made.
        url: Of the server, where no client is given.
        rescore: Of a new index: bits a dimension of a code that puts the first hits into the dense order.
        sample: Texts that a new index's statistics are measured on; the first documents written if there are none.
        settings: Of a new index.
        mappings: Of a new index: further parts of its mapping, as in `index_body`.
        refresh: Make what is written visible to searches at once, where the server can.
        **options: Passed on to `connect`.
    """

    def __init__(
        self,
        index: str,
        *,
        encoder: TextEncoder | str = DEFAULT_ENCODER,
        client: OpenSearch | None = None,
        url: str = "http://localhost:9200",
        rescore: Bits | None = None,
        sample: Sequence[str] = (),
        settings: Mapping[str, Any] | None = None,
        mappings: Mapping[str, Any] | None = None,
        refresh: bool = True,
        **options: Any,
    ) -> None:
        self.index = index
        self.client = client if client is not None else connect(url, **options)
        self._encoder = encoder
        self._rescore = rescore
        self._sample = sample
        self._settings = settings
        self._mappings = mappings
        self._declared = tuple((mappings or {}).get("properties", {}))
        self._source = ("title", "text", "metadata", *self._declared)
        self._refresh = refresh
        self._told: TextEncoder | None = None
        self._retriever: Retriever | None = None

    @property
    def encoder(self) -> TextEncoder:
        """As given, without the statistics of the index."""
        if isinstance(self._encoder, str):
            self._encoder = load_encoder(self._encoder)
        return self._encoder

    def write(self, documents: Sequence[Document], vectors: SparseVectors | None = None) -> None:
        """Write documents in the place of those with the same ids, with vectors that are given, or encode them.

        Raises:
            BulkWriteError: Some were refused; the message names the first. The others are written.
            ConnectorError: As of `prepare_encoder`.
        """
        if not documents:
            return
        if self._told is None:
            sample = self._sample or [document.content for document in documents]
            self._told = prepare_encoder(
                self.client,
                self.index,
                self.encoder,
                sample=sample,
                rescore=self._rescore,
                settings=self._settings,
                mappings=self._mappings,
            )
        with IngestJob(BulkWriter(self.client, self.index), self._told, refresh=self._refresh) as job:
            if vectors is not None:
                job.add_vectors(documents, vectors)
            else:
                job.add(check_documents(documents, fields=self._declared))
        if job.result.dead_lettered:
            raise BulkWriteError(
                f"{job.result.dead_lettered} of {len(documents)} documents were refused, {job.result.reasons[0]}"
            )

    def delete(self, doc_ids: Sequence[str]) -> None:
        """Delete documents; one that is not there is no error.

        Raises:
            BulkWriteError: Some were refused; the message names the first. The others are deleted.
        """
        if doc_ids and self.exists():
            with IngestJob(BulkWriter(self.client, self.index), refresh=self._refresh) as job:
                job.add(Deletion(doc_id) for doc_id in doc_ids)
            if job.result.dead_lettered:
                raise BulkWriteError(
                    f"{job.result.dead_lettered} of {len(doc_ids)} deletions were refused, {job.result.reasons[0]}"
                )

    def delete_all(self) -> None:
        """Delete every document, and keep the index."""
        self.delete_matching([{"match_all": {}}])

    def delete_matching(self, clauses: Sequence[Mapping[str, Any]]) -> None:
        """Delete the documents that match all query clauses, at least one."""
        if self.exists():
            delete_matching(self.client, self.index, clauses, refresh=self._refresh)

    def matching(self, clauses: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield id and stored fields of all documents that match all query clauses, in no order."""
        if self.exists():
            with explained(self.client):
                for hit in scan(self.client, index=self.index, query=all_of(clauses)):
                    yield hit["_id"], hit["_source"]

    def get(self, doc_ids: Sequence[str]) -> dict[str, dict[str, Any]]:
        """Return the stored fields of documents, from id to them; those that are not there are left out."""
        if not doc_ids or not self.exists():
            return {}
        return {doc_id: each.source for doc_id, each in read_documents(self.client, self.index, doc_ids).items()}

    def exists(self) -> bool:
        """Whether the index is there."""
        return self._told is not None or self.schema is not None

    @property
    def schema(self) -> IndexSchema | None:
        """What the index says of itself; None as long as it is not there."""
        return self._retriever.schema if self._retriever is not None else read_schema(self.client, self.index)

    @property
    def retriever(self) -> Retriever | None:
        """Searches the index; None as long as it is not there."""
        if self._retriever is None and self.exists():
            self._retriever = Retriever(self.client, self.index, self.encoder, source=self._source)
        return self._retriever

    def search_words(self, query: str, *, top_k: int = 10, filters: Sequence[Mapping[str, Any]] = ()) -> list[Hit]:
        """Return the nearest documents by words alone (BM25), for which no encoder is loaded.

        Raises:
            SearchError: The query is empty, or the server refuses it.
        """
        clause = build_words_query(query, filters=filters)
        return Searcher(self.client, self.index, source=self._source).scan(clause, top_k=top_k) if self.exists() else []
