"""Several shards on one node, three nodes with a replica, and a node that is killed under load."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from opensearchpy import OpenSearch

from benchmarks.datasets import EncodedSet
from benchmarks.measure import measure, throughput, timed
from benchmarks.progress import Report
from benchmarks.results import Rows
from benchmarks.scenarios.live import describe_row, each_index, exact_top_10
from benchmarks.scenarios.open_loop import Ask, Load, schedule, send_on_schedule
from benchmarks.storage import build
from benchmarks.systems.base import Request, Writable
from benchmarks.systems.passed_on import PassedOn
from benchmarks.systems.rescored import Rescored
from connector.cluster import Cluster, Node, wait_until_ready
from connector.errors import ClusterError
from connector.evaluation.metrics import overlap_at

CLIENTS = 8

_OF_THE_SERVER = ("creation_date", "provided_name", "uuid", "version")
_READY_S = 300.0
_MIN_WINDOW = 10
_THREADS = 32
_POLL_S = 0.2
_WARM_UP = 10
"""Searches of each client; its connections go to all nodes."""


@dataclass(frozen=True, slots=True)
class Sharded(PassedOn[Writable]):
    """A system whose index has another number of shards and replicas.

    Attributes:
        system: The system.
        shards: Number of shards.
        replicas: Replicas of each shard.
    """

    shards: int
    replicas: int = 0

    def configure(self, client: OpenSearch) -> None:
        """Create the system's index twice, because the number of shards cannot be changed afterwards."""
        self.system.configure(client)
        made = client.indices.get(index=self.index)[self.index]
        client.indices.delete(index=self.index)
        settings = {name: value for name, value in made["settings"]["index"].items() if name not in _OF_THE_SERVER}
        settings |= {"number_of_shards": self.shards, "number_of_replicas": self.replicas}
        client.indices.create(index=self.index, body={"mappings": made["mappings"], "settings": {"index": settings}})
        _wait_until_green(client, self.index)

    def sources(self, data: EncodedSet, rows: Sequence[int]) -> Iterator[dict[str, Any]]:
        """Yield the fields of documents, given by their rows."""
        return self.system.sources(data, rows)


def _wait_until_green(client: OpenSearch, index: str) -> None:
    """Wait for all replicas; one that is created during writes would miss the final refresh."""
    deadline = time.monotonic() + _READY_S
    while (status := client.cluster.health(index=index)["status"]) != "green":
        if time.monotonic() > deadline:
            raise ClusterError(
                f"Index {index!r} is {status} after {_READY_S:.0f} s; the cluster may lack a node for each replica."
            )
        time.sleep(_POLL_S)


def sharded_systems(hnsw: Writable, ours: Writable, shards: int, replicas: int = 0) -> list[Sharded]:
    """Return HNSW and a new index at their defaults, and the latter with its window divided by the number of shards.

    The rescoring window applies to each shard.
    """
    systems = [hnsw, ours]
    if shards > 1 and isinstance(ours, Rescored):
        systems.append(replace(ours, window=max(_MIN_WINDOW, round(ours.window / shards))))
    return [Sharded(system, shards, replicas) for system in systems]


def measure_shards(
    connect: Callable[[], OpenSearch],
    data: EncodedSet,
    systems: Sequence[Sharded],
    *,
    rounds: int,
    seconds: float,
    report: Report,
    what: str,
) -> Rows:
    """Index, search in turns, and measure the throughput of eight clients. The indices are kept.

    Args:
        connect: Creates a client.
        data: The set.
        systems: The systems; the first is the reference.
        rounds: Rounds of `measure`.
        seconds: Duration of each measurement of throughput.
        report: Called with the current task and its completed fraction.
        what: Description for progress messages.
    """
    truth = exact_top_10(data, np.arange(len(data.documents)))
    with connect() as client:
        indexed = each_index(systems, report, f"{what}: indexing")
        sizes = {system.index: build(client, system, data).bytes for system in indexed}
        requests = [system.prepare(data) for system in systems]
        found = measure(client, systems, requests, rounds=rounds, progress=partial(report, f"{what}: searching"))
    rows = []
    for step, (system, each) in enumerate(zip(systems, found, strict=True)):
        report(f"{what}: {CLIENTS} clients", step / len(systems))
        row = describe_row(system) | {"shards": system.shards, "replicas": system.replicas}
        row |= {"index_bytes": sizes[system.index], "overlap@10": overlap_at(data.run_of(each.hits), truth, 10)}
        row |= timed(each, found[0])
        row["requests_per_s"] = throughput(connect, system, requests[step], CLIENTS, seconds=seconds)
        rows.append(row)
    return rows


@dataclass(frozen=True, slots=True)
class Fall:
    """Settings for killing a node under load.

    Attributes:
        rate_share: Arrival rate relative to the throughput of eight clients.
        before_s: Seconds before the node is killed.
        after_s: Seconds measured afterwards.
    """

    rate_share: float = 0.5
    before_s: float = 10.0
    after_s: float = 30.0


def kill_under_search(
    cluster: Cluster, data: EncodedSet, systems: Sequence[Sharded], rates: Sequence[float], fall: Fall, report: Report
) -> Rows:
    """Kill a node under load, for each system, and restart it before the next.

    Clients know all nodes, and do not retry failed requests.

    Args:
        cluster: Cluster of three embedded nodes with the indices.
        data: The set.
        systems: The systems, measured in sequence.
        rates: Requests per second of each system.
        fall: Settings for killing the node.
        report: Called with the current task and its completed fraction.
    """
    everywhere = replace(cluster, url=",".join(node.url for node in cluster.nodes))
    rows = []
    for system, rate in zip(systems, rates, strict=True):
        requests = system.prepare(data)
        node = _victim(cluster)
        seconds = fall.before_s + fall.after_s
        load = send_on_schedule(
            partial(_asker, everywhere, system, requests),
            schedule(rate, seconds, "poisson"),
            rate=rate,
            seconds=seconds,
            clients=_THREADS,
            progress=partial(report, f"{system.name}: a node is killed"),
            at=[(fall.before_s, node.kill)],
        )
        rows.append(describe_row(system) | {"rate": rate, **_parts(load, fall)})
        report(f"{system.name}: restarting the node", 0.0)
        begun = time.perf_counter()
        node.start()
        wait_until_ready(cluster, nodes=len(cluster.nodes), timeout_s=_READY_S)
        rows[-1]["green_after_s"] = time.perf_counter() - begun
    return rows


def _parts(load: Load, fall: Fall) -> dict[str, Any]:
    """Return figures before, in the first five seconds afterwards, and later."""
    edges = (0.0, fall.before_s, fall.before_s + min(5.0, fall.after_s / 2), float("inf"))
    parts = {
        name: load.part(start, end)
        for name, start, end in zip(("before", "during", "after"), edges, edges[1:], strict=False)
    }
    last = load.last_error_s()
    return parts | {"last_error_after_s": None if last is None else last - fall.before_s}


def _victim(cluster: Cluster) -> Node:
    """Return the last node that is not the elected manager, so that no election is measured."""
    with cluster.connect() as client:
        manager = client.cat.cluster_manager(format="json")[0]["node"]
    others = [node for node in cluster.nodes if node.name != manager]
    if not others:
        raise ClusterError("The cluster has one node; killing a node needs three.")
    return others[-1]


@contextmanager
def _asker(cluster: Cluster, system: Sharded, requests: Sequence[Request]) -> Iterator[Ask]:
    with cluster.connect(timeout=30) as client:
        for request in requests[:_WARM_UP]:
            system.search(client, request)
        yield lambda number: system.search(client, requests[number % len(requests)])
