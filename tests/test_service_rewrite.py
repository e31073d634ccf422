"""Replacing the text of a search request."""

from __future__ import annotations

from typing import Any

import pytest

from connector.errors import SearchError
from connector.query.hybrid import build_words_query
from connector.service.rewrite import find_text, with_features

TEXT: dict[str, Any] = {"match": {"ksparse": {"query": "cats sleep", "operator": "OR", "boost": 1.0}}}
FILTER: dict[str, Any] = {"term": {"metadata.lang": {"value": "en"}}}
QUERY: dict[str, Any] = {"bool": {"should": []}}
RESCORE: dict[str, Any] = {"window_size": 5}


@pytest.mark.parametrize(
    "query",
    [
        TEXT,
        {"match": {"ksparse": "cats sleep"}},
        {"neural_sparse": {"features": {"query_text": "cats sleep", "boost": 1.0}}},
        {"query_string": {"query": "cats sleep", "fields": [], "boost": 1.0}},
        {"bool": {"must": [TEXT], "filter": [FILTER], "boost": 1.0}},
        {"bool": {"should": TEXT, "must_not": [FILTER]}},
        {"bool": {"must": [{"bool": {"must": [TEXT]}}]}},
    ],
)
def test_a_text_that_alone_decides_the_score_is_rescored(query: dict[str, Any]) -> None:
    clause = find_text({"query": query})
    assert clause is not None
    assert (clause.text, clause.boost, clause.rescored, clause.depth) == ("cats sleep", 1.0, True, 10)


@pytest.mark.parametrize(
    "request_",
    [
        {"query": {"bool": {"should": [TEXT, {"match": {"text": "cats"}}]}}},
        {"query": {"bool": {"must": [TEXT], "should": [{"match": {"text": "cats"}}]}}},
        {"query": {"bool": {"must": [TEXT], "boost": 2.0}}},
        {"query": {"bool": {"filter": [TEXT]}}},
        {"query": {"hybrid": {"queries": [TEXT, {"match": {"text": "cats"}}]}}},
        {"query": {"function_score": {"query": TEXT}}},
        {"query": TEXT, "sort": [{"year": "asc"}]},
        {"query": TEXT, "rescore": {"window_size": 3}},
        {"query": TEXT, "collapse": {"field": "lang"}},
        {"query": TEXT, "size": 0},
    ],
)
def test_a_text_among_other_scores_is_not_rescored(request_: dict[str, Any]) -> None:
    clause = find_text(request_)
    assert clause is not None and not clause.rescored


@pytest.mark.parametrize(
    "query",
    [
        None,
        {"match_all": {}},
        {"match": {"text": "cats"}},
        {"query_string": {"query": "cats", "fields": ["text^1.0"]}},
        {"query_string": {"query": "cats", "default_field": "text"}},
        {"neural_sparse": {"features": {"query_tokens": {"1": 2.0}}}},
        {"neural_sparse": {"features": {"query_text": "cats", "model_id": "m"}}},
        {"neural_sparse": {"other": {"query_text": "cats"}}},
    ],
)
def test_a_request_without_a_text_is_left_alone(query: dict[str, Any] | None) -> None:
    assert find_text({"query": query} if query is not None else {}) is None


def test_two_texts_are_refused() -> None:
    with pytest.raises(SearchError, match="A search can have one text, this one has 2"):
        find_text({"query": {"bool": {"should": [TEXT, TEXT]}}})


def test_the_query_comes_in_the_place_of_the_text_and_all_else_stays() -> None:
    request = {
        "query": {"bool": {"must": [TEXT], "filter": [FILTER]}},
        "size": 3,
        "from": 4,
        "aggs": {"a": {}},
    }
    clause = find_text(request)
    assert clause is not None and clause.depth == 7
    made = with_features(request, clause, QUERY, RESCORE)
    assert made == {
        "query": {"bool": {"must": [QUERY], "filter": [FILTER]}},
        "rescore": RESCORE,
        "track_total_hits": False,
        "size": 3,
        "from": 4,
        "aggs": {"a": {}},
    }
    assert request["query"] == {"bool": {"must": [TEXT], "filter": [FILTER]}}, "the request itself was changed"


def test_the_words_of_the_text_are_highlighted_unless_the_request_says_others() -> None:
    request: dict[str, Any] = {"query": TEXT, "highlight": {"fields": {"text": {}}}}
    clause = find_text(request)
    assert clause is not None
    words = build_words_query("cats sleep")
    assert with_features(request, clause, QUERY, None)["highlight"] == {
        "fields": {"text": {}},
        "highlight_query": words,
    }
    request["highlight"]["highlight_query"] = FILTER
    assert with_features(request, clause, QUERY, None)["highlight"] == request["highlight"]


def test_the_filters_of_a_text_are_those_of_all_that_encloses_it() -> None:
    other: dict[str, Any] = {"exists": {"field": "year"}}
    inner = {"bool": {"must": [TEXT], "filter": FILTER}}
    for query, filters in (
        (TEXT, []),
        (inner, [FILTER]),
        ({"bool": {"should": inner, "filter": [other]}}, [other, FILTER]),
        ({"bool": {"must": TEXT, "must_not": [FILTER, other]}}, [{"bool": {"must_not": [FILTER, other]}}]),
    ):
        clause = find_text({"query": query})
        assert clause is not None and clause.filters == filters
    clause = find_text({"query": inner, "post_filter": other})
    assert clause is not None and clause.filters == [FILTER, other]
    clause = find_text({"query": inner, "sort": [{"year": "asc"}]})
    assert clause is not None and clause.filters == (), "features alone need no count"


def test_a_request_that_counts_hits_still_does() -> None:
    request = {"query": TEXT, "track_total_hits": True}
    clause = find_text(request)
    assert clause is not None
    assert with_features(request, clause, QUERY, None) == {"query": QUERY, "track_total_hits": True}
