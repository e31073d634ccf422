"""Open a point in time (snapshot for paging) in OpenSearch or Elasticsearch, whose APIs differ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any
from urllib.parse import quote

from opensearchpy import OpenSearch
from opensearchpy.exceptions import AuthorizationException, NotFoundError, TransportError

from connector.connection.client import is_elasticsearch, version_tuple


@contextmanager
def point_in_time(client: OpenSearch, index: str, params: Mapping[str, Any]) -> Iterator[str]:
    """Open a point in time for a `with` block. Errors pass through, except on closing.

    Args:
        client: A connected client.
        index: The index or alias.
        params: URL parameters: `keep_alive` and others.

    Yields:
        The id for `pit` in a search body.
    """
    elastic = is_elasticsearch(client)
    send = client.transport.perform_request  # opensearch-py has no method for _pit
    if elastic:
        pit = send("POST", f"/{quote(index, safe=',*')}/_pit", params=dict(params))["id"]
    else:
        # By default, it lacks the documents of a shard that is away.
        pit = client.create_pit(index=index, params={**params, "allow_partial_pit_creation": "false"})["pit_id"]
    try:
        yield pit
    finally:
        with suppress(TransportError):
            if elastic:
                send("DELETE", "/_pit", body={"id": pit})
            else:
                client.delete_pit(body={"pit_id": [pit]})


def has_shard_doc(client: OpenSearch) -> bool:
    """Whether the server can sort by the position in the shard (`_shard_doc`, 3.3 and later); False if unknown."""
    try:
        version = client.info()["version"]["number"]
    except (AuthorizationException, NotFoundError):  # a user may be permitted to use the index alone
        return False
    return version_tuple(version) >= (3, 3)


def tie_breakers(client: OpenSearch) -> tuple[str, ...]:
    """Return the sort fields for ties: the position in the shard where supported, else the document.

    An id alone is not unique: several indices of an alias may contain it, and an index with several routings.
    """
    return ("_shard_doc",) if has_shard_doc(client) else ("_id", "_index", "_seq_no")
