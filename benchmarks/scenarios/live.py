"""Indices with the server's own refreshes and merges, and changing documents."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from opensearchpy import OpenSearch

from benchmarks.datasets import EncodedSet
from benchmarks.progress import Report, silent
from benchmarks.suites import PREFIX, OwnDictionary
from benchmarks.systems.base import Writable
from benchmarks.systems.lucene_hnsw import LuceneHnsw
from benchmarks.systems.rescored import Rescored
from connector.errors import ClusterError
from connector.evaluation.exact import exact_search
from connector.query.rescore import MAX_RESCORED
from connector.search.opened import features_for
from connector.types import Hit

W = TypeVar("W", bound=Writable)

REFRESHED = "1s"
"""The server's default, set explicitly so that it also applies without searches, as in an index in use."""

_POLL_S = 0.2
_PATIENCE_S = 1_800.0


@dataclass(frozen=True, slots=True)
class Shape:
    """Segments and documents of an index.

    Attributes:
        segments: Number of searched segments.
        documents: Number of live documents.
        deleted: Number of deleted documents that still occupy segments.
        index_bytes: Size of the primaries.
    """

    segments: int
    documents: int
    deleted: int
    index_bytes: int


def new_index_systems(data: EncodedSet, suite: str, *, merged: bool = False, report: Report = silent) -> list[Writable]:
    """Return HNSW at its default, a new index at its default, and with a large window, with index names of a suite.

    Args:
        data: The encoded set.
        suite: Part of the index names, so that suites can run concurrently.
        merged: The indices will be merged, and have the size that they would have after a later merge: without the
            copy of features and codes for recovery.
        report: Called with the current task and its completed fraction.

    Raises:
        ConnectorError: There are too few documents for a dictionary.
    """
    own = OwnDictionary(data, report)
    return _beside_hnsw(data, suite, [own.system(), own.wide()], recoverable=not merged)


def filtered_systems(data: EncodedSet, suite: str, report: Report = silent) -> Callable[[int], list[Writable]]:
    """The systems of `new_index_systems` with filters, by number of matching documents."""
    own = OwnDictionary(data, report)

    def systems(kept: int) -> list[Writable]:
        share = 1.0 if kept <= MAX_RESCORED else kept / len(data.documents)
        ours = [own.system(features_for(own.k, share)), own.wide(), own.system(window=0)]
        return _beside_hnsw(data, suite, ours, recoverable=False)

    return systems


def _beside_hnsw(data: EncodedSet, suite: str, ours: Iterable[Rescored], *, recoverable: bool) -> list[Writable]:
    hnsw = LuceneHnsw(f"{PREFIX}-{suite}-hnsw", data.document_embeddings.shape[1])
    return [hnsw, *(replace(system, index=f"{PREFIX}-{suite}-own", recoverable=recoverable) for system in ours)]


def by_index(systems: Iterable[W]) -> list[W]:
    """Return the first system of each index, which writes it."""
    first: dict[str, W] = {}
    for system in systems:
        first.setdefault(system.index, system)
    return list(first.values())


def each_index(systems: Iterable[W], report: Report, what: str = "indexing") -> Iterator[W]:
    """Yield the first system of each index, and report progress."""
    firsts = by_index(systems)
    for step, system in enumerate(firsts):
        report(what, step / len(firsts))
        yield system
    report(what, 1.0)


@contextmanager
def empty_indices(client: OpenSearch, systems: Iterable[Writable]) -> Iterator[None]:
    """Create empty indices with the server's default refresh interval, and delete them afterwards."""
    indices = {system.index for system in systems}
    try:
        for system in by_index(systems):
            client.indices.delete(index=system.index, ignore_unavailable=True)
            system.configure(client)
            client.indices.put_settings(index=system.index, body={"index": {"refresh_interval": REFRESHED}})
        yield
    finally:
        for index in indices:
            client.indices.delete(index=index, ignore_unavailable=True)


def wait_for_merges(client: OpenSearch, index: str) -> None:
    """Refresh an index and wait until no merges are running.

    Raises:
        ClusterError: Merges are still running after half an hour.
    """
    client.indices.refresh(index=index)
    until = time.monotonic() + _PATIENCE_S
    while is_merging(client, index):
        if time.monotonic() > until:
            raise ClusterError(f"Index {index!r} is still merging after {_PATIENCE_S:.0f} s; see the node's log.")
        time.sleep(_POLL_S)
    client.indices.refresh(index=index)


def is_merging(client: OpenSearch, index: str) -> bool:
    """Whether merges of an index are running."""
    stats = client.indices.stats(index=index, metric="merge")["indices"][index]
    return bool(stats["primaries"]["merges"]["current"])


def wait_for_leases(client: OpenSearch, index: str, patience_s: float) -> None:
    """Wait until a merge can drop all deleted documents, which the server retains for recovery for some time.

    Args:
        client: A client.
        index: The index.
        patience_s: Maximum wait, after which some deleted documents remain.
    """
    until = time.monotonic() + patience_s
    while time.monotonic() < until:
        shards = client.indices.stats(index=index, level="shards")["indices"][index]["shards"].values()
        if not any(_is_leased(copy) for copies in shards for copy in copies):
            break
        time.sleep(_POLL_S)
    client.indices.flush(index=index, force=True, wait_if_ongoing=True)


def _is_leased(shard: dict[str, Any]) -> bool:
    held = [lease["retaining_seq_no"] for lease in shard["retention_leases"]["leases"]]
    return bool(min(held, default=0) <= shard["seq_no"]["max_seq_no"])


def read_shape(client: OpenSearch, index: str) -> Shape:
    """Read segments, documents and size of an index, without the segments that merges have replaced."""
    client.indices.flush(index=index, force=True, wait_if_ongoing=True)
    primaries = client.indices.stats(index=index, metric="docs,store")["indices"][index]["primaries"]
    shards = client.indices.segments(index=index)["indices"][index]["shards"]
    segments = [
        segment for copies in shards.values() for copy in copies if copy["routing"]["primary"]
        for segment in copy["segments"].values() if segment["search"]
    ]  # fmt: skip
    documents = primaries["docs"]
    size = int(primaries["store"]["size_in_bytes"])
    return Shape(len(segments), int(documents["count"]), int(documents["deleted"]), size)


def checked_shape(client: OpenSearch, system: Writable, documents: int) -> Shape:
    """Read the shape of a system's index, with what the system stores beside it, and check its number of documents.

    Raises:
        ClusterError: The number of documents is wrong.
    """
    shape = read_shape(client, system.index)
    if shape.documents != documents:
        raise ClusterError(
            f"Index {system.index!r} has {shape.documents:,} documents instead of {documents:,}; another process may "
            "have written to it."
        )
    return replace(shape, index_bytes=shape.index_bytes + getattr(system, "more_bytes", 0))


def exact_top_10(
    data: EncodedSet, rows: NDArray[np.int64], contents: NDArray[np.int64] | None = None
) -> dict[str, list[Hit]]:
    """Search documents exactly.

    Args:
        data: The encoded set.
        rows: (n,), rows of the documents in the index.
        contents: (n,), row of each document's content; None means its own.
    """
    embeddings = data.document_embeddings[rows if contents is None else contents]
    ids = data.doc_ids
    hits = exact_search(embeddings, data.query_embeddings, [ids[row] for row in rows.tolist()], 10)
    return data.run_of(hits)


def describe_row(system: Writable) -> dict[str, Any]:
    """The first columns of a row."""
    return {"system": system.name, "knob": system.knob}
