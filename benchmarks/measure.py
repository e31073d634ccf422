"""Index bytes, and latency of systems that take turns. The only clock."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from opensearchpy import OpenSearch

from benchmarks.systems.base import Request, System
from connector.errors import ClusterError
from connector.types import Hit


@dataclass(frozen=True, slots=True)
class Latency:
    """Of single requests by one client, query encoding apart, in milliseconds."""

    p50_ms: float
    p99_ms: float
    mean_ms: float
    requests: int


@dataclass(frozen=True, slots=True)
class Measured:
    """One system at one setting."""

    system: System
    hits: list[list[Hit]]
    latency: Latency


def settle(client: OpenSearch, index: str, documents: int) -> int:
    """Merge an index to one segment, flush it, and return its size in bytes (primaries).

    Raises:
        ClusterError: It does not hold as many documents as were written.
    """
    client.indices.refresh(index=index)
    client.indices.forcemerge(index=index, max_num_segments=1, request_timeout=600)
    client.indices.flush(index=index, force=True, wait_if_ongoing=True)
    client.indices.refresh(index=index)
    found = client.count(index=index)["count"]
    if found != documents:
        raise ClusterError(f"Index {index!r} holds {found} documents, {documents} were written; do not time it.")
    stats = client.indices.stats(index=index, metric="store")
    return int(stats["indices"][index]["primaries"]["store"]["size_in_bytes"])


def measure(
    client: OpenSearch,
    systems: Sequence[System],
    requests: Sequence[Sequence[Request]],
    *,
    rounds: int = 3,
    block: int = 50,
    progress: Callable[[float], None] | None = None,
) -> list[Measured]:
    """Time every query of every system, the systems taking turns so that noise hits all alike.

    Args:
        client: One client, one connection.
        systems: Settled before.
        requests: Those of each system, in the order of the queries.
        rounds: Times that every query is sent to every system after one round of warm-up, which is not timed.
        block: Queries that a system gets in one turn.
        progress: Told the share that is done.
    """
    queries = len(requests[0])
    hits: list[list[list[Hit]]] = [[] for _ in systems]
    times: list[list[float]] = [[] for _ in systems]
    for turn in range(rounds + 1):
        for start in range(0, queries, block):
            # The order changes with every turn: nobody always comes after the same neighbour.
            for which in np.roll(np.arange(len(systems)), turn + start // block).tolist():
                for request in requests[which][start : start + block]:
                    begun = time.perf_counter()
                    found = systems[which].search(client, request)
                    elapsed = time.perf_counter() - begun
                    if turn == 0:
                        hits[which].append(found)
                    else:
                        times[which].append(1000 * elapsed)
            if progress is not None:
                progress((turn * queries + min(start + block, queries)) / ((rounds + 1) * queries))
    return [Measured(system, found, _latency(taken)) for system, found, taken in zip(systems, hits, times, strict=True)]


def _latency(times_ms: Sequence[float]) -> Latency:
    p50, p99 = np.percentile(times_ms, [50, 99])
    return Latency(float(p50), float(p99), float(np.mean(times_ms)), len(times_ms))
