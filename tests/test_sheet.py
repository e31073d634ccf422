"""Memory and disk of an index of any size, computed from results."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from benchmarks.__main__ import benchmarks
from benchmarks.scenarios.sheet import Need, compute, equal_settings, fit, needs
from connector.errors import ConnectorError


def row(system: str, overlap: float, p50: float, size: float = 1_000.0) -> dict[str, Any]:
    timed = {"p50_ms": p50, "p50_ratio": p50 / 3.0}
    return {"system": system, "knob": f"{p50}", "overlap@10": overlap, **timed, "bytes_per_document": size}


ROWS = [
    {"system": "exact dense"},
    row("HNSW", 0.97, 3.0, 1_600),
    row("own", 0.91, 2.0, 400),
    row("own", 0.95, 4.0, 400),
]
RESULT = {
    "suite": "dictionary",
    "params": {"documents": None},
    "environment": {"heap_bytes": 10**9},
    "results": {"10": [], "200": ROWS},
}
DEFAULTS: dict[str, Any] = {"overlap": None, "counts": [10**6], "machines_gb": [4, 8]}


def test_systems_are_compared_where_they_find_as_much() -> None:
    assert [each["p50_ms"] for each in equal_settings(ROWS[1:], None)] == [3.0, 4.0], "0.95 is what both reach"
    assert [each["p50_ms"] for each in equal_settings(ROWS[1:], 0.9)] == [3.0, 2.0]
    assert [each["system"] for each in equal_settings(ROWS[1:], 0.96)] == ["HNSW"]
    with pytest.raises(ConnectorError, match="overlap of 0.99; the highest is 0.970"):
        equal_settings(ROWS[1:], 0.99)


def test_the_need_is_the_least_memory_that_does_not_slow_a_system() -> None:
    def limited(system: str, size: int, budget: int, p50: float | None) -> dict[str, Any]:
        ended = {"ended": "killed"} if p50 is None else {"p50_ms": p50}
        return {"system": system, "index_bytes": size, "budget_bytes": budget, **ended}

    free = [{"system": name, "p50_ms": 2.0, "node_bytes": 700} for name in ("HNSW", "own")]
    groups = {
        "no limit": free,
        "1.25": [limited("HNSW", 100, 125, 2.1), limited("own", 20, 125, 2.0)],
        "0.5": [limited("HNSW", 100, 50, 9.0), limited("own", 20, 50, 2.0)],
        "0.15": [limited("HNSW", 100, 15, None), limited("own", 20, 15, 2.9)],
    }
    assert needs(groups) == {"HNSW": Need(700, 1.0), "own": Need(700, 0.75)}


def test_figures_follow_from_what_was_measured() -> None:
    [hnsw, own] = compute(RESULT, {}, **DEFAULTS)["1000000"]
    assert (hnsw["index_bytes"], hnsw["memory_bytes"], hnsw["disk_bytes"]) == (1.6e9, 2.6e9, 3.2e9)
    assert hnsw["measured_documents"] == 200 and (hnsw["machine_gb"], hnsw["nodes"]) == (4, 1)
    [_, less] = compute(RESULT, {"own": Need(2 * 10**9, 0.25)}, **DEFAULTS)["1000000"]
    assert own["memory_bytes"] == 1.4e9 and less["memory_bytes"] == 2.1e9
    with pytest.raises(ConnectorError, match="no groups by documents; use one of `dictionary`"):
        compute({"suite": "stream", "params": {}, "results": {"stream": []}}, {}, **DEFAULTS)
    with pytest.raises(ConnectorError, match="does not contain the heap of the node"):
        compute(RESULT | {"environment": {}}, {}, **DEFAULTS)


def test_rivals_are_in_the_sheet_at_what_they_find() -> None:
    byte = [row("HNSW byte", 0.96, 3.3, 480), row("HNSW byte", 0.94, 2.7, 480)]
    rivals = RESULT | {"params": {"documents": 300}, "results": {"vectors": [*ROWS, *byte], "not run": []}}
    rows = compute(rivals, {"HNSW": Need(10**9, 0.5)}, **DEFAULTS | {"overlap": 0.93})["1000000"]
    assert [(each["system"], each["knob"]) for each in rows] == [("HNSW", "3.0"), ("own", "4.0"), ("HNSW byte", "2.7")]
    assert rows[2]["memory_bytes"] == 1.48e9, "its memory was not measured, so all of the index is counted"
    assert rows[2]["p50_ratio"] == 0.9 and rows[2]["measured_documents"] == 300
    with pytest.raises(ConnectorError, match="or one of `rivals` with --documents"):
        compute(rivals | {"params": {"documents": None}}, {}, **DEFAULTS)


def test_what_fits_no_machine_takes_several() -> None:
    assert fit(1e9, 3e9, [8, 4]) == (4, 1)
    assert fit(1e9, 3.1e9, [8, 4]) == (8, 1)
    assert fit(1e9, 15e9, [8, 4]) == (8, 3), "each has a node"
    with pytest.raises(ConnectorError, match="needs 9.0 GB without any index, more than a machine of 8 GB has"):
        fit(9e9, 1e9, [8])


def test_the_sheet_is_written_and_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("own.json").write_text(json.dumps(RESULT))
    command = ["sheet", "own.json", "--documents", "5000000", "--machine", "8", "--output", "sheet.json"]
    printed = CliRunner().invoke(benchmarks, command, catch_exceptions=False).stdout
    assert "| 5,000,000 | HNSW 3.0 | 97.0% | 1.00 | 8.0 | 10.0 | 16.0 | 2 x 8 GB |" in printed
    assert "Measured at 200 documents" in printed
    assert json.loads(Path("sheet.json").read_text())["params"]["computed_from"] == ["own.json"]
    reported = CliRunner().invoke(benchmarks, ["report", "sheet.json"], catch_exceptions=False).stdout
    assert printed.partition("\nsheet.json")[0].strip() in reported
