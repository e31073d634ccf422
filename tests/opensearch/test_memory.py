"""Memory of a real node."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest
from opensearchpy import OpenSearch

from benchmarks.memory import memory_by_index, read_memory
from benchmarks.systems.bm25 import BM25

pytestmark = pytest.mark.opensearch


def node_processes() -> list[psutil.Process]:
    return [each for each in psutil.process_iter(["cmdline"]) if "opensearch" in " ".join(each.info["cmdline"] or [])]


def test_memory_is_that_of_the_node(client: OpenSearch) -> None:
    memory = read_memory(client)
    assert 10e6 < memory.heap < 8e9
    nodes = node_processes()
    if not nodes or not Path("/proc").is_dir():
        pytest.skip("the node runs elsewhere, or on a system without /proc")
    assert memory.resident is not None and memory.mapped is not None
    assert any(memory.resident == pytest.approx(each.memory_info().rss, rel=0.2) for each in nodes)
    assert memory.heap / 4 <= memory.resident
    assert 0 < memory.mapped < memory.resident


def test_indices_are_open_again_afterwards(client: OpenSearch, index: str) -> None:
    systems = [BM25(index), BM25(f"{index}-other")]
    try:
        for system in systems:
            system.configure(client)
            client.index(index=system.index, body={"content": "one"}, params={"refresh": "true"})
        requests = [[{"query": {"match": {"content": "one"}}}] for _ in systems]
        shares: list[float] = []
        held = memory_by_index(client, systems, requests, progress=shares.append)
        assert set(held) == {system.index for system in systems}
        assert all(figures["heap_bytes"] > 0 for figures in held.values())
        assert shares == [0.0, 0.5, 1.0]
        assert all(len(system.search(client, requests[0][0])) == 1 for system in systems)
    finally:
        client.indices.delete(index=f"{index}-other", ignore_unavailable=True)
