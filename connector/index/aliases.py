"""Read aliases: their indices, filters and routing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from opensearchpy import OpenSearch
from opensearchpy.exceptions import NotFoundError

from connector.connection.client import explained


def read_alias(client: OpenSearch, name: str) -> dict[str, dict[str, Any]]:
    """Read the definition (filter, routing etc.) of an alias for each of its indices.

    Returns:
        Definition by index; empty if `name` is not an alias.

    Raises:
        ClusterError: The server is unreachable or denies access.
    """
    try:
        with explained(client):
            replies = client.indices.get_alias(name=name)
    except NotFoundError:
        return {}
    return {index: dict(reply["aliases"][name]) for index, reply in replies.items() if name in reply["aliases"]}


def hides_documents(alias: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether an alias hides documents of its indices from searches, by a filter or by a search routing."""
    return any("filter" in definition or "search_routing" in definition for definition in alias.values())


def hides_from_writes(alias: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether writes through an alias can reach documents that it hides.

    They cannot if the alias writes by a routing by which it also searches: they reach only shards that it shows.
    """
    return any("filter" in definition or not _writes_where_it_searches(definition) for definition in alias.values())


def _writes_where_it_searches(definition: Mapping[str, Any]) -> bool:
    searched = definition.get("search_routing")
    return searched is None or definition.get("index_routing") in searched.split(",")
