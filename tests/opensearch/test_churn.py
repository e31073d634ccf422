"""A miniature of the suite `churn`, and the stream of writes behind it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from opensearchpy import OpenSearch

from benchmarks.datasets import EncodedSet, encode_set
from benchmarks.scenarios.churn import HALF, MAXIMUM, NO_WRITES, RATES, SAME, mean_interval, split_latencies
from benchmarks.scenarios.tables import churn_to_markdown
from benchmarks.scenarios.writes import BATCH, WriteStream, Written, writing
from benchmarks.systems.lucene_hnsw import LuceneHnsw
from connector.connection.client import connect
from connector.encoders.text import TextEncoder
from connector.errors import BulkWriteError, ConnectorError
from tests.tiny import DIM
from tests.unjudged import COUNT, read_groups, run, write_unjudged


@pytest.fixture(scope="module")
def data(encoder: TextEncoder, tmp_path_factory: pytest.TempPathFactory) -> EncodedSet:
    folder = write_unjudged(tmp_path_factory.mktemp("unjudged"))
    return encode_set(folder, encoder, lambda texts, task: encoder.embed(texts, task=task), k_query=4)


def churn(workplace: Path, head_folder: Path, *options: str) -> dict[str, list[dict[str, Any]]]:
    """Run the suite for a second per turn; return its rows by rate."""
    dataset = write_unjudged(workplace / "unjudged")
    common = ("--encoder", str(head_folder), "--rounds", "1", "--cache", "cache", "--output", "churn.json")
    run("churn", str(dataset), "--seconds", "1", *options, *common)
    return read_groups(workplace / "churn.json")


@pytest.mark.opensearch
def test_each_rate_is_kept_and_ends_with_the_documents_that_were_written(workplace: Path, head_folder: Path) -> None:
    groups = churn(workplace, head_folder, "--writers", "1")
    assert tuple(groups) == RATES
    for rate, rows in groups.items():
        assert [row["system"] for row in rows] == ["HNSW", "own dictionary + 4 bits", "own dictionary + 4 bits"]
        assert rows[0]["overlap@10"] > 0.97, "the truth is among what is left"
        assert all(row["documents"] == COUNT - 400 + (0 if rate == NO_WRITES else 200) for row in rows)
        for row in rows:
            modes = [row[mode]["requests"] for mode in ("during_merges", "between_merges") if mode in row]
            assert row["requests"] - 100 < sum(modes) <= row["requests"], "a mode of fewer than 100 is not told apart"
            assert 0 <= row["merging_share"] < 1
            assert row["turn_means_ms"] == [row["mean_ms"]] and "mean_interval" not in row, "one turn has no interval"
    assert {row["documents_per_s"] for row in groups[NO_WRITES]} == {0.0}
    most, half, same = (groups[rate] for rate in (MAXIMUM, HALF, SAME))
    for row, fastest in zip(half, most, strict=True):
        assert row["asked_per_s"] == fastest["documents_per_s"] / 2
        assert row["documents_per_s"] <= row["asked_per_s"] + BATCH / 1.0, "one batch is sent at once"
    assert {row["asked_per_s"] for row in same} == {most[0]["documents_per_s"] / 2}
    assert all(0 < row["found_p50_s"] <= row["found_most_s"] for row in most if "found_p50_s" in row)
    assert "| half of HNSW's maximum | HNSW default | " in run("report", "churn.json").stdout


@pytest.mark.opensearch
def test_rates_given_by_number_replace_those_of_the_maximum(workplace: Path, head_folder: Path) -> None:
    groups = churn(workplace, head_folder, "--rate", "200", "--rate", "1000")
    assert list(groups) == ["no writes", "200 documents/s", "1,000 documents/s"]
    for rate, rows in zip((200, 1_000), list(groups.values())[1:], strict=True):
        assert [row["asked_per_s"] for row in rows] == [rate] * 3
        # Half a rate of leeway for slow machines; two batches are in flight at the end.
        assert all(rate / 2 < row["documents_per_s"] <= rate + 2 * BATCH for row in rows)
    with pytest.raises(ConnectorError, match=r"churn.json contains the suite churn with another per_s"):
        churn(workplace, head_folder)
    assert read_groups(workplace / "churn.json") == groups


def test_a_search_is_in_the_mode_of_the_last_sample_before_it() -> None:
    written = Written(merges=[(1.0, False), (2.0, True), (3.0, False)])
    times = np.array([0.5, 1.5, 2.0, 2.9, 3.5])
    assert written.merging_at(times).tolist() == [False, False, True, True, False]


def test_both_modes_of_latencies_are_shown_beside_all() -> None:
    def row(system: str, factor: float) -> dict[str, Any]:
        times_ms = factor * np.repeat([2.0, 8.0, 4.0], [300, 150, 50])
        merging = np.repeat([False, True, False], [300, 150, 50])
        row: dict[str, Any] = {"system": system, "knob": "default", "documents_per_s": 1_000.0, "merging_share": 0.3}
        return row | {"index_bytes": 10_000_000, "overlap@10": 0.9} | split_latencies(times_ms, merging)

    table = churn_to_markdown({"1,000 documents/s": [row("HNSW", 1.0), row("other", 0.25)]})
    ours = [cell.strip() for cell in table.splitlines()[-1].split("|")]
    assert row("HNSW", 1.0)["between_merges"]["p50_ms"] == 2.0
    assert "1.00 (4.00 ms) | 1.00 (2.00 ms)" in table and "| 30% | 1.00 (2.00 ms) | 1.00 (8.00 ms) |" in table
    assert ours[-7:-1] == ["0.25", "0.25", "0.25", "30%", "0.25", "0.25"]


def test_the_interval_of_a_mean_is_that_of_turns_not_of_searches() -> None:
    quiet, busy = np.full(300, 2.0), np.full(100, 10.0)
    assert mean_interval([quiet / 2] * 9, [quiet] * 9) == (0.5, 0.5)
    low, high = mean_interval([quiet] * 9, [quiet, quiet, busy] * 3)
    ratio = 2.0 / np.concatenate([quiet, quiet, busy]).mean()
    # The reference has from none to six of nine turns with merges.
    assert 2 / 10 < low < 0.75 * ratio < 1.25 * ratio < high <= 1.0
    rows: list[dict[str, Any]] = [
        {"system": name, "knob": "default", "documents_per_s": 1_000.0, "index_bytes": 10_000_000, "overlap@10": 0.9}
        | split_latencies(factor * quiet, np.zeros(300, dtype=np.bool_))
        for name, factor in (("HNSW", 1.0), ("other", 0.5))
    ]
    rows[1]["mean_interval"] = (0.41, 0.58)
    assert "| 0.50 (0.41 to 0.58) | 0.50 | 0.50 |" in churn_to_markdown({"1,000 documents/s": rows})


def test_what_a_stream_has_written_is_what_is_left(data: EncodedSet) -> None:
    stream = WriteStream(data, LuceneHnsw("docs", DIM))
    there = set(stream.first.tolist())
    rows = {doc_id: row for row, doc_id in enumerate(data.doc_ids)}
    for _ in range(25):  # more than all that come: some come again
        for line in filter(None, stream.take().split("\n")):
            [(action, target), *_] = json.loads(line).items()
            if action == "index":
                there.add(rows[target["_id"]])
            elif action == "delete":
                there.remove(rows[target["_id"]])
        assert sorted(stream.rows.tolist()) == sorted(there)
    assert len(there) == COUNT - 400 + 200
    assert np.all(np.isin(stream.first, stream.rows))


@pytest.mark.opensearch
def test_a_refused_document_ends_the_writing(
    client: OpenSearch, index: str, opensearch_url: str, data: EncodedSet
) -> None:
    body = {"mappings": {"dynamic": "strict", "properties": {"other": {"type": "keyword"}}}}
    client.indices.create(index=index, body=body)
    client.index(index=index, id="watched", body={"other": "a"})
    stream = WriteStream(data, LuceneHnsw(index, DIM))
    stream.sample = {"other": "a"}
    with pytest.raises(BulkWriteError, match=r"refused a document.*: .*strict_dynamic_mapping"):
        with writing(lambda: connect(opensearch_url), stream, BATCH, writers=1):
            pass
