"""Tables 1 to 3 of the K-sparse paper, on a corpus of a few sentences."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks import ksparse_tables
from benchmarks.ksparse_tables import Bench
from benchmarks.report import levers_to_markdown, paper_to_markdown, rows_to_markdown, table_4_to_markdown
from connector.encoders.base_model import find_base_model, load_base_model
from connector.training.data import TrainingData
from connector.training.embeddings import EmbeddingCache
from tests.beir import numbered, write_beir
from tests.tiny import WORDS

pytestmark = pytest.mark.usefixtures("narrow_ivae")


@pytest.fixture
def bench(dense_folder: Path, tmp_path: Path) -> Bench:
    random = np.random.default_rng(0)
    texts = [" ".join(random.choice(WORDS, 6)) for _ in range(80)]
    judged = [(str(row), str(row)) for row in range(20)]
    folder = write_beir(tmp_path / "judged", numbered(texts), numbered(texts[:20]), test=judged)
    embedder = EmbeddingCache(load_base_model(find_base_model(str(dense_folder)), "cpu"), "tiny", None)
    embeddings = embedder.embed(texts)
    data = TrainingData(embeddings, embeddings[:20], np.arange(20), np.zeros(1, np.int64))
    return Bench(
        data,
        folder,
        str(dense_folder),
        lambda texts, task: embedder.embed(texts, task=task),
        tmp_path / "heads",
        30,
        lambda _what, _share: None,
        latents=64,
        k=16,
        by_k={1: 0.41, 16: 0.57},
    )


def test_table_1_has_all_systems(bench: Bench) -> None:
    rows = ksparse_tables.table_1(bench)
    systems = ["iVAE, signed values", "iVAE, as rank_features", "K-sparse", "K-sparse, not trained", "dense"]
    assert [row["system"] for row in rows] == systems
    assert rows[-1]["ndcg@10"] == pytest.approx(1.0), "each query is a document"
    assert rows[-1]["of dense"] == pytest.approx(1.0)
    assert rows[2]["of dense, paper"] == pytest.approx(0.57 / 0.59)
    assert 0.5 < rows[2]["ndcg@10"] <= 1.0
    assert rows[1]["postings"] > 0


def test_more_features_keep_more(bench: Bench) -> None:
    few, many = ksparse_tables.table_2(bench)
    assert (few["k"], many["k"]) == (1, 16)
    assert few["ndcg@10"] < many["ndcg@10"]
    assert few["postings"] < many["postings"]


def test_heads_are_trained_once(bench: Bench) -> None:
    reported: list[str] = []
    again = replace(bench, report=lambda what, _share: reported.append(what))
    first = ksparse_tables.table_2(bench)
    rows = ksparse_tables.table_3(again)
    trained = {what for what in reported if what.startswith("training")}
    assert len(trained) == 4, "alphas of 1 and 1 are in Table 2"
    assert rows[-1]["ndcg@10"] == first[-1]["ndcg@10"]


def test_a_table_is_readable() -> None:
    table = rows_to_markdown([{"k": 4, "of dense": 0.5, "postings": 1.234}, {"k": 8, "ndcg@10": 0.12345}])
    assert table.splitlines() == [
        "| k | of dense | postings | ndcg@10 |",
        "| --- | ---: | ---: | ---: |",
        "| 4 | 50.0% | 1.23 N |  |",
        "| 8 |  |  | 0.1235 |",
    ]


def test_a_table_of_the_paper_has_settings_quality_and_postings() -> None:
    row = {"k": 100, "zeros": 0.9, "paper": 0.4, "ndcg@10": 0.5, "postings": 8.674}
    [heads, _, line] = paper_to_markdown([row | {"of dense": 0.8, "of dense, paper": 0.7}]).splitlines()
    assert heads == "| k | of dense, paper | of dense, here | postings |"
    assert line == "| 100 | 70.0% | 80.0% | 8.67 N |"


def test_table_4_has_the_paper_s_ratios_in_brackets() -> None:
    exact = {"system": "exact dense", "ndcg@10": 0.5}
    hnsw = {"system": "HNSW", "knob": "default", "index_bytes": 40e6, "p50_ms": 2.0, "ndcg@10": 0.4}
    sparse = {"system": "K-sparse, k = 100", "knob": "", "index_bytes": 10e6, "p50_ms": 3.0, "ndcg@10": 0.3}
    ours = sparse | {"system": "ours", "knob": "k_query=16"}
    lines = table_4_to_markdown({"25000": [exact, hnsw, sparse, ours]}).splitlines()
    assert lines[0] == "| system | 25,000: MB | 25,000: ms | 25,000: NDCG@10 |"
    assert lines[2:] == [
        "| HNSW | 1.00 (40.0 MB) | 1.00 (2.00 ms) | 1.00 (0.400) |",
        "| K-sparse, k = 100 | 0.25 (0.17) | 1.50 (1.22) | 0.75 (0.94) |",
        "| ours k_query=16 | 0.25 | 1.50 | 0.75 |",
    ]


def test_levers_are_compared_with_hnsw_by_cost_and_postings() -> None:
    both = {"ndcg@10": 0.5, "ndcg_share": 0.9, "overlap@10": 0.8, "p99_ms": 4.0, "requests_per_s": {"8": 100.0}}
    hnsw = both | {"system": "HNSW", "knob": "default", "index_bytes": 100, "p50_ms": 2.0}
    lever = both | {"system": "max_ratio", "knob": "0.4", "index_bytes": 25, "p50_ms": 1.0}
    lever |= {"requests_per_s": {"8": 150.0}, "postings_per_document": 0.251, "postings_per_document_p99": 0.5}
    lines = levers_to_markdown([hnsw, lever]).splitlines()
    assert lines[0] == "| system | of dense | of HNSW | p50 | p99 | requests/s, 8 clients | postings, p99 |"
    assert lines[3] == "| max_ratio 0.4 | 90.0% | 0.25 | 0.50 | 1.00 | 1.50 | 0.25 N, 0.50 N |"
