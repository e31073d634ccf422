"""A node with little memory: a limit applies to its process and its page cache together."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

import numpy as np
from opensearchpy import OpenSearch

from benchmarks.datasets import EncodedSet
from benchmarks.measure import Measured, measure, timed, to_latency
from benchmarks.progress import Report
from benchmarks.results import Rows
from benchmarks.scenarios.cgroup import Hierarchy, MemoryGroup, drop_caches
from benchmarks.scenarios.live import describe_row, exact_top_10
from benchmarks.systems.base import Request, Writable
from connector.cluster import Cluster, wait_until_ready
from connector.errors import ClusterError
from connector.evaluation.metrics import overlap_at

_READY_S = 300.0

_PATIENCE_S = 60.0
"""Of `measure`: with little memory a single block of rounds may take minutes."""

_YELLOW = {"wait_for_status": "yellow"}


class NodeEndedError(ClusterError):
    """The node cannot answer with this memory limit; the message has the reason."""


@dataclass(frozen=True, slots=True)
class Bench:
    """An embedded node with an index of each system.

    Attributes:
        cluster: Cluster of one embedded node.
        connect: Creates a client.
        hierarchy: Location of new control groups.
        data: The set.
        systems: The systems, HNSW first.
        sizes: Index size of each system in bytes.
        rounds: Rounds of `measure`.
        first_s: Seconds to measure after a restart.
        report: Called with the current task and its completed fraction.
        left_open: Names of the indices that are open in the stopped node, if it was stopped for the next measurement.
    """

    cluster: Cluster
    connect: Callable[[], OpenSearch]
    hierarchy: Hierarchy
    data: EncodedSet
    systems: Sequence[Writable]
    sizes: Sequence[int]
    rounds: int
    first_s: float
    report: Report
    left_open: list[str] = field(default_factory=list, init=False)

    def without_limit(self) -> Rows:
        """Measure all systems in turns, and the node's memory without index files (`node_bytes`)."""
        with self._restarted(None, (), then=self.systems[:1]) as group, self.connect() as client:
            code = group.usage().mapped  # of Java and its archive: no index is open
            self._open(client, self.systems)
            requests = [system.prepare(self.data) for system in self.systems]
            measured = measure(
                client, self.systems, requests, rounds=self.rounds, progress=partial(self.report, "without a limit")
            )
            held = group.usage()
        node = held.total - held.cached + code
        rows = self._rows(measured)
        for row in rows:
            row |= {"node_bytes": node}
        return rows

    def with_limit(self, budgets: Sequence[int], node_bytes: int, what: str) -> Rows:
        """Measure each system alone on a node restarted with limited memory for files.

        Args:
            budgets: Bytes for files, per system.
            node_bytes: Memory that the node needs without files.
            what: Description for progress messages.
        """
        found: list[Measured | None] = []
        more: list[dict[str, Any]] = []
        others = [*self.systems[1:], self.systems[0]]
        for system, other, budget in zip(self.systems, others, budgets, strict=True):
            row: dict[str, Any] = {"limit_bytes": node_bytes + budget, "budget_bytes": budget}
            measured = None
            self.report(f"{system.name}, {what}", 0.0)
            try:
                with self._restarted(node_bytes + budget, [system], then=[other]) as group:
                    measured = self._ask(system, group, row, f"{system.name}, {what}")
            except NodeEndedError as error:
                row["ended"] = str(error)
            found.append(measured)
            more.append(row)
        rows = self._rows(found)
        return [row | extra for row, extra in zip(rows, more, strict=True)]

    def _ask(self, system: Writable, group: MemoryGroup, row: dict[str, Any], what: str) -> Measured:
        requests = system.prepare(self.data)
        with self.connect() as client:
            row["first"] = _watch(client, system, requests, self.first_s)
            before = group.usage().major_faults
            [measured] = measure(
                client,
                [system],
                [requests],
                rounds=self.rounds,
                patience_s=_PATIENCE_S,
                progress=partial(self.report, what),
            )
            row["major_faults"] = group.usage().major_faults - before
        return measured

    def _rows(self, measured: Sequence[Measured | None]) -> Rows:
        truth = exact_top_10(self.data, np.arange(len(self.data.documents)))
        rows = []
        for system, size, each in zip(self.systems, self.sizes, measured, strict=True):
            row = describe_row(system) | {"index_bytes": size}
            if each is not None:
                row["overlap@10"] = overlap_at(self.data.run_of(each.hits), truth, 10)
                row |= timed(each, measured[0]) if measured[0] is not None else asdict(each.latency)
            rows.append(row)
        return rows

    @contextmanager
    def _restarted(
        self, limit: int | None, opened: Sequence[Writable], *, then: Sequence[Writable]
    ) -> Iterator[MemoryGroup]:
        """Run the node in a group, with an empty page cache and only some indices open; `then` is open afterwards."""
        [node] = self.cluster.nodes
        if node.running or self.left_open != [system.index for system in opened]:
            if not node.running:
                self._start()
            with self.connect() as client:
                self._open(client, opened)
            node.stop()
        self.left_open.clear()
        drop_caches()
        with self.hierarchy.group(limit) as group:
            try:
                with group.entered():
                    node.start()
                self._ready()
                yield group
                # For the next measurement, which need not start the node for it.
                group.limit(None)
                with self.connect() as client:
                    self._open(client, then)
                self.left_open.extend(system.index for system in then)
            except Exception as error:  # clients raise various errors when a node dies
                if not node.running:
                    raise NodeEndedError("the system killed the node") from error
                raise
            finally:
                # Without the limit, the node stops within a second.
                with suppress(OSError):
                    group.limit(None)
                node.stop()

    def _start(self) -> None:
        self.cluster.nodes[0].start()
        self._ready()

    def _ready(self) -> None:
        try:
            wait_until_ready(self.cluster, nodes=1, timeout_s=_READY_S, check_alive=self._check_alive)
        except ClusterError as error:
            raise NodeEndedError(f"the node was not ready after {_READY_S:.0f} s") from error

    def _check_alive(self) -> None:
        if not self.cluster.nodes[0].running:
            raise ClusterError("The node has ended.")

    def _open(self, client: OpenSearch, systems: Sequence[Writable]) -> None:
        """Close all indices except those of some systems."""
        for index in dict.fromkeys(system.index for system in self.systems):
            if any(system.index == index for system in systems):
                client.indices.open(index=index)
                client.cluster.health(index=index, params=_YELLOW)
            else:
                client.indices.close(index=index)


def _watch(client: OpenSearch, system: Writable, requests: Sequence[Request], seconds: float) -> list[dict[str, Any]]:
    """Latencies of the first seconds, in four parts, of which the first is the shortest."""
    begun = time.perf_counter()
    moments: list[float] = []
    times: list[float] = []
    place = 0
    while (moment := time.perf_counter() - begun) < seconds or not times:
        system.search(client, requests[place % len(requests)])
        moments.append(moment)
        times.append(1000 * (time.perf_counter() - begun - moment))
        place += 1
    edges = [0.0, *(seconds * share for share in (1 / 12, 1 / 4, 1 / 2)), float("inf")]
    parts = []
    for start, end in zip(edges, edges[1:], strict=False):
        own = [time_ms for moment, time_ms in zip(moments, times, strict=True) if start <= moment < end]
        if own:
            parts.append({"from_s": start, "until_s": min(end, seconds), **asdict(to_latency(np.array(own)))})
    return parts
