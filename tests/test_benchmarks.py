from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from benchmarks import demo
from benchmarks.datasets import cached_embed, encode_set
from benchmarks.docstrings import split_docstring
from benchmarks.encoding import query_encodings
from benchmarks.frontier import encoder_frontier
from benchmarks.measure import difference_interval, ratio_interval
from benchmarks.plots import exponent, growth_lines, plot_frontier
from benchmarks.report import cheapest_to_markdown, frontier_to_markdown, scaling_to_markdown, to_cells, to_markdown
from connector.cli.main import cli
from connector.cluster import Cluster
from connector.cluster.local import Started
from connector.encoders.load import join
from connector.encoders.text import TextEncoder
from tests.beir import write_beir
from tests.encoded import encoded
from tests.tiny import build_dense, build_head


def test_frontier_of_activations_that_equal_the_embeddings_keeps_everything(encoder: TextEncoder) -> None:
    embeddings = np.eye(4, dtype=np.float32) + 0.1
    for row in encoder_frontier(encoded(embeddings, embeddings, encoder), num_features=4):
        assert row["ndcg_share"] == pytest.approx(1.0)
        assert row["rescored_ndcg_share"] == pytest.approx(1.0)
        assert row["recall_of_dense_top_10@100"] == pytest.approx(1.0)
        assert row["dead_latents"] == 0.0


def test_frontier_counts_postings_of_the_query_s_features(encoder: TextEncoder) -> None:
    activations = np.zeros((4, 8), dtype=np.float32)
    activations[:, 0] = 1.0
    activations[np.arange(4), np.arange(1, 5)] = 2.0
    [first, *_] = encoder_frontier(encoded(activations, np.eye(4, dtype=np.float32), encoder), num_features=8)
    # Each query reads the latent that all four documents have, and one that is its own: 5 postings of 4 documents.
    assert first["postings_per_document"] == pytest.approx(5 / 4)
    assert first["highest_document_frequency"] == 1.0
    assert first["dead_latents"] == pytest.approx(3 / 8)


def test_frontier_loses_what_shares_no_feature(encoder: TextEncoder) -> None:
    activations = np.zeros((2, 4), dtype=np.float32)
    activations[np.arange(2), np.arange(2)] = 1.0
    embeddings = np.array([[1.0, 0.0], [0.9, 0.1]], dtype=np.float32)
    rows = encoder_frontier(encoded(activations, embeddings, encoder), num_features=4)
    assert rows[0]["recall_of_dense_top_10@100"] == pytest.approx(0.5)


def test_a_set_is_embedded_with_the_prompts_of_its_model(transformer_folder: Path, tmp_path: Path) -> None:
    prompts = {"query": "query :", "document": "document :"}
    encoder = TextEncoder(join(build_dense(transformer_folder, prompts=prompts), build_head()))
    write_beir(tmp_path, {"d1": "stars burn", "d2": "cats sleep"}, {"q1": "why stars"}, test=[("q1", "d1")])
    data = encode_set(tmp_path, encoder, cached_embed(encoder, None, lambda _what, _share: None), k_query=4)
    expected = encoder.embed(["why stars"], task="query")
    assert not np.allclose(expected, encoder.embed(["why stars"]), atol=0.1)
    np.testing.assert_allclose(data.query_embeddings, expected, atol=1e-5)
    np.testing.assert_allclose(data.document_embeddings, encoder.embed(["stars burn", "cats sleep"]), atol=1e-5)
    [dense, _], _ = query_encodings(data)
    np.testing.assert_allclose(np.asarray(dense.encode("why stars")), expected[0], atol=1e-5)


def test_only_latents_can_be_dead(encoder: TextEncoder) -> None:
    activations = np.zeros((4, 8), dtype=np.float32)
    activations[:, [0, 6]] = 1.0
    [first, *_] = encoder_frontier(
        encoded(activations, np.eye(4, dtype=np.float32), encoder), num_features=8, num_latents=4
    )
    assert first["dead_latents"] == pytest.approx(3 / 4)


def test_a_docstring_s_first_sentence_is_not_in_its_body() -> None:
    body = "It counts every word of the text, whatever its language, and says how often each of them occurs."
    assert split_docstring(f"Count the words of a text.\n\n{body}") == ("Count the words of a text.", body)


@pytest.mark.parametrize("docstring", ["", "Too short.", "Count the words of a text.", "No end of a sentence " * 20])
def test_a_docstring_that_says_too_little_is_left_out(docstring: str) -> None:
    assert split_docstring(docstring) is None


def rows_of_a_result() -> list[dict[str, Any]]:
    quality = {"ndcg@10": 0.5, "mrr@10": 0.4, "ndcg_share": 1.0}
    timed = {"p50_ms": 2.0, "p99_ms": 4.0, "p50_ratio": 1.0, "p99_ratio": 1.0}
    timed |= {"index_bytes": 8_000_000, "bytes_per_document": 800.0}
    half = timed | {"p50_ms": 1.0, "p50_ratio": 0.5, "postings_per_document": 0.25}
    half |= {"index_bytes": 1_000_000, "bytes_per_document": 100.0}
    return [
        {"system": "exact dense", "knob": "", **quality},
        {"system": "HNSW", "knob": "default", **quality, **timed},
        {"system": "k-sparse", "knob": "k_query=8", **quality, **half},
    ]


def test_table_puts_each_system_beside_hnsw() -> None:
    assert to_cells(rows_of_a_result())[2] == (
        "k-sparse k_query=8", "0.500", "100.0%", "1.0", "0.12", "1.00", "4.00", "0.50", "0.25 N",
    )  # fmt: skip
    assert to_markdown(rows_of_a_result()).count("\n") == 5


def test_plot_is_an_image(tmp_path: Path) -> None:
    plot_frontier(rows_of_a_result(), "title", tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")


def test_frontier_table_has_a_row_per_point(encoder: TextEncoder) -> None:
    embeddings = np.eye(4, dtype=np.float32) + 0.1
    rows = encoder_frontier(encoded(embeddings, embeddings, encoder), num_features=4)
    assert frontier_to_markdown(rows).count("\n") == len(rows) + 2


def test_docstrings_become_a_beir_folder(tmp_path: Path) -> None:
    from benchmarks import docstrings

    body = "It counts every word of the text, whatever its language, and says how often each of them occurs"
    found = [docstrings.Docstring(f"module.f{n}", f"Count the words of text {n}.", f"{body} {n}.") for n in range(3)]
    assert docstrings.write_docstrings(tmp_path, queries=2, found=[*found, found[0]]) == 3
    with gzip.open(tmp_path / "corpus.jsonl.gz", "rt") as corpus:
        assert {json.loads(line)["_id"] for line in corpus} == {"module.f0", "module.f1", "module.f2"}
    assert (tmp_path / "qrels" / "test.tsv").read_text().count("\n") == 3


def test_the_exponent_is_a_slope() -> None:
    assert exponent([10, 100, 1_000], [2.0, 4.0, 8.0]) == pytest.approx(np.log10(2))
    assert np.isnan(exponent([10], [1.0]))


def test_the_interval_of_a_difference_is_of_the_same_queries() -> None:
    gains = np.random.default_rng(0).random(200)
    low, high = difference_interval(gains + 0.01, gains)
    assert low == pytest.approx(0.01) and high == pytest.approx(0.01), "queries differ far more than systems do"
    low, high = difference_interval(gains[::-1], gains)
    assert low < 0 < high


def test_the_interval_of_a_ratio_holds_the_ratio() -> None:
    random = np.random.default_rng(0)
    times = random.lognormal(size=(3, 400))
    assert ratio_interval(2.0 * times, times, 50) == pytest.approx((2.0, 2.0)), "queries differ, the ratio does not"
    other = 2.0 * times * random.lognormal(sigma=0.2, size=(3, 400))
    low, high = ratio_interval(other, times, 50)
    assert low < np.median(other) / np.median(times) < high and high - low < 0.5


def test_growth_is_by_number_not_by_name() -> None:
    groups = {count: [{"system": "HNSW", "knob": "", "p50_ms": ms}] for count, ms in (("1000", 3.0), ("90", 1.0))}
    assert growth_lines(groups, "p50_ms") == [("HNSW", [90, 1000], [1.0, 3.0])]


def test_scaling_shows_ratios_to_the_first_system() -> None:
    def rows(hnsw_ms: float, own_ms: float) -> list[dict[str, object]]:
        hnsw = {"system": "HNSW", "knob": "", "p50_ms": hnsw_ms, "p50_ratio": 1.0, "index_bytes": 4_000_000}
        own = {
            "system": "ours",
            "knob": "k=8",
            "p50_ms": own_ms,
            "p50_ratio": own_ms / hnsw_ms,
            "index_bytes": 1_000_000,
        }
        memory = {"memory": {"mapped_bytes": 2_000_000}}
        return [{"system": "exact dense", "knob": ""}, hnsw | memory, own]

    lines = scaling_to_markdown({"1000": rows(4.0, 5.0), "90": rows(2.0, 1.0)}).splitlines()
    assert lines[0] == "| system | 90 | 1,000 | bytes | mapped |"
    assert lines[2:] == [
        "| HNSW | 2.00 ms | 4.00 ms | 4 MB | 2 MB |",
        "| ours k=8 | 1.00 ms (0.50) | 5.00 ms (1.25) | 1 MB (0.25) |  |",
    ]


def test_the_cheapest_setting_that_is_good_enough() -> None:
    rows = [
        {"system": "exact dense", "knob": "", "ndcg_share": 1.0},
        {"system": "HNSW", "knob": "default", "ndcg_share": 0.99, "p50_ms": 2.0, "p50_ratio": 1.0, "index_bytes": 100},
        {"system": "ours", "knob": "k=8", "ndcg_share": 0.91, "p50_ms": 1.0, "p50_ratio": 0.5, "index_bytes": 25},
        {"system": "ours", "knob": "k=16", "ndcg_share": 0.96, "p50_ms": 1.5, "p50_ratio": 0.75, "index_bytes": 25},
    ]
    lines = cheapest_to_markdown(rows, (0.9, 0.95, 1.0)).splitlines()
    assert lines[2] == "| HNSW | 1.00, 1.00 (default) | 1.00, 1.00 (default) | not reached |"
    assert lines[3] == "| ours | 0.50, 0.25 (k=8) | 0.75, 0.25 (k=16) | not reached |"


def test_bench_is_the_command_of_the_source_tree(tmp_path: Path) -> None:
    code = "from connector.cli.main import cli; cli()"
    ran = subprocess.run(
        [sys.executable, "-c", code, "bench", "report", "--help"],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
    )
    assert "Print results of suites as Markdown tables" in ran.stdout


@pytest.fixture
def from_a_wheel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("connector.cli.bench.source_tree", lambda: None)


@pytest.mark.usefixtures("from_a_wheel")
def test_the_help_of_bench_outside_of_a_clone_says_what_it_needs() -> None:
    shown = CliRunner().invoke(cli, ["bench", "--help"])
    assert shown.exit_code == 0
    assert "The benchmarks are part of the repository" in shown.stdout


@pytest.mark.usefixtures("from_a_wheel")
def test_bench_outside_of_a_clone_is_an_error_that_says_what_it_needs() -> None:
    refused = CliRunner().invoke(cli, ["bench", "report"])
    assert refused.exit_code == 1
    assert refused.stderr == (
        "Error: The benchmarks are not installed with the library. Run this in a clone of the project, installed by "
        "`pip install --editable '.[cluster,plot]'`.\n"
    )


@pytest.mark.parametrize(("was_up", "keep"), [(False, False), (False, True), (True, False)])
def test_a_node_is_stopped_if_it_was_started_and_is_not_kept(
    was_up: bool, keep: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster, said, purged = Cluster("http://127.0.0.1:9200"), list[str](), list[bool]()
    monkeypatch.setattr(demo, "up", lambda on_progress, ml: Started(cluster, was_up=was_up))
    monkeypatch.setattr(demo, "down", lambda *, purge: purged.append(purge))
    with demo.running_cluster(keep=keep, say=said.append) as running:
        assert running is cluster and purged == []
    stopped = not was_up and not keep
    assert purged == [True] * stopped
    assert said == ["Stopped OpenSearch and deleted its data."] * stopped
