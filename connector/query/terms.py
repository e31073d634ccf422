"""Metadata as terms of one keyword field: what a writer indexes of it, and what a filter asks for. Pure functions.

A field for each key would tie a key to one type and an index to a thousand keys. A term is the path of a value, a NUL,
the kind of the value, and the value, written so that terms of a kind sort as their values do: a range of numbers or of
dates is a range of terms.
"""

from __future__ import annotations

import datetime
import decimal
import hashlib
import json
import math
import re
import struct
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal

from connector.corpus.values import plain
from connector.query.clauses import NOTHING, Clause, negation, some

TERMS_FIELD = "meta_terms"
META_FIELD = "meta"
"""What the terms are of: kept in `_source`, and words of it can be asked for as of any `flat_object`."""

Comparison = Literal["gt", "gte", "lt", "lte"]
COMPARISONS: dict[str, Comparison] = {">": "gt", ">=": "gte", "<": "lt", "<=": "lte"}
Naive = Literal["utc", "any"]
"""What a date without a zone is: one of UTC, or of the zone of what it is compared with (as Haystack has it)."""

_SEPARATOR = "\0"
_AFTER_SEPARATOR = "\1"
_LONGEST = 4_096
"""Bytes of a path or a string that are written out; a digest stands for longer ones. The server takes 32,766 a term."""

_TERMS_PER_CLAUSE = 65_536
"""`index.max_terms_count`."""

_DATE = re.compile(r"\d{4}-\d\d-\d\d([Tt ]|$)")
_UTC = datetime.UTC
_BEGIN = datetime.datetime(1, 1, 1, tzinfo=_UTC)
_DAY = datetime.timedelta(days=1)

_EXISTS, _STRING, _LONG, _NUMBER, _WHOLE = "", "s", "h", "n", "w"
_INSTANT, _LOCAL, _NAIVE = "i", "l", "u"
"""Of dates: those with a zone by the time in UTC and by their own clock, those without a zone."""


def typed_mappings(rest: str) -> dict[str, Any]:
    """Build what an index that keeps metadata typed has beside others, for `index_body`.

    Args:
        rest: The field for what the index need not look into.
    """
    return {
        "properties": {
            META_FIELD: {"type": "flat_object"},
            TERMS_FIELD: {"type": "keyword", "doc_values": False},
            rest: {"type": "object", "enabled": False},
        },
    }


def terms_of(metadata: Mapping[str, Any]) -> list[str]:
    """Return the terms that find metadata, each once.

    Args:
        metadata: As JSON has it, nested as it likes; None is as if it were not there.
    """
    return list(dict.fromkeys(term for key, value in metadata.items() for term in _terms(key, value)))


def equal(path: str, value: Any, *, naive: Naive = "utc") -> Clause:  # noqa: ANN401
    """A value, or one of a list's, is equal to another; a list or an object to all of one. None is what is missing."""
    return any_of(path, [value], naive=naive)


def any_of(path: str, values: Iterable[Any], *, naive: Naive = "utc") -> Clause:
    """A value is equal to one of some; nothing is where there are none."""
    wanted: dict[str, None] = {}
    clauses: list[Clause] = []
    for value in map(plain, values):
        if value is None:
            clauses.append(missing(path))
        else:
            wanted |= dict.fromkeys(_equal_terms(path, value, naive))
    listed = list(wanted)
    for start in range(0, len(listed), _TERMS_PER_CLAUSE):
        clauses.append({"terms": {TERMS_FIELD: listed[start : start + _TERMS_PER_CLAUSE]}})
    return clauses[0] if len(clauses) == 1 else some(clauses)


def exists(path: str) -> Clause:
    """A value is there and is not None, be it empty."""
    return {"term": {TERMS_FIELD: {"value": _term(path, _EXISTS, "")}}}


def missing(path: str) -> Clause:
    """No value is there, or it is None."""
    return negation(exists(path))


def compare(path: str, operator: str, value: Any, *, naive: Naive = "utc") -> Clause:  # noqa: ANN401
    """A number or a date compares to another by one of `COMPARISONS`. Nothing does to NaN.

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
    """A string, or one of a list's, holds another one. Strings of more than 4,096 bytes are not looked into."""
    prefix = _term(path, _STRING, "")
    if not ignore_case:
        pattern = "*".join(re.sub(r"([*?\\])", r"\\\1", part) for part in (prefix, text, ""))
        return {"wildcard": {TERMS_FIELD: {"value": pattern}}}
    # The server's own way of ignoring case knows ASCII alone, and ignores that of the path as well.
    pattern = f"{''.join(map(_escaped, prefix))}.*{''.join(map(_either_case, text))}.*"
    return {"regexp": {TERMS_FIELD: {"value": pattern, "flags": "NONE"}}}


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
        raise ValueError(f"a value of metadata is what JSON holds, got {value!r} for {path!r}.")


def _asked(date: datetime.datetime, naive: Naive) -> list[tuple[str, datetime.datetime]]:
    """The kinds of terms that a date is compared with, and as what."""
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
    return _term(path, _STRING, value) if len(value.encode()) <= _LONGEST else _term(path, _LONG, _digest(value))


def _whole(path: str, value: Any) -> str:  # noqa: ANN401
    return _term(path, _WHOLE, _digest(json.dumps(_numbers(value), sort_keys=True)))


def _numbers(value: Any) -> Any:  # noqa: ANN401
    """Truth values as Python counts them, so that lists are equal as Python's are."""
    if isinstance(value, Mapping):
        return {key: _numbers(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_numbers(item) for item in value]
    return int(value) if isinstance(value, bool) else value


def _short(text: str) -> str:
    return text if len(text.encode()) <= _LONGEST else _digest(text)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _sortable(number: float) -> str:
    """A number as hexadecimal digits that sort as numbers do, exact for integers that no float holds."""
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
    """The moment that a string names by ISO 8601, with or without time and zone; None where it names none."""
    if not _DATE.match(text):
        return None
    try:
        return datetime.datetime.fromisoformat(text)
    except ValueError:
        return None


def _moment(date: datetime.datetime) -> str:
    """Microseconds since a day before the year 1, in UTC, as digits that sort."""
    aware = date if date.tzinfo is not None else date.replace(tzinfo=_UTC)
    # A difference, and no conversion to UTC: that fails at the first and the last day of all years.
    return f"{(aware - _BEGIN + _DAY) // datetime.timedelta(microseconds=1):018d}"


def _either_case(character: str) -> str:
    forms = dict.fromkeys(form for form in (character, character.lower(), character.upper()) if len(form) == 1)
    return f"({'|'.join(map(_escaped, forms))})" if len(forms) > 1 else _escaped(character)


def _escaped(character: str) -> str:
    return character if character.isalnum() or not character.isascii() or character == _SEPARATOR else f"\\{character}"
