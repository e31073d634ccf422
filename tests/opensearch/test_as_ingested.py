"""A miniature of the suite `as-ingested`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from opensearchpy import OpenSearch

from benchmarks.scenarios import as_ingested
from benchmarks.scenarios.as_ingested import STATES, draw_changes
from tests.unjudged import COUNT, read_groups, run, write_unjudged

pytestmark = pytest.mark.opensearch


def test_each_state_has_its_segments_and_documents(
    workplace: Path, head_folder: Path, client: OpenSearch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(as_ingested, "LEASES_S", 0.0)  # the server takes half a minute
    dataset = write_unjudged(workplace / "unjudged")
    options = ("--encoder", str(head_folder), "--rounds", "1", "--cache", "cache", "--output", "states.json")
    printed = run("as-ingested", str(dataset), *options).stdout
    groups = read_groups(workplace / "states.json")
    assert tuple(groups) == STATES
    ingested, changed, merged = groups.values()
    for rows, documents in ((ingested, COUNT), (changed, COUNT - 60), (merged, COUNT - 60)):
        assert [row["system"] for row in rows] == ["HNSW", "own dictionary + 4 bits", "own dictionary + 4 bits"]
        assert {row["documents"] for row in rows} == {documents}
        # Both forms of a document in the truth, or in the index, would cost a tenth of this.
        assert rows[0]["overlap@10"] > 0.97
        assert rows[0]["p50_ratio"] == 1.0 and rows[1]["p50_ms"] > 0
    assert all(row["segments"] > 1 and row["deleted"] > 0 for row in changed)
    assert all(row["segments"] == 1 for row in merged)
    assert printed.count("\n| ") == 9 + 2
    assert not _left(client), "indices are deleted"

    # A stopped run resumes: existing groups are not measured again.
    kept = json.loads((workplace / "states.json").read_text())
    del kept["results"][STATES[2]]
    (workplace / "states.json").write_text(json.dumps(kept))
    run("as-ingested", str(dataset), *options)
    again = read_groups(workplace / "states.json")
    assert (again[STATES[0]], again[STATES[1]]) == (ingested, changed)
    assert [row["segments"] for row in again[STATES[2]]] == [1, 1, 1]
    assert "| merged | HNSW default | 1 | 1,140 | " in run("report", "states.json").stdout


def test_changes_leave_each_content_once() -> None:
    changes = draw_changes(1_000)
    rows, contents = changes.left(1_000)
    assert len(rows) == 950 and set(changes.deleted.tolist()).isdisjoint(rows.tolist())
    assert sorted(contents.tolist()) == rows.tolist(), "contents are exchanged among the updated ones"
    assert np.sum(rows != contents) == 100


def _left(client: OpenSearch) -> list[str]:
    return list(client.indices.get(index="ksparse-bench-states-*"))
