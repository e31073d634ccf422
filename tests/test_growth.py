"""Sets of any size."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.colors import same_color
from matplotlib.figure import Figure

from benchmarks.datasets import EncodedSet
from benchmarks.growth import resampled
from connector.encoders.text import TextEncoder
from connector.evaluation.datasets import RetrievalSet
from connector.types import Document, Query
from tests.tiny import WORDS, K
from tests.unjudged import run


@pytest.fixture(params=["encoder", "lexical"])
def data(request: pytest.FixtureRequest) -> EncodedSet:
    encoder: TextEncoder = request.getfixturevalue(request.param)
    random = np.random.default_rng(0)
    texts = [" ".join(random.choice(WORDS, 5)) for _ in range(30)]
    encoder = encoder.calibrate(texts)
    embeddings = encoder.embed(texts)
    return EncodedSet(
        "small",
        tuple(Document(str(row), text) for row, text in enumerate(texts)),
        RetrievalSet("small", (Query("0", texts[0]),), {"0": {"0": 1}}),
        embeddings,
        embeddings[:1],
        encoder.sparsify_embeddings(embeddings, texts),
        encoder.sparsify_embeddings(embeddings[:1], texts[:1], task="query"),
        encoder,
    )


def test_fewer_documents_are_a_sample(data: EncodedSet) -> None:
    small = resampled(data, 10)
    rows = [int(doc_id) for doc_id in small.doc_ids]
    assert len(rows) == 10 and rows == sorted(set(rows))
    np.testing.assert_array_equal(small.document_embeddings, data.document_embeddings[rows])
    np.testing.assert_array_equal(small.document_vectors.weights, data.document_vectors.weights[rows])


def test_resampled_documents_are_like_real_ones_but_none_of_them(data: EncodedSet) -> None:
    large = resampled(data, 300)
    assert len(large.documents) == len(set(large.doc_ids)) == 300
    assert large.doc_ids[:30] == data.doc_ids
    np.testing.assert_array_equal(large.document_embeddings[:30], data.document_embeddings)
    added = large.document_embeddings[30:]
    np.testing.assert_allclose(np.linalg.norm(added, axis=1), 1.0, rtol=1e-5)
    nearest = (added @ data.document_embeddings.T).max(axis=1)
    assert 0.6 < nearest.mean() < 0.99 and nearest.max() < 1.0
    assert (large.document_vectors.active_dims[30:] > 0).all()
    assert large.document_vectors.weights.shape == (300, K)
    again = resampled(data, 300)
    np.testing.assert_array_equal(again.document_vectors.features, large.document_vectors.features)


@pytest.mark.parametrize("documents", [1_000, 999])
def test_neighbours_are_plotted_only_where_all_documents_are_real(
    documents: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[Figure] = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, *_given, **_how: drawn.append(figure))
    costs = {"p50_ms": 2.0, "p99_ms": 4.0, "index_bytes": 3_000_000, "bytes_per_document": 3.0, "p50_ratio": 1.0}
    row: dict[str, Any] = {"system": "own", "overlap@10": 0.9, **costs}
    exact: dict[str, Any] = {"system": "exact dense", "knob": "", "overlap@10": 1.0}
    rows = [exact, row | {"system": "HNSW", "knob": "default"}, row | {"knob": "k=1"}, row | {"knob": "k=2"}]
    rows += [row | {"system": "k-sparse", "knob": "k=1"}]
    result = {"suite": "growth", "params": {"dataset": "packages", "documents": documents}, "environment": {}}
    (tmp_path / "growth.json").write_text(json.dumps(result | {"results": {"100": rows, "1000": rows}}))
    run("report", str(tmp_path / "growth.json"))
    [figure] = drawn
    titles = ["p50, ms", "p99, ms", "index, MB", "of the exact top 10"]
    assert [axes.get_title() for axes in figure.axes] == (titles if documents == 1_000 else titles[:3])
    for axes in figure.axes:
        hnsw, first, second, *fixed = axes.lines
        assert len(fixed) == (0 if documents == 1_000 else 1), "beside neighbours, fixed heads are left to the tables"
        assert same_color(first.get_color(), second.get_color()) and not same_color(hnsw.get_color(), first.get_color())
        assert first.get_linestyle() != second.get_linestyle()
    assert np.array(figure.axes[2].lines[0].get_ydata()).tolist() == [3.0, 3.0]
