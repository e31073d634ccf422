from __future__ import annotations

import numpy as np
import pytest

from connector.evaluation.exact import document_frequencies, exact_search, exact_sparse_search, postings_read
from connector.types import Hit, SparseVectors


def vectors(*rows: dict[int, float], k: int = 3) -> SparseVectors:
    """Build vectors whose unused slots name a feature that does not exist, to show that they are not read."""
    features = np.full((len(rows), k), 999, dtype=np.int32)
    weights = np.zeros((len(rows), k), dtype=np.float32)
    for number, row in enumerate(rows):
        features[number, : len(row)] = list(row)
        weights[number, : len(row)] = list(row.values())
    return SparseVectors(features, weights)


def test_hits_are_the_highest_inner_products() -> None:
    documents = np.array([[1.0, 0.0], [0.0, 2.0], [1.0, 1.0]])
    [found] = exact_search(documents, np.array([[1.0, 2.0]]), ["a", "b", "c"], 2)
    assert found == [Hit("b", 4.0), Hit("c", 3.0)]


def test_a_negative_score_is_a_hit_too() -> None:
    [found] = exact_search(np.array([[-1.0], [-2.0]]), np.array([[1.0]]), ["a", "b"], 5)
    assert found == [Hit("a", -1.0), Hit("b", -2.0)]


def test_equal_scores_come_in_the_corpus_order() -> None:
    documents = np.array([[1.0], [2.0], [1.0], [1.0]])
    [found] = exact_search(documents, np.array([[1.0]]), ["d", "c", "b", "a"], 3)
    assert [hit.doc_id for hit in found] == ["c", "d", "b"]


def test_blocks_do_not_change_the_hits() -> None:
    random = np.random.default_rng(0)
    # Whole numbers, so that every sum is exact whatever the block.
    documents, queries = random.integers(-3, 4, (50, 8)), random.integers(-3, 4, (7, 8))
    doc_ids = [str(number) for number in range(50)]
    whole = exact_search(documents.astype(np.float32), queries.astype(np.float32), doc_ids, 10)
    blocks = exact_search(documents.astype(np.float32), queries.astype(np.float32), doc_ids, 10, block_scores=100)
    assert blocks == whole


def test_hits_equal_a_full_sort() -> None:
    random = np.random.default_rng(1)
    documents = random.integers(-3, 4, (200, 4)).astype(np.float32)
    query = random.integers(-3, 4, (1, 4)).astype(np.float32)
    [found] = exact_search(documents, query, [str(number) for number in range(200)], 20)
    scores = (documents @ query[0]).tolist()
    order = sorted(range(200), key=lambda number: (-scores[number], number))[:20]
    assert found == [Hit(str(number), scores[number]) for number in order]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_embeddings_that_are_not_finite_are_refused(value: float) -> None:
    with pytest.raises(ValueError, match="a score is NaN or infinite"):
        exact_search(np.array([[value]]), np.array([[0.0]]), ["a"], 1)


def test_embeddings_of_different_models_are_refused() -> None:
    with pytest.raises(ValueError, match="documents have 2 dimensions and queries 3"):
        exact_search(np.zeros((1, 2)), np.zeros((1, 3)), ["a"], 1)


def test_a_single_vector_is_refused() -> None:
    with pytest.raises(ValueError, match=r"embeddings must have two axes, got shapes \(1, 2\) and \(2,\)"):
        exact_search(np.zeros((1, 2)), np.zeros(2), ["a"], 1)


def test_ids_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="2 documents need the same number of doc_ids, got 1"):
        exact_search(np.zeros((2, 1)), np.zeros((1, 1)), ["a"], 1)


def test_top_k_of_zero_is_refused() -> None:
    with pytest.raises(ValueError, match="top_k must be at least 1, got 0"):
        exact_search(np.zeros((1, 1)), np.zeros((1, 1)), ["a"], 0)


def test_sparse_hits_are_the_highest_dot_products() -> None:
    documents = vectors({1: 2.0}, {1: 1.0, 3: 2.0}, {2: 5.0})
    [found] = exact_sparse_search(documents, vectors({3: 3.0, 1: 1.0}), ["a", "b", "c"], 4, 10)
    assert found == [Hit("b", 7.0), Hit("a", 2.0)]


def test_a_query_that_shares_no_feature_has_no_hits() -> None:
    [first, second] = exact_sparse_search(vectors({1: 2.0}), vectors({0: 1.0}, {}), ["a"], 2, 10)
    assert (first, second) == ([], [])


def test_equal_sparse_scores_come_in_the_corpus_order() -> None:
    documents = vectors({1: 1.0}, {0: 2.0}, {0: 1.0, 1: 0.5}, {2: 1.0}, {1: 1.0})
    [found] = exact_sparse_search(documents, vectors({0: 1.0, 1: 2.0}), ["e", "d", "c", "b", "a"], 3, 3)
    assert found == [Hit("e", 2.0), Hit("d", 2.0), Hit("c", 2.0)]


def test_sparse_search_equals_dense_search() -> None:
    random = np.random.default_rng(2)
    documents, queries = (random.integers(0, 3, (count, 30)).astype(np.float32) for count in (60, 9))
    columns = np.arange(30, dtype=np.int32)
    sparse_documents = SparseVectors(np.tile(columns, (60, 1)), documents)
    sparse_queries = SparseVectors(np.tile(columns, (9, 1)), queries)
    doc_ids = [str(number) for number in range(60)]
    found = exact_sparse_search(sparse_documents, sparse_queries, doc_ids, 30, 10, block_scores=200)
    assert found == exact_search(documents, queries, doc_ids, 10)


def test_a_feature_beyond_the_latents_is_refused() -> None:
    with pytest.raises(ValueError, match="features range from 1 to 7, but num_latents is 7"):
        exact_sparse_search(vectors({1: 1.0, 7: 1.0}), vectors({1: 1.0}), ["a"], 7, 1)


def test_document_frequencies_count_used_slots() -> None:
    found = document_frequencies(vectors({1: 2.0}, {1: 1.0, 3: 2.0}, {}), 5)
    assert found.tolist() == [0, 2, 0, 1, 0]
    assert found.dtype == np.int64


def test_postings_read_sum_the_frequencies_of_a_querys_features() -> None:
    found = postings_read(vectors({1: 9.0, 3: 1.0}, {0: 1.0}, {}), np.array([0, 200, 0, 31, 0]))
    assert found.tolist() == [231, 0, 0]


def test_postings_read_refuses_a_feature_beyond_the_latents() -> None:
    with pytest.raises(ValueError, match="num_latents is 2"):
        postings_read(vectors({2: 1.0}), np.array([1, 1]))
