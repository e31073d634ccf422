"""Time the same requests to the same indices with OpenSearch Benchmark, to validate the timings of `measure`."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import subprocess
import sys
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Protocol

import numpy as np
from opensearchpy import OpenSearch

from benchmarks.measure import measure, to_latency
from benchmarks.progress import Report
from benchmarks.results import Rows
from benchmarks.scenarios import workload
from benchmarks.systems.base import OneRequest, Request, System
from connector.errors import ConnectorError
from connector.types import Hit

REQUIREMENT = "opensearch-benchmark==2.4.0"
AGREED = 0.15
"""Allowed relative difference of the ratios of both tools."""

OURS, THEIRS, AGREEMENT = "ours", "OpenSearch Benchmark", "agreement"

_SHARED = {"track_total_hits": False, "_source": False}
_LINE = re.compile(r"(50|99)th percentile service time")


class Asked(Protocol):
    """A system that both tools can time."""

    @property
    def name(self) -> str:
        """Name in tables."""
        ...

    @property
    def index(self) -> str:
        """Name of the index."""
        ...

    def search(self, client: OpenSearch, request: Request) -> list[Hit]:
        """Answer one request."""
        ...


@dataclass(frozen=True, slots=True)
class Nothing(OneRequest):
    """A search without hits, for measuring the overhead of client and connection.

    Attributes:
        index: Any index.
        name: Name in tables.
    """

    index: str
    name: str = "search without hits"

    def prepare(self, count: int) -> list[Request]:
        """Return `count` requests."""
        return [{"size": 0, "query": {"match_none": {}}}] * count


def time_both(
    client: OpenSearch,
    url: str,
    systems: Sequence[System],
    requests: Sequence[Sequence[Request]],
    tool: Path,
    folder: Path,
    *,
    rounds: int,
    report: Report,
) -> dict[str, Rows]:
    """Time systems with `measure`, with OpenSearch Benchmark, and with `measure` again.

    Args:
        client: A client.
        url: URL of the node.
        systems: Systems with existing indices; the first is the reference.
        requests: Requests of each system.
        tool: The program `opensearch-benchmark`.
        folder: Folder for the workload and the tool's files.
        rounds: Rounds of `measure`, and of the other tool.
        report: Called with the current task and its completed fraction.

    Returns:
        Rows of each tool, and the agreement of their ratios.

    Raises:
        ConnectorError: The tool fails.
    """
    nothing = Nothing(systems[0].index)
    asked: list[Asked] = [*systems, nothing]
    all_requests = [*requests, nothing.prepare(len(requests[0]))]
    ours = partial(measure, client, asked, all_requests, rounds=rounds)
    before = ours(progress=partial(report, "timing before"))
    report("OpenSearch Benchmark", 0.0)
    write_workload(folder / "workload", asked, all_requests, rounds)
    theirs = _run(tool, url, folder)
    report("OpenSearch Benchmark", 1.0)
    after = ours(progress=partial(report, "timing after"))
    own_rows = []
    for each, first, last in zip(asked, before, after, strict=True):
        latency = asdict(to_latency(np.concatenate([first.times_ms, last.times_ms])))
        halves = {"p50_before_ms": first.latency.p50_ms, "p50_after_ms": last.latency.p50_ms}
        own_rows.append({"system": each.name, **latency, **halves})
    their_rows = [{"system": each.name, **_medians(theirs[place])} for place, each in enumerate(asked)]
    return {OURS: own_rows, THEIRS: their_rows, AGREEMENT: agreement(own_rows, their_rows)}


def _medians(rounds: Sequence[dict[str, float]]) -> dict[str, float]:
    """Medians of the rounds; for few requests the tool reports no p99."""
    return {key: median(times[key] for times in rounds) for key in rounds[0]}


def agreement(ours: Rows, theirs: Rows) -> Rows:
    """Return the ratios of p50 to the first system by both tools, with and without the time of an empty search.

    Args:
        ours: Rows of `measure`; the last one is the empty search.
        theirs: Rows of OpenSearch Benchmark.
    """
    rows = []
    for own, other in zip(ours[1:-1], theirs[1:-1], strict=True):
        own_ratio, other_ratio = own["p50_ms"] / ours[0]["p50_ms"], other["p50_ms"] / theirs[0]["p50_ms"]
        net = [
            (row["p50_ms"] - clock[-1]["p50_ms"]) / (clock[0]["p50_ms"] - clock[-1]["p50_ms"])
            for row, clock in ((own, ours), (other, theirs))
        ]
        rows.append(
            {
                "system": own["system"],
                "p50_ratio": own_ratio,
                "p50_ratio_theirs": other_ratio,
                "difference": other_ratio / own_ratio - 1,
                "net_ratio": net[0],
                "net_ratio_theirs": net[1],
                "net_difference": net[1] / net[0] - 1,
            }
        )
    return rows


def write_workload(folder: Path, asked: Sequence[Asked], requests: Sequence[Sequence[Request]], rounds: int) -> None:
    """Write the workload: all requests of all systems in each round, in turns."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(workload.__file__, folder / "workload.py")
    for place, own in enumerate(requests):
        lines = (json.dumps(_SHARED | request) + "\n" for request in own)
        (folder / f"{place}.json").write_text("".join(lines), encoding="utf-8")
    count = len(requests[0])
    schedule = [
        {
            "name": f"{place}-{turn}",
            "clients": 1,
            "warmup-iterations": count if turn == 0 else 0,
            "iterations": count,
            "operation": {
                "name": f"search-{place}-{turn}",
                "operation-type": "search",
                "param-source": "bodies",
                "file": f"{place}.json",
                "index": each.index,
            },
        }
        for turn in range(rounds)
        for place, each in _rotated(asked, turn)
    ]
    content = {
        "version": 2,
        "description": "Systems of ksparse's harness in turns",
        "test_procedures": [{"name": "turns", "default": True, "schedule": schedule}],
    }
    (folder / "workload.json").write_text(json.dumps(content, indent=1), encoding="utf-8")


def install(folder: Path, say: Callable[[str], None]) -> Path:
    """Return the tool in a virtual environment, which is created if missing.

    Raises:
        ConnectorError: It cannot be installed.
    """
    tool = folder / "bin" / "opensearch-benchmark"
    if tool.is_file():
        return tool
    say(f"Installing {REQUIREMENT} into {folder} (a minute) ...")
    for command in (
        [sys.executable, "-m", "venv", str(folder)],
        [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", REQUIREMENT],
    ):
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            reason = done.stderr.strip().rpartition("\n")[2]
            raise ConnectorError(f"{REQUIREMENT} cannot be installed ({reason}); pass an installed one as --tool.")
    return tool


def _rotated(asked: Sequence[Asked], turn: int) -> list[tuple[int, Asked]]:
    places = np.roll(np.arange(len(asked)), turn).tolist()
    return [(place, asked[place]) for place in places]


def _run(tool: Path, url: str, folder: Path) -> Mapping[int, list[dict[str, float]]]:
    """Run the tool, and return p50 and p99 of each round by system."""
    found = folder / "result.csv"
    found.unlink(missing_ok=True)
    secure = url.startswith("https")
    command = [
        str(tool.absolute()), "run", "--pipeline", "benchmark-only", "--offline",
        "--workload-path", str((folder / "workload").absolute()), "--target-hosts", url.partition("//")[2],
        "--client-options", f"timeout:60,use_ssl:{str(secure).lower()}", "--on-error", "abort",
        "--test-run-id", uuid.uuid4().hex, "--results-format", "csv", "--results-file", str(found.absolute()),
    ]  # fmt: skip
    environment = os.environ | {"BENCHMARK_HOME": str(folder.absolute())}
    done = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode or not found.is_file():
        lines = [line for line in (done.stdout + done.stderr).splitlines() if "ERROR" in line] or ["no result"]
        raise ConnectorError(f"{tool} failed: {lines[0].strip()} Its logs are in {folder}.")
    return read_times(found)


def read_times(path: Path) -> Mapping[int, list[dict[str, float]]]:
    """Read p50 and p99 in milliseconds of each task from the tool's result, by number of the system."""
    tasks: dict[str, dict[str, float]] = {}
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if row["Task"] and (what := _LINE.fullmatch(row["Metric"])):
                tasks.setdefault(row["Task"], {})[f"p{what[1]}_ms"] = float(row["Value"])
    places: dict[int, list[dict[str, float]]] = {}
    for task, times in tasks.items():
        places.setdefault(int(task.partition("-")[0]), []).append(times)
    return places
