"""What a node holds in memory for one index, all others closed."""

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
    """Of all nodes together, in bytes. What cannot be seen from here is None.

    Attributes:
        heap: Of Java, in use; rises until the next collection.
        resident: Of the processes, heap and mapped files included.
        mapped: Pages of mapped files among them: where Lucene keeps its indices.
    """

    heap: int
    resident: int | None
    mapped: int | None


def read_memory(client: OpenSearch) -> NodeMemory:
    """Ask the nodes for their heap, and the system for their pages where they run on this machine."""
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
    """Open each index alone, ask every query of every system that searches it, and read what the node holds.

    All indices are open again afterwards.

    Returns:
        For each index `heap_bytes`, `resident_bytes` and `mapped_bytes`, the latter less what is mapped while all of
        them are closed, as far as they can be seen. Nothing for SEISMIC.
    """
    # An index of SEISMIC that was closed does not open again (OpenSearch 3.6).
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
    """Resident and mapped bytes; None where the process is none of this machine: a container counts its own."""
    try:
        process = psutil.Process(pid)
        if "opensearch" not in " ".join(process.cmdline()).lower():
            return None
        info = process.memory_info()
        return info.rss, getattr(info, "shared", None)  # Linux alone tells the latter
    except psutil.Error:
        return None
