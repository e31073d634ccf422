"""A point in time: an index as it was at the first page. OpenSearch and Elasticsearch have other words for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any
from urllib.parse import quote

from opensearchpy import OpenSearch
from opensearchpy.exceptions import TransportError

from connector.connection.client import is_elasticsearch


@contextmanager
def point_in_time(client: OpenSearch, index: str, params: Mapping[str, Any]) -> Iterator[str]:
    """Open a point in time for the length of a with block. Errors as they come; none when it is closed.

    Args:
        client: A ready client.
        index: The index or alias.
        params: `keep_alive`, and whatever else stands in the address of the request.

    Yields:
        Its id, for `pit` of a search body.
    """
    elastic = is_elasticsearch(client)
    send = client.transport.perform_request  # opensearch-py has no method for _pit
    if elastic:
        pit = send("POST", f"/{quote(index, safe=',*')}/_pit", params=dict(params))["id"]
    else:
        pit = client.create_pit(index=index, params=dict(params))["pit_id"]
    try:
        yield pit
    finally:
        with suppress(TransportError):
            if elastic:
                send("DELETE", "/_pit", body={"id": pit})
            else:
                client.delete_pit(body={"pit_id": [pit]})
