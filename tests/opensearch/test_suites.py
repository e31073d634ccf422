"""A tiny run of every suite of `python -m benchmarks` that talks to OpenSearch."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from benchmarks import ht_tables
from benchmarks.__main__ import benchmarks
from benchmarks.report import neighbours_to_markdown
from benchmarks.suites import EF_SEARCH
from connector.cli.main import cli
from tests.beir import numbered, write_beir
from tests.tiny import WORDS, build_splade
from tests.unjudged import read_groups, run, write_unjudged

pytestmark = pytest.mark.opensearch

COUNT = 150


@pytest.fixture
def dataset(workplace: Path) -> Path:
    """150 documents; 20 of them are test queries, 20 others train queries."""
    random = np.random.default_rng(0)
    texts = [" ".join(random.choice(WORDS, 8)) for _ in range(COUNT)]
    judged = [(str(row), str(row)) for row in range(40)]
    return write_beir(workplace / "tiny", numbered(texts), numbered(texts[:40]), test=judged[:20], train=judged[20:])


def test_the_frontier_has_every_system_and_resumes(dataset: Path, head_folder: Path, tmp_path: Path) -> None:
    build_splade(tmp_path / "transformer").save_pretrained(str(tmp_path / "splade"))
    options = ("--encoder", str(head_folder), "--rounds", "1", "--cache", "cache", "--output", "frontier.json")
    printed = run("frontier", str(dataset), "--splade", str(tmp_path / "splade"), *options).stdout
    result = json.loads((tmp_path / "frontier.json").read_text())
    [rows] = result["results"].values()
    assert {row["system"] for row in rows} == {
        "exact dense", "HNSW", "HNSW byte", "BM25", "k-sparse", "k-sparse, 128 a document", "k-sparse, two phases",
        "k-sparse, 32 a document", "neural_sparse", "neural_sparse, two phases", "SEISMIC", "BM25 + k-sparse", "SPLADE",
        "k-sparse + 2 bits", "k-sparse + 4 bits", "k-sparse + knn byte", "k-sparse, 32 a document + 2 bits",
        "k-sparse, 32 a document + 4 bits", "k-sparse, 32 a document + knn byte",
    }  # fmt: skip
    assert {row["knob"] for row in rows if row["system"] == "HNSW"} == {
        "default",
        *map("ef_search={}".format, EF_SEARCH),
    }
    assert result["environment"]["opensearch"].startswith("3.")
    for row in rows[1:]:
        assert ("with_encoding" in row) == (row["system"] != "SPLADE"), "its encoder is not the set's"
        assert row["system"] == "SEISMIC" or row["memory"]["heap_bytes"] > 1e6
    by_name = {row["system"]: row for row in rows}
    assert by_name["BM25"]["with_encoding"]["p50_ms"] == by_name["BM25"]["p50_ms"]
    assert by_name["HNSW"]["with_encoding"]["p50_ms"] > by_name["HNSW"]["p50_ms"]
    assert printed.count("\n| ") == len(rows) + 2
    # The result is there: nothing is measured again.
    reported = run("report", "frontier.json", "--output", "report").stdout
    assert reported.startswith("## frontier: frontier.json") and "| SEISMIC | " in reported and "mapped MB" in reported
    assert (tmp_path / "report" / "frontier.png").read_bytes().startswith(b"\x89PNG")
    before = (tmp_path / "frontier.json").stat().st_mtime_ns
    again = run("frontier", str(dataset), "--splade", str(tmp_path / "splade"), *options).stdout
    assert again == printed and (tmp_path / "frontier.json").stat().st_mtime_ns == before


def test_every_lever_is_measured(dataset: Path, head_folder: Path, tmp_path: Path) -> None:
    options = ("--encoder", str(head_folder), "--rounds", "1", "--cache", "cache", "--output", "levers.json")
    run("levers", str(dataset), *options)
    [rows] = json.loads((tmp_path / "levers.json").read_text())["results"].values()
    by_name = {f"{row['system']} {row['knob']}": row for row in rows}
    plain, scaled = by_name["weights as they are k_query=16"], by_name["scaled weights k_query=16"]
    assert scaled["ndcg@10"] == plain["ndcg@10"] and scaled["files"]["doc"] < plain["files"]["doc"]
    budget = by_name["posting_budget k_query=64, posting_budget 0.1"]
    assert budget["postings_per_document_p99"] <= budget["postings_per_document"] + 1.0
    assert {
        "k-sparse, 32 a document + 1 bit k_query=16, 100 rescored",
        "two phases k_query=8, 50 rescored by all",
    } <= set(by_name)
    assert "| max_ratio | " in run("report", "levers.json").stdout


def test_query_encoders_ask_the_same_indices_twice(dataset: Path, head_folder: Path, tmp_path: Path) -> None:
    trained = ["--encoder", str(head_folder), "--output", "fast", "--steps", "5", "--device", "cpu", "--quiet"]
    assert CliRunner().invoke(cli, ["train", "queries", str(dataset / "corpus.jsonl"), *trained]).exit_code == 0
    options = ("--encoder", str(head_folder), "--rounds", "1", "--cache", "cache", "--output", "queries.json")
    printed = run("query-encoders", str(dataset), "--fast", "fast", *options).stdout
    [rows] = json.loads((tmp_path / "queries.json").read_text())["results"].values()
    names = ["HNSW", "k-sparse", "k-sparse, 32 a document + 4 bits"]
    assert [row["system"] for row in rows] == ["exact dense", *names, *(f"{name}, static queries" for name in names)]
    for dense, static in zip(rows[1:4], rows[4:], strict=True):
        assert dense["index_bytes"] == static["index_bytes"]
        assert dense["overlap@10"] > static["overlap@10"], "five steps teach little"
        assert static["with_encoding"]["p50_ms"] > static["p50_ms"]
    assert "text to hits, p50" in printed and printed.splitlines()[3] in run("report", "queries.json").stdout
    wrong = CliRunner().invoke(benchmarks, ["query-encoders", str(dataset), "--fast", str(head_folder), *options])
    assert "is not" in str(wrong.exception) and "create it with `ksparse train queries`" in str(wrong.exception)


def test_table_4_has_each_subset(dataset: Path, head_folder: Path, tmp_path: Path) -> None:
    sizes = [option for size in (100, 120, 999) for option in ("--documents", str(size))]
    options = ("--encoder", str(head_folder), "--rounds", "1", "--cache", "cache", "--output", "table4.json")
    printed = run("ksparse-table4", str(dataset), *sizes, "--k", "4", "--k", "16", "--steps", "5", *options).stdout
    result = json.loads((tmp_path / "table4.json").read_text())
    assert list(result["results"]) == ["100", "120"], "999 documents are not there"
    for rows in result["results"].values():
        names = [row["system"] for row in rows]
        paper = ["exact dense", "HNSW", "K-sparse, k = 4", "K-sparse, k = 16"]
        assert names == [*paper, "ours", "ours", "k-sparse, 32 a document + 4 bits"]
        assert rows[2]["postings_per_document"] < rows[3]["postings_per_document"]
        assert rows[2]["index_bytes"] < rows[3]["index_bytes"]
    assert "\n100 documents\n" in printed
    reported = run("report", "table4.json").stdout
    assert "| system | 100: MB | 100: ms | 100: NDCG@10 | 120: MB |" in reported
    size = result["results"]["120"][1]["index_bytes"] / 1e6
    assert f"| 1.00 ({size:.1f} MB) | " in next(
        line for line in reported.splitlines() if line.startswith("| HNSW | 1.00")
    )
    assert (tmp_path / "table4.png").read_bytes().startswith(b"\x89PNG")


def test_ingest_times_every_method(dataset: Path, head_folder: Path, tmp_path: Path) -> None:
    options = ("--encoder", str(head_folder), "--rounds", "2", "--cache", "cache", "--output", "ingest.json")
    printed = run("ingest", str(dataset), "--documents", "120", "--encoded", "30", *options).stdout
    [rows] = json.loads((tmp_path / "ingest.json").read_text())["results"].values()
    assert [row["way"] for row in rows] == [
        "encoding alone",
        "encoding and writing, ksparse",
        "encoding and writing, a server on cores of its own",
        "features, ksparse",
        "features, streaming_bulk",
        "features, parallel_bulk, 2 threads",
        "features, parallel_bulk, 4 threads",
        "HNSW, parallel_bulk, 4 threads",
    ]
    assert all(row["documents_per_s"] > row["documents_per_s_merged"] > 0 for row in rows[3:])
    assert run("report", "ingest.json").stdout.endswith(printed.rsplit("\n", 2)[0] + "\n")


@pytest.mark.usefixtures("workplace")
def test_a_stream_is_written_whole(tmp_path: Path) -> None:
    options = ("--documents", "3000", "--features", "8", "--moments", "5", "--output", str(tmp_path / "stream.json"))
    printed = run("stream", *options).stdout
    moments = json.loads((tmp_path / "stream.json").read_text())["results"]["stream"]
    assert moments[-1]["documents"] == 3_000
    assert [moment["seconds"] for moment in moments] == sorted(moment["seconds"] for moment in moments)
    assert "| 3,000 | " in printed
    (tmp_path / "stream.png").unlink()
    assert "| 3,000 | " in run("report", str(tmp_path / "stream.json")).stdout
    assert (tmp_path / "stream.png").read_bytes().startswith(b"\x89PNG")


def test_growth_goes_beyond_the_set(dataset: Path, head_folder: Path, tmp_path: Path) -> None:
    sizes = ("--documents", "400", "--documents", "100")
    options = ("--encoder", str(head_folder), "--rounds", "1", "--cache", "cache", "--output", "growth.json")
    run("growth", str(dataset), *sizes, *options)
    result = json.loads((tmp_path / "growth.json").read_text())
    assert list(result["results"]) == ["100", "400"]
    assert result["params"]["documents"] == COUNT
    small, large = result["results"].values()
    assert [row["system"] for row in large] == [
        "exact dense",
        "HNSW",
        "HNSW byte",
        *["k-sparse"] * 3,
        *["k-sparse, 32 a document + 4 bits"] * 4,
    ]
    assert all(more["index_bytes"] > less["index_bytes"] for less, more in zip(small[1:], large[1:], strict=True))
    reported = run("report", "growth.json").stdout
    assert "| p50, ms | HNSW default | " in reported
    assert (tmp_path / "growth.png").read_bytes().startswith(b"\x89PNG")


def test_the_growth_of_a_set_without_judgements_is_judged_by_exact_search_at_each_size(
    workplace: Path, head_folder: Path
) -> None:
    unjudged = write_unjudged(workplace / "unjudged")
    sizes = ("--documents", "1000", "--documents", "1200")
    options = ("--encoder", str(head_folder), "--rounds", "1", "--cache", "cache", "--output", "growth.json")
    run("growth", str(unjudged), *sizes, *options)
    groups = read_groups(workplace / "growth.json")
    assert list(groups) == ["1000", "1200"]
    for rows in groups.values():
        exact, hnsw, _, own, wide, *_ = rows
        assert exact["ndcg@10"] == 1.0, "all relevant documents are in the sample"
        assert (own["system"], own["knob"]) == ("own dictionary + 4 bits", "default")
        assert wide["knob"] == "three times the features, 1000 rescored"
        assert hnsw["overlap@10"] > 0.97 and min(own["overlap@10"], wide["overlap@10"]) > 0.5
    share = f"{groups['1200'][3]['overlap@10']:.1%}"
    assert f"| own dictionary + 4 bits default | {groups['1000'][3]['overlap@10']:.1%} | {share} |" in (
        neighbours_to_markdown(groups)
    )


def test_a_new_index_is_compared_at_its_defaults(workplace: Path, head_folder: Path) -> None:
    unjudged = write_unjudged(workplace / "unjudged")
    options = ("--encoder", str(head_folder), "--rounds", "1", "--cache", "cache", "--output", "own.json")
    said = run("dictionary", str(unjudged), "--documents", "1000", "--documents", "1100", *options).stderr
    assert "building the dictionary: " in said and "encoding with the dictionary: 0%" in said
    result = json.loads((workplace / "own.json").read_text())
    assert list(result["results"]) == ["1000", "1100"]
    rows = {(row["system"], row["knob"]): row for row in result["results"]["1100"]}
    assert list(rows) == [
        ("exact dense", ""),
        ("HNSW", "default"),
        ("own dictionary + 4 bits", "k_query=20, 200 rescored"),
        ("own dictionary + 4 bits", "k_query=60, 1000 rescored"),
        ("own dictionary + 3 bits", "k_query=20, 200 rescored"),
    ]
    most = rows["own dictionary + 4 bits", "k_query=60, 1000 rescored"]
    # A query and each document have 64 and 8 of 660 cells.
    assert 0.05 < most["postings_per_document"] < 5
    assert most["overlap@10"] > 0.5, "codes of 16 dimensions are coarse; at random it would be 0.01"


def test_rules_of_selection_are_compared_without_a_node(dataset: Path, head_folder: Path, tmp_path: Path) -> None:
    options = (str(dataset), "--encoder", str(head_folder), "--cache", "cache")
    printed = run("feature-selection", *options, "--output", "rules.json").stdout
    [rows] = json.loads((tmp_path / "rules.json").read_text())["results"].values()
    assert len(rows) == 30 and printed.count("\n| ") == len(rows) + 2
    assert printed.strip().endswith(run("report", "rules.json").stdout.strip().splitlines()[-1])
    wrong = CliRunner().invoke(benchmarks, ["feature-selection", *options, "--learned", str(head_folder)])
    assert wrong.exit_code == 2 and "has no thresholds; train it with `ksparse train --thresholds`" in wrong.output


@pytest.mark.parametrize("suite", ["ht-table1", "ht-table3", "ht-idf"])
def test_ht_tables_have_each_row(dataset: Path, head_folder: Path, tmp_path: Path, suite: str) -> None:
    build_splade(tmp_path / "transformer").save_pretrained(str(tmp_path / "splade"))
    options = ("--encoder", str(head_folder), "--rounds", "1", "--cache", "cache", "--output", "ht.json")
    training = ("--train", str(dataset), "--start", str(tmp_path / "splade"), "--steps", "2")
    printed = run(suite, str(dataset), *training, *options).stdout
    rows = {row["system"]: row for row in json.loads((tmp_path / "ht.json").read_text())["results"]["tiny"]}
    table = ht_tables.TABLES[suite]
    assert list(rows) == [f"{row.name}, guided" if row.guided else row.name for row in table]
    # Rows with the same training share a model.
    trainings = {tuple(sorted(row.settings.items())) for row in table}
    assert len(list((tmp_path / "cache" / "ht").iterdir())) == len(trainings)
    if suite == "ht-table1":
        assert rows["DCP50%"]["dlen"] == pytest.approx(rows["SPLADE"]["dlen"] / 2, abs=0.51)
        assert rows["Cut0.8"]["dlen"] <= rows["Cut0.5"]["dlen"] <= rows["SPLADE"]["dlen"]
        assert rows["DCP30%"]["index_bytes"] < rows["SPLADE"]["index_bytes"]
        assert rows["SPLADE"]["mean_ratio@10"] == rows["SPLADE"]["mean_ratio@1000"] == 1.0
        assert rows["SPLADE"]["ndcg_difference_interval"] == [0.0, 0.0]
        assert rows["HT1, guided"]["index_bytes"] > rows["HT1"]["index_bytes"], "its words lie there, too"
    elif suite == "ht-idf":
        assert rows["SPLADE, at most 0.2 N"]["qlen"] < rows["SPLADE"]["qlen"] == rows["SPLADE, idf"]["qlen"]
        assert rows["SPLADE, idf"]["dlen"] == rows["SPLADE"]["dlen"], "documents are as they were"
        assert rows["SPLADE, at most 0.2 N"]["postings_per_document"] < rows["SPLADE"]["postings_per_document"]
    else:
        assert rows["H[D], K = 25"]["dlen"] >= rows["S[Q], HH[D], K = 25"]["dlen"]
    assert printed.count("\n| ") == len(table) + 2
    reported = run("report", "ht.json").stdout
    assert reported.count("\n| ") == len(table) + 2
