"""Sets of any size."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.datasets import EncodedSet
from benchmarks.growth import resampled
from connector.encoders.text import TextEncoder
from connector.evaluation.datasets import RetrievalSet
from connector.types import Document, Query
from tests.tiny import WORDS, K


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
