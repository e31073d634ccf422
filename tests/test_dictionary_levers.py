"""The suite `dictionary-levers`: settings of a dictionary, one changed at a time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.dictionary_levers import CHANGES, DEPTHS, Lever, compare_levers
from connector.encoders.text import TextEncoder
from connector.errors import ConnectorError
from tests.test_benchmark_dictionary import encoded, write_set
from tests.unjudged import run


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory, lexical: TextEncoder) -> list[dict[str, Any]]:
    data = encoded(write_set(tmp_path_factory.mktemp("levers"), 1_000), lexical)
    return compare_levers(data, ({"query_cells": 48}, {"window": 20}, {"order": "exact"}, {"spread": 0.0}))


def test_each_change_is_measured_alone(rows: list[dict[str, Any]]) -> None:
    assert [row["change"] for row in rows] == [
        {},
        {"query_cells": 48},
        {"window": 20},
        {"order": "exact"},
        {"spread": 0.0},
    ]
    default, wide, narrow, exact, nearest = rows
    assert (default["window"], narrow["window"]) == (200, 20)
    for same in (narrow, exact):
        names = ("recall", "postings_per_document", *(f"recall@{depth}" for depth in DEPTHS))
        assert [same[name] for name in names] == [default[name] for name in names], "the same candidates"
    assert wide["recall"] >= default["recall"]
    assert wide["postings_per_document"] > default["postings_per_document"]
    assert nearest["postings_per_document"] != default["postings_per_document"]


def test_candidates_limit_what_an_order_finds(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        depths = [row[f"recall@{depth}"] for depth in DEPTHS]
        assert depths == sorted(depths) and depths[-1] <= row["recall"] <= 1
        assert 0.3 < row["overlap@10"] <= row["recall@window"]
    exact = rows[3]
    assert exact["overlap@10"] == exact["recall@window"], "exact scores put all neighbours among the candidates first"


def test_a_small_set_is_refused(tmp_path: Path, lexical: TextEncoder) -> None:
    with pytest.raises(ConnectorError, match="has 999 documents, but a dictionary needs 1,000; choose a larger set"):
        compare_levers(encoded(write_set(tmp_path, 999), lexical))


def test_all_changes_are_settings_of_a_lever() -> None:
    for change in CHANGES:
        assert Lever(**change) != Lever(), f"{change} is the default"


def test_the_command_writes_a_table(tmp_path: Path, head_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.dictionary_levers.CHANGES", ({"order": "3 bits"}, {"window": 100}))
    folder = tmp_path / "set"
    folder.mkdir()
    write_set(folder, 1_000)
    output = tmp_path / "levers.json"
    options = ("--encoder", str(head_folder), "--cache", str(tmp_path / "cache"), "--output", str(output))
    printed = run("dictionary-levers", str(folder), "--max-queries", "5", *options).stdout
    assert (
        "| default | " in printed and "| ranked by 3 bits scores | " in printed and "| 100 hits rescored | " in printed
    )
    assert [row["change"] for row in json.loads(output.read_text())["results"]["set"]][1:] == [
        {"order": "3 bits"},
        {"window": 100},
    ]
    assert "| ranked by 3 bits scores | " in run("report", str(output)).stdout
