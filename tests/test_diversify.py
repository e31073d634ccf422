"""Maximal marginal relevance, beside LangChain's own."""

from __future__ import annotations

import numpy as np
import pytest
from langchain_core.vectorstores.utils import maximal_marginal_relevance

from connector.search.diversify import choose
from connector.vectors.codes import Bits, RotatedCode


@pytest.mark.parametrize("relevance", [0.0, 0.3, 0.5, 1.0])
@pytest.mark.parametrize("count", [1, 4, 30])
def test_the_same_rows_are_chosen_as_by_langchain(relevance: float, count: int) -> None:
    numbers = np.random.default_rng(1)
    query, documents = numbers.normal(size=8).astype(np.float32), numbers.normal(size=(20, 8)).astype(np.float32)
    expected = maximal_marginal_relevance(query, documents.tolist(), lambda_mult=relevance, k=count)
    assert choose(query, documents, count=count, relevance=relevance) == expected


def test_a_copy_is_chosen_last_and_an_empty_row_is_no_error() -> None:
    documents = np.array([[1, 0], [1, 0], [0.8, 0.6], [0, 0]], dtype=np.float32)
    query = np.array([1, 0.1], dtype=np.float32)
    assert choose(query, documents, count=2, relevance=0.5) == [0, 2]
    assert sorted(choose(query, documents, count=9, relevance=0.5)) == [0, 1, 2, 3]


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_codes_stand_for_embeddings_that_have_the_estimated_products(bits: Bits) -> None:
    numbers = np.random.default_rng(2)
    embeddings = numbers.normal(size=(50, 32)).astype(np.float32)
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    code, query = RotatedCode(embeddings.mean(axis=0), bits), embeddings[0]
    codes = code.encode(embeddings)
    decoded = code.decode(codes)
    np.testing.assert_allclose(decoded @ query, code.score(codes, query) + code.mean @ query, atol=1e-5)
    cosines = np.sum(decoded * embeddings, axis=1) / np.linalg.norm(decoded, axis=1)
    assert cosines.min() > {2: 0.85, 4: 0.97, 8: 0.999}[bits]
