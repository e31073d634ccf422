"""Static pruning of documents."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.static_pruning import cut, document_centric_pruning
from connector.types import SparseVectors

VECTORS = SparseVectors(
    np.array([[5, 1, 7, 2], [3, 9, 0, 0], [0, 0, 0, 0]], np.int32),
    np.array([[0.9, 0.8, 0.5, 0.1], [0.6, 0.4, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]], np.float32),
)


def test_document_centric_pruning_keeps_a_share_of_each_documents_own_features() -> None:
    half = document_centric_pruning(VECTORS, 0.5)
    assert half.active_dims.tolist() == [2, 1, 0]
    assert half.as_mappings()[0] == pytest.approx({"5": 0.9, "1": 0.8})
    assert half.weights.shape == (3, 2), "slots that nobody uses are gone"
    # 30 % of 4 is 1.2, of 2 is 0.6: rounded up.
    assert document_centric_pruning(VECTORS, 0.3).active_dims.tolist() == [2, 1, 0]
    assert document_centric_pruning(VECTORS, 1.0).as_mappings() == VECTORS.as_mappings()


def test_cut_drops_what_weighs_less_than_the_threshold() -> None:
    assert cut(VECTORS, 0.5).active_dims.tolist() == [3, 1, 0]
    assert cut(VECTORS, 0.8).active_dims.tolist() == [2, 0, 0]
    assert cut(VECTORS, 0.0).as_mappings() == VECTORS.as_mappings()
    assert cut(VECTORS, 9.0).weights.shape == (3, 1)


def test_shares_and_thresholds_out_of_range_are_refused() -> None:
    for share in (0.0, 1.1):
        with pytest.raises(ValueError, match=f"share must be above 0 and at most 1, got {share}"):
            document_centric_pruning(VECTORS, share)
    with pytest.raises(ValueError, match=r"threshold must be at least 0, got -0\.1"):
        cut(VECTORS, -0.1)
