"""The dense model in int8 on OpenVINO."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.backend_quality import measure_quality
from benchmarks.backends_table import backends_to_markdown
from benchmarks.encoder_backends import load_runtimes
from connector.encoders.graph import Graph, choose_backend, describe_backend
from connector.encoders.light_model import find_graph
from connector.encoders.load import join, load_encoder
from connector.encoders.text import TextEncoder
from connector.errors import EncoderError
from tests.beir import numbered, write_beir
from tests.test_backend import FEWER, FEWER_QUERIES, equal_features, ndcg_at_10
from tests.tiny import build_dense, build_head, build_splade

pytestmark = pytest.mark.usefixtures("in_file_cache")

TEXTS = ["cats sleep", "why do plants eat light with green leaves of a wide sea", "old bridges cross wide rivers"]


@pytest.fixture
def pair(transformer_folder: Path) -> tuple[TextEncoder, TextEncoder]:
    model = join(build_dense(transformer_folder), build_head())
    exact = TextEncoder(model, base_model="tiny-int8", backend="openvino")
    return exact, TextEncoder(model, base_model="tiny-int8", backend="openvino", precision="int8")


def test_embeddings_are_nearly_those_of_float32(pair: tuple[TextEncoder, TextEncoder]) -> None:
    exact, small = pair
    expected, found = exact.embed(TEXTS), small.embed(TEXTS)
    assert 0.99 < (expected * found).sum(axis=1).min()
    assert not np.array_equal(expected, found)
    assert small.fingerprint == exact.fingerprint
    assert (small.runtime, exact.runtime) == ("openvino in int8", "openvino")
    assert small.calibrate(TEXTS).runtime == small.on_device("cpu").runtime == "openvino in int8"


def test_both_precisions_have_one_graph_on_disk(pair: tuple[TextEncoder, TextEncoder], file_cache: Path) -> None:
    exact, small = pair
    assert exact.graph_folder == small.graph_folder
    assert exact.graph_folder is not None
    before = {path: path.stat().st_mtime_ns for path in exact.graph_folder.iterdir()}
    Graph(exact.graph_folder, "int8")
    assert {path: path.stat().st_mtime_ns for path in exact.graph_folder.iterdir()} == before


def test_without_torch_the_embeddings_are_the_same(pair: tuple[TextEncoder, TextEncoder]) -> None:
    expected = pair[1].embed(TEXTS)
    without = find_graph("tiny-int8", "int8")
    assert without is not None
    for batch in without.embed(TEXTS, "document", 32):
        np.testing.assert_allclose(batch.embeddings, expected[batch.rows], atol=1e-6)


def test_int8_needs_openvino_and_a_dense_model(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert choose_backend("auto", "cpu", "int8") == "openvino"
    for backend, device in (("torch", "cpu"), ("auto", "cuda")):
        with pytest.raises(EncoderError, match="int8 needs the backend openvino on a cpu"):
            choose_backend(backend, device, "int8")
    with pytest.raises(EncoderError, match="int8 needs a dense model with a head"):
        TextEncoder(build_splade(tmp_path / "transformer"), backend="openvino", precision="int8")
    monkeypatch.setattr("connector.encoders.graph.find_spec", lambda name: None)
    with pytest.raises(EncoderError, match=r"not installed: pip install 'ksparse\[cpu\]'"):
        choose_backend("auto", "cpu", "int8")
    assert describe_backend("torch", "int8") == "torch", "a model that OpenVINO cannot run"


def test_the_suite_measures_both_sides(head_folder: Path, tmp_path: Path) -> None:
    encoders = load_runtimes(str(head_folder), ("torch", "openvino", "openvino in int8"))
    assert list(encoders) == ["torch", "openvino", "openvino in int8"]
    documents, queries = numbered(TEXTS, "d"), {"q": "cats sleep"}
    folder = write_beir(tmp_path / "set", documents, queries, test=[("q", "d0")])
    scores = measure_quality(encoders, folder, report=lambda _task, _share: None)
    assert scores["torch"]["ndcg@10"] == scores["torch"]["ndcg@10_queries"] > 0
    rows = [{"way": "tiny", "backend": name, "documents_per_s": 1.0, **scores[name]} for name in encoders]
    assert backends_to_markdown({"set": rows}).splitlines()[0].endswith("| NDCG@10 | documents only | queries only |")


@pytest.mark.slow
def test_documents_in_int8_meet_queries_in_float32() -> None:
    exact = load_encoder(device="cpu", backend="openvino").calibrate(FEWER[:30])
    small = load_encoder(device="cpu", backend="openvino", precision="int8").with_statistics(exact.statistics)
    encoders = (exact, small)
    embedded = [encoder.embed(FEWER) for encoder in encoders]
    assert (embedded[0] * embedded[1]).sum(axis=1).min() > 0.997
    documents = [exact.sparsify_embeddings(each, FEWER) for each in embedded]
    queries = [encoder.encode_query(FEWER_QUERIES) for encoder in encoders]
    assert equal_features(*documents) > 0.9
    assert equal_features(*queries) > 0.9
    scores = [ndcg_at_10(indexed, searched) for indexed in documents for searched in queries]
    assert scores[0] > 0.5, "the set can be searched"
    assert min(scores) >= scores[0] - 0.03, "no combination is much worse than float32 on both sides"
