"""Clauses that are joined say what their words say, and those that match everything are known by their form."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from connector.query.clauses import EVERYTHING, NOTHING, every, matches_everything, negation, some

TERM: dict[str, Any] = {"term": {"a": "b"}}


def test_none_of_several_is_nothing_and_all_of_none_is_everything() -> None:
    assert (some([]), every([])) == (NOTHING, EVERYTHING)
    assert some([TERM]) == {"bool": {"should": [TERM], "minimum_should_match": 1}}
    assert every([TERM]) == {"bool": {"filter": [TERM]}}


@pytest.mark.parametrize(
    "clause",
    [
        {"match_all": {}},
        {"bool": {}},
        {"bool": {"must": []}},
        {"bool": {"should": [], "minimum_should_match": 1}},
        {"bool": {"filter": {"match_all": {}}}},
        {"bool": {"should": [TERM, {"match_all": {}}]}},
        {"bool": {"must": [{"match_all": {}}], "should": [TERM]}},
        {"constant_score": {"filter": {"bool": {}}}},
        {"function_score": {}},
        {"boosting": {"positive": {"match_all": {}}, "negative": TERM, "negative_boost": 0.5}},
        {"dis_max": {"queries": [TERM, {"match_all": {}}]}},
        {"query_string": {"query": "*"}},
        {"simple_query_string": {"query": " *:* "}},
        {"exists": {"field": "_id"}},
        {"wildcard": {"_index": "*"}},
        {"wildcard": {"_index": {"value": "*"}}},
        {"prefix": {"_index": ""}},
        {"wrapper": {"query": base64.b64encode(b'{"bool": {"should": []}}').decode()}},
        negation(NOTHING),
        negation(some([])),
        negation({"terms": {"a": []}}),
        negation({"ids": {"values": []}}),
        negation(every([TERM, NOTHING])),
        negation(negation(every([]))),
        negation({"bool": {"should": [NOTHING]}}),
        every([every([]), negation(some([]))]),
    ],
)
def test_what_matches_everything_by_its_form_is_known(clause: dict[str, Any]) -> None:
    assert matches_everything(clause)


@pytest.mark.parametrize(
    "clause",
    [
        TERM,
        NOTHING,
        {"bool": {"should": [TERM]}},
        {"bool": {"must": [TERM], "should": [{"match_all": {}}]}},
        {"bool": {"must": [{"match_all": {}}], "should": [TERM], "minimum_should_match": 1}},
        {"function_score": {"min_score": 1}},
        {"query_string": {"query": "cats"}},
        {"exists": {"field": "a"}},
        {"wildcard": {"a": "*"}},
        {"prefix": {"a": ""}},
        {"wrapper": {"query": base64.b64encode(b'{"term": {"a": "b"}}').decode()}},
        {"wrapper": {"query": "no JSON"}},
        {"wrapper": {"query": None}},
        negation(TERM),
        negation(negation(TERM)),
        negation({"terms": {"a": ["b"]}}),
        every([EVERYTHING, TERM]),
        {},
        # Not clauses; the server says so.
        {"bool": {"must": "x"}},
        {"bool": {"must_not": [{}]}},
        {"bool": {"must_not": "x"}},
        {"dis_max": {"queries": 3}},
        {"constant_score": {"filter": ["x"]}},
    ],
)
def test_what_may_leave_a_document_out_does_not_match_everything(clause: dict[str, Any]) -> None:
    assert not matches_everything(clause)
