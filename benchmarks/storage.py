"""Build an index and check its content and size before anything is timed."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from opensearchpy import OpenSearch

from benchmarks.datasets import EncodedSet
from benchmarks.systems.base import System
from connector.errors import ClusterError
from connector.index.sizes import file_bytes, merge_index

_SAMPLED = 20


@dataclass(frozen=True, slots=True)
class Stored:
    """An index that is ready for timing.

    Attributes:
        bytes: Size of the primaries, merged to one segment and flushed.
        files: Bytes by suffix of Lucene's files.
        build_s: Seconds from the first document to the merged index.
        write_s: Seconds from the first to the last document.
    """

    bytes: int
    files: dict[str, int] = field(default_factory=dict)
    build_s: float = 0.0
    write_s: float = 0.0


def build(client: OpenSearch, system: System, data: EncodedSet) -> Stored:
    """Recreate a system's index, write all documents, merge it, and check its content.

    Raises:
        ClusterError: The number of documents is wrong, or a sampled document cannot be found.
    """
    client.indices.delete(index=system.index, ignore_unavailable=True)
    system.configure(client)
    started = time.perf_counter()
    system.upload(client, data)
    written = time.perf_counter()
    size = settle(client, system.index, len(data.documents))
    built, files = time.perf_counter() - started, file_bytes(client, system.index)
    if size < sum(files.values()):
        raise ClusterError(
            f"Index {system.index!r} has {size} bytes, but its files {sum(files.values())}: the statistics are stale."
        )
    stored = Stored(size, files, built, written - started)
    _check_sample(client, system, data)
    return stored


def settle(client: OpenSearch, index: str, documents: int) -> int:
    """Merge an index to one segment, flush it, and return its size in bytes (primaries).

    Raises:
        ClusterError: The number of documents is wrong.
    """
    merge_index(client, index)
    found = client.count(index=index)["count"]
    if found != documents:
        raise ClusterError(
            f"Index {index!r} has {found} documents, but {documents} were written; its times would not be valid."
        )
    stats = client.indices.stats(index=index, metric="store")
    return int(stats["indices"][index]["primaries"]["store"]["size_in_bytes"])


def _check_sample(client: OpenSearch, system: System, data: EncodedSet) -> None:
    """Check that sampled documents are found by their own content, with the expected score."""
    rows = range(0, len(data.documents), max(1, len(data.documents) // _SAMPLED))
    probes = system.probes(data, rows)
    for row, (request, expected) in zip(rows if probes else (), probes, strict=True):
        doc_id = data.documents[row].doc_id
        query = {"bool": {"must": [request["query"]], "filter": [{"ids": {"values": [doc_id]}}]}}
        found = client.search(index=system.index, body={"size": 1, "_source": False, "query": query})["hits"]["hits"]
        score = float(found[0]["_score"]) if found else 0.0
        if not found or (expected is not None and abs(score - expected) > 2**-6 * expected):
            raise ClusterError(
                f"Index {system.index!r}: document {doc_id!r} scores {score} for itself instead of "
                f"{'a hit' if expected is None else expected}; its times would not be valid."
            )
