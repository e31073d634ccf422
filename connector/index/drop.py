"""Delete indices together with their dictionaries."""

from __future__ import annotations

from collections.abc import Sequence

from opensearchpy import OpenSearch

from connector.connection.client import explained
from connector.index.meta import META_KEY


def companions_of(client: OpenSearch, names: Sequence[str]) -> list[str]:
    """Return the hidden indices of these indices' dictionaries; missing ones are omitted.

    Raises:
        ClusterError: The server is unreachable or denies access.
    """
    if not names:
        return []
    params = {"filter_path": f"*.mappings._meta.{META_KEY}.dictionary.index", "ignore_unavailable": "true"}
    with explained(client):
        replies = client.indices.get_mapping(index=",".join(names), params=params)
    return sorted({reply["mappings"]["_meta"][META_KEY]["dictionary"]["index"] for reply in replies.values()})


def drop_index(client: OpenSearch, name: str) -> None:
    """Delete an index and its dictionary; one that does not exist is not an error.

    Raises:
        ClusterError: The server is unreachable or denies access.
    """
    names = [name, *companions_of(client, [name])]
    with explained(client):
        client.indices.delete(index=",".join(names), ignore_unavailable=True)
