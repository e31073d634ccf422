"""What an alias says: which indices it names, and what it hides of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from opensearchpy import OpenSearch
from opensearchpy.exceptions import NotFoundError

from connector.connection.client import explained


def read_alias(client: OpenSearch, name: str) -> dict[str, dict[str, Any]]:
    """Read the definition that an alias has in each of its indices: filter, routing and the like.

    Returns:
        From index to definition; nothing if `name` is not an alias.

    Raises:
        ClusterError: The server is away or does not permit it.
    """
    try:
        with explained(client):
            replies = client.indices.get_alias(name=name)
    except NotFoundError:
        return {}
    return {index: dict(reply["aliases"][name]) for index, reply in replies.items() if name in reply["aliases"]}


def hides_documents(alias: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether an alias leaves documents of its indices out of searches, by a filter or by routing to some shards."""
    return any("filter" in definition or "search_routing" in definition for definition in alias.values())
