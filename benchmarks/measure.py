"""Measure the latency of systems in turns, and throughput. All searches are timed here."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from threading import Barrier
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from opensearchpy import OpenSearch

from benchmarks.systems.base import Request, System
from connector.types import Hit

_PATIENCE_S = 60.0


class Answers(Protocol):
    """Something that answers requests: a system, or a query encoder."""

    def search(self, client: OpenSearch, request: Request) -> list[Hit]:
        """Answer one request; this is timed."""
        ...


@dataclass(frozen=True, slots=True)
class Latency:
    """Latency of single requests by one client, in milliseconds."""

    p50_ms: float
    p90_ms: float
    p99_ms: float
    mean_ms: float
    requests: int


@dataclass(frozen=True, slots=True)
class Measured:
    """Hits and latencies of one system."""

    hits: list[list[Hit]]
    latency: Latency
    times_ms: NDArray[np.float64]
    """(rounds, queries)"""


def measure(
    client: OpenSearch,
    systems: Sequence[Answers],
    requests: Sequence[Sequence[Request]],
    *,
    rounds: int = 3,
    block: int = 50,
    progress: Callable[[float], None] | None = None,
) -> list[Measured]:
    """Time every query of every system, in turns, so that noise affects all systems equally.

    Args:
        client: A client with one connection.
        systems: The systems, with merged indices.
        requests: Requests of each system, in the order of the queries.
        rounds: Timed rounds, in which every query is sent to every system, after a warm-up.
        block: Queries per turn of a system.
        progress: Called with the completed fraction.
    """
    queries = len(requests[0])
    hits: list[list[list[Hit]]] = [[] for _ in systems]
    times: list[list[float]] = [[] for _ in systems]
    for turn in range(rounds + 1):
        for start in range(0, queries, block):
            # The order changes every turn, so that no system always follows the same one.
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
    return [
        Measured(found, to_latency(np.array(taken)), np.array(taken).reshape(rounds, queries))
        for found, taken in zip(hits, times, strict=True)
    ]


def timed(each: Measured, reference: Measured) -> dict[str, Any]:
    """Return the latency of a system and its ratios to a reference, for a row of a result."""
    row: dict[str, Any] = asdict(each.latency)
    for percentile, name in ((50, "p50"), (99, "p99")):
        row[f"{name}_ratio"] = getattr(each.latency, f"{name}_ms") / getattr(reference.latency, f"{name}_ms")
        row[f"{name}_interval"] = ratio_interval(each.times_ms, reference.times_ms, percentile)
    return row


def ratio_interval(
    times_ms: NDArray[np.float64], reference_ms: NDArray[np.float64], percentile: float, *, resamples: int = 500
) -> tuple[float, float]:
    """Bootstrap the 95 % interval of the ratio of two systems' percentiles over queries.

    Args:
        times_ms: (rounds, queries), times of the system.
        reference_ms: (rounds, queries), times of the reference.
        percentile: 50 for the median.
        resamples: Bootstrap samples.
    """
    random = np.random.default_rng(0)
    ratios = []
    for _ in range(resamples):
        some = random.integers(0, times_ms.shape[1], size=times_ms.shape[1])
        own, other = np.percentile(times_ms[:, some], percentile), np.percentile(reference_ms[:, some], percentile)
        ratios.append(own / other)
    low, high = np.percentile(ratios, [2.5, 97.5])
    return float(low), float(high)


def difference_interval(
    values: NDArray[np.float64], reference: NDArray[np.float64], *, resamples: int = 2_000
) -> tuple[float, float]:
    """Bootstrap the 95 % interval of the mean difference of two systems' values over queries.

    Args:
        values: (queries,), values of the system.
        reference: (queries,), values of the reference.
        resamples: Bootstrap samples.
    """
    differences = values - reference
    drawn = np.random.default_rng(0).integers(0, len(differences), size=(resamples, len(differences)))
    low, high = np.percentile(differences[drawn].mean(axis=1), [2.5, 97.5])
    return float(low), float(high)


def throughput(
    connect: Callable[[], OpenSearch],
    system: System,
    requests: Sequence[Request],
    clients: int,
    *,
    seconds: float = 3.0,
) -> float:
    """Measure requests per second of several concurrent clients, each with its own connection.

    Args:
        connect: Creates a client.
        system: The system, with a merged index.
        requests: Requests, sent in sequence, with another start for each client.
        clients: Number of clients (threads).
        seconds: Duration.
    """
    begin, answered = Barrier(clients + 1), [0] * clients

    def ask(number: int) -> None:
        with connect() as client:
            system.search(client, requests[number % len(requests)])
            begin.wait(_PATIENCE_S)
            until = time.perf_counter() + seconds
            place = number * len(requests) // clients
            while time.perf_counter() < until:
                system.search(client, requests[place % len(requests)])
                place += 1
                answered[number] += 1

    with ThreadPoolExecutor(clients) as pool:
        asking = [pool.submit(ask, number) for number in range(clients)]
        begin.wait(_PATIENCE_S)
        started = time.perf_counter()
        for future in asking:
            future.result()
        return sum(answered) / (time.perf_counter() - started)


def to_latency(times_ms: NDArray[np.float64]) -> Latency:
    """Return percentiles and mean of times."""
    p50, p90, p99 = np.percentile(times_ms, [50, 90, 99])
    return Latency(float(p50), float(p90), float(p99), float(np.mean(times_ms)), times_ms.size)
