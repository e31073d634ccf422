"""Rules by which texts keep features: as many of all, or as many as each needs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.selection import LENGTHS, RULES, compare_rules, keep
from connector.encoders.text import TextEncoder
from connector.types import SparseVectors
from tests.encoded import encoded

# One text of a few strong features, one of many weak ones.
PEAKED = [8.0, 4.0, 0.2, 0.1]
FLAT = [1.0, 0.9, 0.8, 0.7]
VECTORS = SparseVectors(np.tile(np.arange(4, dtype=np.int32), (2, 1)), np.array([PEAKED, FLAT], dtype=np.float32))


@pytest.mark.parametrize(
    ("rule", "average", "lengths"),
    [
        ("threshold", 2.0, [2, 2]),  # 8, 4, 1, 0.9
        ("threshold", 1.0, [2, 0]),
        ("share of the strongest", 2.5, [1, 4]),  # 4 is half of 8; 0.7 is more of 1
        ("share of the mass", 2.5, [2, 3]),  # two of the first have 12 of 12.3, two of the second only 1.9 of 3.4
    ],
)
def test_a_rule_keeps_so_many_on_average(rule: str, average: float, lengths: list[int]) -> None:
    kept = keep(VECTORS, RULES[rule], average)
    assert kept.active_dims.tolist() == lengths
    assert np.array_equal(kept.features, VECTORS.features)
    assert set(np.unique(kept.weights)) <= {0.0, *VECTORS.weights.ravel()}


def test_no_rule_keeps_what_is_not_there() -> None:
    vectors = VECTORS._replace(weights=np.where(VECTORS.weights > 0.5, VECTORS.weights, np.float32(0)))
    for worth in RULES.values():
        assert keep(vectors, worth, 4.0).active_dims.tolist() == [2, 4]


def test_rules_are_compared_at_equal_length(encoder: TextEncoder) -> None:
    random = np.random.default_rng(0)
    activations = random.random((30, encoder.num_latents)).astype(np.float32)
    embeddings = random.standard_normal((30, 8)).astype(np.float32)
    data = encoded(activations, embeddings, encoder)
    short = data.document_vectors.features[:, :6], data.document_vectors.weights[:, :6]
    learned = replace(data, document_vectors=SparseVectors(*short), query_vectors=SparseVectors(*short))
    shares: list[float] = []
    rows = compare_rules(data, learned, lengths=[(4, 3)], progress=shares.append)
    assert [row["length"] for row in rows] == ["6/6"] * 11 + ["4/3"] * 10
    for length in ("6/6", "4/3"):
        first, *others = [row for row in rows if row["length"] == length]
        assert first["rule"] == "k of all" and first["ndcg_difference_interval"] == (0.0, 0.0)
        for row in others:
            assert row["dlen"] == pytest.approx(first["dlen"], abs=0.05), row
            assert row["qlen"] == pytest.approx(first["qlen"], abs=0.05), row
    natural = next(row for row in rows if row["rule"] == "learned thresholds")
    # The same weights, cut at the same length: nothing else differs.
    assert (
        natural["ndcg@10"] == rows[0]["ndcg@10"]
        and natural["postings_per_document"] == rows[0]["postings_per_document"]
    )
    assert shares[-1] == 1.0 and len(LENGTHS) == 3
