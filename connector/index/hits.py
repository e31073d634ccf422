"""Read all hits of a query, however long the documents of a page take to be processed, or of ids."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from typing import Any

from opensearchpy import OpenSearch
from opensearchpy.exceptions import NotFoundError, OpenSearchException, RequestError

from connector.connection.client import explained, reason_of
from connector.errors import ClusterError
from connector.index.complete import WHOLE, count_shards
from connector.index.patience import patiently
from connector.index.point_in_time import has_shard_doc, point_in_time
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


def read_hits(
    client: OpenSearch, index: str, query: Mapping[str, Any], *, patient: bool = False
) -> Iterator[dict[str, Any]]:
    """Yield all hits of a query, as they were when reading began.

    Args:
        client: A connected client.
        index: The index or alias, or several joined by commas.
        query: Body of the search.
        patient: Repeat the request for a page for up to ten minutes while the server is busy or unreachable. Servers
            without `_shard_doc` (before 3.3) are read by a scroll, of which no page can be requested twice.

    Raises:
        BulkWriteError: The server stayed busy or unreachable for ten minutes.
        ClusterError: The server is unreachable, denies access, or no longer has the index, all of its shards or the
            open search.
    """
    try:
        with explained(client):
            pages = _pages if patient and has_shard_doc(client) else _scrolled
            with closing(pages(client, index, {**query, "size": _PAGE})) as found:
                for hits in found:
                    yield from hits
    except RequestError as error:
        raise ClusterError(f"Index {index!r} cannot be read: {reason_of(error)}") from error
    except NotFoundError as error:
        raise _interrupted(index, reason_of(error)) from error


def _pages(client: OpenSearch, index: str, query: Mapping[str, Any]) -> Generator[list[dict[str, Any]], None, None]:
    """The hits of a query, page by page, from a point in time. Errors pass through."""
    with point_in_time(client, index, {"keep_alive": _KEPT}) as pit:
        # By `_doc` first, for which the server skips what earlier pages contained.
        order = {"sort": [{"_doc": "asc"}, {"_shard_doc": "asc"}], "track_total_hits": False}
        body = {**query, **order, "pit": {"id": pit, "keep_alive": _KEPT}}

        def send() -> list[dict[str, Any]]:
            with explained(client):
                hits: list[dict[str, Any]] = client.search(body=body, params=WHOLE)["hits"]["hits"]
                return hits

        while True:
            hits = patiently(send, what=f"Reading {index!r}", given_up=f"Index {index!r} could not be read")
            yield hits
            if len(hits) < _PAGE:
                return
            body["search_after"] = hits[-1]["sort"]


def _scrolled(client: OpenSearch, index: str, query: Mapping[str, Any]) -> Generator[list[dict[str, Any]], None, None]:
    """The hits of a query, page by page, by a scroll. Errors pass through."""
    scroll: str | None = None
    try:
        reply = client.search(index=index, body={**query, "sort": "_doc"}, scroll=_KEPT)
        while True:
            scroll = reply.get("_scroll_id", scroll)
            # Of a page without hits, too: all that is missing may be on the shard that is away.
            answered, total = count_shards(reply)
            if answered < total:
                raise _interrupted(index, f"only {answered} shards out of {total} answered")
            if not reply["hits"]["hits"]:
                return
            yield reply["hits"]["hits"]
            reply = client.scroll(body={"scroll_id": scroll, "scroll": _KEPT})
    finally:
        if scroll is not None:
            with suppress(OpenSearchException):
                client.clear_scroll(body={"scroll_id": [scroll]})


def _interrupted(index: str, reason: str) -> ClusterError:
    return ClusterError(f"Reading {index!r} was interrupted: {reason}. Run it again.")
