"""A miniature of the suite `filtered`, and the labels that its filters ask for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from benchmarks.datasets import EncodedSet, encode_set
from benchmarks.scenarios.filtered import with_filter
from benchmarks.scenarios.filters import PARTS, SHARES, exact_among, label
from benchmarks.scenarios.plots import plot_filtered
from connector.encoders.text import TextEncoder
from connector.query.body import has_features
from connector.query.rescore import MAX_RESCORED
from tests.unjudged import COUNT, QUERIES, read_groups, run, write_unjudged


@pytest.fixture(scope="module")
def data(encoder: TextEncoder, tmp_path_factory: pytest.TempPathFactory) -> EncodedSet:
    folder = write_unjudged(tmp_path_factory.mktemp("unjudged"))
    return encode_set(folder, encoder, lambda texts, task: encoder.embed(texts, task=task), k_query=4)


@pytest.mark.opensearch
def test_filters_keep_their_share(workplace: Path, head_folder: Path) -> None:
    dataset = write_unjudged(workplace / "unjudged")
    options = ("--encoder", str(head_folder), "--rounds", "1", "--cache", "cache", "--output", "filtered.json")
    printed = run("filtered", str(dataset), *options).stdout
    groups = read_groups(workplace / "filtered.json")
    shares = ["50.00%", "10.00%", "1.00%", "0.10%"]
    assert list(groups) == [f"{kind}, {share}" for kind in ("uncorrelated", "correlated") for share in shares]
    for (group, rows), share in zip(groups.items(), [*SHARES[:4]] * 2, strict=True):
        hnsw = rows[0]
        assert hnsw["kept"] == pytest.approx(share * COUNT, rel=0.25), group
        # Searched without the filter, HNSW would find half of the truth and less.
        assert hnsw["overlap@10"] > 0.97 and hnsw["too_few"] == 0, group
        # All kept documents are scored by codes, which are coarse in 16 dimensions.
        assert rows[1]["too_few"] == rows[2]["too_few"] == 0, group
        assert rows[1]["overlap@10"] > (0.99 if hnsw["kept"] < 10 else 0.5), group
        assert rows[3]["system"].endswith("features alone")
    assert printed.count("\n| ") == 8 * 4 + 2
    assert "| correlated, 0.10% | 1 | HNSW default | 100.0% | 0% | 1.00" in run("report", "filtered.json").stdout
    assert (workplace / "filtered.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("kind", ["uncorrelated", "correlated"])
def test_the_truth_is_among_the_kept(data: EncodedSet, kind: str) -> None:
    labels = label(data, "correlated" if kind == "correlated" else "uncorrelated")
    assert labels.documents.shape == (len(PARTS), COUNT) and labels.queries.shape == (len(PARTS), QUERIES)
    rows = {doc_id: row for row, doc_id in enumerate(data.doc_ids)}
    for level in range(3):
        kept, asked = labels.documents[level], labels.queries[level]
        assert np.ptp(np.bincount(kept)) <= 1, "groups are of equal size"
        truth = exact_among(data, kept, asked)
        scores = data.query_embeddings @ data.document_embeddings.T
        for place, query in enumerate(data.judged.queries):
            found = [rows[hit.doc_id] for hit in truth[query.query_id]]
            assert len(found) == min(10, int(np.sum(kept == asked[place])))
            assert set(kept[found].tolist()) == {asked[place]}
            assert scores[place, found[0]] == scores[place, kept == asked[place]].max()


def test_a_correlated_filter_keeps_what_the_query_asks_for(data: EncodedSet) -> None:
    nearest = np.argmax(data.query_embeddings @ data.document_embeddings.T, axis=1)
    kept = {kind: label(data, kind) for kind in ("uncorrelated", "correlated")}
    same = {kind: np.mean(labels.documents[1][nearest] == labels.queries[1]) for kind, labels in kept.items()}
    assert same["correlated"] > 0.8 and same["uncorrelated"] < 0.5


def test_the_filter_stands_inside_of_knn_and_beside_features() -> None:
    clause = {"term": {"tags": {"value": "a"}}}
    knn = with_filter({"size": 10, "query": {"knn": {"embedding": {"vector": [1.0], "k": 10}}}}, "a", 5)
    assert knn["query"] == {"knn": {"embedding": {"vector": [1.0], "k": 10, "filter": clause}}}
    features = {"should": [1], "minimum_should_match": 1}
    ours = {"query": {"bool": features}, "rescore": {"window_size": 200}}
    many, few = (with_filter(ours, "a", kept) for kept in (MAX_RESCORED + 1, 500))
    assert many == ours | {"query": {"bool": features | {"filter": [clause]}}}
    assert few["query"]["bool"] == {"should": [1], "minimum_should_match": 0, "filter": [clause, has_features()]}
    assert few["rescore"]["window_size"] == 1_000


def test_a_default_that_depends_on_the_filter_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Figure] = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, *_given, **_how: drawn.append(figure))
    figures = {"overlap@10": 0.9, "p50_ms": 1.0}
    groups = {
        f"uncorrelated, {share:.2%}": [
            {"system": "HNSW", "knob": "default", "share": share, **figures},
            {"system": "own", "knob": knob, "share": share, **figures},
        ]
        for share, knob in ((0.5, "k_query=42"), (0.1, "k_query=111"))
    }
    plot_filtered(groups, "packages", tmp_path / "filtered.png")
    [figure] = drawn
    for axes in figure.axes:
        assert [line.get_label() for line in axes.lines] == ["HNSW default", "own at its default"]
        assert [np.array(line.get_xdata()).tolist() for line in axes.lines] == [[50.0, 10.0]] * 2
