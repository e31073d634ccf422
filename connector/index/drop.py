"""Delete indices together with their dictionaries."""

from __future__ import annotations

from collections.abc import Sequence
from logging import getLogger

from opensearchpy import OpenSearch
from opensearchpy.exceptions import AuthorizationException, TransportError

from connector.connection.client import explained
from connector.index.companion import copies_of
from connector.index.meta import META_KEY

_log = getLogger("ksparse.index")


def companions_of(client: OpenSearch, names: Sequence[str]) -> list[str]:
    """Return the hidden indices of these indices' dictionaries that no other index needs; missing ones are omitted.

    A clone, a restored copy or a rollover of an index names the same dictionary, which may itself have been restored
    under another name.

    Raises:
        ClusterError: The server is unreachable or denies access.
    """
    if not names:
        return []
    with explained(client):
        theirs = set(_dictionaries(client, names).values())
        if not theirs:
            return []
        try:
            everywhere = _all_dictionaries(client)
        except AuthorizationException:
            _log.warning("%s is kept: other indices that may need it cannot be read.", ", ".join(sorted(theirs)))
            return []
        needed = {used for index, used in everywhere.items() if index not in names}
        return sorted({each for name in theirs - needed for each in copies_of(client, name)} - needed)


def is_in_use(client: OpenSearch, companion: str) -> bool:
    """Whether an index needs the dictionary in a hidden index; True as well if that cannot be found out."""
    try:
        return companion in _all_dictionaries(client).values()
    except TransportError:
        return True


def drop_index(client: OpenSearch, name: str) -> None:
    """Delete an index and its dictionary; one that does not exist is not an error.

    Raises:
        ClusterError: The server is unreachable or denies access.
    """
    names = [name, *companions_of(client, [name])]
    with explained(client):
        client.indices.delete(index=",".join(names), ignore_unavailable=True)


def _dictionaries(client: OpenSearch, names: Sequence[str]) -> dict[str, str]:
    """The hidden index of each index's dictionary, by the name of the index. Errors pass through."""
    params = {"filter_path": f"*.mappings._meta.{META_KEY}.dictionary.index", "ignore_unavailable": "true"}
    replies = client.indices.get_mapping(index=",".join(names), params=params)
    return {name: reply["mappings"]["_meta"][META_KEY]["dictionary"]["index"] for name, reply in replies.items()}


def _all_dictionaries(client: OpenSearch) -> dict[str, str]:
    """As `_dictionaries`, of all indices. Unlike `_mapping`, without a deprecation warning about system indices."""
    params = {"filter_path": f"metadata.indices.*.mappings._doc._meta.{META_KEY}.dictionary.index"}
    state = client.cluster.state(metric="metadata", params=params)
    found = state.get("metadata", {}).get("indices", {})
    return {name: each["mappings"]["_doc"]["_meta"][META_KEY]["dictionary"]["index"] for name, each in found.items()}
