"""Convert Python, NumPy and Arrow values to JSON values, for all inputs and for filters."""

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

EMBEDDING_NUMBERS = 64
"""Least length of a list of floats that is taken for an embedding."""

HOLDS_EMBEDDINGS = (
    f"holds embeddings (lists of {EMBEDDING_NUMBERS} or more floats; to store them, declare it as a field)"
)
"""Why a column or key is skipped: in metadata, each number would be a term and a stored string."""

_EXACT = 2**53
"""Integers below it are exact as floats."""

_LONG = 2**63
"""Integers below it are a `long` of the server."""

_PLAIN = frozenset({type(None), str, int, bool})


def is_missing(value: Any) -> bool:  # noqa: ANN401
    """Whether a value is None, or what pandas has in its place: NaN or NA."""
    return value is None or (isinstance(value, float) and value != value) or type(value).__name__ == "NAType"


def exact(value: Any) -> Any:  # noqa: ANN401
    """Convert a value as `plain` does, but not floats: 1.0 is not the id 1. A missing value becomes None."""
    return None if is_missing(value) else value if isinstance(value, float) else plain(value)


def plain(value: Any, _inside: frozenset[int] = frozenset()) -> Any:  # noqa: ANN401
    """Convert a value to a JSON value.

    Whole floats and decimals become integers, so that 2020.0 and 2020 are equal in all inputs; dates and times ISO 8601
    strings; durations seconds; bytes Base64; UUIDs, other decimals, paths and IP addresses strings; enumerations their
    values; arrays, tuples and sets lists; NumPy values Python values (float32: see `shortest`); `NaT` and `NA` None.
    Other values are returned unchanged, and serialization refuses them.
    """
    kind = type(value)
    if kind in _PLAIN:
        return value
    # JSON types first, because checks for abstract and NumPy classes are slow.
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
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    return None if is_missing(value) else value


def numeric(value: Any) -> Any:  # noqa: ANN401
    """Convert a value as `plain` does, but decimals become numbers; those without an equal float remain strings."""
    return plain(_with_floats(value))


def stored(value: Any) -> Any:  # noqa: ANN401
    """Convert a value as `plain` does; NaN, which pandas has for a missing value and JSON lacks, becomes None."""
    return _without_nan(plain(value))


def is_embedding(value: Any) -> bool:  # noqa: ANN401
    """Whether a JSON value is a list of at least 64 numbers that are not all integers."""
    if not isinstance(value, list) or len(value) < EMBEDDING_NUMBERS:
        return False
    kinds = set(map(type, value))
    return float in kinds and kinds <= {int, float}


def shortest(value: np.floating[Any]) -> float:
    """The shortest decimal that is the same float16 or float32 (4.99, not 4.989999771118164); whole numbers as is."""
    found = float(value)
    return found if found.is_integer() else float(str(value))


def to_id(value: Any) -> str:  # noqa: ANN401
    """Convert an id (a string, an integer or a UUID) to a string.

    Raises:
        ValueError: It has another type, is blank, or cannot be sent.
    """
    found = exact(value)
    if isinstance(found, int) and not isinstance(found, bool):
        return str(found)
    if not isinstance(found, str) or not found.strip():
        raise ValueError(f"{value!r} is not an id; use a string that is not blank, an integer or a UUID.")
    if not is_unicode(found):
        raise ValueError(f"{value!r} is not an id: it cannot be sent as UTF-8.")
    return found


def is_unicode(text: str) -> bool:
    """Whether a string can be sent as UTF-8: it has no lone surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def to_ids(values: Iterable[Any]) -> list[str]:
    """Convert ids to strings.

    Raises:
        ValueError: A value is not an id, or a single string is given instead of a list.
    """
    if isinstance(values, str | bytes):
        raise ValueError(f"ids must be a list of ids, got {values!r}; pass [{values!r}].")
    if not isinstance(values, Iterable):
        raise ValueError(f"ids must be a list of ids, got {values!r}.")
    return [to_id(value) for value in values]


def _container(value: Any, inside: frozenset[int]) -> Any:  # noqa: ANN401
    if id(value) in inside or len(inside) > MAX_DEPTH:
        return value  # circular and too deeply nested values are refused later
    within = inside | {id(value)}
    if type(value) is dict or isinstance(value, Mapping):
        return {key if type(key) is str else _key(key): plain(item, within) for key, item in value.items()}
    return [plain(item, within) for item in _items(value)]


def _items(value: Any) -> Iterable[Any]:  # noqa: ANN401
    """The items of a list or set; of a set sorted, so that it becomes the same list in each process."""
    return sorted(value, key=repr) if isinstance(value, AbstractSet) else value


def _with_floats(value: Any, inside: frozenset[int] = frozenset()) -> Any:  # noqa: ANN401
    if isinstance(value, decimal.Decimal):
        equal = value.is_finite() and decimal.Decimal(repr(float(value))) == value
        return float(value) if equal else value
    if not isinstance(value, Mapping | list | tuple | AbstractSet) or id(value) in inside or len(inside) > MAX_DEPTH:
        return value
    within = inside | {id(value)}
    if isinstance(value, Mapping):
        return {key: _with_floats(item, within) for key, item in value.items()}
    return [_with_floats(item, within) for item in _items(value)]


def _without_nan(value: Any, inside: frozenset[int] = frozenset()) -> Any:  # noqa: ANN401
    if type(value) is float:
        return None if value != value else value
    if not isinstance(value, dict | list) or id(value) in inside or len(inside) > MAX_DEPTH:
        return value
    within = inside | {id(value)}
    if isinstance(value, dict):
        return {key: _without_nan(item, within) for key, item in value.items()}
    return [_without_nan(item, within) for item in value]


def _key(key: Any) -> Any:  # noqa: ANN401
    found = plain(key)
    if isinstance(found, list | dict):
        return key  # refused later
    return str(found) if isinstance(found, int | float) and not isinstance(found, bool) else found


def _from_numpy(value: Any, inside: frozenset[int]) -> Any:  # noqa: ANN401
    if value.dtype.kind == "f" and value.dtype.itemsize < 8:
        return [plain(item) for item in value] if value.ndim else plain(shortest(value[()]))
    if value.dtype.kind not in "mM":
        found = value.tolist()
        return value if isinstance(found, np.generic) else plain(found, inside)
    if isinstance(value, np.ndarray):
        return [plain(item) for item in value]
    found = value.item()
    # Nanoseconds, which Python does not support, would become an integer.
    return plain(value.astype(f"{value.dtype.kind}8[us]").item() if isinstance(found, int) else found)
