"""Conversion of filters to query clauses."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Any
from uuid import UUID

import numpy as np
import pytest

from connector.integrations.filters import WordsMetadata
from connector.query.filters import Filters, filter_clauses


@pytest.mark.parametrize(
    ("filters", "clauses"),
    [
        (None, []),
        ({}, []),
        ([], []),
        ({"lang": "en"}, [{"term": {"metadata.lang": {"value": "en"}}}]),
        (
            {"year": 2021, "open": True},
            [{"term": {"year": {"value": "2021"}}}, {"term": {"metadata.open": {"value": "true"}}}],
        ),
        ({"lang": ["en", "de"]}, [{"terms": {"metadata.lang": ["en", "de"]}}]),
        ({"lang": ("en",)}, [{"term": {"metadata.lang": {"value": "en"}}}]),
        ({"lang": []}, [{"match_none": {}}]),
        ({"lang": None}, [{"bool": {"must_not": [{"exists": {"field": "metadata.lang"}}]}}]),
        ({"x": 2020.0}, [{"term": {"metadata.x": {"value": "2020"}}}]),
        ({"day": datetime.date(2024, 1, 2)}, [{"term": {"metadata.day": {"value": "2024-01-02"}}}]),
        ({"id": UUID(int=7)}, [{"term": {"metadata.id": {"value": str(UUID(int=7))}}}]),
        ({"metadata.a.b": "c"}, [{"term": {"metadata.a.b": {"value": "c"}}}]),
        (
            {"lang": {"$ne": "en"}},
            [{"bool": {"filter": [{"bool": {"must_not": [{"term": {"metadata.lang": {"value": "en"}}}]}}]}}],
        ),
        ({"lang": {"$nin": []}}, [{"bool": {"filter": [{"bool": {"must_not": [{"match_none": {}}]}}]}}]),
        (
            {"year": {"$gte": 2020, "$lt": 2022}},
            [{"bool": {"filter": [{"range": {"year": {"gte": 2020}}}, {"range": {"year": {"lt": 2022}}}]}}],
        ),
        ({"$or": []}, [{"match_none": {}}]),
        ({"$and": []}, [{"match_all": {}}]),
        (
            {"$or": [{"a": "b"}]},
            [
                {
                    "bool": {
                        "should": [{"bool": {"filter": [{"term": {"metadata.a": {"value": "b"}}}]}}],
                        "minimum_should_match": 1,
                    }
                }
            ],
        ),
        # Any clause passes, and a key of metadata may have the name of one.
        ({"match_all": {}}, [{"match_all": {}}]),
        ({"terms_set": {"a": {"terms": ["b"]}}}, [{"terms_set": {"a": {"terms": ["b"]}}}]),
        ({"bool": "yes"}, [{"term": {"metadata.bool": {"value": "yes"}}}]),
        ([{"term": {"a": 1}}, {"lang": "en"}], [{"term": {"a": 1}}, {"term": {"metadata.lang": {"value": "en"}}}]),
    ],
)
def test_filters_become_clauses(filters: Filters, clauses: list[dict[str, Any]]) -> None:
    assert filter_clauses(filters, fields=["year"]) == clauses


@pytest.mark.parametrize(
    ("filters", "message"),
    [
        ("lang=en", "a filter must be a mapping such as"),
        (b"x", "a filter must be a mapping"),
        (len, "a filter must be a mapping"),
        (7, "a filter must be a mapping"),
        (["lang=en"], "a filter in a list must be a mapping"),
        ([["a"]], "a filter in a list must be a mapping"),
        ({"a": {"$regex": "x"}}, r"the operator '\$regex' for 'metadata.a' is unknown; use one of \$eq, \$ne, \$in"),
        ({"a": {"$eq": 1, "gt": 2}}, "the operator 'gt' for 'metadata.a' is unknown"),
        ({"a": {"$gt": 1}}, r"'\$gt' cannot compare 'metadata.a': metadata is indexed as strings"),
        ({"range": {"metadata.a": {"gt": 1}}}, "'range' cannot compare 'metadata.a': metadata is indexed as strings"),
        ({"bool": {"must_not": [{"range": {"metadata.a": {"lte": 1.5}}}]}}, "'range' cannot compare 'metadata.a'"),
        ({"a": {"$in": "en"}}, r"'\$in' takes a list, got 'en'"),
        ({"a": {"$in": iter("ab")}}, r"'\$in' takes a list"),
        ({"a": {"$eq": ["b", "c"]}}, r"'\$eq' takes one value, got \['b', 'c'\] for 'metadata.a'; use \$in or \$nin"),
        ({"a": {"$ne": []}}, r"'\$ne' takes one value, got \[\]"),
        ({"year": {"$gt": None}}, r"'\$gt' compares with a number, a date or a string, got None for 'year'"),
        ({"year": {"$lte": [1]}}, r"'\$lte' compares with a number, a date or a string, got \[1\]"),
        ({"a": {"$exists": None}}, r"'\$exists' takes True or False, got None"),
        ({"$nor": []}, r"'\$nor' is not a logical operator; use one of \$and, \$or, \$not"),
        ({"$or": {"a": 1}}, r"'\$or' takes a list of filters"),
        ({"$or": [{"a": 1}, None]}, r"'\$or' takes filters, got None"),
        ({"$and": [None]}, r"'\$and' takes filters, got None"),
        ({"$not": None}, r"'\$not' takes filters, got None"),
        ({"year": {"$gt": float("nan")}}, r"'\$gt' compares with a number, a date or a string, got nan for 'year'"),
        ({"a": object()}, "the filter for 'metadata.a' must be a string, a number, a boolean or a list of these"),
        ({"a": [["b"]]}, "the filter for 'metadata.a' must be a string"),
        ({7: "a"}, "the filter name 7 must be a string"),
    ],
)
def test_what_is_no_filter_is_an_error(filters: Filters, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        filter_clauses(filters, fields=["year"])


@pytest.mark.parametrize(
    "values", [["b", "c"], ("b", "c"), {"c", "b"}, np.array(["b", "c"])], ids=lambda values: type(values).__name__
)
def test_several_values_may_stand_in_any_collection(values: Any) -> None:  # noqa: ANN401
    wanted = {"terms": {"metadata.a": ["b", "c"]}}
    assert filter_clauses({"a": values}) == [wanted]
    assert filter_clauses({"a": {"$in": values}}) == [{"bool": {"filter": [wanted]}}]


def test_ids_can_be_asked_by_their_name() -> None:
    assert filter_clauses({"_id": ["1", 2]}) == [{"terms": {"_id": ["1", "2"]}}]
    assert filter_clauses({"_id": []}) == [{"match_none": {}}]


TYPES = {
    "year": "integer",
    "bare": "text",
    "author": "text",
    "author.exact": "keyword",
    "author.stems": "text",
    "extra": "flat_object",
    "person": "object",
    "person.name": "text",
    "person.name.folded": "keyword",
    "person.name.keyword": "keyword",
}


@pytest.mark.parametrize(
    ("filters", "clauses"),
    [
        ({"author": "Ada L"}, [{"term": {"author.exact": {"value": "Ada L"}}}]),
        ({"author": ["Ada", "Li"]}, [{"terms": {"author.exact": ["Ada", "Li"]}}]),
        ({"author": None}, [{"bool": {"must_not": [{"exists": {"field": "author"}}]}}]),
        ({"bare": None}, [{"bool": {"must_not": [{"exists": {"field": "bare"}}]}}]),
        ({"bare": []}, [{"match_none": {}}]),
        ({"author": {"$gt": "K"}}, [{"bool": {"filter": [{"range": {"author.exact": {"gt": "K"}}}]}}]),
        ({"author.exact": "Ada"}, [{"term": {"author.exact": {"value": "Ada"}}}]),
        ({"person.name": "Li"}, [{"term": {"person.name.keyword": {"value": "Li"}}}]),
        ({"extra.lang": "en"}, [{"term": {"extra.lang": {"value": "en"}}}]),
        ({"author.other": "Ada"}, [{"term": {"metadata.author.other": {"value": "Ada"}}}]),
        ([{"match": {"bare": "Ada"}}], [{"match": {"bare": "Ada"}}]),
    ],
)
def test_whole_values_of_text_are_compared_by_a_keyword_subfield(
    filters: Filters, clauses: list[dict[str, Any]]
) -> None:
    assert filter_clauses(filters, fields=TYPES) == clauses


@pytest.mark.parametrize(
    "filters",
    [
        {"bare": "Ada"},
        {"bare": ["Ada"]},
        {"bare": {"$ne": "Ada"}},
        {"bare": {"$nin": ["Ada"]}},
        {"bare": {"$gte": "Ada"}},
        {"$or": [{"year": 1}, {"bare": "Ada"}]},
        {"author.stems": "Ada"},
    ],
)
def test_whole_values_of_text_without_such_a_subfield_are_refused(filters: Filters) -> None:
    message = "the field '(bare|author.stems)' has the type 'text', .*Declare it as keyword .*or pass a query clause"
    with pytest.raises(ValueError, match=message):
        filter_clauses(filters, fields=TYPES)


@pytest.mark.parametrize("filters", [{"year": "abc"}, {"year": [2020, "abc"]}, {"year": {"$lt": "abc"}}])
def test_a_number_is_compared_with_numbers(filters: Filters) -> None:
    with pytest.raises(ValueError, match="the field 'year' has the type integer; compare it with a number, not 'abc'"):
        filter_clauses(filters, fields=TYPES)
    assert filter_clauses({"year": {"$gte": "2020", "$ne": 2021.0}}, fields=TYPES)


def test_a_range_of_dates_or_declared_keys_passes() -> None:
    clauses: list[dict[str, Any]] = [
        {"range": {"metadata.day": {"gte": "2020-01-01", "boost": 2.0}}},
        {"range": {"year": {"gt": 2020}}},
    ]
    assert filter_clauses(clauses, fields=TYPES) == clauses


def test_keys_of_a_flat_object_are_strings() -> None:
    with pytest.raises(ValueError, match=r"'\$gt' cannot compare 'extra.size': metadata is indexed as strings"):
        filter_clauses({"extra.size": {"$gt": 1}}, fields=TYPES)


def test_frameworks_compare_text_by_its_subfield_as_well() -> None:
    words = WordsMetadata(TYPES)
    assert words.any_of("author", ["Ada"]) == {"term": {"author.exact": {"value": "Ada"}}}
    assert words.compare("author", ">", "K") == {"range": {"author.exact": {"gt": "K"}}}
    assert words.contains("author", "da", ignore_case=False) == {
        "wildcard": {"author.exact": {"value": "*da*", "case_insensitive": False}}
    }
    assert words.any_of("extra.lang", ["en"]) == {"term": {"extra.lang": {"value": "en"}}}
    assert words.any_of("lang", ["en"]) == {"term": {"metadata.lang": {"value": "en"}}}
    missing = {"bool": {"must_not": [{"exists": {"field": "bare"}}]}}
    assert words.missing("bare") == words.any_of("bare", [None]) == missing
    asked: list[Callable[[], object]] = [
        lambda: words.any_of("bare", ["Ada"]),
        lambda: words.compare("bare", ">", "K"),
        lambda: words.contains("bare", "da", ignore_case=True),
        lambda: words.empty("bare"),
    ]
    for ask in asked:
        with pytest.raises(ValueError, match="'bare' has the type 'text'"):
            ask()


@pytest.mark.parametrize("name", ["many", "many.name", "person.jobs.title"])
def test_a_nested_field_is_refused_by_its_name(name: str) -> None:
    """A clause on its path finds nothing, and its negation everything."""
    fields = {"many": "nested", "person": "object", "person.jobs": "nested", "person.name": "keyword"}
    said = r"has the type 'nested'\. Pass a query clause from Python"
    with pytest.raises(ValueError, match=said):
        filter_clauses({name: "x"}, fields=fields)
    with pytest.raises(ValueError, match=said):
        WordsMetadata(fields).missing(name)
    assert filter_clauses({"person.name": "x"}, fields=fields) == [{"term": {"person.name": {"value": "x"}}}]


def test_a_key_of_a_flat_object_exists_with_the_keys_below_it() -> None:
    below = {"wildcard": {r"metadata.a\*b.*": {"value": "*"}}}
    either = {"bool": {"should": [{"exists": {"field": "metadata.a*b"}}, below], "minimum_should_match": 1}}
    fields = {"metadata.*": "flat_object", "facts": "flat_object"}
    assert filter_clauses({"a*b": {"$exists": True}}, fields=fields) == [{"bool": {"filter": [either]}}]
    assert filter_clauses({"a*b": None}, fields=fields) == [{"bool": {"must_not": [either]}}]
    [declared] = filter_clauses({"facts.author": None}, fields=fields)
    assert {"wildcard": {"facts.author.*": {"value": "*"}}} in declared["bool"]["must_not"][0]["bool"]["should"]
    # Elasticsearch refuses wildcards on keys.
    missing = {"bool": {"must_not": [{"exists": {"field": "metadata.a*b"}}]}}
    assert filter_clauses({"a*b": None}, fields={"metadata.*": "flattened"}) == [missing]
    assert WordsMetadata(fields).missing("a*b") == {"bool": {"must_not": [either]}}
