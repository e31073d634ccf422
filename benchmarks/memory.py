"""Measure the memory of a node for one index, with all others closed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import psutil
from opensearchpy import OpenSearch

from benchmarks.systems.base import Request, System
from benchmarks.systems.seismic import Seismic

_WAIT = {"wait_for_status": "yellow"}


@dataclass(frozen=True, slots=True)
class NodeMemory:
    """Memory of all nodes in bytes; None if it cannot be measured from here.

    Attributes:
        heap: Used Java heap, which grows until the next garbage collection.
        resident: Resident memory of the processes, including heap and mapped files.
        mapped: Resident pages of mapped files, through which Lucene reads its indices.
    """

    heap: int
    resident: int | None
    mapped: int | None


def read_memory(client: OpenSearch) -> NodeMemory:
    """Read the heap from the nodes and, if they run on this machine, their pages from the system."""
    stats = client.nodes.stats(metric="jvm")["nodes"].values()
    heap = sum(int(node["jvm"]["mem"]["heap_used_in_bytes"]) for node in stats)
    nodes = client.nodes.info(metric="process")["nodes"].values()
    processes = [_process_memory(int(node["process"]["id"])) for node in nodes]
    seen = [process for process in processes if process is not None]
    if len(seen) < len(processes):
        return NodeMemory(heap, None, None)
    mapped = [shared for _, shared in seen if shared is not None]
    return NodeMemory(heap, sum(rss for rss, _ in seen), sum(mapped) if len(mapped) == len(seen) else None)


def memory_by_index(
    client: OpenSearch,
    systems: Sequence[System],
    requests: Sequence[Sequence[Request]],
    *,
    progress: Callable[[float], None],
) -> dict[str, dict[str, int]]:
    """Open each index alone, send all queries of all its systems, and measure the memory of the node.

    All indices are open again afterwards.

    Returns:
        For each index `heap_bytes`, `resident_bytes` and `mapped_bytes`, if they can be measured; the latter without
        what is mapped while all indices are closed. Nothing for SEISMIC.
    """
    # A closed index of SEISMIC cannot be opened again (OpenSearch 3.6).
    indices = list(dict.fromkeys(system.index for system in systems if not isinstance(system, Seismic)))
    result: dict[str, dict[str, int]] = {}
    try:
        for step, index in enumerate(indices):
            progress(step / len(indices))
            client.indices.close(index=",".join(indices))
            idle = read_memory(client)
            client.indices.open(index=index)
            client.cluster.health(index=index, params=_WAIT)
            for system, own in zip(systems, requests, strict=True):
                for request in own if system.index == index else ():
                    system.search(client, request)
            result[index] = _figures(read_memory(client), idle)
    finally:
        client.indices.open(index=",".join(indices))
        client.cluster.health(index=",".join(indices), params=_WAIT)
    progress(1.0)
    return result


def _figures(busy: NodeMemory, idle: NodeMemory) -> dict[str, int]:
    figures = {"heap_bytes": busy.heap}
    if busy.resident is not None:
        figures["resident_bytes"] = busy.resident
    if busy.mapped is not None and idle.mapped is not None:
        figures["mapped_bytes"] = max(0, busy.mapped - idle.mapped)
    return figures


def _process_memory(pid: int) -> tuple[int, int | None] | None:
    """Resident and mapped bytes; None if the process is not on this machine, e.g. in a container."""
    try:
        process = psutil.Process(pid)
        if "opensearch" not in " ".join(process.cmdline()).lower():
            return None
        info = process.memory_info()
        return info.rss, getattr(info, "shared", None)  # only on Linux
    except psutil.Error:
        return None
