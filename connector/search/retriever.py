"""Text to hits: an encoder in front of a searcher."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any, NamedTuple

from opensearchpy import OpenSearch

from connector.encoders.text import TextEncoder
from connector.errors import SearchError
from connector.index.frequencies import DocumentFrequencies
from connector.index.schema import existing_schema
from connector.index.searcher import Searcher
from connector.ingest.prepare import encoder_of
from connector.query.body import SearchOptions, check_text
from connector.query.explain import explain_score
from connector.query.pruning import Pruning, prune_query
from connector.query.rescore import build_rescore
from connector.types import Hit, SearchDefaults, SparseVectors

_WINDOW = SearchDefaults().window
_EVERYTHING = Pruning()
_NOTHING_ELSE = SearchOptions()


class Setting(NamedTuple):
    """How a search is made.

    Attributes:
        k_query: Features kept of a query; None for the encoder's own number.
        window: Hits rescored by codes, 0 for none.
        pruning: Which of the features are left out.
    """

    k_query: int | None
    window: int
    pruning: Pruning


def _features_alone(k_query: int | None, pruning: Pruning | None) -> Setting:
    """A search without codes, to which what the index says of searches does not apply."""
    return Setting(k_query, 0, pruning or _EVERYTHING)


class Retriever:
    """Searches an index with the encoder that wrote it.

    Args:
        client: A ready client.
        index: The index, or the alias of those that are searched: what it names later needs a new retriever.
        encoder: Of the fingerprint that the index records, once it is told the statistics that the index keeps.
        source: Fields to return with each hit.
        cached_queries: How many of the last single queries are kept encoded, since many are asked again; 0 for none.

    Raises:
        EncoderMismatchError: Another encoder wrote the index.
        IndexMappingError: There is no such index, or it is not one of ours.
        ClusterError: The server is away or does not permit it.
    """

    def __init__(
        self,
        client: OpenSearch,
        index: str,
        encoder: TextEncoder,
        *,
        source: Sequence[str] | bool = ("title", "text", "metadata"),
        cached_queries: int = 1_024,
    ) -> None:
        self.schema = existing_schema(client, index)
        self._usual = self.schema.search or SearchDefaults()
        self.encoder = encoder_of(self.schema, encoder)
        # Not the alias: once it is switched to an index of another encoder, features would match what they do not mean.
        names = ",".join(self.schema.names)
        self._searcher = Searcher(client, names, source=source, weight_exponent=self.schema.weight_exponent)
        self.frequencies = DocumentFrequencies(client, names)
        self._encode_one = lru_cache(cached_queries)(lambda query, k, window: self._encode([query], k, window))

    def search(
        self,
        query: str,
        *,
        top_k: int = 10,
        k_query: int | None = None,
        pruning: Pruning | None = None,
        filters: Sequence[Mapping[str, Any]] = (),
        window: int | None = None,
        explain: bool = False,
        options: SearchOptions = _NOTHING_ELSE,
    ) -> list[Hit]:
        """Return the documents nearest to a query.

        Args:
            query: At most as many tokens as the encoder reads.
            top_k: Hits asked for, 1 to 10,000.
            k_query: Features kept of the query; if None, what the index says of it, or the encoder's own number, or
                half of that where hits are rescored and no pruning is asked for: candidates need no order.
            pruning: Which of these are left out; if None, and neither is `k_query` given, what the index says of it.
            filters: Query clauses that a document must match; they don't change its score.
            window: Hits that are put into the dense order by the index's codes, 0 for none; if None, what the index
                says of it, or 100, and at least ten times `top_k`. Scores are then 1 plus the estimated inner product.
            explain: Keep with each hit why it was found (`Hit.explain`).
            options: What else is asked for: a least score, fields, highlights, routing.

        Raises:
            SearchError: The query is empty or too long, the server refuses it, or a window is asked for and the index
                has no codes.
        """
        setting = self._setting(k_query, window, top_k, pruning)
        features, rescoring = self._features(query, setting)
        hits = self._searcher.search(
            features, top_k=top_k, filters=filters, rescore=rescoring, explain=explain, options=options
        )
        return [self._explained(hit, features) for hit in hits] if explain else hits

    def explain(
        self,
        query: str,
        doc_id: str,
        *,
        k_query: int | None = None,
        pruning: Pruning | None = None,
        window: int | None = None,
    ) -> Hit:
        """Return one document as a search would, with the reason (`Hit.explain`), however far down it stands.

        Raises:
            SearchError: It shares no feature with the query, or is not there; or as in `search`.
        """
        only = {"ids": {"values": [doc_id]}}
        found = self.search(
            query, top_k=1, k_query=k_query, pruning=pruning, filters=[only], window=window, explain=True
        )
        if not found:
            raise SearchError(
                f"Index {self.schema.index!r} has no document {doc_id!r} that shares a feature with the query."
            )
        return found[0]

    def _explained(self, hit: Hit, features: Mapping[str, float]) -> Hit:
        return replace(hit, explanation=explain_score(hit.score, hit.matches, features, self.encoder.label))

    def search_hybrid(
        self,
        query: str,
        *,
        weight: float | None = None,
        top_k: int = 10,
        k_query: int | None = None,
        pruning: Pruning | None = None,
        filters: Sequence[Mapping[str, Any]] = (),
        window: int | None = None,
        options: SearchOptions = _NOTHING_ELSE,
    ) -> list[Hit]:
        """Return the nearest documents by meaning and by words (BM25 over `title` and `text`) together.

        Args:
            query: As in `search`.
            weight: If given, hits score the dot product plus `weight` times BM25, in one query without codes; 0.005 to
                0.05 is a start. Else both rankings are fused by reciprocal rank, which needs no weight.
            top_k: Hits asked for.
            k_query: As in `search`.
            pruning: As in `search`.
            filters: As in `search`.
            window: As in `search`; where rankings are fused, the depth of both, 100 if the index has no codes.
            options: What else is asked for.

        Raises:
            SearchError: As in `search`.
        """
        by_rank = weight is None
        setting = self._setting(k_query, window, top_k, pruning) if by_rank else _features_alone(k_query, pruning)
        features, rescoring = self._features(query, setting)
        return self._searcher.search_hybrid(
            query,
            features,
            weight=weight,
            top_k=top_k,
            window=setting.window or window or _WINDOW,
            filters=filters,
            rescore=rescoring,
            options=options,
        )

    def pages(
        self,
        query: str,
        *,
        page_size: int = 100,
        k_query: int | None = None,
        pruning: Pruning | None = None,
        filters: Sequence[Mapping[str, Any]] = (),
        options: SearchOptions = _NOTHING_ELSE,
    ) -> Iterator[list[Hit]]:
        """Return all documents that share a feature with the query, page by page, best first by features alone.

        They come from the index as it was at the first page (`Searcher.pages`); the rest as in `search`.
        """
        features, _ = self._features(query, _features_alone(k_query, pruning))
        return self._searcher.pages(features, page_size=page_size, filters=filters, options=options)

    def search_many(
        self,
        queries: Iterable[str],
        *,
        top_k: int = 10,
        k_query: int | None = None,
        pruning: Pruning | None = None,
        filters: Sequence[Mapping[str, Any]] = (),
        window: int | None = None,
        options: SearchOptions = _NOTHING_ELSE,
        queries_per_request: int = 64,
    ) -> list[list[Hit]]:
        """Search many queries by `_msearch`; one that is too long is cut as a document would be."""
        setting = self._setting(k_query, window, top_k, pruning)
        vectors, rescorings = self._encode(list(queries), setting.k_query, setting.window)
        features = self._prune(vectors, setting.pruning)
        found: list[list[Hit]] = []
        for start in range(0, len(features), queries_per_request):
            rows = slice(start, start + queries_per_request)
            found += self._searcher.search_many(
                features[rows], top_k=top_k, filters=filters, rescores=rescorings[rows], options=options
            )
        return found

    def _features(self, query: str, setting: Setting) -> tuple[dict[str, float], dict[str, Any] | None]:
        """The features of one query that are searched, and how its hits are rescored."""
        self._check_length(query)
        vectors, rescorings = self._encode_one(query, setting.k_query, setting.window)
        [features] = self._prune(vectors, setting.pruning)
        if not features:
            raise SearchError(f"The query {query!r} excites no feature of the encoder; put it in other words.")
        return features, rescorings[0]

    def _window(self, window: int | None, top_k: int) -> int:
        if self.encoder.code is not None:
            return max(self._usual.window, 10 * top_k) if window is None else window
        if window:
            raise SearchError(
                f"Index {self.schema.index!r} has no codes to rescore {window} hits by; ingest it anew with --rescore."
            )
        return 0

    def _setting(self, k_query: int | None, window: int | None, top_k: int, pruning: Pruning | None) -> Setting:
        """How a search is made, what it does not say taken from the index."""
        window = self._window(window, top_k)
        if k_query is None:
            if pruning is None and self._usual.posting_budget is not None:
                pruning = Pruning("posting_budget", self._usual.posting_budget)
            k_query = self._usual.k_query
        pruning = pruning or _EVERYTHING
        if k_query is None and window and pruning.prune_type == "none" and self.encoder.k_query is not None:
            k_query = max(1, self.encoder.k_query // 2)
        return Setting(k_query, window, pruning)

    def defaults(self, top_k: int = 10) -> Setting:
        """How a search is made that says nothing of it; `k_query` None for all features."""
        setting = self._setting(None, None, top_k, None)
        return setting._replace(k_query=setting.k_query or self.encoder.k_query)

    def _prune(self, vectors: SparseVectors, pruning: Pruning) -> list[dict[str, float]]:
        queries, shares = vectors.as_mappings(), None
        if pruning.prune_type == "none":
            return queries
        if pruning.prune_type == "posting_budget":
            shares = self.frequencies.shares(name for features in queries for name in features)
        return [prune_query(features, pruning, shares=shares) for features in queries]

    def _encode(
        self, queries: list[str], k_query: int | None, window: int
    ) -> tuple[SparseVectors, list[dict[str, Any] | None]]:
        code = self.encoder.code
        if code is None or not window:
            return self.encoder.encode_query(queries, k=k_query), [None] * len(queries)
        vectors, embeddings = self.encoder.encode_query_for_rescoring(queries, k=k_query)
        return vectors, [build_rescore(code, embedding, window) for embedding in embeddings]

    def _check_length(self, query: str) -> None:
        check_text(query)
        limit = self.encoder.max_seq_length
        tokens = self.encoder.count_tokens(query)
        if limit is not None and tokens > limit:
            raise SearchError(f"The query has {tokens} tokens, the encoder reads {limit}; shorten it.")
