"""Searches while documents are added, updated and deleted at fixed rates."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from opensearchpy import OpenSearch

from benchmarks.datasets import EncodedSet
from benchmarks.measure import to_latency
from benchmarks.progress import Report
from benchmarks.scenarios.live import (
    by_index,
    checked_shape,
    describe_row,
    each_index,
    empty_indices,
    exact_top_10,
    wait_for_merges,
)
from benchmarks.scenarios.writes import WriteStream, Written, writing
from benchmarks.systems.base import Request, Writable, write
from connector.evaluation.metrics import overlap_at

NO_WRITES, MAXIMUM, HALF, SAME = "no writes", "maximum", "half the maximum", "half of HNSW's maximum"
RATES = (NO_WRITES, MAXIMUM, HALF, SAME)

_WARM_UP = 20

_MOST_S_WITHOUT_WRITES = 20.0
"""Seconds of a turn without writes, which needs no time for merges."""

_MIN_SEARCHES = 100
"""Minimum number of searches for separate latencies."""

_MIN_TURNS = 5
"""Minimum number of turns for an interval; with fewer, resampled turns differ too little."""


@dataclass(frozen=True, slots=True)
class Load:
    """Settings of the load.

    Attributes:
        rounds: Turns of each system per rate.
        seconds: Duration of a turn, at most 20 without writes.
        writers: Number of writing threads.
        per_s: Documents written per second to each system; empty for rates derived from each system's maximum.
    """

    rounds: int = 3
    seconds: float = 10.0
    writers: int = 2
    per_s: tuple[float, ...] = ()

    @property
    def rates(self) -> tuple[str, ...]:
        """Names of the rates, in the order in which they are measured."""
        return (NO_WRITES, *self._fixed) if self.per_s else RATES

    def rate_of(self, name: str, place: int, most: Sequence[dict[str, Any]]) -> float | None:
        """Return the documents sent per second to a system; None for as many as possible.

        Args:
            name: Name of a rate.
            place: Place of the system.
            most: Rows of the systems at their maximum rates, if the rate is derived from these.
        """
        if name in (NO_WRITES, MAXIMUM):
            return 0.0 if name == NO_WRITES else None
        if name in (HALF, SAME):
            return float(most[place if name == HALF else 0]["documents_per_s"]) / 2
        return self._fixed[name]

    @property
    def _fixed(self) -> dict[str, float]:
        return {f"{per_s:,g} documents/s": per_s for per_s in self.per_s}


def measure_churn(
    connect: Callable[[], OpenSearch],
    data: EncodedSet,
    systems: Sequence[Writable],
    load: Load,
    *,
    done: Mapping[str, list[dict[str, Any]]],
    report: Report,
    add: Callable[[str, list[dict[str, Any]]], None],
) -> None:
    """Write the indices, and search them in turns at each rate.

    Args:
        connect: Creates a client; indices are deleted at the end.
        data: The encoded set.
        systems: The first is the reference.
        load: Settings of the load.
        done: Rates that are already measured, with their rows.
        report: Called with the current task and its completed fraction.
        add: Stores the rows of each rate.

    Raises:
        ClusterError: An index does not contain what was written.
        BulkWriteError: A document was refused.
    """
    rows = dict(done)
    with connect() as client, empty_indices(client, systems):
        streams = {system.index: WriteStream(data, system) for system in by_index(systems)}
        for system in each_index(systems, report):
            first = streams[system.index].first.tolist()
            write(client, system.index, [data.documents[row].doc_id for row in first], system.sources(data, first))
            wait_for_merges(client, system.index)
        requests = [system.prepare(data) for system in systems]
        for rate in load.rates:
            if rate not in rows:
                turns = _Turns(connect, client, data, systems, requests, streams)
                rows[rate] = turns.measure(rate, rows.get(MAXIMUM, []), load, report)
                add(rate, rows[rate])


@dataclass(frozen=True, slots=True)
class _Turns:
    connect: Callable[[], OpenSearch]
    client: OpenSearch
    data: EncodedSet
    systems: Sequence[Writable]
    requests: Sequence[Sequence[Request]]
    streams: Mapping[str, WriteStream]

    def measure(self, rate: str, most: Sequence[dict[str, Any]], load: Load, report: Report) -> list[dict[str, Any]]:
        """Measure each system in turns at a rate, and return a row for each."""
        asked = [load.rate_of(rate, place, most) for place in range(len(self.systems))]
        times: list[list[NDArray[np.float64]]] = [[] for _ in self.systems]
        merging: list[list[NDArray[np.bool_]]] = [[] for _ in self.systems]
        written: list[list[Written]] = [[] for _ in self.systems]
        seconds = min(load.seconds, _MOST_S_WITHOUT_WRITES) if rate == NO_WRITES else load.seconds
        for turn in range(load.rounds):
            for step, place in enumerate(np.roll(np.arange(len(self.systems)), turn).tolist()):
                report(f"{rate}: searching in turns", (turn + step / len(self.systems)) / load.rounds)
                index = self.systems[place].index
                with writing(self.connect, self.streams[index], asked[place], writers=load.writers) as meanwhile:
                    begun, taken = self._search(place, seconds)
                times[place].append(taken)
                merging[place].append(meanwhile.merging_at(begun))
                written[place].append(meanwhile)
                wait_for_merges(self.client, index)
        report(f"{rate}: searching in turns", 1.0)
        rows: list[dict[str, Any]] = []
        for place, system in enumerate(self.systems):
            row = describe_row(system) | {"asked_per_s": asked[place]} | _figures(written[place])
            row |= split_latencies(np.concatenate(times[place]), np.concatenate(merging[place]))
            row |= {f"{name}_ratio": row[f"{name}_ms"] / (rows or [row])[0][f"{name}_ms"] for name in ("p50", "p99")}
            row["turn_means_ms"] = [float(taken.mean()) for taken in times[place]]
            if place and load.rounds >= _MIN_TURNS:
                row["mean_interval"] = mean_interval(times[place], times[0])
            rows.append(row | self._state(place))
        return rows

    def _search(self, place: int, seconds: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Send queries in sequence from one client; return when each was sent, and its milliseconds."""
        system, requests = self.systems[place], self.requests[place]
        sent, times = list[float](), list[float]()
        for request in requests[:_WARM_UP]:
            system.search(self.client, request)
        until, number = time.perf_counter() + seconds, 0
        while (begun := time.perf_counter()) < until:
            system.search(self.client, requests[number % len(requests)])
            sent.append(begun)
            times.append(1000 * (time.perf_counter() - begun))
            number += 1
        return np.array(sent), np.array(times)

    def _state(self, place: int) -> dict[str, Any]:
        """State of the index after the turns, and overlap with exact search."""
        system = self.systems[place]
        rows = self.streams[system.index].rows
        shape = checked_shape(self.client, system, len(rows))
        found = self.data.run_of([system.search(self.client, request) for request in self.requests[place]])
        return asdict(shape) | {"overlap@10": overlap_at(found, exact_top_10(self.data, rows), 10)}


def _figures(written: Sequence[Written]) -> dict[str, float]:
    found = [seconds for each in written for seconds in each.found_s]
    figures = {"documents_per_s": sum(each.documents for each in written) / sum(each.seconds for each in written)}
    if found:
        figures |= {"found_p50_s": float(np.median(found)), "found_most_s": max(found)}
    return figures | {"merging_share": float(np.mean([merging for each in written for _, merging in each.merges]))}


def split_latencies(times_ms: NDArray[np.float64], merging: NDArray[np.bool_]) -> dict[str, Any]:
    """Return the latency of all searches, and separately of those during merges and between them.

    Args:
        times_ms: (n,), milliseconds.
        merging: (n,), whether merges were running.
    """
    row: dict[str, Any] = asdict(to_latency(times_ms))
    for name, chosen in (("during_merges", times_ms[merging]), ("between_merges", times_ms[~merging])):
        if chosen.size >= _MIN_SEARCHES:
            row[name] = asdict(to_latency(chosen))
    return row


def mean_interval(
    times_ms: Sequence[NDArray[np.float64]], reference_ms: Sequence[NDArray[np.float64]], *, resamples: int = 2_000
) -> tuple[float, float]:
    """Bootstrap the 95 % interval of the ratio of two systems' mean times over turns.

    Searches of one turn share its merges, so turns are resampled, not searches.

    Args:
        times_ms: Milliseconds of the searches of each turn of the system.
        reference_ms: Those of the reference.
        resamples: Bootstrap samples.
    """
    random = np.random.default_rng(0)
    own, other = (_resampled_means(turns, random, resamples) for turns in (times_ms, reference_ms))
    low, high = np.percentile(own / other, [2.5, 97.5])
    return float(low), float(high)


def _resampled_means(
    turns: Sequence[NDArray[np.float64]], random: np.random.Generator, resamples: int
) -> NDArray[np.float64]:
    sums, counts = np.array([turn.sum() for turn in turns]), np.array([turn.size for turn in turns])
    drawn = random.integers(len(turns), size=(resamples, len(turns)))
    return np.asarray(sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1), dtype=np.float64)
