"""The main entry point: add, search, update and delete documents of one index."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from logging import getLogger
from threading import RLock
from typing import TYPE_CHECKING, Any

from opensearchpy import OpenSearch
from opensearchpy.exceptions import TransportError

from connector.errors import ClusterError, ConnectorError
from connector.index.guard import RECHECK_TIMEOUT_S
from connector.index.new_index import DEFAULT_INDEX, NewIndex
from connector.index.schema import IndexSchema, read_schema, save_search_defaults
from connector.query.body import NO_OPTIONS, SearchOptions
from connector.query.filters import Filters
from connector.query.settings import DEFAULT_SETTINGS, SearchSettings
from connector.search.retriever import Retriever
from connector.search.writable_index import WritableIndex
from connector.types import Hit

if TYPE_CHECKING:
    from connector.encoders.text import TextEncoder
    from connector.search.tune import Tuning

_log = getLogger("ksparse.search")

_RECHECK_S = 60.0
"""Seconds after which the schema is read again: fields may have been declared since."""


class SparseIndex(WritableIndex):
    """Semantic search over the documents of an OpenSearch index.

    Construction sends no request and loads no model. The first `add` creates the index.

    Args:
        index: Name of the index or alias.
        encoder: A loaded encoder, a name or folder for `load_encoder`, or a folder written by `ksparse export`. None
            uses the encoder of the index; a new index builds a dictionary from its own documents, or uses the shipped
            encoder for fewer than 1,000.
        client: A connected client; None creates one.
        url: URL of the server; None reads OPENSEARCH_URL, then falls back to http://localhost:9200.
        new: Properties of the index if it has to be created.
        source: Names of the fields to return with each hit, or whether to return all stored fields.
        **connection: Passed to `connect`: username, password, ca_certs, ...

    Raises:
        ValueError: Both a client and connection arguments are given, or the encoder has another type.
        IndexMappingError: The index name is invalid.
        ClusterError: The URL is invalid.
    """

    def __init__(
        self,
        index: str,
        *,
        encoder: TextEncoder | str | os.PathLike[str] | None = None,
        client: OpenSearch | None = None,
        url: str | Sequence[str] | None = None,
        new: NewIndex = DEFAULT_INDEX,
        source: Sequence[str] | bool = True,
        **connection: Any,
    ) -> None:
        super().__init__(index, encoder=encoder, client=client, url=url, new=new, **connection)
        self.source = source
        self._opening = RLock()
        self._retriever: Retriever | None = None
        self._recheck_s = 0.0

    @property
    def retriever(self) -> Retriever:
        """The `Retriever` of this index, for options that `search` does not offer.

        Raises:
            IndexMappingError: The index does not exist, or ksparse did not create it.
            EncoderMismatchError: Another encoder wrote it.
        """
        with self._opening:  # of several threads, one loads the encoder
            retriever = self._retriever  # another thread may find that the index was deleted
            if retriever is None:
                prepared = self._prepared[1] if self._prepared is not None else None
                given = None if self._encoder is None else prepared or self.encoder
                retriever = Retriever(self.client, self.index, given, source=self.source, known=prepared)
                self._retriever, self._recheck_s = retriever, time.monotonic() + _RECHECK_S
            return retriever

    @property
    def schema(self) -> IndexSchema | None:
        """The schema of the index, at most a minute old if the server answers; None if the index does not exist."""
        retriever = self._retriever
        if retriever is None:
            return super().schema
        if time.monotonic() > self._recheck_s:
            self._recheck_s = time.monotonic() + _RECHECK_S
            try:
                if read_schema(self.client, self.index, timeout_s=RECHECK_TIMEOUT_S) is None:
                    self._retriever = None
                else:
                    retriever.refresh()
            except (ClusterError, TransportError) as error:  # a search can do with the known one
                _log.warning("The schema of index %r cannot be read again: %s", self.index, error)
        return retriever.schema

    def exists(self) -> bool:
        """Whether the index exists."""
        found = super().exists()
        if not found:
            self._retriever = None  # of an index that was deleted
        return found

    def _load(self, schema: IndexSchema, name: str | None = None) -> TextEncoder:
        if name is not None:
            return super()._load(schema, name)
        retriever = self.retriever
        if retriever.schema.space != schema.space:  # replaced since the last search
            retriever.refresh()
        return retriever.encoder

    def search(
        self,
        query: str,
        *,
        top_k: int = 10,
        filters: Filters = None,
        hybrid: bool = False,
        alpha: float | None = None,
        bm25_weight: float | None = None,
        explain: bool = False,
        settings: SearchSettings = DEFAULT_SETTINGS,
        options: SearchOptions = NO_OPTIONS,
    ) -> list[Hit]:
        """Return the documents most similar to a query.

        Args:
            query: The query text; it must fit into the encoder's maximum length.
            top_k: Number of hits, 1 to 10,000.
            filters: `{"lang": "en"}` matches metadata or declared fields, a list matches any of its values; OpenSearch
                query clauses also work. Filters do not change scores.
            hybrid: Combine with BM25: average the normalized scores of both.
            alpha: With `hybrid`, weight of the features in this mean, 0 to 1; BM25 has the rest. None means 0.5.
            bm25_weight: With `hybrid`, instead add BM25 times this weight to the score.
            explain: Store the contribution of each feature with each hit (`Hit.explain`).
            settings: Query features, rescoring window and pruning; defaults to the settings stored in the index.
            options: Minimum score, returned fields, highlighting, routing.

        Raises:
            SearchError: The query is empty or too long, or the server rejects it.
            ValueError: `hybrid` and `explain` are both set, or `alpha` or `bm25_weight` without `hybrid`.
        """
        for name, given in {"alpha": alpha, "bm25_weight": bm25_weight}.items():
            if given is not None and not hybrid:
                raise ValueError(f"{name} needs hybrid=True.")
        if hybrid and explain:
            raise ValueError("a hybrid search cannot be explained; leave hybrid or explain out.")
        clauses = self._clauses(filters)
        if hybrid:
            return self.retriever.search_hybrid(
                query,
                alpha=alpha,
                bm25_weight=bm25_weight,
                top_k=top_k,
                settings=settings,
                filters=clauses,
                options=options,
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
        """Yield all documents that share a feature with the query, page by page, best first, without rescoring."""
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
        """Return one document as a hit with the contribution of each feature (`Hit.explain`).

        Raises:
            SearchError: The document shares no feature with the query, filters or routing exclude it, or it does not
                exist (or the alias hides it); the message says which.
        """
        return self.retriever.explain(query, doc_id, settings=settings, filters=self._clauses(filters), options=options)

    def tune(self, queries: Sequence[str], *, recall: float = 0.9, save: bool = True) -> Tuning:
        """Find the fastest settings that reach a recall, and store them in the index as its defaults.

        In an index that is so small that codes score all of it, they apply once it has grown.

        Args:
            queries: Typical queries: at least 10, preferably 100.
            recall: Target recall against the top 10 of a scan of all codes.
            save: Store the best settings even if they miss the target.

        Raises:
            SearchError: The index has no codes.
            UnsavedTuningError: The settings were measured, and could not be stored; its `tuning` contains them.
            ValueError: There are too few queries, or `recall` is not in (0, 1].
        """
        from connector.search.tune import UnsavedTuningError, tune

        tuning = tune(self.client, self.index, self.encoder, queries, recall=recall)
        if save:
            try:
                save_search_defaults(self.client, self.index, tuning.best.setting)
            except (ConnectorError, TransportError) as error:
                raise UnsavedTuningError(tuning, error) from error
            self._retriever = None
        return tuning
