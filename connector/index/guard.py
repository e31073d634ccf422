"""Detect that an opened index was replaced: its alias was switched, or the index was recreated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from logging import getLogger
from time import monotonic
from typing import Any

from opensearchpy import OpenSearch
from opensearchpy.exceptions import TransportError

from connector.connection.client import explained
from connector.errors import ClusterError, IndexMappingError, SearchError
from connector.index.schema import IndexSchema, existing_schema, read_spaces
from connector.query.body import has_features

WITHOUT_FEATURES = (
    "the server's `_reindex`, `_update` and `_update_by_query` write a document without them. Ingest it again, or "
    "re-encode the index with `ksparse reencode`."
)

_log = getLogger("ksparse.index")

_RECHECK_S = 30.0
"""Seconds between two looks at the schema of an index in use."""

RECHECK_TIMEOUT_S = 5.0
"""Timeout of such a look: without a cluster manager, the server would wait for one for half a minute."""


class StaleSchemaError(SearchError):
    """The schema behind a name has changed since it was opened.

    Attributes:
        schema: The current schema.
    """

    def __init__(self, schema: IndexSchema) -> None:
        super().__init__(
            f"Index {schema.index!r} was replaced while it was searched: it now belongs to encoder {schema.encoder}. "
            "Open it again."
        )
        self.schema = schema


class WithoutFeaturesError(IndexMappingError):
    """No document of an index has features."""


class IndexGuard:
    """Checks replies to searches by features; sends a request if a reply is suspicious, and every half minute.

    Searches name the alias rather than its indices, so that its filter and routing apply. An index that records the
    space of its features (`SPACE_FIELD`) returns no hits for queries of another space. Older indices do not record it,
    but hits contain the name of their index. So the schema is read again after a reply without hits, with hits from an
    unknown index, or with an error; and every half minute, because an alias may have got another index, whose documents
    such a query does not find, and other default settings may have been saved. Thread-safe.

    Args:
        client: A connected client.
        schema: Schema of the searched index or alias.
    """

    def __init__(self, client: OpenSearch, schema: IndexSchema) -> None:
        self._client = client
        self._schema = schema
        self._names = frozenset(schema.names)
        self._has_features = False
        self._checked_at = monotonic()

    @property
    def space(self) -> str:
        """The space of the queries (`build_query`)."""
        return self._schema.space

    @property
    def names(self) -> frozenset[str]:
        """The indices behind the searched index or alias."""
        return self._names

    def check(self, replies: Sequence[Mapping[str, Any]], by_features: int | None = None) -> None:
        """Check replies: unless each has hits, all from known indices, and it was just read, read the schema again.

        Args:
            replies: Replies to searches.
            by_features: How many of the first ones are to searches by features; None means all. The others may be
                empty: words can match nothing.

        Raises:
            StaleSchemaError: The schema has changed.
            IndexMappingError: The index no longer exists, or ksparse did not create it.
            ClusterError: A reply is suspicious, and the server is unreachable or denies access.
        """
        if monotonic() - self._checked_at > _RECHECK_S:
            try:
                self._reread()
            except (ClusterError, TransportError) as error:  # the hits have arrived, and the next ones need not wait
                self._checked_at = monotonic()
                _log.warning("The schema of index %r cannot be read again: %s", self._schema.index, error)
        if not all(reply["hits"]["hits"] for reply in replies[:by_features]) or self._unknown(replies):
            self.recheck()
            if self._unknown(replies):  # replaced again meanwhile
                raise StaleSchemaError(existing_schema(self._client, self._schema.index))

    def _reread(self) -> None:
        """Read the whole schema again; default settings that were saved since make it another one."""
        ours = self._schema
        found = existing_schema(self._client, ours.index, timeout_s=RECHECK_TIMEOUT_S)
        if (found.space, found.encoder.digest, found.search) != (ours.space, ours.encoder.digest, ours.search):
            raise StaleSchemaError(found)
        self._names = frozenset(found.names)
        self._checked_at = monotonic()

    def recheck(self) -> None:
        """Read the current schema; errors as in `check`."""
        spaces = read_spaces(self._client, self._schema.index)
        if set(spaces.values()) != {(self._schema.space, self._schema.encoder.digest)}:
            raise StaleSchemaError(existing_schema(self._client, self._schema.index))
        self._names = frozenset(spaces)
        self._checked_at = monotonic()

    def check_features(self, hits: Sequence[Mapping[str, Any]]) -> None:
        """Check that the documents have features, unless the index has given a hit before.

        A copy by `_reindex` has the mapping and the documents of an index, but none of their features.

        Raises:
            WithoutFeaturesError: No document has features.
            ClusterError: The server is unreachable or denies access.
        """
        if hits or self._has_features:
            self._has_features = True
            return
        body = {"size": 0, "track_total_hits": True, "aggs": {"encoded": {"filter": has_features()}}}
        with explained(self._client):
            reply = self._client.search(index=self._schema.index, body=body)
        documents, encoded = reply["hits"]["total"]["value"], reply["aggregations"]["encoded"]["doc_count"]
        if documents and not encoded:
            raise WithoutFeaturesError(
                f"None of the {documents:,} documents of index {self._schema.index!r} has features: {WITHOUT_FEATURES}"
            )
        self._has_features = encoded > 0

    def _unknown(self, replies: Sequence[Mapping[str, Any]]) -> bool:
        return any(hit["_index"] not in self._names for reply in replies for hit in reply["hits"]["hits"])
