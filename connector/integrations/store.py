"""The common base of all framework stores: the first write creates the index."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from connector.arguments import refuse_unknown
from connector.corpus.read import check_documents
from connector.corpus.values import to_ids
from connector.encoders.text import TextEncoder
from connector.errors import BulkWriteError, ClusterError
from connector.index.delete import check_narrowed, delete_matching, number_deleted
from connector.index.hits import read_hits
from connector.index.new_index import NewIndex
from connector.index.searcher import Searcher
from connector.index.sizes import all_of, check_filters, count_matching
from connector.integrations.stored_index import StoredIndex, store_errors
from connector.query.body import SearchOptions
from connector.query.hybrid import build_words_query
from connector.query.terms import META_FIELD, TERMS_FIELD
from connector.search.diversify import diversify
from connector.search.retriever import Retriever
from connector.types import Document, Hit, MalformedRecord, SparseVectors, restored

_CALIBRATING = 1_000
"""Texts that calibrate the encoder of a missing index for a comparison."""


class StoreWriteError(BulkWriteError):
    """Not all documents were written.

    Attributes:
        ids: Ids of all given documents, including generated ones: repeating the write with them creates no duplicates.
    """

    def __init__(self, message: str, ids: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.ids = tuple(ids)


class RefusedDocumentsError(StoreWriteError, ValueError):
    """Documents were refused."""


class IndexStore(StoredIndex):
    """Writes, deletes, reads and searches the documents of a framework's store; arguments as in `StoredIndex`."""

    def write(
        self,
        documents: Sequence[Document],
        vectors: SparseVectors | None = None,
        *,
        declared: Mapping[str, str] | None = None,
        batch_size: int | None = None,
    ) -> None:
        """Write documents; they replace documents with the same ids. Of duplicates, the last is written.

        All documents are checked before any is written.

        Args:
            documents: Documents with text, unless vectors are given.
            vectors: Vectors of the documents; None encodes them.
            declared: The result of `fields`, if it was just read; None reads it.
            batch_size: Documents per batch.

        Raises:
            RefusedDocumentsError: Documents were refused; the message names the first, and whether others were written.
            StoreWriteError: A write failed.
            ConnectorError: As in `prepare_encoder`.
        """
        if not documents:
            return
        ids = [str(document.doc_id) for document in documents]
        known = self.fields if declared is None else declared
        checked = _checked(documents, {**self._declared, **known}, with_text=vectors is None)
        latest = sorted({document.doc_id: row for row, document in enumerate(checked)}.values())
        kept = [checked[row] for row in latest]
        self._check_origin(kept, known, ids)
        texts = self._sample or [document.content for document in kept]
        new = None if vectors is None else self._new_for(kept, vectors.take(latest), texts, ids)
        self._index.prepare(texts, documents=len(texts), new=new)
        try:
            with self._index.job(refresh=self._refresh, write_size=batch_size) as job:
                if vectors is not None:
                    job.add_vectors(kept, vectors.take(latest))
                else:
                    job.add(kept)
        except BulkWriteError as error:
            raise StoreWriteError(str(error), ids) from error
        if job.result.dead_lettered:
            raise RefusedDocumentsError(
                f"{job.result.dead_lettered} of {len(documents)} documents were refused, "
                f"{job.result.reasons[0].rstrip('.')}. "
                f"{'The others were' if job.result.dead_lettered < len(kept) else 'None was'} written.",
                ids,
            )

    def _new_for(
        self, documents: Sequence[Document], vectors: SparseVectors, texts: Sequence[str], ids: Sequence[str]
    ) -> NewIndex:
        """Refuse vectors that do not fit the index, before it is created; return the properties of one for them."""
        new, schema = self._index.new, self.schema if self._index.exists() else None
        coded = new.code_bits not in (None, "auto") if schema is None else schema.code is not None
        if vectors.codes is None and coded:
            raise RefusedDocumentsError(
                f"Index {self.index!r} {'would have' if schema is None else 'has'} codes, by which searches rank "
                "documents, but sparse embeddings have none. Write the documents without sparse embeddings, or into a "
                f"new index{' without code_bits' if schema is None else ''}. None was written.",
                ids,
            )
        encoder = self._index.encoder if schema is None else self._index.prepare()
        if schema is None and new.calibrate and encoder.statistics is not None:
            encoder = encoder.calibrate(texts[:_CALIBRATING])
        _check_vectors(documents, vectors, encoder, ids)
        return new if vectors.codes is not None else replace(new, code_bits=None, dictionary=False)

    def _check_origin(self, documents: Sequence[Document], known: Collection[str], ids: Sequence[str]) -> None:
        """Refuse an index that has metadata in other fields: this store's filters, or its own, would not find it."""
        lacking = sorted({name for document in documents for name in document.fields}.difference(known))
        typed = TERMS_FIELD in known and META_FIELD not in self._declared
        if lacking or (typed and any(document.metadata for document in documents)):
            named = f", without {', '.join(lacking)}" if lacking else ""
            raise RefusedDocumentsError(
                f"Index {self.index!r} has metadata in other fields{named}, because another kind of store or "
                f"`ksparse ingest` created it. Write into an index that this store creates. None of the {len(ids)} "
                "documents was written.",
                ids,
            )

    def delete(self, doc_ids: Sequence[Any]) -> None:
        """Delete documents; missing ids are ignored.

        Raises:
            ValueError: An id is invalid.
            BulkWriteError: Deletions were refused.
        """
        wanted = to_ids(doc_ids)
        self._ask(lambda: self._index.delete(wanted, refresh=self._refresh), 0)

    def delete_all(self) -> None:
        """Delete all documents but keep the index.

        Raises:
            BulkWriteError: Other writers kept changing a document; all others were deleted.
        """
        self._ask(lambda: self._index.delete(filters={}, everything=True, refresh=self._refresh), 0)

    def delete_matching(self, clauses: Sequence[Mapping[str, Any]]) -> int:
        """Delete the documents that match all query clauses; return their number.

        Raises:
            ValueError: There are no clauses, or they match every document.
            BulkWriteError: Other writers kept changing a matching document; all others were deleted.
        """
        check_narrowed(clauses)

        def delete() -> int:
            done = delete_matching(self.client, self.index, clauses, refresh=self._refresh)
            return number_deleted(done, self.index)

        return self._ask(delete, otherwise=0)

    def count(self, clauses: Sequence[Mapping[str, Any]] = ()) -> int:
        """Count the documents that match all query clauses."""
        return self._ask(lambda: count_matching(self.client, self.index, clauses), otherwise=0)

    def matching(self, clauses: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield id and stored fields of all documents that match all query clauses, unordered."""
        if not self.exists():
            return
        try:
            with store_errors(self.client, self.index):
                hit = None
                for hit in read_hits(self.client, self.index, all_of(clauses)):
                    yield hit["_id"], restored(hit["_source"])
                if hit is None:
                    check_filters(self.client, self.index, clauses)
        except ClusterError:
            if self._index.exists():
                raise

    def get(self, doc_ids: Sequence[Any]) -> dict[str, dict[str, Any]]:
        """Return the stored fields of documents by id; missing ones are omitted."""
        wanted = to_ids(doc_ids)
        return self._ask(lambda: self._index.get(wanted), {}) if wanted else {}

    def search(
        self, query: str, *, top_k: int, filters: Sequence[Mapping[str, Any]] = (), hybrid: bool = False, **options: Any
    ) -> list[Hit]:
        """Return the most similar documents; empty if the index does not exist.

        Args:
            query: The query text.
            top_k: Number of hits.
            filters: Query clauses that a document must match.
            hybrid: Combine with BM25 by normalized scores.
            **options: Options of `Retriever.search` or `search_hybrid`; see `check_search_options`.

        Raises:
            QueryRefusedError: The query is empty or too long, or the server rejects it.
        """

        def search() -> list[Hit]:
            retriever = self._index.retriever
            ranked = retriever.search_hybrid if hybrid else retriever.search
            return ranked(query, top_k=top_k, filters=filters, **options)

        return self._ask(search, [])

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
        """Return hits that are relevant but differ from each other (maximal marginal relevance).

        Args:
            query: The query text.
            top_k: Number of hits.
            fetch_k: Number of candidates.
            relevance: Weight of relevance, 0 to 1; the remainder weighs diversity.
            filters: As in `search`.
            hybrid: As in `search`.
            **options: As in `search`.
        """
        hits = self.search(query, top_k=max(top_k, fetch_k), filters=filters, hybrid=hybrid, **options)
        if not hits or (retriever := self.retriever) is None:
            return []
        with store_errors(self.client, self.index):
            return diversify(self.client, retriever, query, hits, top_k=top_k, relevance=relevance)

    def search_words(self, query: str, *, top_k: int = 10, filters: Sequence[Mapping[str, Any]] = ()) -> list[Hit]:
        """Search by BM25 only, without loading an encoder.

        Raises:
            QueryRefusedError: The query is empty, or the server rejects it.
        """
        with store_errors(self.client, self.index):
            clause = build_words_query(query, filters=filters)
        searcher = Searcher(self.client, self.index, source=self._index.source)
        return self._ask(lambda: searcher.scan(clause, top_k=top_k), [])


def check_search_options(
    options: Mapping[str, Any], owner: str, known: Collection[str] = (), *, hybrid: bool = False
) -> None:
    """Refuse unknown search options, even if the index does not exist.

    Args:
        options: The given options.
        owner: Name of the method in errors.
        known: Further options of the method, for suggestions.
        hybrid: Whether the search is hybrid.

    Raises:
        TypeError: An option is unknown.
        ValueError: The options name the fields to return.
    """
    given = options.get("options")
    if isinstance(given, SearchOptions) and given.source is not None:
        raise ValueError(f"{owner} returns whole documents; leave source out of its SearchOptions.")
    method = Retriever.search_hybrid if hybrid else Retriever.search
    ours = {"self", "query", "top_k", "filters", "explain"}
    taken = set(inspect.signature(method).parameters) - ours
    refuse_unknown(options, taken | {"hybrid", *known}, owner)


def read_metadata(source: Mapping[str, Any], own_field: str = "") -> dict[str, Any]:
    """Return the metadata of a document for a framework; of `ksparse ingest`, with title and declared fields.

    Args:
        source: The stored fields.
        own_field: The unindexed field of the framework, which only its own documents have.
    """
    if META_FIELD in source or own_field in source:
        return dict(source.get(META_FIELD) or {})
    fields = {name: value for name, value in source.items() if name not in ("title", "text", "metadata")}
    title = {"title": source["title"]} if source.get("title") else {}
    return title | (source.get("metadata") or {}) | fields  # of one name, filters find the field


def _checked(documents: Sequence[Document], fields: Mapping[str, str], *, with_text: bool) -> list[Document]:
    """Validate documents; raise if any is invalid."""
    # Documents with vectors need no text.
    given = documents if with_text else [replace(document, text="-") for document in documents]
    found = list(check_documents(given, fields=fields, refuse_repeated=False))
    malformed = [record for record in found if isinstance(record, MalformedRecord)]
    if malformed:
        raise RefusedDocumentsError(
            f"{len(malformed)} of {len(documents)} documents were refused, {malformed[0].location}: "
            f"{malformed[0].reason}. None was written.",
            [str(document.doc_id) for document in documents],
        )
    checked = [record for record in found if isinstance(record, Document)]
    if with_text:
        return checked
    return [replace(record, text=document.text) for record, document in zip(checked, documents, strict=True)]


def _check_vectors(
    documents: Sequence[Document], vectors: SparseVectors, encoder: TextEncoder, ids: Sequence[str]
) -> None:
    """Refuse vectors of another encoder, by the first document with a text: nothing else shows whose they are."""
    rows = (row for row, document in enumerate(documents) if document.content and vectors.weights[row].any())
    row = next(rows, None)
    if row is None:
        return
    [own], [given] = encoder.encode_document([documents[row].content]).as_mappings(), vectors.take([row]).as_mappings()
    if 2 * len(own.keys() & given.keys()) < len(own):  # other statistics change a tenth
        raise RefusedDocumentsError(
            f"The sparse embedding of document {documents[row].doc_id!r} is not by the encoder of the index, "
            f"{encoder.fingerprint}; embed with this one, or write the documents without embeddings. None was written.",
            ids,
        )
