"""Advice on what the server rejects."""

from __future__ import annotations

import pytest

from connector.index.complete import advised

FORBIDDEN = "queries cannot be executed when 'search.allow_expensive_queries' is set to false"


def test_without_scripts_a_search_by_features_alone_isadvised() -> None:
    assert "or search with window=0" in advised(f"[script score] {FORBIDDEN}")


@pytest.mark.parametrize("kind", ["range", "prefix", "wildcard", "regexp"])
def test_a_window_is_not_blamed_for_a_filter_that_the_cluster_forbids(kind: str) -> None:
    reason = f"[{kind}] {FORBIDDEN}"
    assert advised(reason) == (
        f"{reason}. A filter needs such a query: set this to true, or search without that filter."
    )
