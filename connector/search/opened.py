"""An index as its schema says, and the encoder that goes with it: queries become what is searched here."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from opensearchpy import OpenSearch

from connector.encoders.text import TextEncoder
from connector.errors import SearchError
from connector.index.frequencies import DocumentFrequencies
from connector.index.guard import IndexGuard
from connector.index.schema import IndexSchema
from connector.index.searcher import Searcher
from connector.ingest.prepare import encoder_of
from connector.query.body import check_text
from connector.query.pruning import Pruning, prune_query
from connector.query.rescore import build_rescore
from connector.types import SearchDefaults, SparseVectors

EVERYTHING = Pruning()


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


def features_alone(k_query: int | None, pruning: Pruning | None) -> Setting:
    """A search without codes, to which what the index says of searches does not apply."""
    return Setting(k_query, 0, pruning or EVERYTHING)


class OpenedIndex:
    """An index whose schema was read, opened with the encoder that wrote it.

    Args:
        client: A ready client.
        schema: Of the index or alias.
        encoder: Of the fingerprint that the index records, once it has the statistics that the index keeps.
        source: Fields to return with each hit.
        cached_queries: How many of the last single queries are kept encoded.

    Raises:
        EncoderMismatchError: Another encoder wrote the index.
    """

    def __init__(
        self,
        client: OpenSearch,
        schema: IndexSchema,
        encoder: TextEncoder,
        *,
        source: Sequence[str] | bool,
        cached_queries: int,
    ) -> None:
        self.schema = schema
        self.encoder = encoder_of(schema, encoder)
        self.searcher = Searcher(
            client,
            schema.index,
            source=source,
            weight_exponent=schema.weight_exponent,
            guard=IndexGuard(client, schema),
        )
        self.frequencies = DocumentFrequencies(client, schema.index)
        self._usual = schema.search or SearchDefaults()
        self._encode_one = lru_cache(cached_queries)(lambda query, k, window: self._encode([query], k, window))

    def setting(self, k_query: int | None, window: int | None, top_k: int, pruning: Pruning | None) -> Setting:
        """How a search is made, what it does not say taken from the index.

        Raises:
            SearchError: A window is asked for, and the index has no codes.
        """
        window = self._window(window, top_k)
        if k_query is None:
            if pruning is None and self._usual.posting_budget is not None:
                pruning = Pruning("posting_budget", self._usual.posting_budget)
            k_query = self._usual.k_query
        pruning = pruning or EVERYTHING
        if k_query is None and window and pruning.prune_type == "none":
            k_query = self.encoder.k_candidates
        return Setting(k_query, window, pruning)

    def encode(self, query: str, setting: Setting) -> tuple[dict[str, float], dict[str, Any] | None]:
        """The features of one query that are searched, and how its hits are rescored.

        Raises:
            SearchError: The query is empty or too long, or has no features.
        """
        self._check_length(query)
        vectors, rescores = self._encode_one(query, setting.k_query, setting.window)
        [features] = self._prune(vectors, setting.pruning)
        if not features:
            raise SearchError(f"The encoder finds no features in the query {query!r}; rephrase it.")
        return features, rescores[0]

    def encode_many(
        self, queries: list[str], setting: Setting
    ) -> tuple[list[dict[str, float]], list[dict[str, Any] | None]]:
        """The same of many queries; those that are too long are cut, and some may have no features."""
        vectors, rescores = self._encode(queries, setting.k_query, setting.window)
        return self._prune(vectors, setting.pruning), rescores

    def _window(self, window: int | None, top_k: int) -> int:
        if self.encoder.code is not None:
            return max(self._usual.window, 10 * top_k) if window is None else window
        if window:
            raise SearchError(
                f"Index {self.schema.index!r} has no codes to rescore {window} hits by; search it without a window, or "
                "encode it again into an index with codes."
            )
        return 0

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
