"""Values of Python, NumPy and Arrow as JSON has them: one rule for all inputs, and for what filters ask for."""

from __future__ import annotations

import base64
import datetime
import decimal
import ipaddress
import os
import uuid
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from enum import Enum
from typing import Any

import numpy as np

from connector.limits import MAX_DEPTH

_EXACT = 2**53
"""Whole numbers below it have the same float and integer."""

_LONG = 2**63
"""Whole numbers below it are a `long` of the server."""

_PLAIN = frozenset({type(None), str, int, bool})


def plain(value: Any, _inside: frozenset[int] = frozenset()) -> Any:  # noqa: ANN401
    """Return a value as JSON has it.

    Whole floats and decimals become integers, so that 2020.0 and 2020 are the same wherever they come from; dates and
    times ISO 8601; durations seconds; bytes Base64; UUIDs, other decimals, paths and addresses strings; enumerations
    their values; arrays, tuples and sets lists; NumPy's numbers and arrays Python's. `NaT` becomes None. What is none
    of these stays as it is, for the writer of JSON to refuse.
    """
    kind = type(value)
    if kind in _PLAIN:
        return value
    # What JSON holds comes first: asking for abstract classes and NumPy's takes longer than all else here.
    if kind is dict or kind is list:
        return _container(value, _inside)
    if isinstance(value, Enum):
        return plain(value.value, _inside)
    if isinstance(value, np.generic | np.ndarray):
        return _from_numpy(value, _inside)
    if isinstance(value, float):
        return int(value) if value.is_integer() and abs(value) < _EXACT else value
    if isinstance(value, Mapping | list | tuple | AbstractSet):
        return _container(value, _inside)
    if isinstance(value, datetime.date | datetime.time):
        return None if value != value else value.isoformat()  # pandas' NaT is a datetime that differs from itself
    if isinstance(value, datetime.timedelta):
        return plain(value.total_seconds())
    if isinstance(value, bytes | bytearray | memoryview):
        return base64.b64encode(value).decode("ascii")
    if isinstance(value, decimal.Decimal):
        whole = value.is_finite() and value == value.to_integral_value() and abs(value) < _LONG
        return int(value) if whole else str(value)
    if isinstance(value, uuid.UUID | ipaddress.IPv4Address | ipaddress.IPv6Address):
        return str(value)
    return os.fspath(value) if isinstance(value, os.PathLike) else value


def to_id(value: Any) -> str:  # noqa: ANN401
    """Return an id as the server has it: a string; integers and UUIDs are written out.

    Raises:
        ValueError: It is nothing of these, or blank.
    """
    found = value if isinstance(value, float) else plain(value)
    if isinstance(found, int) and not isinstance(found, bool):
        return str(found)
    if not isinstance(found, str) or not found.strip():
        raise ValueError(f"{value!r} is not an id; an id is a string that is not blank, an integer or a UUID.")
    return found


def to_ids(values: Iterable[Any]) -> list[str]:
    """Return ids as the server has them.

    Raises:
        ValueError: One is not an id, or they are a single string, whose letters would be taken for ids.
    """
    if isinstance(values, str | bytes):
        raise ValueError(f"ids must be a list of ids, got {values!r}; pass [{values!r}].")
    return [to_id(value) for value in values]


def _container(value: Any, inside: frozenset[int]) -> Any:  # noqa: ANN401
    if id(value) in inside or len(inside) > MAX_DEPTH:
        return value  # what holds itself, or is too deep, is refused later
    within = inside | {id(value)}
    if type(value) is dict or isinstance(value, Mapping):
        return {key if type(key) is str else _key(key): plain(item, within) for key, item in value.items()}
    # A set has no order: the same one must become the same list in each process.
    items = sorted(value, key=repr) if isinstance(value, AbstractSet) else value
    return [plain(item, within) for item in items]


def _key(key: Any) -> Any:  # noqa: ANN401
    found = plain(key)
    return str(found) if isinstance(found, int | float) and not isinstance(found, bool) else found


def _from_numpy(value: Any, inside: frozenset[int]) -> Any:  # noqa: ANN401
    if value.dtype.kind not in "mM":
        found = value.tolist()
        return value if isinstance(found, np.generic) else plain(found, inside)
    if isinstance(value, np.ndarray):
        return [plain(item) for item in value]
    found = value.item()
    # Nanoseconds, which Python does not have, would be a number.
    return plain(value.astype(f"{value.dtype.kind}8[us]").item() if isinstance(found, int) else found)
