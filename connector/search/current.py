"""An index that may be replaced at any time, opened."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import Lock
from typing import TYPE_CHECKING, TypeVar

from opensearchpy import OpenSearch

from connector.errors import EncoderMismatchError, SearchError
from connector.index.guard import StaleSchemaError
from connector.index.schema import IndexSchema, existing_schema
from connector.ingest.index_encoder import fitting_encoder
from connector.search.opened import OpenedIndex

if TYPE_CHECKING:
    from connector.encoders.text import TextEncoder

T = TypeVar("T")

_ATTEMPTS = 10
"""Attempts of one search if the index keeps being replaced, or its parts permit smaller and smaller windows."""


class CurrentIndex:
    """An index or alias, opened with its encoder, and opened again when its schema changes.

    Args:
        client: A connected client.
        index: The index or alias.
        encoder: As for `Retriever`.
        source: Fields to return with each hit.
        cached_queries: Capacity of the cache of encoded queries.
        known: As for `Retriever`.

    Raises:
        EncoderMismatchError, IndexMappingError, ClusterError: As for `Retriever`.
    """

    def __init__(
        self,
        client: OpenSearch,
        index: str,
        encoder: TextEncoder | None,
        *,
        source: Sequence[str] | bool,
        cached_queries: int,
        known: TextEncoder | None = None,
    ) -> None:
        def open_index(schema: IndexSchema, before: TextEncoder | None) -> OpenedIndex:
            try:
                fitting = fitting_encoder(client, schema, before)
                return OpenedIndex(client, schema, fitting, source=source, cached_queries=cached_queries)
            except EncoderMismatchError:
                if encoder is not None or before is None:
                    raise
            return open_index(schema, None)

        self._client = client
        self._open = open_index
        self._opening = Lock()
        self.opened = open_index(existing_schema(client, index), known if encoder is None else encoder)

    def refresh(self) -> None:
        """Read the schema again and reopen the index if the schema changed; errors as at creation."""
        self._reopen(existing_schema(self._client, self.opened.schema.index))

    def ask(self, search: Callable[[OpenedIndex], T]) -> T:
        """Search; if the index was replaced meanwhile or permits a smaller window, search again, knowing this."""
        for _ in range(_ATTEMPTS - 1):
            opened = self.opened
            reach = opened.searcher.reach
            known_window = reach.known_window
            try:
                return search(opened)
            except StaleSchemaError as stale:
                self._reopen(stale.schema)
            except SearchError as error:
                if not reach.learn_window(error, known_window):
                    raise
        return search(self.opened)

    def _reopen(self, schema: IndexSchema) -> None:
        with self._opening:  # of several threads, one loads the encoder
            if _facts(schema) != _facts(self.opened.schema):
                self.opened = self._open(schema, self.opened.encoder)


def _facts(schema: IndexSchema) -> tuple[object, ...]:
    """What can change behind a name: its indices, their encoder, stored search settings and declared fields."""
    return schema.space, schema.names, schema.search, schema.filterable
