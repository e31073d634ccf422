"""Which features of a query are kept."""

from __future__ import annotations

import pytest

from connector.query.pruning import PruneType, Pruning, prune_query

FEATURES = {"a": 1.0, "d": 0.1, "b": 0.5, "c": 0.4}


@pytest.mark.parametrize(
    ("prune_type", "ratio", "kept"),
    [
        ("none", 0.0, "abcd"),
        ("top_k", 2, "ab"),
        ("top_k", 9, "abcd"),
        ("max_ratio", 0.5, "ab"),
        ("max_ratio", 0.4, "abc"),
        ("max_ratio", 1.0, "a"),
        ("alpha_mass", 0.5, "a"),
        ("alpha_mass", 0.51, "ab"),
        ("alpha_mass", 1.0, "abcd"),
        ("abs_value", 0.4, "abc"),
        ("abs_value", 2.0, "a"),
    ],
)
def test_each_type_keeps_what_it_says(prune_type: PruneType, ratio: float, kept: str) -> None:
    found = prune_query(FEATURES, Pruning(prune_type, ratio))
    assert "".join(found) == kept, "strongest first"
    assert all(FEATURES[name] == weight for name, weight in found.items())


def test_a_budget_is_spent_on_the_strongest_and_never_passed() -> None:
    shares = {"a": 0.05, "b": 0.2, "c": 0.04}
    assert list(prune_query(FEATURES, Pruning("posting_budget", 0.1), shares=shares)) == ["a", "c", "d"]
    assert list(prune_query(FEATURES, Pruning("posting_budget", 0.3), shares=shares)) == ["a", "b", "c", "d"]
    assert list(prune_query(FEATURES, Pruning("posting_budget", 0.01), shares={**shares, "d": 0.1})) == ["a"]


def test_nothing_stays_nothing() -> None:
    assert prune_query({}, Pruning("top_k", 3)) == {}


def test_a_budget_without_shares_is_an_error() -> None:
    with pytest.raises(ValueError, match="needs the document frequencies"):
        prune_query(FEATURES, Pruning("posting_budget", 0.1))


@pytest.mark.parametrize(
    ("prune_type", "ratio", "message"),
    [
        ("strongest", 1.0, "prune_type must be one of none, top_k, .*, got 'strongest'"),
        ("top_k", 0.5, "whole number of features, at least 1, got 0.5"),
        ("top_k", float("inf"), "whole number of features, at least 1, got inf"),
        ("top_k", float("nan"), "whole number of features, at least 1, got nan"),
        ("max_ratio", 1.5, "max_ratio needs a fraction above 0 and at most 1, got 1.5"),
        ("alpha_mass", 0.0, "alpha_mass needs a fraction"),
        ("posting_budget", 0.0, "posting_budget needs a prune_ratio above 0, got 0"),
        ("abs_value", float("nan"), "abs_value needs a prune_ratio above 0, got nan"),
    ],
)
def test_a_wrong_rule_says_what_is_right(prune_type: PruneType, ratio: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Pruning(prune_type, ratio)
