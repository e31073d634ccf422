"""OpenVINO in the place of torch."""

from __future__ import annotations

import inspect
import logging
import os
import shutil
import sys
from importlib import import_module
from pathlib import Path

import click
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from numpy.typing import NDArray
from sentence_transformers import SparseEncoder
from sentence_transformers.sparse_encoder.modules import SpladePooling

from benchmarks.backends import unpack_revision
from benchmarks.backends_table import backends_to_markdown
from benchmarks.encoder_backends import compare_encoders
from connector.cli.options import device_option
from connector.encoders.backend import OpenVinoModel
from connector.encoders.graph import choose_backend, choose_threads
from connector.encoders.load import join, load_encoder
from connector.encoders.text import TextEncoder
from connector.errors import ConnectorError, EncoderError
from connector.evaluation.exact import exact_sparse_search
from connector.evaluation.metrics import evaluate_run
from connector.types import SparseVectors
from tests.never import never
from tests.tiny import build_csr, build_dense, build_head, build_splade

MODULES = (
    "abc argparse ast asyncio base64 binascii bisect builtins bz2 calendar cmd code codecs collections configparser "
    "contextlib copy csv dataclasses datetime decimal difflib dis email.utils enum filecmp fileinput fnmatch "
    "fractions ftplib functools getpass glob gzip hashlib heapq hmac html http.client imaplib inspect io ipaddress "
    "itertools json linecache locale logging lzma math mimetypes multiprocessing numbers operator os os.path "
    "pathlib pickle platform pprint queue random re sched secrets selectors shlex shutil signal smtplib socket "
    "sqlite3 ssl stat statistics string struct subprocess sys sysconfig tarfile tempfile textwrap threading time "
    "timeit tokenize trace traceback types unittest urllib.parse urllib.request uuid warnings weakref "
    "webbrowser xmlrpc.client zipfile zlib"
).split()


def docstrings() -> tuple[list[str], list[str]]:
    """Docstrings of the standard library, about 800, and two queries for each: its first sentence, and words of it.

    So many that the exchange of the first two hits of a query changes NDCG@10 by 0.0002.
    """
    pairs = {}
    for module in map(import_module, MODULES):
        for name, value in sorted(vars(module).items()):
            first, _, rest = (inspect.getdoc(value) or "").partition("\n\n") if callable(value) else ("", "", "")
            if len(first) > 20 and len(rest) > 80:
                pairs[name] = (rest[:120], first[:120])
    documents = [rest for rest, _ in pairs.values()]
    words = [" ".join(rest.split()[::3]) for rest in documents]
    return documents, [first for _, first in pairs.values()] + words


pytestmark = pytest.mark.usefixtures("in_file_cache")

TEXTS = [
    "cats sleep",
    "why do plants eat light with green leaves of a wide sea",
    "stars",
    "old bridges cross wide rivers",
]


DOCUMENTS, QUERIES = docstrings()
FEWER = DOCUMENTS[:250]
FEWER_QUERIES = QUERIES[:250] + QUERIES[len(DOCUMENTS) :][:250]
"""Enough where hardly a hit changes."""


@pytest.fixture
def pair(transformer_folder: Path) -> tuple[TextEncoder, TextEncoder]:
    prompts = {"query": "query: ", "document": "document: "}
    model = join(build_dense(transformer_folder, prompts=prompts), build_head())
    return TextEncoder(model, backend="torch"), TextEncoder(model, backend="openvino")


def test_embeddings_are_those_of_torch(pair: tuple[TextEncoder, TextEncoder]) -> None:
    by_torch, by_openvino = pair
    assert (by_torch.backend, by_openvino.backend) == ("torch", "openvino")
    for task in ("document", "query"):
        expected, found = (each.embed(TEXTS, task=task, batch_size=1) for each in pair)
        assert (expected * found).sum(axis=1).min() > 0.999
    np.testing.assert_array_equal(by_openvino.embed(TEXTS * 50), by_openvino.embed(TEXTS * 50))
    assert by_openvino.embed([]).shape == by_torch.embed([]).shape


def test_the_fingerprint_is_that_of_the_weights(pair: tuple[TextEncoder, TextEncoder]) -> None:
    by_torch, by_openvino = pair
    assert by_torch.fingerprint == by_openvino.fingerprint


def test_a_graph_is_converted_once(
    pair: tuple[TextEncoder, TextEncoder], file_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = pair[1].embed(TEXTS)
    kept = sorted(file_cache.glob("graphs/*/"))
    assert len(kept) == 1

    monkeypatch.setattr("connector.encoders.backend.convert", never("converted again"))
    again = TextEncoder(pair[1].model, backend="openvino")
    assert again.backend == "openvino"
    np.testing.assert_array_equal(again.embed(TEXTS), expected)


def test_other_weights_have_a_graph_of_their_own(transformer_folder: Path, file_cache: Path) -> None:
    dense = build_dense(transformer_folder)
    with torch.no_grad():
        next(dense.parameters()).mul_(2)
    before = set(file_cache.glob("graphs/*/"))
    assert TextEncoder(join(dense, build_head()), backend="openvino").backend == "openvino"
    assert len(set(file_cache.glob("graphs/*/")) - before) == 1


def test_another_tokenizer_has_a_graph_of_its_own(transformer_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(transformer_folder, tmp_path / "other")
    tokenizer = tmp_path / "other" / "tokenizer.json"
    tokenizer.write_text(tokenizer.read_text().replace('"stars":', '"wars":'))
    models = [build_dense(folder) for folder in (transformer_folder, tmp_path / "other", transformer_folder)]
    models[2].tokenizer.truncation_side = "left"
    folders = set()
    for model in models * 2:
        encoder = TextEncoder(join(model, build_head()), backend="openvino")
        folders.add(encoder.graph_folder)
        encoder.embed(TEXTS)
    assert len(folders) == 3


def test_variants_share_the_graph(pair: tuple[TextEncoder, TextEncoder], monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = pair[1]
    encoder.embed(TEXTS)
    monkeypatch.setattr(OpenVinoModel, "_open", lambda self: pytest.fail("opened again"))
    for variant in (encoder.calibrate(TEXTS), encoder.with_head(build_head(seed=5))):
        assert variant.backend == "openvino"


def test_modules_that_cannot_be_converted_are_run_by_torch(
    pair: tuple[TextEncoder, TextEncoder],
    own_cache: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def convert(*_: object) -> None:
        raise RuntimeError("no such operation")

    monkeypatch.setattr("connector.encoders.backend.convert", convert)
    encoder = TextEncoder(pair[0].model, backend="openvino")
    with caplog.at_level(logging.WARNING, logger="ksparse.encoders"):
        np.testing.assert_array_equal(encoder.embed(TEXTS), pair[0].embed(TEXTS))
        encoder.embed(TEXTS)
    assert encoder.backend == "torch"
    assert [record.getMessage() for record in caplog.records] == [
        "OpenVINO does not run this model, torch does: no such operation"
    ]


@pytest.mark.parametrize(
    ("error", "reason", "tried"),
    [
        (RuntimeError("no such operation\nin layer 3"), "no such operation", 1),
        (AssertionError(), "AssertionError", 1),
        (OSError("no space left"), "no space left", 2),
    ],
)
def test_a_conversion_that_a_model_does_not_allow_is_tried_once_on_a_machine(
    pair: tuple[TextEncoder, TextEncoder],
    own_cache: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    reason: str,
    tried: int,
) -> None:
    attempts: list[Exception] = []

    def convert(*_: object) -> None:
        attempts.append(error)
        raise error

    monkeypatch.setattr("connector.encoders.backend.convert", convert)
    with caplog.at_level(logging.WARNING, logger="ksparse.encoders"):
        for _ in range(2):
            assert TextEncoder(pair[0].model, backend="openvino").backend == "torch"
    said = [record.getMessage() for record in caplog.records]
    assert said == [f"OpenVINO does not run this model, torch does: {reason}"] * 2
    assert len(attempts) == tried


def test_a_graph_that_returns_something_else_is_not_kept(
    transformer_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KSPARSE_CACHE", str(tmp_path))
    monkeypatch.setattr("connector.encoders.convert._MIN_COSINE", 1.1)
    encoder = TextEncoder(join(build_dense(transformer_folder), build_head()), backend="openvino")
    assert encoder.backend == "torch"
    assert not list(tmp_path.glob("graphs/*/"))


def test_a_splade_is_run_as_one_graph(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("connector.encoders.splade_pooling._WORDS", 7)  # of 40 words, in the graph
    model = build_splade(tmp_path / "transformer")
    by_torch, by_openvino = TextEncoder(model, k=8), TextEncoder(model, k=8, backend="openvino")
    assert (by_torch.backend, by_openvino.backend) == ("torch", "openvino")
    assert by_openvino.fingerprint == by_torch.fingerprint
    for encode in ("encode_document", "encode_query"):
        # Texts of one batch are padded.
        found, expected = (getattr(each, encode)(TEXTS) for each in (by_openvino, by_torch))
        np.testing.assert_allclose(found.weights, expected.weights, atol=1e-5)
        assert equal_features(found, expected) > 0.95
    calibrated = by_openvino.with_idf().calibrate(TEXTS)
    np.testing.assert_allclose(
        calibrated.encode_query(TEXTS).weights,
        by_torch.with_idf().calibrate(TEXTS).encode_query(TEXTS).weights,
        atol=1e-5,
    )
    assert calibrated.backend == "openvino"


def test_other_sparse_models_are_run_by_torch(tmp_path: Path, transformer_folder: Path) -> None:
    transformer = build_splade(tmp_path / "transformer")[0]
    by_sum = SparseEncoder(modules=[transformer, SpladePooling("sum")], device="cpu")
    for model in (by_sum, build_csr(transformer_folder)):
        assert TextEncoder(model, backend="openvino").backend == "torch"


@pytest.mark.slow
def test_documents_of_a_splade_by_one_backend_meet_queries_by_the_other() -> None:
    encoders = [load_encoder("bert-tiny-splade-ht", device="cpu", backend=each) for each in ("torch", "openvino")]
    assert [encoder.backend for encoder in encoders] == ["torch", "openvino"]
    documents = [encoder.encode_document(FEWER) for encoder in encoders]
    queries = [encoder.encode_query(FEWER_QUERIES) for encoder in encoders]
    for first, second in (documents, queries):
        assert equal_features(first, second) > 0.998
        assert cosines(first, second).min() > 0.9999
    scores = [ndcg_at_10(indexed, asked) for indexed in documents for asked in queries]
    assert scores[0] > 0.5, "the set can be searched"
    assert max(scores) - min(scores) <= 0.002


def test_the_backend_is_chosen_by_device_and_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose_backend(None, "cpu") == "torch", "as the environment of the tests says"
    assert choose_backend("auto", "cpu") == "openvino"
    assert choose_backend("auto", "cuda") == "torch"
    monkeypatch.delenv("KSPARSE_BACKEND")
    assert choose_backend(None, "cpu") == "openvino"
    with pytest.raises(EncoderError, match="openvino computes on a cpu, not on cuda"):
        choose_backend("openvino", "cuda")
    with pytest.raises(EncoderError, match="no backend 'onnx'; use auto, torch or openvino"):
        choose_backend("onnx", "cpu")
    monkeypatch.setattr("connector.encoders.graph.find_spec", lambda name: None)
    assert choose_backend("auto", "cpu") == "torch"
    with pytest.raises(EncoderError, match=r"not installed: pip install 'ksparse\[cpu\]'"):
        choose_backend("openvino", "cpu")


def test_threads_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("KSPARSE_THREADS", "OMP_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    assert choose_threads() is None
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert choose_threads() == 3
    monkeypatch.setenv("KSPARSE_THREADS", "2")
    assert choose_threads() == 2
    monkeypatch.setenv("KSPARSE_THREADS", "all")
    with pytest.raises(EncoderError, match="KSPARSE_THREADS must be a whole number above 0, got 'all'"):
        choose_threads()


def test_conversions_are_reported_to_nobody(pair: tuple[TextEncoder, TextEncoder]) -> None:
    pair[1].embed(TEXTS)
    used = sys.modules["openvino.tools.ovc.telemetry_utils"].tm
    assert used.__name__ == "openvino.tools.ovc.telemetry_stub"


def test_an_encoder_is_loaded_for_a_backend(head_folder: Path, file_cache: Path) -> None:
    assert load_encoder(str(head_folder), device="cpu").backend == "torch"
    assert load_encoder(str(head_folder), device="cpu", backend="openvino").backend == "openvino"
    assert not [path for path in file_cache.glob("graphs/*/") if path.name.startswith("tmp")], (
        "nothing half-written is left"
    )


@pytest.fixture(scope="module")
def shipped(file_cache: Path) -> tuple[TextEncoder, TextEncoder]:
    """The shipped encoder with torch and with OpenVINO, calibrated for the same corpus."""
    encoder = load_encoder(device="cpu", backend="torch").calibrate(DOCUMENTS[:30])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KSPARSE_CACHE", str(file_cache))
        other = load_encoder(device="cpu", backend="openvino").with_statistics(encoder.statistics)
        assert other.backend == "openvino"
    return encoder, other


@pytest.mark.slow
def test_documents_by_one_backend_meet_queries_by_the_other(shipped: tuple[TextEncoder, TextEncoder]) -> None:
    embedded = [(encoder.embed(DOCUMENTS), encoder.embed(QUERIES, task="query")) for encoder in shipped]
    assert (embedded[0][0] * embedded[1][0]).sum(axis=1).min() > 0.9999
    documents = [
        encoder.sparsify_embeddings(found, DOCUMENTS) for encoder, (found, _) in zip(shipped, embedded, strict=True)
    ]
    queries = [
        encoder.sparsify_embeddings(found, QUERIES, task="query")
        for encoder, (_, found) in zip(shipped, embedded, strict=True)
    ]
    assert equal_features(*documents) > 0.97
    assert equal_features(*queries) > 0.97
    scores = [ndcg_at_10(indexed, asked) for indexed in documents for asked in queries]
    assert scores[0] > 0.5, "the set can be searched"
    assert max(scores) - min(scores) <= 0.002


def equal_features(first: SparseVectors, second: SparseVectors) -> float:
    """The share of each text's features that it has by both backends."""
    pairs = zip(first.as_mappings(), second.as_mappings(), strict=True)
    return float(np.mean([len(one.keys() & other.keys()) / len(one) for one, other in pairs]))


def cosines(first: SparseVectors, second: SparseVectors) -> NDArray[np.float64]:
    """Of the same texts by two backends."""
    pairs = zip(first.as_mappings(), second.as_mappings(), strict=True)
    products = [sum(weight * other.get(name, 0.0) for name, weight in one.items()) for one, other in pairs]
    lengths = np.linalg.norm(first.weights, axis=1) * np.linalg.norm(second.weights, axis=1)
    return np.asarray(np.array(products) / lengths, dtype=np.float64)


def ndcg_at_10(documents: SparseVectors, queries: SparseVectors) -> float:
    """NDCG of queries of which each is for one document; their order repeats that of the documents."""
    ids = [str(row) for row in range(len(documents.features))]
    latents = 1 + int(max(documents.features.max(), queries.features.max()))
    found = exact_sparse_search(documents, queries, ids, latents, 10)
    run = {str(row): hits for row, hits in enumerate(found)}
    return evaluate_run(run, {query: {ids[int(query) % len(ids)]: 1} for query in run})["ndcg@10"]


def test_the_suite_compares_encoders_with_the_first_backend(pair: tuple[TextEncoder, TextEncoder]) -> None:
    encoders = dict(zip(("torch", "openvino"), pair, strict=True))
    rows = compare_encoders("tiny", encoders, TEXTS, TEXTS[:3], rounds=1, report=lambda _task, _share: None)
    reference, other = rows
    assert (reference["backend"], reference["cosine"], reference["equal_features"]) == ("torch", pytest.approx(1), 1)
    assert (other["backend"], other["documents"], other["queries"], other["requests"]) == ("openvino", 4, 3, 3)
    assert other["cosine"] > 0.99 and other["least_dense_cosine"] > 0.999
    assert other["documents_per_s"] > 0 and other["p99_ms"] >= other["p50_ms"] > 0
    head, _, *lines = backends_to_markdown({"short": rows}).splitlines()
    assert head.startswith("| texts | method | backend | documents/s |")
    assert [line.split(" | ")[2] for line in lines] == ["torch", "openvino"]


def test_options_of_a_command_hold_for_that_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KSPARSE_THREADS", raising=False)

    @click.command()
    @device_option
    def show(device: str | None) -> None:
        click.echo(f"{device} {choose_backend(None, 'cpu')} {choose_threads()}")

    asked = CliRunner().invoke(show, ["--backend", "openvino", "--threads", "1"])
    assert asked.output == "None openvino 1\n"
    assert choose_backend(None, "cpu") == "torch"
    assert "KSPARSE_THREADS" not in os.environ
    assert "is not one of 'auto', 'torch', 'openvino'" in CliRunner().invoke(show, ["--backend", "onnx"]).output


def test_an_unknown_revision_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConnectorError, match="revision 'no-such-revision' cannot be read: .*Give one that `git log`"):
        unpack_revision("no-such-revision", tmp_path)
