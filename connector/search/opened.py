"""An index opened with its schema and encoder: encodes query texts and searches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from opensearchpy import OpenSearch

from connector.errors import SearchError
from connector.index.frequencies import DocumentFrequencies
from connector.index.guard import IndexGuard
from connector.index.schema import IndexSchema
from connector.index.searcher import Searcher
from connector.ingest.index_encoder import encoder_of
from connector.limits import MAX_CLAUSES, MAX_HITS
from connector.query.body import NO_OPTIONS, SearchOptions, check_text, check_top_k
from connector.query.explain import explain_score
from connector.query.pruning import Pruning, prune_query
from connector.query.rescore import MAX_RESCORED, MAX_SCANNED, build_rescore
from connector.query.settings import DEFAULT_WINDOW, SearchSettings
from connector.search.encoded import EncodedQueries, EncodedQuery
from connector.types import Hit

if TYPE_CHECKING:
    from connector.encoders.text import TextEncoder


CANDIDATES_TOP_K = 10
"""Number of hits for which an encoder's `k_candidates` was chosen."""

_MAX_GROWTH = 24
"""Maximum factor for the number of query features; each is a clause, which takes about 13 microseconds."""

_MAX_FEATURES = MAX_CLAUSES - 100
"""Maximum number of query features that the rule below chooses, which leaves room for the clauses of filters."""


def features_for(candidates: int, share: float) -> int:
    """Return the number of query features for a search that reaches a fraction of the documents.

    The neighbours among these documents are further away than those among all documents, and share fewer cells with the
    query. On 30,000 package summaries, this rule finds 90 to 92 % of the exact top ten at shares of 1 to 0.05.

    Args:
        candidates: Features of a search that reaches all documents.
        share: Fraction of the documents that filters, a routing and an alias leave; a tenth of it for 100 hits.
    """
    factor: float = min(_MAX_GROWTH, max(share, 1e-9) ** -0.75)
    return max(candidates, min(round(candidates * factor), _MAX_FEATURES))


def cells_of(encoder: TextEncoder) -> int | None:
    """Return the number of cells of an encoder's dictionary; None for other encoders."""
    return encoder.head.num_latents if encoder.has_dictionary and encoder.head is not None else None


def _scan_limit(encoder: TextEncoder) -> int:
    """The number of documents up to which codes score all of an index; 0 if its dictionary was built for many more."""
    cells = cells_of(encoder)
    if cells is None:
        return MAX_RESCORED
    return MAX_SCANNED if cells <= MAX_SCANNED else 0


class OpenedIndex:
    """An index whose schema was read, with the encoder that wrote it.

    Args:
        client: A connected client.
        schema: Schema of the index or alias.
        encoder: The encoder; with the statistics stored in the index, its fingerprint must equal the recorded one.
        source: Fields to return with each hit.
        cached_queries: Capacity of the cache of encoded queries.

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
            scan_limit=_scan_limit(self.encoder),
        )
        self.frequencies = DocumentFrequencies(client, schema.index)
        self._defaults = schema.search or SearchSettings()
        self.cache = EncodedQueries(cached_queries)

    def resolve(
        self,
        settings: SearchSettings,
        top_k: int,
        filters: Sequence[Mapping[str, Any]] = (),
        options: SearchOptions = NO_OPTIONS,
    ) -> SearchSettings:
        """Replace unset settings by the index's defaults; only `k_query` may remain None (the encoder's default).

        Raises:
            SearchError: A rescoring window is set but the index has no codes.
            ValueError: `top_k` is not a whole number between 1 and 10,000.
        """
        check_top_k(top_k)
        window, pruning, k_query = self._window(settings, top_k), settings.pruning, settings.k_query
        if k_query is None:
            pruning = self._defaults.pruning if pruning is None else pruning
            k_query = self._defaults.k_query
        pruning = pruning or Pruning()
        if settings.k_query is None and window and pruning.prune_type == "none":
            k_query = self.encoder.k_candidates if k_query is None else k_query
            if k_query is not None:
                k_query = self._grown(k_query, top_k, filters, options)
        return SearchSettings(k_query, window, pruning)

    def search(
        self,
        query: str,
        settings: SearchSettings,
        *,
        top_k: int,
        filters: Sequence[Mapping[str, Any]] = (),
        explain: bool = False,
        options: SearchOptions = NO_OPTIONS,
        doc_id: str | None = None,
    ) -> list[Hit]:
        """Search by features; arguments and errors as in `Retriever.search`, `doc_id` as in `Searcher.search`."""
        features, rescore = self.encode(query, self.resolve(settings, top_k, filters, options))
        hits = self.searcher.search(
            features,
            top_k=top_k,
            filters=filters,
            rescore=rescore,
            explain=explain,
            options=options,
            doc_id=doc_id,
        )
        return [_explained(hit, features, self.encoder) for hit in hits] if explain else hits

    def encode(self, query: str, settings: SearchSettings) -> tuple[dict[str, float], dict[str, Any] | None]:
        """Encode one query; return its pruned features and the `rescore` part of the body.

        Raises:
            SearchError: The query is empty, too long, or has no features.
            ValueError: The query is not a string.
        """
        _check_string(query)
        key = query, settings.k_query, settings.window
        encoded = self.cache.get(key)
        if encoded is None:
            self._check_length(query)
            [encoded] = self._encode_apart([query], settings)
            self.cache.put(key, encoded)
        [features] = self.prune([encoded.features], settings.pruning)
        if not features:
            raise SearchError(f"The encoder finds no features in the query {query!r}; rephrase it.")
        return dict(features), encoded.rescore

    def encode_ahead(self, queries: Sequence[str], settings: SearchSettings) -> None:
        """Encode the queries that are not cached in one batch, so that `encode` finds them in the cache.

        Queries that `encode` would refuse are skipped.
        """
        keys = {query: (query, settings.k_query, settings.window) for query in queries}
        missing = [query for query, key in keys.items() if key not in self.cache and self._is_readable(query)]
        for query, encoded in zip(missing, self._encode_apart(missing, settings) if missing else [], strict=True):
            self.cache.put(keys[query], encoded)

    def encode_many(
        self, queries: list[str], settings: SearchSettings
    ) -> tuple[list[dict[str, float]], list[dict[str, Any] | None]]:
        """Encode many queries; queries that are too long are truncated, and some may have no features.

        Raises:
            SearchError: A query is empty.
            ValueError: A query is not a string.
        """
        for query in queries:
            _check_string(query)
            check_text(query)
        if not queries:
            return [], []
        encoded = self._encode_apart(queries, settings)
        return self.prune([each.features for each in encoded], settings.pruning), [each.rescore for each in encoded]

    def _grown(self, candidates: int, top_k: int, filters: Sequence[Mapping[str, Any]], options: SearchOptions) -> int:
        """The number of features that finds `top_k` hits among the documents that the search reaches."""
        reach = self.searcher.reach
        share = reach.share(filters, options)
        if top_k > CANDIDATES_TOP_K and reach.scored(filters, options) is None:  # features choose the candidates
            # The last of many neighbours is as far away as the last of ten among as large a part of the documents.
            share *= CANDIDATES_TOP_K / top_k
        return features_for(candidates, share)

    def _window(self, settings: SearchSettings, top_k: int) -> int:
        window = settings.window
        if self.encoder.code is not None:
            if window is not None:
                return window
            stored = self._defaults.window
            # All hits of a fused ranking are rescored, or those below the window would have no score.
            most = max(DEFAULT_WINDOW if stored is None else stored, 10 * top_k, settings.rank_window_size or 0)
            return max(top_k, self.searcher.reach.default_window(min(most, MAX_HITS)))
        if window:
            raise SearchError(
                f"Index {self.schema.index!r} stores no codes, so it cannot rescore {window} hits; search without a "
                "window, or re-encode it into an index with codes."
            )
        return 0

    def prune(self, queries: list[dict[str, float]], pruning: Pruning | None) -> list[dict[str, float]]:
        """Drop the features that the rule does not keep; a budget reads document frequencies from the server."""
        shares = None
        if pruning is None or pruning.prune_type == "none":
            return queries
        if pruning.prune_type == "posting_budget":
            shares = self.frequencies.shares(name for features in queries for name in features)
        return [prune_query(features, pruning, shares=shares) for features in queries]

    def _encode_apart(self, queries: list[str], settings: SearchSettings) -> list[EncodedQuery]:
        code = self.encoder.code
        if code is None or not settings.window:
            plain = self.encoder.encode_query(queries, k=settings.k_query)
            return [EncodedQuery(features, None) for features in plain.as_mappings()]
        found, embeddings = self.encoder.encode_query_for_rescoring(queries, k=settings.k_query)
        return [
            EncodedQuery(features, build_rescore(code, embedding, settings.window))
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
        limit, prompt = self.encoder.max_seq_length, self.encoder.fingerprint.prompts.get("query", "")
        tokens = self.encoder.count_tokens(prompt + query)
        if limit is not None and tokens > limit:
            what = f"{tokens} tokens{' with its prompt' if prompt else ''}"
            raise SearchError(f"The query has {what}, but the encoder reads at most {limit}; shorten it.")


def _explained(hit: Hit, features: Mapping[str, float], encoder: TextEncoder) -> Hit:
    return replace(hit, explanation=explain_score(hit.score, hit.matches, features, encoder.label))


def _check_string(query: Any) -> None:  # noqa: ANN401
    if not isinstance(query, str):
        raise ValueError(f"a query must be a string, got {query!r}.")
