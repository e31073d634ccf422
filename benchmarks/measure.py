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

_MIN_SEARCHES = 200
"""With fewer searches of a system in a block, medians are too noisy to tell whether they have settled."""

_SETTLED = 0.97
"""Medians have settled when no system's is below this share of its previous one."""


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
    warm_up_rounds: int


def measure(
    client: OpenSearch,
    systems: Sequence[Answers],
    requests: Sequence[Sequence[Request]],
    *,
    rounds: int = 3,
    block: int = 50,
    patience_s: float = 60.0,
    progress: Callable[[float], None] | None = None,
) -> list[Measured]:
    """Time every query of every system, in turns, so that noise affects all systems equally.

    The server compiles its code while it searches: over the first few thousand searches latencies fall by a third, not
    at the same pace for all systems. After one round of warm-up, blocks of `rounds` rounds are therefore repeated until
    the medians have settled, and only the last two blocks are reported.

    Args:
        client: A client with one connection.
        systems: The systems, with merged indices.
        requests: Requests of each system, in the order of the queries.
        rounds: Rounds of a block; in a round, every query is sent to every system.
        block: Queries per turn of a system.
        patience_s: Seconds for each three systems after which no further block is begun, except the second one.
        progress: Called with the completed fraction.
    """
    until = time.perf_counter() + patience_s * max(1.0, len(systems) / 3)
    report = _Halves(progress or (lambda _: None))
    turns = _Turns(client, systems, requests, block)
    hits, _ = turns.take(1, report)
    blocks: list[list[NDArray[np.float64]]] = []
    while len(blocks) < 2 or not _have_settled(*blocks[-2:]):
        blocks.append(turns.take(rounds, report)[1])
        if rounds * len(requests[0]) < _MIN_SEARCHES or (len(blocks) > 1 and time.perf_counter() > until):
            break
    report.end()
    times = [np.concatenate(each) for each in zip(*blocks[-2:], strict=True)]
    warm_up = 1 + rounds * max(0, len(blocks) - 2)
    return [Measured(found, to_latency(taken), taken, warm_up) for found, taken in zip(hits, times, strict=True)]


def _have_settled(before: Sequence[NDArray[np.float64]], after: Sequence[NDArray[np.float64]]) -> bool:
    return all(np.median(new) > _SETTLED * np.median(old) for old, new in zip(before, after, strict=True))


class _Halves:
    """Progress of steps of unknown number: each takes half of what the steps before it have left."""

    def __init__(self, progress: Callable[[float], None]) -> None:
        self._progress, self._left = progress, 1.0

    def __call__(self, share: float) -> None:
        """Report the completed share of a step; 1 ends it."""
        self._progress(1 - self._left * (1 - share / 2))
        if share == 1:
            self._left /= 2

    def end(self) -> None:
        """Report that no step follows."""
        self._progress(1.0)


class _Turns:
    """Sends the queries of systems in turns."""

    def __init__(
        self, client: OpenSearch, systems: Sequence[Answers], requests: Sequence[Sequence[Request]], block: int
    ) -> None:
        self._client, self._systems, self._requests, self._block = client, systems, requests, block
        self._turn = 0

    def take(
        self, rounds: int, progress: Callable[[float], None]
    ) -> tuple[list[list[list[Hit]]], list[NDArray[np.float64]]]:
        """Send every query to every system in each round; return the hits of each system and its times in ms."""
        queries = len(self._requests[0])
        hits: list[list[list[Hit]]] = [[] for _ in self._systems]
        times: list[list[float]] = [[] for _ in self._systems]
        for turn in range(rounds):
            for start in range(0, queries, self._block):
                # The order changes every turn, so that no system always follows the same one.
                order = np.roll(np.arange(len(self._systems)), self._turn + start // self._block)
                for which in order.tolist():
                    for request in self._requests[which][start : start + self._block]:
                        begun = time.perf_counter()
                        found = self._systems[which].search(self._client, request)
                        times[which].append(1000 * (time.perf_counter() - begun))
                        hits[which].append(found)
                progress((turn * queries + min(start + self._block, queries)) / (rounds * queries))
            self._turn += 1
        return hits, [np.array(taken).reshape(rounds, queries) for taken in times]


def timed(each: Measured, reference: Measured) -> dict[str, Any]:
    """Return the latency of a system and its ratios to a reference, for a row of a result."""
    row: dict[str, Any] = asdict(each.latency) | {"warm_up_rounds": each.warm_up_rounds}
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
    queries = times_ms.shape[1]
    drawn = np.random.default_rng(0).integers(0, queries, size=(resamples, queries))
    own, other = (np.percentile(times[:, drawn], percentile, axis=(0, 2)) for times in (times_ms, reference_ms))
    low, high = np.percentile(own / other, [2.5, 97.5])
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
