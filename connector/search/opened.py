"""An index as its schema says, and the encoder that goes with it: queries become what is searched here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from opensearchpy import OpenSearch

from connector.errors import SearchError
from connector.index.frequencies import DocumentFrequencies
from connector.index.guard import IndexGuard
from connector.index.schema import IndexSchema
from connector.index.searcher import Searcher
from connector.ingest.index_encoder import encoder_of
from connector.query.body import check_text
from connector.query.pruning import Pruning, prune_query
from connector.query.rescore import build_rescore
from connector.search.encoded import EncodedQueries, EncodedQuery
from connector.types import SearchDefaults

if TYPE_CHECKING:
    from connector.encoders.text import TextEncoder

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
        self.cache = EncodedQueries(cached_queries)

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
        key = query, setting.k_query, setting.window
        encoded = self.cache.get(key)
        if encoded is None:
            self._check_length(query)
            [encoded] = self._encode_apart([query], setting)
            self.cache.put(key, encoded)
        [features] = self._prune([encoded.features], setting.pruning)
        if not features:
            raise SearchError(f"The encoder finds no features in the query {query!r}; rephrase it.")
        return dict(features), encoded.rescore

    def encode_ahead(self, queries: Sequence[str], setting: Setting) -> None:
        """Encode queries in one pass, those that are not in the cache, so that `encode` finds them there.

        One that `encode` refuses is left to it.
        """
        keys = {query: (query, setting.k_query, setting.window) for query in queries}
        missing = [query for query, key in keys.items() if key not in self.cache and self._is_readable(query)]
        for query, encoded in zip(missing, self._encode_apart(missing, setting) if missing else [], strict=True):
            self.cache.put(keys[query], encoded)

    def encode_many(
        self, queries: list[str], setting: Setting
    ) -> tuple[list[dict[str, float]], list[dict[str, Any] | None]]:
        """The same of many queries; those that are too long are cut, and some may have no features."""
        encoded = self._encode_apart(queries, setting)
        return self._prune([each.features for each in encoded], setting.pruning), [each.rescore for each in encoded]

    def _window(self, window: int | None, top_k: int) -> int:
        if self.encoder.code is not None:
            return max(self._usual.window, 10 * top_k) if window is None else window
        if window:
            raise SearchError(
                f"Index {self.schema.index!r} has no codes to rescore {window} hits by; search it without a window, or "
                "encode it again into an index with codes."
            )
        return 0

    def _prune(self, queries: list[dict[str, float]], pruning: Pruning) -> list[dict[str, float]]:
        shares = None
        if pruning.prune_type == "none":
            return queries
        if pruning.prune_type == "posting_budget":
            shares = self.frequencies.shares(name for features in queries for name in features)
        return [prune_query(features, pruning, shares=shares) for features in queries]

    def _encode_apart(self, queries: list[str], setting: Setting) -> list[EncodedQuery]:
        code = self.encoder.code
        if code is None or not setting.window:
            plain = self.encoder.encode_query(queries, k=setting.k_query)
            return [EncodedQuery(features, None) for features in plain.as_mappings()]
        found, embeddings = self.encoder.encode_query_for_rescoring(queries, k=setting.k_query)
        return [
            EncodedQuery(features, build_rescore(code, embedding, setting.window))
            for features, embedding in zip(found.as_mappings(), embeddings, strict=True)
        ]

    def _is_readable(self, query: str) -> bool:
        try:
            self._check_length(query)
        except SearchError:
            return False
        return True

    def _check_length(self, query: str) -> None:
        check_text(query)
        limit = self.encoder.max_seq_length
        tokens = self.encoder.count_tokens(query)
        if limit is not None and tokens > limit:
            raise SearchError(f"The query has {tokens} tokens, the encoder reads {limit}; shorten it.")
