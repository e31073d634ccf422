"""Filters that name a value are distinguished from those that may match every document by mistake."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from connector.query import terms
from connector.query.clauses import EVERYTHING, every, negation, some
from connector.query.required import requires_value

TERM: dict[str, Any] = {"term": {"a": {"value": "b"}}}
EXISTS: dict[str, Any] = {"exists": {"field": "a"}}


def test_what_is_no_clause_requires_nothing() -> None:
    for body in ({"must": "x"}, {"should": [3], "minimum_should_match": 1}):
        assert not requires_value({"bool": body})
    assert not requires_value({"dis_max": {"queries": [None]}})


@pytest.mark.parametrize(
    "clause",
    [
        TERM,
        {"term": {"a": 0}},
        {"terms": {"a": ["b", 2], "boost": 1}},
        {"ids": {"values": ["1"]}},
        {"match": {"a": {"query": "cats"}}},
        {"prefix": {"a": "b"}},
        {"wildcard": {"a": {"value": "b*"}}},
        {"range": {"year": {"lt": 2000}}},
        {"nested": {"path": "a", "query": TERM}},
        {"bool": {"must": TERM}},
        {"bool": {"should": [TERM], "must_not": [EXISTS]}},
        {"bool": {"filter": [EXISTS], "should": [TERM], "minimum_should_match": 1}},
        {"constant_score": {"filter": TERM}},
        {"wrapper": {"query": base64.b64encode(b'{"term": {"a": "b"}}').decode()}},
        every([EXISTS, some([TERM, TERM])]),
        terms.equal("lang", "en"),
        terms.any_of("lang", ["en", 3]),
        terms.compare("year", ">=", 2000),
        terms.contains("lang", "e", ignore_case=False),
    ],
    ids=str,
)
def test_a_value_is_required(clause: dict[str, Any]) -> None:
    assert requires_value(clause)


@pytest.mark.parametrize(
    "clause",
    [
        {},
        EVERYTHING,
        EXISTS,
        negation(TERM),
        negation(negation(TERM)),
        {"bool": {}},
        {"bool": {"should": [TERM, EXISTS]}},
        {"bool": {"must": [EXISTS], "should": [TERM]}},
        {"bool": {"filter": [EXISTS], "should": [TERM], "minimum_should_match": "-1"}},
        {"range": {"year": {}}},
        {"range": {"year": {"gte": None, "lt": None, "format": "yyyy"}}},
        {"wildcard": {"a": "*"}},
        {"prefix": {"a": {"value": ""}}},
        {"regexp": {"a": ".*"}},
        {"term": {"_index": "docs"}},
        {"query_string": {"query": "a:*"}},
        {"script": {"script": "true"}},
        {"wrapper": {"query": "no JSON"}},
        {"function_score": {}},
        terms.exists("lang"),
        terms.missing("lang"),
        terms.any_of("lang", ["en", None]),
        terms.contains("lang", "", ignore_case=False),
        terms.contains("lang", "", ignore_case=True),
    ],
    ids=str,
)
def test_no_value_is_required(clause: dict[str, Any]) -> None:
    assert not requires_value(clause)
