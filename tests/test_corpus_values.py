"""Which JSON becomes of the values that Python and NumPy have."""

from __future__ import annotations

import datetime
import enum
import json
from decimal import Decimal
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pytest

from connector.corpus.values import numeric, plain, to_id, to_ids


class Colour(enum.StrEnum):
    RED = "red"


class Size(enum.IntEnum):
    LARGE = 3


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (2020.0, "2020"),
        (2020.5, "2020.5"),
        (1e300, "1e+300"),
        (True, "true"),
        (np.float64(2020), "2020"),
        (np.int64(3), "3"),
        (np.bool_(True), "true"),
        (np.str_("word"), '"word"'),
        (np.array([1.0, 2.5]), "[1, 2.5]"),
        (np.float32(4.99), "4.99"),
        (np.float16(0.1), "0.1"),
        (np.array([[0.1, 4.99], [2020, 123456792]], dtype=np.float32), "[[0.1, 4.99], [2020, 123456792]]"),
        (np.array(4.99, dtype=np.float32), "4.99"),
        (np.datetime64("2024-01-02"), '"2024-01-02"'),
        (np.datetime64("2024-01-02T03:04:05.123456789"), '"2024-01-02T03:04:05.123456"'),
        (np.array(["2024-01-02"], dtype="M8[ns]"), '["2024-01-02T00:00:00"]'),
        (np.datetime64("NaT"), "null"),
        (np.timedelta64(5, "ns"), "0"),
        (datetime.date(2024, 1, 2), '"2024-01-02"'),
        (datetime.datetime(2024, 1, 2, 3, tzinfo=datetime.UTC), '"2024-01-02T03:00:00+00:00"'),
        (datetime.time(3, 4), '"03:04:00"'),
        (datetime.timedelta(minutes=2), "120"),
        (Decimal("1.50"), '"1.50"'),
        (UUID(int=7), '"00000000-0000-0000-0000-000000000007"'),
        (Path("a/b"), '"a/b"'),
        (ip_address("::1"), '"::1"'),
        (b"\x89P", '"iVA="'),
        (Colour.RED, '"red"'),
        (Size.LARGE, "3"),
        ((1, {2.0}), "[1, [2]]"),
        ({"b", "a"}, '["a", "b"]'),
        ({2020: {"day": datetime.date(2024, 1, 2)}}, '{"2020": {"day": "2024-01-02"}}'),
    ],
)
def test_values_become_those_of_json(value: object, written: str) -> None:
    assert json.dumps(plain(value)) == written


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (Decimal("9.99"), "9.99"),
        (Decimal("1.50"), "1.5"),
        (Decimal("10.00"), "10"),
        (Decimal("-0.0"), "0"),
        (Decimal("1E+20"), "1e+20"),
        (Decimal(2**53 + 1), str(2**53 + 1)),
        ({"a": [Decimal("0.1"), (Decimal("0.2"),)], "b": {Decimal("0.3")}}, '{"a": [0.1, [0.2]], "b": [0.3]}'),
        # No float has these digits.
        (Decimal("0.12345678901234567890"), '"0.12345678901234567890"'),
        (Decimal("1E+400"), '"1E+400"'),
        (Decimal("NaN"), '"NaN"'),
        ({"day": datetime.date(2024, 1, 2), "raw": b"\x89P"}, '{"day": "2024-01-02", "raw": "iVA="}'),
    ],
    ids=str,
)
def test_decimals_become_numbers_that_are_equal(value: object, written: str) -> None:
    assert json.dumps(numeric(value)) == written


def test_what_json_cannot_store_stays_for_the_writer_to_refuse() -> None:
    mine: dict[str, Any] = {}
    mine["self"] = [mine, mine]
    for converted in (plain, numeric):
        with pytest.raises(ValueError, match="Circular"):
            json.dumps(converted(mine))
    with pytest.raises(TypeError, match="complex"):
        json.dumps(plain({"z": [1j]}))


@pytest.mark.parametrize(
    ("value", "doc_id"), [("a", "a"), (0, "0"), (np.int32(7), "7"), (UUID(int=7), str(UUID(int=7)))]
)
def test_an_id_is_a_string_an_integer_or_a_uuid(value: object, doc_id: str) -> None:
    assert to_id(value) == doc_id


@pytest.mark.parametrize("value", [None, "", " ", True, 1.0, ["a"], b""])
def test_what_is_no_id_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="is not an id; use a string that is not blank, an integer or a UUID"):
        to_id(value)


def test_a_single_string_is_not_a_list_of_ids() -> None:
    assert to_ids(iter(["a", 1, UUID(int=2)])) == ["a", "1", str(UUID(int=2))]
    with pytest.raises(ValueError, match=r"ids must be a list of ids, got '123'; pass \['123'\]"):
        to_ids("123")
