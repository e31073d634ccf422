"""The suite `memory`: a node whose memory is limited by a control group."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.scenarios.cgroup import Hierarchy, NoGroupsError, find_hierarchy
from connector.cluster import embedded
from tests.unjudged import read_groups, run, write_unjudged

pytestmark = [pytest.mark.opensearch, pytest.mark.slow]


@pytest.fixture
def hierarchy() -> Iterator[Hierarchy]:
    try:
        found = find_hierarchy()
    except NoGroupsError as error:
        pytest.skip(str(error))
    yield found
    assert not list(found.parent.glob("ksparse-bench-*")), "a group is left"


def test_a_node_is_searched_in_little_memory(
    hierarchy: Hierarchy, head_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    start = embedded.create_nodes
    # Starts fast, with its data on the disk: what lies in memory has no page cache.
    monkeypatch.setattr(embedded, "create_nodes", lambda *given, **how: start(*given, **how | {"quick_start": True}))
    dataset = write_unjudged(tmp_path / "unjudged")
    options = ("--encoder", str(head_folder), "--rounds", "1", "--cache", "cache", "--output", "memory.json")
    limits = ("--heap", "256m", "--share", "0.5", "--no-own-need", "--first", "0.5")
    run("memory", str(dataset), *limits, *options)
    groups = read_groups(tmp_path / "memory.json")
    assert list(groups) == ["no limit", "0.5 of HNSW"]
    for hnsw, ours in groups.values():
        assert (hnsw["system"], ours["system"]) == ("HNSW", "own dictionary + 4 bits")
        assert hnsw["overlap@10"] > 0.9
    [free, _], [hnsw, ours] = groups.values()
    # The heap is touched whole at the start, and Java needs more than that.
    assert 256 * 2**20 < free["node_bytes"] < 800 * 2**20
    assert hnsw["limit_bytes"] == ours["limit_bytes"] == free["node_bytes"] + round(free["index_bytes"] / 2)
    assert ours["p50_ratio"] == pytest.approx(ours["p50_ms"] / hnsw["p50_ms"])
    assert ours["first"][0]["p50_ms"] > ours["p50_ms"], "just restarted it is slower than warm"
    assert "| 0.5 of HNSW | HNSW default | " in run("report", "memory.json").stdout
    assert (tmp_path / "memory.png").read_bytes().startswith(b"\x89PNG")
