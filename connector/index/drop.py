"""Delete indices together with what the cluster keeps for them."""

from __future__ import annotations

from collections.abc import Sequence

from opensearchpy import OpenSearch

from connector.connection.client import explained
from connector.index.meta import META_KEY


def companions_of(client: OpenSearch, names: Sequence[str]) -> list[str]:
    """The hidden indices that hold the dictionaries of these indices; those that are gone are left out.

    Raises:
        ClusterError: The server is away or does not permit it.
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
        ClusterError: The server is away or does not permit it.
    """
    names = [name, *companions_of(client, [name])]
    with explained(client):
        client.indices.delete(index=",".join(names), ignore_unavailable=True)
