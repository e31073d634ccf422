"""Read all hits of a query, however long the documents of a page take to be processed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from opensearchpy import OpenSearch
from opensearchpy.exceptions import NotFoundError
from opensearchpy.helpers import ScanError, scan

from connector.connection.client import explained, reason_of
from connector.errors import ClusterError

_PAGE = 500
_KEPT = "2h"
"""How long the server keeps the search open between two pages: a slow model may encode one text in some seconds."""


def read_hits(client: OpenSearch, index: str, query: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield all hits of a query, as they were when reading began.

    Args:
        client: A connected client.
        index: The index or alias, or several joined by commas.
        query: Body of the search.

    Raises:
        ClusterError: The server is unreachable, denies access, or no longer has the index, all of its shards or the
            open search.
    """
    try:
        with explained(client):
            yield from scan(client, index=index, query=query, size=_PAGE, scroll=_KEPT)
    except (NotFoundError, ScanError) as error:
        reason = reason_of(error) if isinstance(error, NotFoundError) else str(error).rstrip(".")
        raise ClusterError(f"Reading {index!r} was interrupted: {reason}. Run it again.") from error
