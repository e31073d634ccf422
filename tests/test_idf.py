"""Queries that are weighed by the idf of features, by hand and with a tiny SPLADE."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from sentence_transformers import SparseEncoder

from connector.encoders.adapt import adapt
from connector.encoders.idf import QueryIdf
from connector.encoders.load import load_encoder
from connector.encoders.text import TextEncoder
from connector.types import SparseVectors
from connector.vectors.statistics import CorpusStatistics
from tests.tiny import WORDS, build_splade

DOCUMENTS = [" ".join(WORDS[start : start + 4]) for start in range(len(WORDS) - 4)]
QUERIES = [" ".join(WORDS[start : start + 2]) for start in range(5)]


@pytest.fixture(scope="module")
def told_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("idf")
    splade = build_splade(folder / "transformer")
    width = splade.encode_document(DOCUMENTS).shape[1]
    SparseEncoder(modules=[*splade, QueryIdf(width)], device="cpu").save_pretrained(str(folder / "model"))
    return folder / "model"


@pytest.fixture
def encoder(told_folder: Path) -> TextEncoder:
    return load_encoder(str(told_folder), device="cpu")


def to_dense(vectors: SparseVectors, width: int) -> np.ndarray:
    dense = np.zeros((len(vectors.weights), width), np.float32)
    np.put_along_axis(dense, vectors.features.astype(np.int64), vectors.weights, axis=1)
    return dense


def test_idf_of_features_by_hand() -> None:
    # Feature 0 in 4 of 4 documents, 1 in 2, 2 in 1; the slot with weight 0 is not used.
    features = np.array([[0, 1], [0, 1], [0, 2], [0, 3]], np.int32)
    weights = np.array([[1, 1], [1, 1], [1, 1], [1, 0]], np.float32)
    found = CorpusStatistics.measure_features(SparseVectors(features, weights), 5)
    assert found.mean.shape == (0,)
    # log(1 + (4 - df + 0.5) / (df + 0.5)), its root in steps of 1/64.
    wanted = [np.log(1 + 0.5 / 4.5), np.log(2), np.log(1 + 3.5 / 1.5), np.log(10), np.log(10)]
    assert np.abs(found.token_weights - np.sqrt(wanted)).max() <= 1 / 128
    assert np.array_equal(found.token_weights * 64, np.rint(found.token_weights * 64))


def test_queries_are_weighted_by_the_corpus_and_documents_are_not(encoder: TextEncoder) -> None:
    statistics = encoder.measure_statistics(DOCUMENTS)
    calibrated = encoder.with_statistics(statistics)
    width = encoder.num_latents
    before, after = (to_dense(each.encode_query(QUERIES), width) for each in (encoder, calibrated))
    np.testing.assert_allclose(
        after, before * (statistics.token_weights / statistics.token_weights.max()) ** 2, rtol=1e-5
    )
    assert not np.allclose(after, before)
    documents = to_dense(encoder.encode_document(DOCUMENTS), width)
    np.testing.assert_array_equal(to_dense(calibrated.encode_document(DOCUMENTS), width), documents)
    shares = (documents > 0).mean(axis=0)
    order = np.argsort(shares)
    assert (np.diff(statistics.token_weights[order]) <= 0).all(), "the more common, the less it weighs"


def test_another_corpus_is_another_encoder_and_the_first_stays_as_it_was(encoder: TextEncoder) -> None:
    queries = encoder.encode_query(QUERIES)
    calibrated = encoder.with_statistics(encoder.measure_statistics(DOCUMENTS))
    assert calibrated.fingerprint != encoder.fingerprint
    np.testing.assert_array_equal(encoder.encode_query(QUERIES).weights, queries.weights)
    again = encoder.with_statistics(CorpusStatistics.from_json(calibrated.statistics.to_json()))  # type: ignore[union-attr]
    assert again.fingerprint == calibrated.fingerprint, "as an index keeps it"
    assert adapt(encoder, calibrated.statistics, None).fingerprint == calibrated.fingerprint


def test_statistics_are_saved_with_the_model(encoder: TextEncoder, tmp_path: Path) -> None:
    calibrated = encoder.with_statistics(encoder.measure_statistics(DOCUMENTS))
    calibrated.model.save_pretrained(str(tmp_path / "calibrated"))
    loaded = load_encoder(str(tmp_path / "calibrated"), device="cpu")
    np.testing.assert_array_equal(loaded.encode_query(QUERIES).weights, calibrated.encode_query(QUERIES).weights)


def test_statistics_of_another_width_are_refused(encoder: TextEncoder) -> None:
    other = CorpusStatistics.of_features(np.ones(7, np.float32))
    with pytest.raises(ValueError, match=rf"statistics of \(7,\) features do not fit {encoder.num_latents} of them"):
        encoder.with_statistics(other)
    assert adapt(encoder, other, None) is encoder
    with pytest.raises(ValueError, match="texts must contain at least one document"):
        encoder.measure_statistics([])


def test_gradients_pass_through_to_the_weights_before() -> None:
    module = QueryIdf(3)
    module.use_statistics(CorpusStatistics.of_features(np.array([0.5, 1.0, 2.0], np.float32)))
    weights = torch.ones(1, 3, requires_grad=True)
    module({"sentence_embedding": weights}, task="query")["sentence_embedding"].sum().backward()
    assert weights.grad is not None
    assert weights.grad.tolist() == [[1 / 16, 1 / 4, 1.0]], "shares of the largest idf"
    assert not list(module.parameters()), "nothing of it is trained"
