"""How many documents an index holds, which fields they have, and what it weighs on disk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from opensearchpy import OpenSearch
from opensearchpy.exceptions import NotFoundError, RequestError

from connector.connection.client import explained, reason_of
from connector.errors import IndexMappingError, SearchError
from connector.query.clauses import every

_MERGE_TIMEOUT_S = 1_800


def all_of(filters: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The body that asks for the documents that match all filters; without any, for all documents."""
    return {"query": every(filters)}


def count_matching(client: OpenSearch, index: str, filters: Sequence[Mapping[str, Any]] = ()) -> int:
    """Count the documents that match all filters.

    Raises:
        ClusterError: The server is away or does not permit it.
        IndexMappingError: There is no such index.
        SearchError: The server refuses a filter.
    """
    try:
        with explained(client):
            return int(client.count(index=index, body=all_of(filters))["count"])
    except NotFoundError as error:
        raise IndexMappingError(f"There is no index {index!r}.") from error
    except RequestError as error:
        raise SearchError(f"Index {index!r} refuses the filter: {reason_of(error)}") from error


def find_unused(client: OpenSearch, index: str, fields: Sequence[str]) -> list[str]:
    """Find the fields, or keys of the metadata, that no document has; one that cannot be asked for counts as used.

    Raises:
        ClusterError: The server is away or does not permit it.
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
    """Merge an index to one segment, bring it down to the disk, and make it visible to searches and statistics."""
    client.indices.refresh(index=index)
    client.indices.forcemerge(index=index, max_num_segments=1, request_timeout=_MERGE_TIMEOUT_S)
    client.indices.flush(index=index, force=True, wait_if_ongoing=True)
    client.indices.refresh(index=index)


def file_bytes(client: OpenSearch, index: str) -> dict[str, int]:
    """Bytes of an index's primaries by kind of file (the suffix Lucene gives it), largest first."""
    params = {"include_segment_file_sizes": "true", "level": "indices"}
    stats = client.indices.stats(index=index, metric="segments", params=params)
    files = stats["indices"][index]["primaries"]["segments"]["file_sizes"]
    sizes = {kind: int(facts["size_in_bytes"]) for kind, facts in files.items()}
    return dict(sorted(sizes.items(), key=lambda each: -each[1]))
