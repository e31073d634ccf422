"""The same requests to the same indices, timed by OpenSearch Benchmark: a clock that is not ours."""

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

from benchmarks.compare import Report
from benchmarks.measure import measure, to_latency
from benchmarks.results import Rows
from benchmarks.scenarios import workload
from benchmarks.systems.base import Request, System, send, to_hits
from connector.errors import ConnectorError
from connector.types import Hit

REQUIREMENT = "opensearch-benchmark==2.4.0"
AGREED = 0.15
"""The ratios of both clocks may differ by this share."""

OURS, THEIRS, AGREEMENT = "ours", "OpenSearch Benchmark", "agreement"

_SHARED = {"track_total_hits": False, "_source": False}
_LINE = re.compile(r"(50|99)th percentile service time")


class Asked(Protocol):
    """What both clocks time."""

    @property
    def name(self) -> str:
        """What it is called in tables."""
        ...

    @property
    def index(self) -> str:
        """What is searched."""
        ...

    def search(self, client: OpenSearch, request: Request) -> list[Hit]:
        """Answer one request."""
        ...


@dataclass(frozen=True, slots=True)
class Nothing:
    """A search that finds nothing: what a client and the way to the server cost, whatever is searched.

    Attributes:
        index: Any.
        name: In tables.
    """

    index: str
    name: str = "a search for nothing"

    def prepare(self, count: int) -> list[Request]:
        """So many requests."""
        return [{"size": 0, "query": {"match_none": {}}}] * count

    def search(self, client: OpenSearch, request: Request) -> list[Hit]:
        """Answer one request."""
        return to_hits(send(client, self.index, request))


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
    """Time systems by our clock, by the other, and by ours again.

    Args:
        client: Of the node.
        url: Of the node.
        systems: Indexed before; the first is the one that others are compared with.
        requests: Those of each system.
        tool: The program `opensearch-benchmark`.
        folder: For its workload and its own files.
        rounds: Of each clock.
        report: Called with the current task and the share of it done.

    Returns:
        Rows of each clock, and how far their ratios agree.

    Raises:
        ConnectorError: The tool fails.
    """
    nothing = Nothing(systems[0].index)
    asked: list[Asked] = [*systems, nothing]
    all_requests = [*requests, nothing.prepare(len(requests[0]))]
    ours = partial(measure, client, asked, all_requests, rounds=rounds)
    # A server that has just indexed compiles what it searches with for some rounds more.
    measure(client, asked, all_requests, rounds=rounds, progress=partial(report, "warming up"))
    before = ours(progress=partial(report, "our clock, before"))
    report("the other clock", 0.0)
    write_workload(folder / "workload", asked, all_requests, rounds)
    theirs = _run(tool, url, folder)
    report("the other clock", 1.0)
    after = ours(progress=partial(report, "our clock, after"))
    own_rows = []
    for each, first, last in zip(asked, before, after, strict=True):
        latency = asdict(to_latency(np.concatenate([first.times_ms, last.times_ms])))
        halves = {"p50_before_ms": first.latency.p50_ms, "p50_after_ms": last.latency.p50_ms}
        own_rows.append({"system": each.name, **latency, **halves})
    their_rows = [{"system": each.name, **_medians(theirs[place])} for place, each in enumerate(asked)]
    return {OURS: own_rows, THEIRS: their_rows, AGREEMENT: agreement(own_rows, their_rows)}


def _medians(rounds: Sequence[dict[str, float]]) -> dict[str, float]:
    """Of the rounds; of few requests the tool says no p99."""
    return {key: median(times[key] for times in rounds) for key in rounds[0]}


def agreement(ours: Rows, theirs: Rows) -> Rows:
    """Ratios of p50 to the first system by both clocks, as they are and less what a search for nothing takes.

    Args:
        ours: Rows of our clock; the last one is the search for nothing.
        theirs: Rows of the other one.
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
    """Write what the tool runs: every request of every system in each round, the systems taking turns."""
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
    """Return the tool in a virtual environment, which is made unless it is there.

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
            raise ConnectorError(f"{REQUIREMENT} cannot be installed ({reason}); name one that is with --tool.")
    return tool


def _rotated(asked: Sequence[Asked], turn: int) -> list[tuple[int, Asked]]:
    places = np.roll(np.arange(len(asked)), turn).tolist()
    return [(place, asked[place]) for place in places]


def _run(tool: Path, url: str, folder: Path) -> Mapping[int, list[dict[str, float]]]:
    """Run the tool, and return for each system p50 and p99 of each round."""
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
        raise ConnectorError(f"{tool} failed: {lines[0].strip()} Its logs are below {folder}.")
    return read_times(found)


def read_times(path: Path) -> Mapping[int, list[dict[str, float]]]:
    """Read p50 and p99 in milliseconds of each task of the tool's result, by the place of the system."""
    tasks: dict[str, dict[str, float]] = {}
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if row["Task"] and (what := _LINE.fullmatch(row["Metric"])):
                tasks.setdefault(row["Task"], {})[f"p{what[1]}_ms"] = float(row["Value"])
    places: dict[int, list[dict[str, float]]] = {}
    for task, times in tasks.items():
        places.setdefault(int(task.partition("-")[0]), []).append(times)
    return places
