"""Read all hits of a query, however long the documents of a page take to be processed, or of ids."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from opensearchpy import OpenSearch
from opensearchpy.exceptions import NotFoundError, OpenSearchException, RequestError

from connector.connection.client import explained, reason_of
from connector.errors import ClusterError
from connector.index.complete import WHOLE, count_shards
from connector.limits import MAX_HITS

_PAGE = 500
_KEPT = "2h"
"""How long the server keeps the search open between two pages: a slow model may encode one text in some seconds."""

_IDS_PER_SEARCH = 500
"""A search returns at most MAX_HITS documents: twenty of different indices or routings for each id."""


def hits_of_ids(
    doc_ids: Sequence[str], search: Callable[[Sequence[str], int], list[dict[str, Any]]]
) -> Iterator[dict[str, Any]]:
    """Yield the hits of searches for ids, of which each may name several documents. Errors pass through.

    Args:
        doc_ids: The ids.
        search: Returns the hits of some ids, at most the given number.
    """
    for start in range(0, len(doc_ids), _IDS_PER_SEARCH):
        some = doc_ids[start : start + _IDS_PER_SEARCH]
        # Usually one for each id, for which a lower index.max_result_window suffices.
        hits = search(some, len(some) + 1)
        yield from hits if len(hits) <= len(some) else search(some, MAX_HITS)


def hits_with_ids(client: OpenSearch, index: str, doc_ids: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Yield the documents with some ids, whatever their routing, and the state of each one's last write.

    Errors pass through.

    Args:
        client: A connected client.
        index: The index or alias, or several joined by commas.
        doc_ids: The ids.
    """

    def search(some: Sequence[str], size: int) -> list[dict[str, Any]]:
        body = {"query": {"ids": {"values": some}}, "size": size, "seq_no_primary_term": True}
        hits: list[dict[str, Any]] = client.search(index=index, body=body, params=WHOLE)["hits"]["hits"]
        return hits

    return hits_of_ids(doc_ids, search)


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
    body = {**query, "sort": "_doc", "size": _PAGE}
    scroll: str | None = None
    try:
        with explained(client):
            reply = client.search(index=index, body=body, scroll=_KEPT)
            while True:
                scroll = reply.get("_scroll_id", scroll)
                # Of a page without hits, too: all that is missing may be on the shard that is away.
                answered, total = count_shards(reply)
                if answered < total:
                    raise _interrupted(index, f"only {answered} shards out of {total} answered")
                if not reply["hits"]["hits"]:
                    return
                yield from reply["hits"]["hits"]
                reply = client.scroll(body={"scroll_id": scroll, "scroll": _KEPT})
    except RequestError as error:
        raise ClusterError(f"Index {index!r} cannot be read: {reason_of(error)}") from error
    except NotFoundError as error:
        raise _interrupted(index, reason_of(error)) from error
    finally:
        if scroll is not None:
            with suppress(OpenSearchException):
                client.clear_scroll(body={"scroll_id": [scroll]})


def _interrupted(index: str, reason: str) -> ClusterError:
    return ClusterError(f"Reading {index!r} was interrupted: {reason}. Run it again.")
