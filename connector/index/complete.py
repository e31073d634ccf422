"""Refuse replies that lack documents because only some shards could run the query."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from connector.connection.client import root_cause
from connector.errors import SearchError

_OF_THE_QUERY = (
    "query_shard_exception",
    "script_exception",
    "parsing_exception",
    "illegal_argument_exception",
    "number_format_exception",
)


def check_complete(index: str, reply: Mapping[str, Any]) -> None:
    """Check that no shard rejected the query, e.g. because a field has another type in one index of an alias.

    The server then answers with the hits of the other shards. An unavailable shard is not an error.

    Args:
        index: The searched index or alias.
        reply: Reply to a search or a count.

    Raises:
        SearchError: A shard rejected the query.
    """
    for failure in reply.get("_shards", {}).get("failures", ()):
        reason = failure.get("reason", {})
        if isinstance(reason, Mapping) and reason.get("type") in _OF_THE_QUERY:
            raise SearchError(
                f"A part of index {index!r} ({failure.get('index', 'unknown')}) rejects the query: {root_cause(reason)}"
            )
