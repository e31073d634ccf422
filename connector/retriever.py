"""Text to hits: an encoder in front of a searcher."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from opensearchpy import OpenSearch

from connector.encoders.text import TextEncoder, adapt
from connector.errors import SearchError
from connector.index.schema import check_encoder, existing_schema
from connector.index.searcher import Searcher
from connector.query import check_text
from connector.types import Hit


class Retriever:
    """Searches an index with the encoder that wrote it.

    Args:
        client: A ready client.
        index: The index or alias.
        encoder: Of the fingerprint that the index records, once it is told the statistics that the index keeps.
        source: Fields to return with each hit.

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
    ) -> None:
        self.schema = existing_schema(client, index)
        self.encoder = adapt(encoder, self.schema.statistics)
        check_encoder(self.schema, self.encoder.fingerprint)
        self._searcher = Searcher(client, index, source=source)

    def search(
        self,
        query: str,
        *,
        top_k: int = 10,
        k_query: int | None = None,
        filters: Sequence[Mapping[str, Any]] = (),
    ) -> list[Hit]:
        """Return the documents nearest to a query.

        Args:
            query: At most as many tokens as the encoder reads.
            top_k: Hits asked for, 1 to 10,000.
            k_query: Features kept of the query; the encoder's own number if None.
            filters: Query clauses that a document must match; they don't change its score.

        Raises:
            SearchError: The query is empty or too long, or the server refuses it.
        """
        self._check_length(query)
        [features] = self.encoder.encode_query([query], k=k_query).as_mappings()
        if not features:
            raise SearchError(f"The query {query!r} excites no feature of the encoder; put it in other words.")
        return self._searcher.search(features, top_k=top_k, filters=filters)

    def search_many(
        self,
        queries: Iterable[str],
        *,
        top_k: int = 10,
        k_query: int | None = None,
        filters: Sequence[Mapping[str, Any]] = (),
        queries_per_request: int = 64,
    ) -> list[list[Hit]]:
        """Search many queries by `_msearch`; one that is too long is cut as a document would be."""
        vectors = self.encoder.encode_query(list(queries), k=k_query).as_mappings()
        found: list[list[Hit]] = []
        for start in range(0, len(vectors), queries_per_request):
            batch = vectors[start : start + queries_per_request]
            found += self._searcher.search_many(batch, top_k=top_k, filters=filters)
        return found

    def _check_length(self, query: str) -> None:
        check_text(query)
        limit = self.encoder.max_seq_length
        tokens = self.encoder.count_tokens(query)
        if limit is not None and tokens > limit:
            raise SearchError(f"The query has {tokens} tokens, the encoder reads {limit}; shorten it.")
