"""An index by its name: add, search, update and delete, without knowing the parts behind it."""

from __future__ import annotations

from collections.abc import AsyncIterable, Callable, Iterable, Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from opensearchpy import OpenSearch

from connector.arguments import rename
from connector.connection.client import connect
from connector.corpus.read import check_documents
from connector.corpus.values import to_ids
from connector.encoders.base import Encoder
from connector.encoders.load import load_encoder
from connector.encoders.text import TextEncoder
from connector.errors import BulkWriteError
from connector.index.delete import delete_matching
from connector.index.documents import read_documents
from connector.index.schema import existing_schema, read_schema
from connector.index.sizes import count_matching
from connector.index.writer import BulkWriter
from connector.ingest.ledger import IngestResult
from connector.ingest.own_dictionary import OwnDictionary
from connector.ingest.pipeline import IngestJob
from connector.ingest.prepare import prepare_encoder
from connector.ingest.sample import Sampled
from connector.ingest.update import Change, DocumentUpdater
from connector.query.body import SearchOptions
from connector.query.filters import Filters, filter_clauses
from connector.query.pruning import Pruning
from connector.search.retriever import Retriever
from connector.types import Deletion, Document, Hit, SearchDefaults
from connector.vectors.codes import CodeBits

_NO_OPTIONS = SearchOptions()


@dataclass(frozen=True, slots=True)
class SearchSettings:
    """How a search trades quality for latency; None leaves a setting to the index.

    Attributes:
        k_query: Features kept of the query.
        window: Hits of each shard that are rescored by codes; 0 for features alone.
        pruning: Which features of the query are left out.
        rank_window_size: Hits of each ranking that a hybrid search fuses by rank.
    """

    k_query: int | None = None
    window: int | None = None
    pruning: Pruning | None = None
    rank_window_size: int | None = None


@dataclass(frozen=True, slots=True)
class NewIndex:
    """What an index becomes when the first documents create it.

    Attributes:
        code_bits: Bits a dimension of the code of each dense embedding that the top hits are rescored by: 1, 2, 4 or 8,
            and 3 with a dictionary of the index's own. "auto" is 3 with such a dictionary, 4 with another head, and no
            codes without a dense model. None keeps no codes: least disk, and features alone decide the order.
        search: Default settings of its searches.
        fields: Top-level fields beside title, text and metadata, from name to mapping type.
        mappings: Further parts of the mapping.
        settings: Index settings, such as `number_of_shards`.
    """

    code_bits: CodeBits = "auto"
    search: SearchDefaults | None = None
    fields: Mapping[str, str] = field(default_factory=dict)
    mappings: Mapping[str, Any] | None = None
    settings: Mapping[str, Any] | None = None


_DEFAULT_INDEX = NewIndex()
_DEFAULT_SETTINGS = SearchSettings()


class SparseIndex:
    """Documents in an OpenSearch index, searched by meaning.

    Nothing is sent, and no model is loaded, before the first call that needs it. The first `add` creates the index.

    Args:
        index: Name of the index, or of an alias.
        encoder: A loaded encoder, or a name or folder for `load_encoder`. None takes the one that wrote the index; a
            new index gets a dictionary of its own documents, or the shipped encoder if there are fewer than 1,000.
        client: A ready client; otherwise one is created.
        url: Of the server, where no client is given; http://localhost:9200 if None.
        new: What the index becomes if it does not exist yet.
        **connection: Passed on to `connect`: username, password, ca_certs, ...

    Raises:
        ValueError: There are both a client and a URL or other arguments of a connection.
        ClusterError: The URL cannot be read.
    """

    def __init__(
        self,
        index: str,
        *,
        encoder: TextEncoder | str | None = None,
        client: OpenSearch | None = None,
        url: str | None = None,
        new: NewIndex = _DEFAULT_INDEX,
        **connection: Any,
    ) -> None:
        given = rename(
            ({} if url is None else {"url": url}) | connection, type(self).__name__, {"opensearch_url": "url"}
        )
        url, connection = given.pop("url", None), given
        if client is not None and (url is not None or connection):
            names = ", ".join((["url"] if url is not None else []) + sorted(connection))
            raise ValueError(f"a ready client has a connection already; leave out {names}.")
        self.index = index
        self.new = new
        self._owns_client = client is None
        self.client = client if client is not None else connect(url or "http://localhost:9200", **connection)
        self._encoder = encoder
        self._prepared: tuple[str, TextEncoder] | None = None
        self._retriever: Retriever | None = None

    @property
    def encoder(self) -> TextEncoder:
        """The encoder as given, else the one that wrote the index, else the shipped one. Loaded at first use."""
        if self._encoder is None:
            return self.retriever.encoder if self.exists() else load_encoder()
        if isinstance(self._encoder, str):
            self._encoder = load_encoder(self._encoder)
        return self._encoder

    @property
    def retriever(self) -> Retriever:
        """What searches the index, with all its options.

        Raises:
            IndexMappingError: There is no such index, or ksparse did not create it.
            EncoderMismatchError: Another encoder wrote it.
        """
        if self._retriever is None:
            self._retriever = Retriever(self.client, self.index, None if self._encoder is None else self.encoder)
        return self._retriever

    def exists(self) -> bool:
        """Whether the index is there."""
        return read_schema(self.client, self.index) is not None

    def add(
        self,
        documents: Iterable[Document | Mapping[str, Any]],
        *,
        raise_on_error: bool = True,
        refresh: bool = True,
        progress: Callable[[int], None] | None = None,
    ) -> IngestResult:
        """Encode documents and write them; one with an id that the index holds replaces it.

        Args:
            documents: Any number, read lazily: `Document`s, or dictionaries such as lines of a JSONL corpus
                (`_id`, `text`, `title`, `metadata`). A new index gets its dictionary from the first ones.
            raise_on_error: Raise if a document was refused, after all others were written.
            refresh: Make them visible to searches.
            progress: Called with the number of documents done.

        Raises:
            BulkWriteError: Documents were refused; the message names the first one and the reason.
            ConnectorError: The index cannot be created or written to.
        """
        records = Sampled(check_documents(documents, fields=self._fields()))
        expected = len(documents) if isinstance(documents, Sized) else None
        own = OwnDictionary(records.sample, documents=expected) if self._encoder is None else None
        encoder = self._prepare(records.sample, own)
        encoding: Encoder = own.reuse(encoder) if own is not None else encoder
        with IngestJob(BulkWriter(self.client, self.index), encoding, refresh=refresh, progress=progress) as job:
            job.add(records)
        return _checked(job.result, raise_on_error)

    async def add_async(
        self,
        documents: AsyncIterable[Document | Mapping[str, Any]],
        *,
        raise_on_error: bool = True,
        refresh: bool = True,
    ) -> IngestResult:
        """Do as `add` does with documents that arrive one by one; encoding blocks the event loop.

        A new index is calibrated on the documents of the first full batch.
        """
        pending: list[Document | Mapping[str, Any]] = []
        results = []
        async for document in documents:
            pending.append(document)
            if len(pending) == _ASYNC_BATCH:
                results.append(self.add(pending, raise_on_error=False, refresh=False))
                pending = []
        results.append(self.add(pending, raise_on_error=False, refresh=refresh))
        return _checked(_sum(results), raise_on_error)

    def update(
        self, changes: Iterable[Change | Mapping[str, Any]], *, upsert: bool = False, raise_on_error: bool = True
    ) -> IngestResult:
        """Change documents: only the keys that a change names, and keys of `metadata` one by one.

        Args:
            changes: `Change`s, or dictionaries with `_id` and the keys to change.
            upsert: Create documents that do not exist.
            raise_on_error: Raise if a change was refused, after all others were made.

        Raises:
            BulkWriteError: Changes were refused; the message names the first one and the reason.
            ValueError: A dictionary has no `_id`, or nothing to change.
        """
        made = (change if isinstance(change, Change) else Change.from_record(change) for change in changes)
        updater = DocumentUpdater(
            self.client,
            BulkWriter(self.client, self.index),
            self.retriever.encoder,
            fields=self._fields(),
            upsert=upsert,
        )
        return _checked(updater.update(made), raise_on_error)

    def delete(self, doc_ids: Iterable[Any] = (), *, filters: Filters = None) -> int:
        """Delete documents by id, or those that match all filters; return how many were deleted.

        Raises:
            BulkWriteError: A deletion was refused, after all others were made.
            ValueError: There are both ids and filters, or filters that are empty.
        """
        ids = to_ids(doc_ids)
        if filters is None:
            with IngestJob(BulkWriter(self.client, self.index)) as job:
                job.add(Deletion(doc_id) for doc_id in ids)
            return _checked(job.result, True).deleted
        if ids:
            raise ValueError("delete by ids or by filters, not by both.")
        return delete_matching(self.client, self.index, self._clauses(filters)).deleted

    def get(self, doc_ids: Iterable[Any]) -> dict[str, dict[str, Any]]:
        """Return the stored fields of documents by id; missing ones, and those that an alias hides, are left out."""
        return {
            doc_id: each.source for doc_id, each in read_documents(self.client, self.index, to_ids(doc_ids)).items()
        }

    def count(self, filters: Filters = None) -> int:
        """Return how many documents match all filters; all documents without any."""
        return count_matching(self.client, self.index, self._clauses(filters))

    def search(
        self,
        query: str,
        *,
        top_k: int = 10,
        filters: Filters = None,
        hybrid: bool = False,
        bm25_weight: float | None = None,
        explain: bool = False,
        settings: SearchSettings = _DEFAULT_SETTINGS,
        options: SearchOptions = _NO_OPTIONS,
    ) -> list[Hit]:
        """Return the documents nearest to a query.

        Args:
            query: At most as many tokens as the encoder reads.
            top_k: Hits, 1 to 10,000.
            filters: `{"lang": "en"}` for values of metadata or declared fields, a list for any of several values; or
                clauses of OpenSearch's query language. They do not change scores.
            hybrid: Search by words (BM25) as well.
            bm25_weight: With `hybrid`, add BM25 with this weight to the score; None fuses both rankings by rank.
            explain: Keep with each hit what each feature added (`Hit.explain`).
            settings: Features, window and pruning; the index's own settings by default.
            options: Least score, returned fields, highlights, routing.

        Raises:
            SearchError: The query is empty or too long, or the server refuses it.
            ValueError: `hybrid` and `explain` are both set, or `bm25_weight` without `hybrid`.
        """
        if bm25_weight is not None and not hybrid:
            raise ValueError("bm25_weight needs hybrid=True.")
        common: dict[str, Any] = {
            "top_k": top_k,
            "filters": self._clauses(filters),
            "k_query": settings.k_query,
            "window": settings.window,
            "pruning": settings.pruning,
            "options": options,
        }
        if not hybrid:
            return self.retriever.search(query, explain=explain, **common)
        if explain:
            raise ValueError("a hybrid search cannot be explained; leave hybrid or explain out.")
        return self.retriever.search_hybrid(
            query, weight=bm25_weight, rank_window_size=settings.rank_window_size, **common
        )

    def pages(
        self,
        query: str,
        *,
        page_size: int = 100,
        filters: Filters = None,
        settings: SearchSettings = _DEFAULT_SETTINGS,
        options: SearchOptions = _NO_OPTIONS,
    ) -> Iterator[list[Hit]]:
        """Return all documents that share a feature with the query, page by page, best first by features alone."""
        return self.retriever.pages(
            query,
            page_size=page_size,
            filters=self._clauses(filters),
            k_query=settings.k_query,
            pruning=settings.pruning,
            options=options,
        )

    def explain(
        self,
        query: str,
        doc_id: str,
        *,
        filters: Filters = None,
        settings: SearchSettings = _DEFAULT_SETTINGS,
        options: SearchOptions = _NO_OPTIONS,
    ) -> Hit:
        """Return one document as a search would, with what each feature added (`Hit.explain`).

        Raises:
            SearchError: The document shares no feature with the query, the filters or the routing leave it out, or it
                does not exist, which includes what an alias hides: the message says which.
        """
        return self.retriever.explain(
            query,
            doc_id,
            k_query=settings.k_query,
            pruning=settings.pruning,
            filters=self._clauses(filters),
            window=settings.window,
            options=options,
        )

    def close(self) -> None:
        """Close the connection, unless it was given."""
        if self._owns_client:
            self.client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _prepare(self, sample: Callable[[], Sequence[str]], own: OwnDictionary | None) -> TextEncoder:
        schema = read_schema(self.client, self.index)
        if self._prepared is not None and schema is not None and schema.space == self._prepared[0]:
            return self._prepared[1]
        new, encoder = self.new, self.encoder
        made = prepare_encoder(
            self.client,
            self.index,
            encoder,
            sample=sample,
            dictionary=own,
            rescore=new.code_bits,
            search=new.search,
            fields=new.fields,
            mappings=new.mappings,
            settings=new.settings,
        )
        self._prepared = existing_schema(self.client, self.index).space, made
        return made

    def _fields(self) -> tuple[str, ...]:
        """Top-level fields that the index declares, or will declare; known without a request once it was searched."""
        schema = self._retriever.schema if self._retriever is not None else read_schema(self.client, self.index)
        return tuple(schema.fields if schema is not None else self.new.fields)

    def _clauses(self, filters: Filters) -> list[dict[str, Any]]:
        return filter_clauses(filters, fields=self._fields() if filters else ())


_ASYNC_BATCH = 500


def _checked(result: IngestResult, raise_on_error: bool) -> IngestResult:
    if result.dead_lettered and raise_on_error:
        raise BulkWriteError(
            f"{result.dead_lettered} of {result.read} documents were refused, the first: {result.reasons[0]}. "
            "The others are done; correct these and try them again."
        )
    return result


def _sum(results: Sequence[IngestResult]) -> IngestResult:
    return IngestResult(
        read=sum(each.read for each in results),
        indexed=sum(each.indexed for each in results),
        dead_lettered=sum(each.dead_lettered for each in results),
        reasons=tuple(reason for each in results for reason in each.reasons)[:5],
        dead_letters=None,
        elapsed_s=sum(each.elapsed_s for each in results),
        superseded=sum(each.superseded for each in results),
        deleted=sum(each.deleted for each in results),
        not_found=sum(each.not_found for each in results),
    )
