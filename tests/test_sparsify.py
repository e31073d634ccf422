from __future__ import annotations

import numpy as np
import pytest

from connector.types import SparseVectors
from connector.vectors.storage import SMALLEST_WEIGHT, find_weight_exponent, round_to_stored, scale_weights
from connector.vectors.top_k import prune, sparsify

LARGEST = float(np.finfo(np.float32).max)


def rows(*values: list[float]) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    return np.array(values, dtype=np.float32)


def test_sparsify_keeps_the_strongest_in_order() -> None:
    vectors = sparsify(rows([0.1, 3.0, 2.0, 0.5]), 2)
    assert vectors.features.tolist() == [[1, 2]]
    assert vectors.weights.tolist() == [[3.0, 2.0]]
    assert (vectors.features.dtype.name, vectors.weights.dtype.name) == ("int32", "float32")


def test_a_tie_goes_to_the_lower_column() -> None:
    assert sparsify(rows([1.0, 2.0, 2.0, 2.0]), 2).features.tolist() == [[1, 2]]
    # Sorts that are not stable keep the order of a few values by chance.
    assert sparsify(rows([1.0, 2.0] * 500), 4).features.tolist() == [[1, 3, 5, 7]]


def test_negative_activations_leave_their_slots_unused() -> None:
    assert sparsify(rows([-1.0, 2.0, -3.0]), 3).weights.tolist() == [[2.0, 0.0, 0.0]]


@pytest.mark.parametrize(("value", "kept"), [(SMALLEST_WEIGHT, True), (SMALLEST_WEIGHT * 0.99, False)])
def test_what_is_below_the_smallest_normal_float_is_unused(value: float, kept: bool) -> None:
    assert bool(sparsify(rows([value]), 1).weights[0, 0]) is kept


def test_k_above_the_width_keeps_all_columns() -> None:
    assert sparsify(rows([1.0, 2.0]), 5).features.tolist() == [[1, 0]]


def test_sparsify_takes_no_rows() -> None:
    assert sparsify(np.empty((0, 4), np.float32), 2).weights.shape == (0, 2)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_value_that_is_not_finite_is_refused_with_its_row(value: float) -> None:
    with pytest.raises(ValueError, match="Row 1 of the activations holds NaN or infinity"):
        sparsify(rows([1.0, 2.0], [1.0, value]), 1)


def test_k_below_1_is_refused() -> None:
    with pytest.raises(ValueError, match="k must be at least 1, got 0"):
        sparsify(rows([1.0]), 0)
    with pytest.raises(ValueError, match="k must be at least 1, got 0"):
        prune(sparsify(rows([1.0]), 1), 0)


def test_one_axis_is_refused() -> None:
    with pytest.raises(ValueError, match=r"two axes \(n, num_latents\), got shape \(3,\)"):
        sparsify(np.ones(3, np.float32), 1)


def test_prune_keeps_the_first_features() -> None:
    pruned = prune(SparseVectors(np.array([[4, 2, 1]], np.int32), rows([3.0, 2.0, 1.0])), 2)
    assert (pruned.features.tolist(), pruned.weights.tolist()) == ([[4, 2]], [[3.0, 2.0]])


def test_round_to_stored_keeps_9_significant_bits() -> None:
    # Between 1 and 2 the values that can be held are 2^-8 apart.
    step = 2.0**-8
    given = rows([1.0, 1.0 + step, 1.0 + 0.4 * step, 1.0 + 0.6 * step, 1.0 + 1.5 * step])
    assert round_to_stored(given).tolist() == [[1.0, 1.0 + step, 1.0, 1.0 + step, 1.0 + 2 * step]]


def test_round_to_stored_is_at_most_2_to_the_minus_9_off() -> None:
    weights = np.exp(np.random.default_rng(0).uniform(-80, 80, 10_000)).astype(np.float32)
    rounded = round_to_stored(weights)
    assert np.max(np.abs(rounded.astype(np.float64) / weights - 1.0)) <= 2.0**-9
    assert np.abs(np.mean(rounded.astype(np.float64) / weights - 1.0)) < 2.0**-13, "it is biased"


@pytest.mark.parametrize(("smallest", "margin"), [(2.0**-6, 0), (0.01, 0), (0.0153, 0), (2.0**-30, 0), (0.004, 2)])
def test_the_smallest_weight_comes_next_to_the_smallest_float(smallest: float, margin: int) -> None:
    weights = rows([0.0, 3.0, smallest, 2.0])
    exponent = find_weight_exponent(weights, margin=margin)
    scaled = scale_weights(weights, exponent)
    assert SMALLEST_WEIGHT * 2**margin <= scaled[0, 2] < SMALLEST_WEIGHT * 2 ** (margin + 1)
    assert scaled[0, 0] == 0.0
    np.testing.assert_array_equal(scaled.astype(np.float64) / 2.0**exponent, weights)


def test_what_falls_below_the_smallest_float_is_raised_to_it() -> None:
    scaled = scale_weights(rows([1.0, 0.1, 0.0]), -126)
    assert scaled.tolist() == [[SMALLEST_WEIGHT, SMALLEST_WEIGHT, 0.0]]


@pytest.mark.parametrize(("smallest", "exponent"), [(SMALLEST_WEIGHT, 0), (0.5, -120), (100.0, -120)])
def test_the_scale_has_ends(smallest: float, exponent: int) -> None:
    assert find_weight_exponent(rows([smallest])) == exponent


def test_the_scale_ignores_what_cannot_be_stored() -> None:
    unstorable = [np.nan, np.inf, -1.0, 0.0]
    assert find_weight_exponent(rows([*unstorable, 0.25])) == find_weight_exponent(rows([0.25])) < 0
    assert find_weight_exponent(rows(unstorable)) == 0


def test_what_can_be_stored_is_left_as_it_is() -> None:
    rounded = round_to_stored(np.random.default_rng(0).random(1000, np.float32))
    assert not np.any(rounded.view(np.uint32) & 0x7FFF), "more than 9 significant bits"
    np.testing.assert_array_equal(round_to_stored(rounded), rounded)


@pytest.mark.parametrize("value", [0.0, SMALLEST_WEIGHT])
def test_the_ends_of_the_range_stay(value: float) -> None:
    assert round_to_stored(rows([value])).tolist() == [[value]]


def test_the_largest_float_stays_finite() -> None:
    [rounded] = round_to_stored(np.array([LARGEST], np.float32)).tolist()
    assert LARGEST * (1 - 2.0**-8) < rounded < LARGEST
