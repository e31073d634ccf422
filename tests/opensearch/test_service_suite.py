"""The suite `service`: a real `ksparse serve` under open-loop load."""

from __future__ import annotations

from pathlib import Path

import pytest
from opensearchpy import OpenSearch

from benchmarks.scenarios.served_tables import highest_rate
from tests.unjudged import read_groups, run, write_unjudged

pytestmark = [pytest.mark.opensearch, pytest.mark.slow]


def test_rates_are_tried_until_one_is_not_sustained(workplace: Path, head_folder: Path, client: OpenSearch) -> None:
    dataset = write_unjudged(workplace / "unjudged")
    options = ("--encoder", str(head_folder), "--cache", "cache", "--output", "service.json", "--backend", "torch")
    load = ("--seconds", "1", "--clients", "2", "--long", "1", "--max-p99", "1000", "--arrivals", "uniform")
    run("service", str(dataset), *options, *load)
    [(backend, rows)] = read_groups(workplace / "service.json").items()
    capacity, *rates, last = rows
    assert backend == "torch" and (capacity["kind"], last["kind"]) == ("capacity", "long")
    assert capacity["rate"] > 1
    assert rates[0]["rate"] == pytest.approx(capacity["rate"] / 10)
    for row in rates:
        assert row["requests"] == max(1, round(row["rate"]))
        assert row["sustained"] == (row["errors"] == 0 and row["p99_ms"] < 1_000)
    assert rates[0]["sustained"] and highest_rate(rows) >= rates[0]["rate"]
    assert last["requests"] == max(1, round(0.8 * capacity["rate"])) and last["errors"] == 0
    assert not client.indices.get(index="ksparse-bench-service*", expand_wildcards="all"), "index and dictionary go"
    assert "| torch | by a schedule | " in run("report", "service.json").stdout
    assert (workplace / "service.png").read_bytes().startswith(b"\x89PNG")
