"""Clauses that read other indices."""

from __future__ import annotations

import json
from typing import Any

import pytest

from connector.service.lookups import check_lookups

SHAPE: dict[str, Any] = {"indexed_shape": {"id": "1", "index": "other", "path": "place"}}

LOOKUPS: list[dict[str, Any]] = [
    {"terms": {"metadata.user": {"index": "other", "id": "1", "path": "user"}}},
    {"terms": {"boost": 2, "metadata.user": {"index": "docs,other", "id": "1", "path": "user"}}},
    {"more_like_this": {"fields": ["text"], "like": {"_index": "other", "_id": "1"}}},
    {"more_like_this": {"like": ["cats", {"_id": "1"}, {"_index": "other", "_id": "1"}]}},
    {"more_like_this": {"like": "cats", "unlike": [{"_index": "other", "_id": "1"}]}},
    {"percolate": {"field": "query", "index": "other", "id": "1"}},
    {"geo_shape": {"place": SHAPE}},
    {"geo_shape": {"place": {"indexed_shape": {"id": "1"}}}},
    {"shape": {"ignore_unmapped": True, "place": SHAPE}},
    {"xy_shape": {"place": SHAPE}},
]


@pytest.mark.parametrize("lookup", LOOKUPS, ids=str)
def test_an_index_that_is_not_served_is_not_read(lookup: dict[str, Any]) -> None:
    [kind] = lookup
    wrapped: list[Any] = [
        lookup,
        [{"lang": "en"}, lookup],
        {"$or": [{"lang": "en"}, {"$not": lookup}]},
        {"bool": {"must_not": {"constant_score": {"filter": lookup}}}},
        {"fields": {"text": {"highlight_query": lookup}}},
    ]
    for each in wrapped:
        with pytest.raises(ValueError, match=f"a clause '{kind}' reads documents of index '.*', which is not served"):
            check_lookups([None, each], ["docs", "wiki"])


@pytest.mark.parametrize("lookup", LOOKUPS, ids=str)
def test_an_index_that_is_served_is_read(lookup: dict[str, Any]) -> None:
    check_lookups(json.loads(json.dumps(lookup).replace("docs,other", "other")), ["docs", "other", "shapes"])


@pytest.mark.parametrize(
    "filters",
    [
        None,
        {"index": "other", "_index": "other", "indexed_shape": "other"},
        {"terms": ["index", "other"]},
        {"terms": {"index": ["other"]}},
        {"term": {"terms": {"value": "index"}}},
        {"term": {"_index": "other"}},
        {"more_like_this": {"like": [{"_id": "1"}, "text"]}},
        {"geo_shape": {"place": {"shape": {"type": "point", "coordinates": [1, 2]}}}},
        {"percolate": {"field": "query", "document": {"text": "cats"}}},
        {"wrapper": "x"},
    ],
    ids=str,
)
def test_a_clause_that_looks_nothing_up_is_passed_on(filters: Any) -> None:  # noqa: ANN401
    check_lookups(filters, ["docs"])


def test_what_a_clause_hides_is_not_passed_on() -> None:
    with pytest.raises(ValueError, match="'wrapper' is not accepted"):
        check_lookups({"bool": {"filter": [{"wrapper": {"query": "eyJtYXRjaF9hbGwiOnt9fQ=="}}]}}, ["docs"])


def test_clauses_may_be_nested_deeply() -> None:
    nested: Any = LOOKUPS[0]
    for _ in range(5_000):
        nested = {"bool": {"filter": [nested]}}
    with pytest.raises(ValueError, match="which is not served here"):
        check_lookups(nested, ["docs"])
