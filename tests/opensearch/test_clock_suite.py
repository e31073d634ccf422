"""The suite `clock`, with a program in the place of OpenSearch Benchmark that sends what the workload says."""

from __future__ import annotations

import csv
import json
import os
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from benchmarks.__main__ import benchmarks
from benchmarks.scenarios.clock import agreement, read_times
from tests.unjudged import read_groups, run, write_unjudged

pytestmark = pytest.mark.opensearch

STAND_IN = """#!{python}
import csv, json, sys, time, urllib.request
from pathlib import Path
given = dict(zip(sys.argv[2::1], sys.argv[3::1]))
folder = Path(given["--workload-path"])
sys.path.insert(0, str(folder))
import workload
sources = {{}}
class Registry:
    def register_param_source(self, name, source): sources[name] = source
workload.register(Registry())
lines = [["Metric", "Task", "Value", "Unit"], ["Min Throughput", "0-0", "1", "ops/s"]]
for task in json.loads((folder / "workload.json").read_text())["test_procedures"][0]["schedule"]:
    operation = task["operation"]
    source = sources[operation["param-source"]]({{}}, operation).partition(0, 1)
    times = []
    for _ in range(task["iterations"]):
        asked = source.params()
        request = urllib.request.Request(
            "http://" + given["--target-hosts"] + "/" + asked["index"] + "/_search?request_cache=false",
            json.dumps(asked["body"]).encode(), {{"Content-Type": "application/json"}},
        )
        begun = time.perf_counter()
        reply = json.loads(urllib.request.urlopen(request).read())
        times.append(1000 * (time.perf_counter() - begun))
        assert len(reply["hits"]["hits"]) == asked["body"]["size"], reply
    times.sort()
    for percentile in (50, 99):
        value = times[min(len(times) - 1, len(times) * percentile // 100)]
        lines.append([f"{{percentile}}th percentile service time", task["name"], value, "ms"])
with open(given["--results-file"], "w", newline="") as file:
    csv.writer(file).writerows(lines)
"""


def test_another_clock_sends_the_same_requests(workplace: Path, head_folder: Path) -> None:
    dataset = write_unjudged(workplace / "unjudged")
    tool = Path(os.environ.get("OPENSEARCH_BENCHMARK", workplace / "tool"))
    if not tool.exists():
        tool.write_text(STAND_IN.format(python=sys.executable))
        tool.chmod(0o755)
    options = ("--encoder", str(head_folder), "--cache", "cache", "--output", "clock.json", "--rounds", "2")
    run("clock", str(dataset), "--tool", str(tool), *options)
    groups = read_groups(workplace / "clock.json")
    names = ["HNSW", "own dictionary + 4 bits", "search without hits"]
    assert [row["system"] for row in groups["ours"]] == names
    assert [row["system"] for row in groups["OpenSearch Benchmark"]] == names
    bodies = (workplace / ".cache" / "clock" / "workload" / "2.json").read_text().splitlines()
    assert [json.loads(body)["query"] for body in bodies] == [{"match_none": {}}] * 20
    [agreed] = groups["agreement"]
    assert agreed["p50_ratio"] == pytest.approx(groups["ours"][1]["p50_ms"] / groups["ours"][0]["p50_ms"])
    assert len((workplace / ".cache" / "clock" / "workload" / "1.json").read_text().splitlines()) == 20
    assert "search without hits" in run("report", "clock.json").stdout


def test_a_tool_that_fails_is_an_error(workplace: Path, head_folder: Path) -> None:
    dataset = write_unjudged(workplace / "unjudged")
    tool = workplace / "tool"
    tool.write_text("#!/bin/sh\necho '[ERROR] Cannot run. No such workload.'\nexit 64\n")
    tool.chmod(0o755)
    options = ("--encoder", str(head_folder), "--cache", "cache", "--rounds", "1")
    result = CliRunner().invoke(benchmarks, ["clock", str(dataset), "--tool", str(tool), *options])
    assert "tool failed: [ERROR] Cannot run. No such workload. Its logs are in .cache/clock." in str(result.exception)


def test_ratios_agree_once_what_both_clients_cost_is_taken_away() -> None:
    ours, theirs = (
        [{"system": name, "p50_ms": p50 + more} for name, p50 in (("HNSW", 3.0), ("own", 2.0), ("nothing", 1.0))]
        for more in (0.0, 2.0)
    )
    [row] = agreement(ours, theirs)
    assert row["difference"] == pytest.approx((4 / 5) / (2 / 3) - 1)
    assert row["net_ratio"] == row["net_ratio_theirs"] == 0.5 and row["net_difference"] == 0.0


def test_times_are_read_by_task(tmp_path: Path) -> None:
    path = tmp_path / "result.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(
            [
                ("Metric", "Task", "Value", "Unit"),
                ("Cumulative merge time of primary shards", "", "0", "min"),
                ("50th percentile latency", "0-0", "9", "ms"),
                ("50th percentile service time", "0-0", "1.5", "ms"),
                ("99th percentile service time", "0-0", "2.5", "ms"),
                ("99.9th percentile service time", "0-0", "3.5", "ms"),
                ("50th percentile service time", "1-0", "4", "ms"),
                ("50th percentile service time", "0-1", "2", "ms"),
            ]
        )
    assert read_times(path) == {0: [{"p50_ms": 1.5, "p99_ms": 2.5}, {"p50_ms": 2.0}], 1: [{"p50_ms": 4.0}]}
