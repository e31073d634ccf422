"""Document counts, used fields and disk size of an index."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from opensearchpy import OpenSearch
from opensearchpy.exceptions import NotFoundError, RequestError

from connector.connection.client import explained, reason_of
from connector.errors import IndexMappingError, SearchError
from connector.index.complete import check_complete
from connector.query.clauses import every

_MERGE_TIMEOUT_S = 1_800


def all_of(filters: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Build a query body for the documents that match all filters; without filters, for all documents."""
    return {"query": every(filters)}


def count_matching(client: OpenSearch, index: str, filters: Sequence[Mapping[str, Any]] = ()) -> int:
    """Count the documents that match all filters.

    Raises:
        ClusterError: The server is unreachable or denies access.
        IndexMappingError: The index does not exist.
        SearchError: The server rejects a filter.
    """
    try:
        with explained(client):
            reply = client.count(index=index, body=all_of(filters))
    except NotFoundError as error:
        raise IndexMappingError(f"There is no index {index!r}.") from error
    except RequestError as error:
        raise SearchError(f"Index {index!r} rejects the filter: {reason_of(error)}") from error
    check_complete(index, reply)
    return int(reply["count"])


def find_unused(client: OpenSearch, index: str, fields: Sequence[str]) -> list[str]:
    """Return the fields or metadata keys that no document has; fields that cannot be queried count as used.

    Raises:
        ClusterError: The server is unreachable or denies access.
    """
    if not fields:
        return []
    lines: list[dict[str, Any]] = []
    for field in fields:
        lines += [{"index": index}, {**all_of([{"exists": {"field": field}}]), "size": 0, "terminate_after": 1}]
    with explained(client):
        replies = client.msearch(body=lines)["responses"]
    return [
        field
        for field, reply in zip(fields, replies, strict=True)
        if "error" not in reply and not reply["hits"]["total"]["value"]
    ]


def merge_index(client: OpenSearch, index: str) -> None:
    """Merge an index to one segment, flush it and refresh it."""
    client.indices.refresh(index=index)
    client.indices.forcemerge(index=index, max_num_segments=1, request_timeout=_MERGE_TIMEOUT_S)
    client.indices.flush(index=index, force=True, wait_if_ongoing=True)
    client.indices.refresh(index=index)


def file_bytes(client: OpenSearch, index: str) -> dict[str, int]:
    """Bytes of the primary shards by Lucene file extension, largest first."""
    params = {"include_segment_file_sizes": "true", "level": "indices"}
    stats = client.indices.stats(index=index, metric="segments", params=params)
    files = stats["indices"][index]["primaries"]["segments"]["file_sizes"]
    sizes = {kind: int(facts["size_in_bytes"]) for kind, facts in files.items()}
    return dict(sorted(sizes.items(), key=lambda each: -each[1]))
