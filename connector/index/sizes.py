"""What an index weighs on disk."""

from __future__ import annotations

from opensearchpy import OpenSearch

_MERGE_TIMEOUT_S = 1_800


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
