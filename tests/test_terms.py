"""Terms of metadata sort as the values do that they stand for."""

from __future__ import annotations

import datetime
import itertools
import random
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

from connector.query.clauses import NOTHING
from connector.query.terms import TERMS_FIELD, any_of, any_string, compare, contains, equal, terms_of

NUMBERS: list[Any] = [
    -(10**400),
    -1e308,
    -(2**53) - 1,
    -(2**53),
    -1.5,
    -1,
    -5e-324,
    0,
    5e-324,
    0.1,
    1,
    1.5,
    2**53,
    2**53 + 1,
    2**53 + 2,
    2**64,
    2**64 + 1,
    10**22,
    10**22 + 1,
    1e308,
    10**400,
]


def number_term(value: object) -> str:
    [term] = [term for term in terms_of({"n": value}) if term.startswith("n\0n")]
    return term


def test_terms_of_numbers_sort_as_numbers() -> None:
    numbers = random.Random(0)
    many = NUMBERS[1:-1] + [numbers.choice([-1, 1]) * numbers.randrange(10**20) for _ in range(500)]
    many += [numbers.uniform(-1e6, 1e6) for _ in range(500)]
    assert [*map(Fraction, sorted(many, key=number_term))] == sorted(map(Fraction, many))
    assert sorted(NUMBERS, key=number_term) == NUMBERS


@pytest.mark.parametrize(("one", "other"), [(1, 1.0), (0, -0.0), (1, True), (10**22, 1e22), (2**53, float(2**53))])
def test_equal_numbers_have_one_term(one: float, other: float) -> None:
    assert number_term(one) == number_term(other)


def test_dates_sort_as_instants_and_as_their_clocks_show() -> None:
    zone = datetime.timezone(datetime.timedelta(hours=14))
    first = datetime.datetime(1, 1, 1, tzinfo=zone).isoformat()
    last = datetime.datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=datetime.timezone(-zone.utcoffset(None)))
    dates = [
        first,
        "1969-12-31T23:59:59.999999Z",
        "1970-01-01T01:00+01:00",
        "2024-02-01T00:30:00+02:00",
        last.isoformat(),
    ]
    terms = [term for date in dates for term in terms_of({"d": date}) if term.startswith("d\0i")]
    assert len(terms) == len(dates) and terms == sorted(terms)
    assert {term[2] for term in terms_of({"d": "2024-02-01"}) if len(term) > 2} == {"s", "u"}


@pytest.mark.parametrize(
    ("text", "usual"),
    [
        ("2024-01-31T22:30:00z", "2024-01-31T22:30:00Z"),
        ("2024-01-31t22:30z", "2024-01-31T22:30:00+00:00"),
        ("2024-01-31T24:00", "2024-02-01T00:00:00"),
        ("2024-02-28 24:00:00.000z", "2024-02-29T00:00:00Z"),
        ("2024-12-31T2400+02:00", "2025-01-01T00:00:00+02:00"),
        ("2024-12-31T24-02:00", "2025-01-01T00:00:00-02:00"),
    ],
)
def test_rare_spellings_of_dates_are_dates(text: str, usual: str) -> None:
    def dates(spelling: str) -> list[str]:
        return [term for term in terms_of({"d": spelling}) if term[2:3] in ("i", "l", "u")]

    assert dates(text) == dates(usual) != []
    assert compare("d", ">=", text) == compare("d", ">=", usual)


@pytest.mark.parametrize("text", ["2024-02-01T24:01", "2024-02-01T24:00:01", "9999-12-31T24:00", "2024-02-01T2024:00"])
def test_what_is_beyond_the_end_of_a_day_is_a_string(text: str) -> None:
    assert terms_of({"d": text}) == ["d\0", f"d\0s{text}"]


@pytest.mark.parametrize("text", ["2024", "20240201", "2024-W05-1", "2024-02-30", "2024-02-01x", "on 2024-02-01"])
def test_what_is_no_date_is_a_string(text: str) -> None:
    assert terms_of({"d": text}) == ["d\0", f"d\0s{text}"]
    with pytest.raises(ValueError, match="'>' compares numbers and ISO dates, got"):
        compare("d", ">", text)


def test_every_value_has_terms_of_its_path_and_kind() -> None:
    terms = terms_of({"a": {"b": ["x", None, {"c": 1}]}, "": "y", "none": None, "a.b": "z"})
    paths = {term.partition("\0")[0] for term in terms}
    assert paths == {"a", "a.b", "a.b.c", ""}
    assert {"a.b\0sx", "a.b\0sz", "\0sy", "a.b\0", "a\0"} <= set(terms)
    assert len(terms) == len(set(terms))


def test_terms_are_short_whatever_they_stand_for() -> None:
    long = {"k" * 40_000: "é" * 40_000, "n": 10**400, "list": ["x" * 5_000]}
    terms = terms_of(long)
    assert max(len(term.encode()) for term in terms) < 32_766
    [clause] = equal("k" * 40_000, "é" * 40_000).values()
    assert clause[TERMS_FIELD][0] in terms
    assert terms_of({"n\0s": "x"})[0].count("\0") == 1, "a path cannot pretend to be a value"


def test_none_of_no_values_and_nothing_beyond_nan() -> None:
    assert any_of("a", []) == any_string("a", []) == NOTHING
    assert any_of("a", [float("nan")]) == NOTHING
    assert compare("a", "<", float("nan")) == NOTHING


def test_strings_as_written_are_no_dates() -> None:
    day, midnight = "2024-01-01", "2024-01-01T00:00:00"
    [asked] = any_string("a", [day, day])["terms"][TERMS_FIELD]
    assert asked in terms_of({"a": day}) and asked not in terms_of({"a": midnight})
    assert set(terms_of({"a": midnight})) & set(equal("a", day)["terms"][TERMS_FIELD]), "equal as dates"


def test_many_values_are_asked_in_clauses_that_the_server_takes() -> None:
    clause = any_of("a", [str(number) for number in range(70_000)])
    sizes = [len(each["terms"][TERMS_FIELD]) for each in clause["bool"]["should"]]
    assert sizes == [65_536, 4_464]


def test_decimals_are_numbers_and_what_earlier_versions_stored() -> None:
    [asked] = any_of("x", [Decimal("9.99")])["terms"].values()
    assert set(asked) == {number_term(9.99).replace("n", "x", 1), "x\0s9.99"}
    assert equal("x", Decimal("10.00")) == equal("x", 10)


def test_a_text_in_any_case_is_a_regular_expression_that_the_server_takes() -> None:
    assert contains("c", "zÜ ß(1", ignore_case=True) == {
        "regexp": {TERMS_FIELD: {"value": "c\0s.*[zZ][Üü]\\ ß\\(1.*", "flags": "NONE"}}
    }
    longest = "x" * 248
    [pattern] = [each["value"] for each in contains("c", longest, ignore_case=True)["regexp"].values()]
    assert len(pattern) == 999
    for text in ("x" * 249, "é" * 250, "𐐀" * 167):  # the last letters count twice
        refused = rf"a text of {len(text)} characters, .* the server allows 1,000 \(index.max_regex_length\)"
        with pytest.raises(ValueError, match=refused):
            contains("c", text, ignore_case=True)
    assert contains("c", "x" * 5_000, ignore_case=False)["wildcard"]


def test_lists_are_equal_as_python_has_it() -> None:
    lists: list[Any] = [[], [1], ["a", "b"], ["b", "a"], ["a"], [[]], {"a": 1}, {}]
    for one, other in itertools.combinations(lists, 2):
        assert equal("x", one) != equal("x", other)
    assert equal("x", [True, 2.0]) == equal("x", (1, 2))
