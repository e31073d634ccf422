"""An index by its name: add, search, update and delete, without knowing the parts behind it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from opensearchpy import OpenSearch

from connector.index.new_index import DEFAULT_INDEX, NewIndex
from connector.index.schema import IndexSchema, save_search_defaults
from connector.query.body import NO_OPTIONS, SearchOptions
from connector.query.filters import Filters
from connector.query.settings import DEFAULT_SETTINGS, SearchSettings
from connector.search.retriever import Retriever
from connector.search.writable_index import WritableIndex
from connector.types import Hit

if TYPE_CHECKING:
    from connector.encoders.text import TextEncoder
    from connector.search.tune import Tuning


class SparseIndex(WritableIndex):
    """Documents in an OpenSearch index, searched by meaning.

    Nothing is sent, and no model is loaded, before the first call that needs it. The first `add` creates the index.

    Args:
        index: Name of the index, or of an alias.
        encoder: A loaded encoder, or a name or folder for `load_encoder`. None takes the one that wrote the index; a
            new index gets a dictionary of its own documents, or the shipped encoder if there are fewer than 1,000.
        client: A ready client; otherwise one is created.
        url: Of the server, where no client is given; if None, OPENSEARCH_URL, or http://localhost:9200 without that.
        new: What the index becomes if it does not exist yet.
        source: Names of the fields to return with each hit, or whether to return all that are stored.
        **connection: Passed on to `connect`: username, password, ca_certs, ...

    Raises:
        ValueError: There are both a client and a URL or other arguments of a connection.
        IndexMappingError: No index can have the name.
        ClusterError: The URL cannot be read.
    """

    def __init__(
        self,
        index: str,
        *,
        encoder: TextEncoder | str | None = None,
        client: OpenSearch | None = None,
        url: str | Sequence[str] | None = None,
        new: NewIndex = DEFAULT_INDEX,
        source: Sequence[str] | bool = True,
        **connection: Any,
    ) -> None:
        super().__init__(index, encoder=encoder, client=client, url=url, new=new, **connection)
        self.source = source
        self._retriever: Retriever | None = None

    @property
    def retriever(self) -> Retriever:
        """What searches the index, with all its options.

        Raises:
            IndexMappingError: There is no such index, or ksparse did not create it.
            EncoderMismatchError: Another encoder wrote it.
        """
        if self._retriever is None:
            prepared = self._prepared[1] if self._prepared is not None else None
            encoder = prepared if prepared is not None or self._encoder is None else self.encoder
            self._retriever = Retriever(self.client, self.index, encoder, source=self.source)
        return self._retriever

    @property
    def schema(self) -> IndexSchema | None:
        """What the index records of itself, as it was last read by a search; None as long as it does not exist."""
        return self._retriever.schema if self._retriever is not None else super().schema

    def _load(self, schema: IndexSchema) -> TextEncoder:
        return self.retriever.encoder

    def search(
        self,
        query: str,
        *,
        top_k: int = 10,
        filters: Filters = None,
        hybrid: bool = False,
        bm25_weight: float | None = None,
        explain: bool = False,
        settings: SearchSettings = DEFAULT_SETTINGS,
        options: SearchOptions = NO_OPTIONS,
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
        if hybrid and explain:
            raise ValueError("a hybrid search cannot be explained; leave hybrid or explain out.")
        clauses = self._clauses(filters)
        if hybrid:
            return self.retriever.search_hybrid(
                query, bm25_weight=bm25_weight, top_k=top_k, settings=settings, filters=clauses, options=options
            )
        return self.retriever.search(
            query, top_k=top_k, settings=settings, filters=clauses, explain=explain, options=options
        )

    def pages(
        self,
        query: str,
        *,
        page_size: int = 100,
        filters: Filters = None,
        settings: SearchSettings = DEFAULT_SETTINGS,
        options: SearchOptions = NO_OPTIONS,
    ) -> Iterator[list[Hit]]:
        """Return all documents that share a feature with the query, page by page, best first by features alone."""
        return self.retriever.pages(
            query,
            page_size=page_size,
            settings=settings,
            filters=self._clauses(filters),
            options=options,
        )

    def explain(
        self,
        query: str,
        doc_id: str,
        *,
        filters: Filters = None,
        settings: SearchSettings = DEFAULT_SETTINGS,
        options: SearchOptions = NO_OPTIONS,
    ) -> Hit:
        """Return one document as a search would, with what each feature added (`Hit.explain`).

        Raises:
            SearchError: The document shares no feature with the query, the filters or the routing leave it out, or it
                does not exist, which includes what an alias hides: the message says which.
        """
        return self.retriever.explain(query, doc_id, settings=settings, filters=self._clauses(filters), options=options)

    def tune(self, queries: Sequence[str], *, recall: float = 0.9, save: bool = True) -> Tuning:
        """Find the fastest settings that reach a recall, and store them in the index as its defaults.

        Args:
            queries: Typical ones, 10 or more; a hundred is good.
            recall: Share to be found of the 10 documents that a scan of all codes ranks first.
            save: Store the best settings, whether or not they reach it.

        Raises:
            SearchError: The index has no codes.
            ValueError: There are too few queries, or `recall` is not a share.
        """
        from connector.search.tune import tune

        tuning = tune(self.client, self.index, self.encoder, queries, recall=recall)
        if save:
            save_search_defaults(self.client, self.index, tuning.best.setting)
            self._retriever = None
        return tuning
