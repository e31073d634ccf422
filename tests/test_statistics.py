from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from scipy.sparse import csr_matrix

from connector.encoders.autoencoder import KSparseAutoEncoder
from connector.vectors.statistics import TOKEN_WEIGHT_STEP, CorpusStatistics

EMBEDDINGS = np.array([[0.0, 1.0], [1.0, 0.5]], np.float32)


def counts() -> csr_matrix:
    """20 documents, 4 tokens: one is in each, one in two, one in one, one in none."""
    rows = np.zeros((20, 4), np.float32)
    rows[:, 0] = 1
    rows[:2, 1] = [1, 3]
    rows[5, 2] = 2
    return csr_matrix(rows)


def idf(documents: int, frequency: int) -> float:
    return math.log(1 + (documents - frequency + 0.5) / (frequency + 0.5))


def test_weights_are_roots_of_idf_and_common_or_special_tokens_weigh_nothing() -> None:
    measured = CorpusStatistics.measure(EMBEDDINGS, counts(), special_ids=[3])
    expected = [0.0, math.sqrt(idf(20, 2)), math.sqrt(idf(20, 1)), 0.0]
    assert measured.token_weights.tolist() == pytest.approx(expected, abs=TOKEN_WEIGHT_STEP / 2)
    assert measured.mean.tolist() == [0.5, 0.75]


def test_average_length_counts_what_weighs_something() -> None:
    assert CorpusStatistics.measure(EMBEDDINGS, counts()).average_length == 1.0, "6 tokens in 20, but at least 1"
    long = csr_matrix(np.eye(40, 4, dtype=np.float32) * 80)
    assert CorpusStatistics.measure(EMBEDDINGS, long).average_length == pytest.approx(4 * 80 / 40)


def test_a_prior_counts_as_fifty_documents() -> None:
    prior = CorpusStatistics(np.array([1.0, -1.0], np.float32), np.empty(0, np.float32))
    measured = CorpusStatistics.measure(np.zeros((150, 2), np.float32), prior=prior)
    assert measured.mean.tolist() == [0.25, -0.25]


def test_the_average_counts_every_corpus_the_same() -> None:
    one = CorpusStatistics(np.array([1.0], np.float32), np.array([2.0, 0.0], np.float32), 4.0)
    other = CorpusStatistics(np.array([0.0], np.float32), np.array([1.0, 0.0], np.float32), 2.0)
    middle = CorpusStatistics.average([one, other])
    assert (middle.mean.tolist(), middle.token_weights.tolist(), middle.average_length) == ([0.5], [1.5, 0.0], 3.0)


def test_they_survive_json_and_half_precision() -> None:
    random = np.random.default_rng(0)
    many = csr_matrix((random.random((3_000, 50)) < random.random(50) * 0.2).astype(np.float32))
    measured = CorpusStatistics.measure(random.standard_normal((9, 384)).astype(np.float32), many)
    again = CorpusStatistics.from_json(json.loads(json.dumps(measured.to_json())))
    assert np.array_equal(again.mean, measured.mean) and np.array_equal(again.token_weights, measured.token_weights)
    assert again.average_length == measured.average_length
    assert np.array_equal(measured.token_weights.astype(np.float16).astype(np.float32), measured.token_weights)
    assert len(set(measured.token_weights.tolist())) > 20


def test_embeddings_that_are_not_finite_do_not_count() -> None:
    broken = np.full((1, 2), np.nan, np.float32)
    measured = CorpusStatistics.measure(np.concatenate([broken, EMBEDDINGS]), counts())
    assert measured.equals(CorpusStatistics.measure(EMBEDDINGS, counts()))
    with pytest.raises(ValueError, match="none of 1 embeddings is finite"):
        CorpusStatistics.measure(broken)


@pytest.mark.parametrize("damage", [{"mean": "AAAA"}, {"mean": "?"}, {"token_weights": None}, {"average_length": "x"}])
def test_damaged_ones_are_refused(damage: dict[str, object]) -> None:
    facts = CorpusStatistics.measure(EMBEDDINGS, counts()).to_json() | damage
    with pytest.raises(ValueError, match=r"damaged|could not convert|base64"):
        CorpusStatistics.from_json(facts)


def test_a_head_takes_them_and_gives_them_back() -> None:
    head = KSparseAutoEncoder(2, 8, 2, lexical_config={"num_tokens": 4, "document_scale": 1.0, "query_scale": 1.0})
    measured = CorpusStatistics.measure(EMBEDDINGS, counts())
    head.use_statistics(measured)
    assert head.statistics.mean.tolist() == measured.mean.tolist()
    assert head.statistics.token_weights.tolist() == measured.token_weights.tolist()
    assert head.statistics.average_length == measured.average_length
    plain = KSparseAutoEncoder(2, 8, 2)
    torch.nn.init.ones_(plain.encoder.weight)
    with pytest.raises(ValueError, match="do not fit a head of 2 dimensions and 0 tokens"):
        plain.use_statistics(measured)
    plain.use_statistics(CorpusStatistics.measure(EMBEDDINGS))
    # At the mean, only the bias is left.
    _, values = plain.strongest(torch.from_numpy(EMBEDDINGS.mean(axis=0, keepdims=True)), 2)
    assert torch.allclose(values, plain.encoder.bias.topk(2).values.relu())
