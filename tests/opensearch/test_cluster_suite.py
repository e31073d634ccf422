"""The suite `cluster`: shards on one node, and three nodes of which one is killed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from connector.cluster import embedded
from tests.unjudged import read_groups, run, write_unjudged

pytestmark = [pytest.mark.opensearch, pytest.mark.slow]


def measured(workplace: Path, head_folder: Path, *how: str) -> dict[str, list[dict[str, Any]]]:
    dataset = write_unjudged(workplace / "unjudged")
    options = ("--encoder", str(head_folder), "--cache", "cache", "--output", "cluster.json", "--rounds", "1")
    printed = run("cluster", str(dataset), *options, *how).stdout
    assert printed.partition("\ncluster.json")[0].strip() in run("report", "cluster.json").stdout
    return read_groups(workplace / "cluster.json")


def test_each_shard_rescores_a_window(workplace: Path, head_folder: Path) -> None:
    groups = measured(workplace, head_folder, "--shards", "3", "--shards", "1", "--one-node", "--seconds", "0.5")
    assert list(groups) == ["1 shard", "3 shards"]
    assert [len(rows) for rows in groups.values()] == [2, 3]
    (_, one), (hnsw, whole, divided) = groups.values()
    assert one["knob"] == whole["knob"] == "k_query=20, 200 rescored"
    assert divided["knob"] == "k_query=20, 67 rescored"
    # Three windows contain the hits of one window of the whole index, and more.
    assert whole["overlap@10"] >= one["overlap@10"] and whole["overlap@10"] >= divided["overlap@10"]
    assert whole["index_bytes"] == divided["index_bytes"] > one["index_bytes"], "each shard has files of its own"
    assert hnsw["overlap@10"] > 0.9 and all(row["requests_per_s"] > 1 for row in (hnsw, whole, divided))


@pytest.mark.long
def test_a_node_is_killed_under_search(workplace: Path, head_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    start = embedded.create_nodes
    monkeypatch.setattr(embedded, "create_nodes", lambda *given, **how: start(*given, **how | {"quick_start": True}))
    groups = measured(workplace, head_folder, "--shards", "1", "--seconds", "2", "--heap", "256m")
    three, killed = groups["3 nodes, 3 shards, 1 replica"], groups["a node killed"]
    assert [row["replicas"] for row in three] == [1, 1, 1]
    assert three[0]["overlap@10"] > 0.9
    for row in killed:
        assert row["before"]["errors"] == 0
        assert row["after"]["requests"] and not row["after"]["errors"], "the copies answer"
        assert row["green_after_s"] > 0
    assert [row["system"] for row in killed] == ["HNSW", "own dictionary + 4 bits"]
