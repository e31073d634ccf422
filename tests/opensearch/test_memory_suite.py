"""The suite `memory`: a node whose memory is limited by a control group."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.scenarios.cgroup import Hierarchy, NoGroupsError, find_hierarchy
from connector.cluster import embedded
from tests.unjudged import COUNT, read_groups, run, write_unjudged

pytestmark = [pytest.mark.opensearch, pytest.mark.slow]


OPTIONS = ("--rounds", "1", "--cache", "cache", "--output", "memory.json", "--heap", "256m", "--no-own-need")


@pytest.fixture
def hierarchy() -> Iterator[Hierarchy]:
    try:
        found = find_hierarchy()
    except NoGroupsError as error:
        pytest.skip(str(error))
    yield found
    assert not list(found.parent.glob(f"ksparse-bench-{os.getpid()}-*")), "a group is left"


@pytest.fixture
def dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    start = embedded.create_nodes
    # Quick start, but with data on disk, because data in memory has no page cache.
    monkeypatch.setattr(embedded, "create_nodes", lambda *given, **how: start(*given, **how | {"quick_start": True}))
    return write_unjudged(tmp_path / "unjudged")


def test_a_node_is_searched_in_little_memory(
    hierarchy: Hierarchy, head_folder: Path, dataset: Path, tmp_path: Path
) -> None:
    run("memory", str(dataset), "--encoder", str(head_folder), "--share", "0.5", "--first", "0.5", *OPTIONS)
    groups = read_groups(tmp_path / "memory.json")
    assert list(groups) == ["no limit", "0.5 of HNSW"]
    for hnsw, ours in groups.values():
        assert (hnsw["system"], ours["system"]) == ("HNSW", "own dictionary + 4 bits")
        assert hnsw["overlap@10"] > 0.9
    [free, merged], [hnsw, ours] = groups.values()
    # The complete heap is allocated at the start, and Java needs additional memory.
    assert 256 * 2**20 < free["node_bytes"] < 800 * 2**20
    # 61 bytes a document, or 176 with the copy for recovery, which a later merge drops.
    assert merged["index_bytes"] < 100 * COUNT
    assert hnsw["limit_bytes"] == ours["limit_bytes"] == free["node_bytes"] + round(free["index_bytes"] / 2)
    assert ours["p50_ratio"] == pytest.approx(ours["p50_ms"] / hnsw["p50_ms"])
    assert ours["first"][0]["p50_ms"] > ours["p50_ms"], "just restarted it is slower than warm"
    assert "| 0.5 of HNSW | HNSW default | " in run("report", "memory.json").stdout
    assert (tmp_path / "memory.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.long
def test_a_node_that_is_killed_is_a_row(hierarchy: Hierarchy, head_folder: Path, dataset: Path, tmp_path: Path) -> None:
    more = ("--encoder", str(head_folder), "--first", "0.5", *OPTIONS)
    run("memory", str(dataset), "--share", "1", *more)
    path = tmp_path / "memory.json"
    result = json.loads(path.read_text())
    measured = result["results"]
    for row in measured["no limit"]:
        # Java starts, and then its heap does not fit. In 16 MB it would not even be killed: it would read its own files
        # again and again until the suite gives up.
        row["node_bytes"] = 128 * 2**20
    path.write_text(json.dumps(result))
    printed = run("memory", str(dataset), "--share", "1", "--share", "0.5", *more).stdout
    groups = read_groups(path)
    assert groups["1 of HNSW"] == measured["1 of HNSW"], "it goes on where it was"
    assert [row["ended"] for row in groups["0.5 of HNSW"]] == ["the system killed the node"] * 2
    assert printed.count("the system killed the node") == 2
    run("report", "memory.json")
