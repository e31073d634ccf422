"""Notice that a name no longer stands for the index that was opened: an alias was switched, an index made anew."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from opensearchpy import OpenSearch

from connector.errors import SearchError
from connector.index.schema import IndexSchema, existing_schema, read_spaces


class StaleSchemaError(SearchError):
    """What a name stands for has another schema than when it was opened.

    Attributes:
        schema: The one that it has now.
    """

    def __init__(self, schema: IndexSchema) -> None:
        super().__init__(
            f"Index {schema.index!r} was replaced while it was searched: its features are of encoder {schema.encoder} "
            "now. Open it anew."
        )
        self.schema = schema


class IndexGuard:
    """Checks the answers to searches by features, without a request as long as they look as they should.

    Searches go to the alias and not to the indices behind it, so that its filter and its routing hold. What keeps old
    features away from another encoder's index is told apart by the answer. An index that says which space its features
    are of (`SPACE_FIELD`) has no hits for a query of another one. Older indices do not say it, but their names stand
    in the hits. So the schema is read again after an answer without hits, with hits from an index that is not known, or
    with an error. Safe to use from several threads.

    Args:
        client: A ready client.
        schema: Of the index or alias that is searched.
    """

    def __init__(self, client: OpenSearch, schema: IndexSchema) -> None:
        self._client = client
        self._schema = schema
        self._names = frozenset(schema.names)

    @property
    def space(self) -> str:
        """The space that queries are of (`build_query`)."""
        return self._schema.space

    def check(self, replies: Sequence[Mapping[str, Any]]) -> None:
        """Check the replies to one request: at least one hit each, and all of known indices; else read the schema.

        Raises:
            StaleSchemaError: The schema is another one.
            IndexMappingError: There is no such index any more, or it is not one of ours.
            ClusterError: The server is away or does not permit it.
        """
        if not all(reply["hits"]["hits"] for reply in replies) or self._unknown(replies):
            self.recheck()
            if self._unknown(replies):  # replaced once more in between
                raise StaleSchemaError(existing_schema(self._client, self._schema.index))

    def recheck(self) -> None:
        """Read what the name stands for now; errors as for `check`."""
        spaces = read_spaces(self._client, self._schema.index)
        if set(spaces.values()) != {(self._schema.space, self._schema.encoder.digest)}:
            raise StaleSchemaError(existing_schema(self._client, self._schema.index))
        self._names = frozenset(spaces)

    def _unknown(self, replies: Sequence[Mapping[str, Any]]) -> bool:
        return any(hit["_index"] not in self._names for reply in replies for hit in reply["hits"]["hits"])
