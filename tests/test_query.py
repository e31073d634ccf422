from __future__ import annotations

import math
from typing import Any

import pytest

from connector.errors import SearchError
from connector.query.body import SearchOptions, build_query, build_search, check_features, check_text, parse_filter
from connector.query.clauses import every
from connector.query.hybrid import build_words_query
from connector.query.settings import SearchSettings
from connector.vectors.storage import SMALLEST_WEIGHT


def clause(name: str, weight: float) -> dict[str, object]:
    return {"rank_feature": {"field": f"features.{name}", "boost": weight, "linear": {}}}


def test_a_query_is_one_linear_clause_a_feature() -> None:
    assert build_query({"3": 0.5, "9": 2.0}) == {
        "bool": {"should": [clause("3", 0.5), clause("9", 2.0)], "minimum_should_match": 1}
    }


def test_filters_stand_inside_the_bool() -> None:
    term = {"term": {"metadata.lang": {"value": "en"}}}
    assert build_query({"3": 1.0}, filters=[term]) == {
        "bool": {"should": [clause("3", 1.0)], "minimum_should_match": 1, "filter": [term]}
    }


@pytest.mark.parametrize("filters", [{"term": {"a": 1}}, "lang=en", [None]])
def test_what_is_no_list_of_clauses_is_refused(filters: Any) -> None:  # noqa: ANN401
    with pytest.raises(ValueError, match="a filter must be a query clause such as"):
        build_query({"3": 1.0}, filters=filters)
    with pytest.raises(ValueError, match="a filter must be a query clause such as"):
        build_words_query("cats", filters=filters)
    with pytest.raises(ValueError, match="a filter must be a query clause such as"):
        every(filters)


def test_the_field_can_be_another() -> None:
    [only] = build_query({"3": 1.0}, field="sparse")["bool"]["should"]
    assert only["rank_feature"]["field"] == "sparse.3"


def test_1024_features_are_taken_and_1025_are_refused() -> None:
    features = {str(number): 1.0 for number in range(1024)}
    assert len(build_query(features)["bool"]["should"]) == 1024
    with pytest.raises(
        ValueError, match=r"has 1025 features and 0 filters, but a bool query allows 1024 clauses.*k_query"
    ):
        build_query(features | {"1024": 1.0})


def test_no_features_are_refused() -> None:
    with pytest.raises(ValueError, match="has no features"):
        build_query({})


@pytest.mark.parametrize("name", ["", "a.b", "."])
def test_a_name_that_cannot_be_found_again_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="is empty or contains a dot"):
        build_query({name: 1.0})


@pytest.mark.parametrize("weight", [0.0, -0.0, -1.0, math.nan, math.inf, -math.inf, SMALLEST_WEIGHT * 0.99, 3.5e38])
def test_a_weight_that_cannot_be_stored_is_refused(weight: float) -> None:
    with pytest.raises(ValueError, match="'3' is .*; rank_features stores only normal floats above 0"):
        build_query({"3": weight})


@pytest.mark.parametrize("weight", [SMALLEST_WEIGHT, 1.0, 3.4028234663852886e38])
def test_the_whole_range_of_normal_floats_is_taken(weight: float) -> None:
    check_features({"3": weight})


def test_a_search_asks_for_hits_without_counting_them() -> None:
    assert build_search({"match_all": {}}, top_k=3, source=("title",)) == {
        "query": {"match_all": {}},
        "size": 3,
        "track_total_hits": False,
        "_source": ["title"],
    }
    assert build_search({}, top_k=1, source=False)["_source"] is False


def test_a_search_for_no_fields_asks_the_server_for_none() -> None:
    """The server returns all fields for an empty list."""
    assert build_search({}, top_k=1, source=[])["_source"] is False
    assert build_search({}, top_k=1, options=SearchOptions(source=[]))["_source"] is False


def test_keys_of_metadata_are_asked_for_where_long_strings_are_stored_too() -> None:
    asked = build_search({}, top_k=1, source=["title", "metadata.note", "meta", "m*"])["_source"]
    assert asked == [
        "title",
        "metadata.note",
        "meta",
        "m*",
        "unindexed.metadata.note",
        "unindexed.meta",
        "unindexed.m*",
    ]


@pytest.mark.parametrize("top_k", [0, -1, 10_001])
def test_top_k_out_of_range_is_refused(top_k: int) -> None:
    with pytest.raises(ValueError, match=rf"between 1 and 10,000 .*, got {top_k}"):
        build_search({}, top_k=top_k)


@pytest.mark.parametrize("top_k", [1.5, "3", True, None])
def test_top_k_is_a_whole_number(top_k: Any) -> None:  # noqa: ANN401
    """With 1.5 hits a page, the first page would seem to be the last."""
    with pytest.raises(ValueError, match=f"top_k must be a whole number, got {top_k!r}"):
        build_search({}, top_k=top_k)


def test_one_field_is_not_read_as_a_list_of_letters() -> None:
    refused = r"source must be a list of names, got 'title'; pass \['title'\]"
    with pytest.raises(ValueError, match=refused):
        SearchOptions(source="title")
    with pytest.raises(ValueError, match=refused):
        build_search({}, top_k=1, source="title")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"k_query": 0}, "k_query must be a whole number of at least 1, got 0"),
        ({"k_query": 2.5}, "k_query must be a whole number of at least 1, got 2.5"),
        ({"k_query": "8"}, "k_query must be a whole number of at least 1, got '8'"),
        ({"window": -1}, "window must be a whole number of at least 0, got -1"),
        ({"window": True}, "window must be a whole number of at least 0, got True"),
        ({"rank_window_size": 0}, "rank_window_size must be a whole number of at least 1, got 0"),
    ],
)
def test_settings_are_checked_before_a_search(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SearchSettings(**options)


@pytest.mark.parametrize("query", ["", "  \n\t"])
def test_a_blank_query_is_refused(query: str) -> None:
    with pytest.raises(SearchError, match="The query is empty"):
        check_text(query)


@pytest.mark.parametrize(
    ("expression", "path", "value"),
    [
        ("lang=en", "metadata.lang", "en"),
        ("metadata.lang=en", "metadata.lang", "en"),
        ("author.name=Li", "metadata.author.name", "Li"),
        ("year=1999", "year", "1999"),
        (" lang = en us ", "metadata.lang", "en us"),
        ("lang=a=b", "metadata.lang", "a=b"),
        ("lang=", "metadata.lang", ""),
    ],
)
def test_a_filter_is_a_term_on_a_declared_field_or_else_on_metadata(expression: str, path: str, value: str) -> None:
    assert parse_filter(expression, fields=("year",)) == {"term": {path: {"value": value}}}


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("2020", ["2020", "2020.0"]),
        ("2020.0", ["2020.0", "2020"]),
        ("2020.00", ["2020.00", "2020", "2020.0"]),
        ("-1", ["-1", "-1.0"]),
        ("0", ["0", "0.0"]),
    ],
)
def test_a_whole_number_is_asked_for_however_it_was_written(value: str, written: list[str]) -> None:
    assert parse_filter(f"year={value}") == {"terms": {"metadata.year": written}}
    assert parse_filter(f"year={value}", fields={"year": "keyword"}) == {"terms": {"year": written}}
    assert parse_filter(f"year={value}", fields={"year": "integer"}) == {"term": {"year": {"value": value}}}


def test_a_truth_value_is_asked_for_however_it_was_written() -> None:
    for value, others in (("true", ["True", "TRUE"]), ("False", ["false", "FALSE"])):
        assert parse_filter(f"new={value}") == {"terms": {"metadata.new": [value, *others]}}
        assert parse_filter(f"new={value}", fields={"new": "boolean"}) == {"term": {"new": {"value": value.lower()}}}
    assert parse_filter("_id=true") == {"term": {"_id": {"value": "true"}}}


def test_an_id_is_asked_for_as_it_is() -> None:
    assert parse_filter("_id=2020") == {"term": {"_id": {"value": "2020"}}}
    assert parse_filter("_id=a=b", fields={"year": "integer"}) == {"term": {"_id": {"value": "a=b"}}}


def test_text_is_asked_for_by_its_keyword_subfield_or_refused() -> None:
    fields = {"author": "text", "author.exact": "keyword", "bare": "text"}
    assert parse_filter("author=Ada L", fields=fields) == {"term": {"author.exact": {"value": "Ada L"}}}
    assert parse_filter("author=7", fields=fields) == {"terms": {"author.exact": ["7", "7.0"]}}
    with pytest.raises(ValueError, match="the field 'bare' has the type 'text', which is indexed by words"):
        parse_filter("bare=Ada", fields=fields)


@pytest.mark.parametrize("value", ["007", "1.5", "1e3", "2020-01-01", "1" * 17, "1.0.0", "٣", "+1"])
def test_any_other_value_is_asked_for_as_it_is(value: str) -> None:
    assert parse_filter(f"n={value}") == {"term": {"metadata.n": {"value": value}}}


def test_a_filter_or_query_that_is_no_valid_unicode_is_refused() -> None:
    with pytest.raises(ValueError, match="filter 'lang=caf.udce9' is not valid Unicode"):
        parse_filter("lang=caf\udce9")
    with pytest.raises(SearchError, match="The query is not valid Unicode: '.udce9' at position 3"):
        check_text("caf\udce9")


@pytest.mark.parametrize("expression", ["lang", "=en", " =en", ""])
def test_a_filter_of_another_form_is_refused(expression: str) -> None:
    with pytest.raises(ValueError, match="is not of the form NAME=VALUE"):
        parse_filter(expression)


def test_a_query_of_a_space_matches_nothing_in_another() -> None:
    plain = build_query({"3": 1.0})
    spaced = build_query({"3": 1.0}, space="ab")
    [clause_of_space] = spaced["bool"].pop("must_not")
    assert spaced == plain
    assert clause_of_space == {
        "bool": {
            "filter": [{"exists": {"field": "ksparse_space"}}],
            "must_not": [{"term": {"ksparse_space": {"value": "ab"}}}],
        }
    }
    full = build_query({str(number): 1.0 for number in range(1024)}, space="ab")
    assert len(full["bool"]["must"][0]["bool"]["should"]) == 1024 and full["bool"]["must_not"]
