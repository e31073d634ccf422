"""Typed metadata as terms of one keyword field, for indexing and for filters. Pure functions.

One field per key would fix the type of each key and limit an index to a thousand keys. A term consists of the path of a
value, a NUL, the type of the value, and the value, written so that terms of one type sort like their values: a range of
numbers or dates is a range of terms.
"""

from __future__ import annotations

import datetime
import decimal
import hashlib
import json
import math
import re
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

from connector.corpus.values import numeric, plain
from connector.limits import MAX_REGEXP
from connector.query.clauses import NOTHING, Clause, literally, negation, some

TERMS_FIELD = "meta_terms"
META_FIELD = "meta"
"""The `flat_object` field with the original metadata, kept in `_source`."""

Comparison = Literal["gt", "gte", "lt", "lte"]
COMPARISONS: dict[str, Comparison] = {">": "gt", ">=": "gte", "<": "lt", "<=": "lte"}
Naive = Literal["utc", "any"]
"""How to read a date without a time zone: as UTC, or in the zone of the other operand (as in Haystack)."""

_SEPARATOR = "\0"
_AFTER_SEPARATOR = "\1"
_MAX_BYTES = 4_096
"""Longest path or string in bytes; longer ones are replaced by a digest. The server allows 32,766 bytes per term."""

_TERMS_PER_CLAUSE = 65_536
"""`index.max_terms_count`."""

_DATE = re.compile(r"\d{4}-\d\d-\d\d([Tt ]|$)")
_END_OF_DAY = re.compile(r"(?<=.{10}[T ])24(:?00(:?00([.,]0+)?)?)?(?=$|[Z+-])")
_UTC = datetime.UTC
_BEGIN = datetime.datetime(1, 1, 1, tzinfo=_UTC)
_DAY = datetime.timedelta(days=1)

_EXISTS, _STRING, _LONG, _NUMBER, _WHOLE = "", "s", "h", "n", "w"
_INSTANT, _LOCAL, _NAIVE = "i", "l", "u"
"""Types of date terms: with a zone by UTC and by local time, and without a zone."""


def typed_mappings(rest: str) -> dict[str, Any]:
    """Build the additional mappings of an index with typed metadata, for `index_body`.

    Args:
        rest: Name of the unindexed field.
    """
    return {
        "properties": {
            META_FIELD: {"type": "flat_object"},
            TERMS_FIELD: {"type": "keyword", "doc_values": False},
            rest: {"type": "object", "enabled": False},
        },
    }


def terms_of(metadata: Mapping[str, Any]) -> list[str]:
    """Return the distinct terms of metadata.

    Args:
        metadata: Any JSON object; None values count as missing.
    """
    return list(dict.fromkeys(term for key, value in metadata.items() for term in _terms(key, value)))


def equal(path: str, value: Any, *, naive: Naive = "utc") -> Clause:  # noqa: ANN401
    """The field equals the value or contains it in a list; lists and objects must match fully. None means missing."""
    return any_of(path, [value], naive=naive)


def any_of(path: str, values: Iterable[Any], *, naive: Naive = "utc") -> Clause:
    """The field equals one of the values; an empty list matches nothing."""
    wanted: dict[str, None] = {}
    clauses: list[Clause] = []
    for value in values:
        found = numeric(value)
        if found is None:
            clauses.append(missing(path))
        else:
            wanted |= dict.fromkeys(_equal_terms(path, found, naive))
        if isinstance(value, decimal.Decimal):  # earlier versions stored them as strings
            wanted |= dict.fromkeys(_equal_terms(path, plain(value), naive))
    clauses += _among(list(wanted))
    return clauses[0] if len(clauses) == 1 else some(clauses)


def any_string(path: str, values: Iterable[str]) -> Clause:
    """The field is one of the strings as written, also of dates that are equal; an empty list matches nothing."""
    clauses = _among(list(dict.fromkeys(_string(path, value) for value in values)))
    return clauses[0] if len(clauses) == 1 else some(clauses)


def exists(path: str) -> Clause:
    """The field has a value other than None; it may be empty."""
    return {"term": {TERMS_FIELD: {"value": _term(path, _EXISTS, "")}}}


def path_of(condition: Any) -> str | None:  # noqa: ANN401
    """The path in the terms of a `term`, `terms` or `range` clause of this module; None if it has none."""
    if isinstance(condition, str):
        path, separator, _ = condition.partition(_SEPARATOR)
        return path if separator else None
    parts = condition.values() if isinstance(condition, Mapping) else condition if isinstance(condition, list) else ()
    return next((path for path in map(path_of, parts) if path is not None), None)


def missing(path: str) -> Clause:
    """The field is missing or None."""
    return negation(exists(path))


def compare(path: str, operator: str, value: Any, *, naive: Naive = "utc") -> Clause:  # noqa: ANN401
    """The field compares to a number or date by one of `COMPARISONS`. Comparisons with NaN match nothing.

    Raises:
        ValueError: The value is neither a number nor an ISO date.
    """
    found = float(value) if isinstance(value, decimal.Decimal) else plain(value)
    comparison = COMPARISONS[operator]
    if isinstance(found, int | float):
        return NOTHING if found != found else _range(path, _NUMBER, comparison, _sortable(found))
    date = _date(found) if isinstance(found, str) else None
    if date is None:
        raise ValueError(f"{operator!r} compares numbers and ISO dates, got {value!r} for {path!r}.")
    return some(_range(path, kind, comparison, _moment(when)) for kind, when in _asked(date, naive))


def contains(path: str, text: str, *, ignore_case: bool) -> Clause:
    """A string field, or a string in a list, contains a substring. Strings above 4,096 bytes are not searched.

    Raises:
        ValueError: As in `contains_in_any_case`, if case is ignored.
    """
    prefix = _term(path, _STRING, "")
    if not ignore_case:
        pattern = "*".join(map(literally, (prefix, text, "")))
        return {"wildcard": {TERMS_FIELD: {"value": pattern}}}
    return contains_in_any_case(TERMS_FIELD, text, prefix=prefix)


def contains_in_any_case(field: str, text: str, *, prefix: str = "") -> Clause:
    """A term of a field contains a text, ignoring case.

    Args:
        field: The field.
        text: The text.
        prefix: Begin of the term, with this case.

    Raises:
        ValueError: The text is too long for a regular expression of the server, at about 240 letters.
    """
    # The server's `case_insensitive` covers only ASCII and would apply to the prefix as well.
    pattern = f"{''.join(map(_escaped, prefix))}.*{''.join(map(_either_case, text))}.*"
    size = len(pattern.encode("utf-16-le")) // 2
    if size > MAX_REGEXP:
        raise ValueError(
            f"a text of {len(text)} characters, {text[:20]!r}..., is too long for a comparison that ignores case: its "
            f"regular expression has {size:,} characters, and the server allows {MAX_REGEXP:,} "
            "(index.max_regex_length). Search for a part of it, or compare it with its case."
        )
    return {"regexp": {field: {"value": pattern, "flags": "NONE"}}}


def _among(wanted: Sequence[str]) -> list[Clause]:
    """Clauses of which one matches if the document has one of the terms."""
    starts = range(0, len(wanted), _TERMS_PER_CLAUSE)
    return [{"terms": {TERMS_FIELD: list(wanted[start : start + _TERMS_PER_CLAUSE])}} for start in starts]


def _terms(path: str, value: Any) -> Iterator[str]:  # noqa: ANN401
    if value is None:
        return
    yield _term(path, _EXISTS, "")
    if isinstance(value, Mapping):
        yield _whole(path, value)
        for key, item in value.items():
            yield from _terms(f"{path}.{key}", item)
    elif isinstance(value, list | tuple):
        yield _whole(path, value)
        for item in value:
            yield from _terms(path, item)
    elif isinstance(value, str):
        yield _string(path, value)
        date = _date(value)
        if date is not None and date.tzinfo is None:
            yield _term(path, _NAIVE, _moment(date))
        elif date is not None:
            yield _term(path, _INSTANT, _moment(date))
            yield _term(path, _LOCAL, _moment(date.replace(tzinfo=None)))
    else:
        yield _term(path, _NUMBER, _sortable(value))


def _equal_terms(path: str, value: Any, naive: Naive) -> Iterator[str]:  # noqa: ANN401
    if isinstance(value, Mapping | list):
        yield _whole(path, value)
    elif isinstance(value, str):
        yield _string(path, value)
        date = _date(value)
        if date is not None:
            yield from (_term(path, kind, _moment(when)) for kind, when in _asked(date, naive))
    elif isinstance(value, int | float):
        if value == value:  # NaN equals nothing
            yield _term(path, _NUMBER, _sortable(value))
    else:
        raise ValueError(f"a metadata value must be a JSON value, got {value!r} for {path!r}.")


def _asked(date: datetime.datetime, naive: Naive) -> list[tuple[str, datetime.datetime]]:
    """The term types to compare a date with, and the date to compare for each."""
    local = date.replace(tzinfo=None)
    if naive == "utc":
        return [(_INSTANT, date), (_NAIVE, date)]
    return [(_LOCAL, local), (_NAIVE, local)] if date.tzinfo is None else [(_INSTANT, date), (_NAIVE, local)]


def _range(path: str, kind: str, comparison: Comparison, bound: str) -> Clause:
    prefix = _term(path, kind, "")
    other = {"gte": prefix} if comparison in ("lt", "lte") else {"lt": prefix[:-1] + chr(ord(kind) + 1)}
    return {"range": {TERMS_FIELD: {comparison: prefix + bound} | other}}


def _term(path: str, kind: str, value: str) -> str:
    return f"{_short(path.replace(_SEPARATOR, _AFTER_SEPARATOR))}{_SEPARATOR}{kind}{value}"


def _string(path: str, value: str) -> str:
    return _term(path, _STRING, value) if len(value.encode()) <= _MAX_BYTES else _term(path, _LONG, _digest(value))


def _whole(path: str, value: Any) -> str:  # noqa: ANN401
    return _term(path, _WHOLE, _digest(json.dumps(_numbers(value), sort_keys=True)))


def _numbers(value: Any) -> Any:  # noqa: ANN401
    """Booleans as numbers, so that lists compare equal as in Python."""
    if isinstance(value, Mapping):
        return {key: _numbers(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_numbers(item) for item in value]
    return int(value) if isinstance(value, bool) else value


def _short(text: str) -> str:
    return text if len(text.encode()) <= _MAX_BYTES else _digest(text)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _sortable(number: float) -> str:
    """A number as hexadecimal digits that sort numerically; exact for integers beyond float precision."""
    try:
        base = float(number)
    except OverflowError:
        base = math.inf if number > 0 else -math.inf
    if math.isinf(base):
        return _ordered_bits(base)
    if isinstance(number, int) and int(base) > number:
        base = math.nextafter(base, -math.inf)
    rest = number - int(base) if isinstance(number, int) else 0
    return _ordered_bits(base) + (_ordered_bits(float(rest)) if rest else "")


def _ordered_bits(number: float) -> str:
    bits = int.from_bytes(struct.pack(">d", number + 0.0), "big")  # -0.0 + 0.0 is 0.0
    return f"{bits ^ (0xFFFFFFFFFFFFFFFF if bits >> 63 else 1 << 63):016x}"


def _date(text: str) -> datetime.datetime | None:
    """Parse an ISO 8601 date, with or without time and zone; None if the string is not one."""
    if not _DATE.match(text):
        return None
    # Python does not read z for UTC, nor 24:00 for midnight at the end of a day.
    begun, ended = _END_OF_DAY.subn("00:00", text.upper())
    try:
        return datetime.datetime.fromisoformat(begun) + ended * _DAY
    except (ValueError, OverflowError):
        return None


def _moment(date: datetime.datetime) -> str:
    """Microseconds since a day before year 1, in UTC, as digits that sort."""
    aware = date if date.tzinfo is not None else date.replace(tzinfo=_UTC)
    # A difference instead of a conversion to UTC, which overflows on the first and last representable day.
    return f"{(aware - _BEGIN + _DAY) // datetime.timedelta(microseconds=1):018d}"


def _either_case(character: str) -> str:
    forms = dict.fromkeys(form for form in (character, character.lower(), character.upper()) if len(form) == 1)
    return f"[{''.join(forms)}]" if len(forms) > 1 else _escaped(character)


def _escaped(character: str) -> str:
    return character if character.isalnum() or not character.isascii() or character == _SEPARATOR else f"\\{character}"
