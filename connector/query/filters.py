"""Turn filters into query clauses. Pure functions."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from connector.corpus.values import plain
from connector.query.clauses import Clause, every, literally, negation, some
from connector.query.paths import check_lengths, check_numbers, exact_path, is_flat_key, path_of
from connector.query.required import BOUNDS

Filters = Mapping[str, Any] | Sequence[Mapping[str, Any]] | None
"""Required values (`{"lang": "en"}`), OpenSearch query clauses, or a list of either."""

_RANGES = {"$gt": "gt", "$gte": "gte", "$lt": "lt", "$lte": "lte"}
_OPERATORS = ("$eq", "$ne", "$in", "$nin", "$exists", *_RANGES)
_JOINS = ("$and", "$or", "$not")


def filter_clauses(filters: Filters, *, fields: Collection[str] = ()) -> list[Clause]:
    """Turn filters into query clauses; a document must match all of them.

    Args:
        filters: A mapping from name to a required value, a list (matches any of its values; an empty list matches
            nothing), None (the field is missing), or operators: `$eq`, `$ne`, `$in`, `$nin`, `$exists`, and for
            declared fields `$gt`, `$gte`, `$lt`, `$lte`. `$and`, `$or` and `$not` combine filters. Names not in
            `fields` are looked up under `metadata`; `_id` is the document's id. OpenSearch query clauses
            (`{"range": {"year": {"gt": 2020}}}`) are passed on unchanged. Or a list of such filters.
        fields: Declared fields of the index, with their types if known (`IndexSchema.filterable`). Of a `text` field,
            its keyword subfield is compared.

    Raises:
        ValueError: A filter is malformed, an operator is unknown, or a value cannot be compared: also with a `text`
            field without a keyword subfield.
    """
    if filters is None:
        return []
    if isinstance(filters, Mapping):
        return [_clause(name, wanted, fields) for name, wanted in filters.items()]
    if not isinstance(filters, Sequence) or isinstance(filters, str | bytes):
        raise ValueError(
            f'a filter must be a mapping such as {{"lang": "en"}}, a query clause or a list of these, got {filters!r}.'
        )
    for each in filters:
        if not isinstance(each, Mapping):
            raise ValueError(f'a filter in a list must be a mapping such as {{"lang": "en"}}, got {each!r}.')
    return [clause for each in filters for clause in filter_clauses(each, fields=fields)]


def words_equal(path: str, values: Iterable[Any], *, fields: Collection[str] = ()) -> Clause:
    """A string field (`flat_object`, keyword) has one of the values; None stands for a missing field.

    Args:
        path: Path of the field.
        values: The values.
        fields: As in `filter_clauses`.

    Raises:
        ValueError: A value is not a string, number or boolean, or too long for the field's index; or the field is
            analysed text without a keyword subfield.
    """
    found = list(dict.fromkeys(_word(path, value) for value in values))
    words = [word for word in found if word is not None]
    clauses: list[Clause] = [negation(field_exists(path, fields=fields))] if None in found else []
    if words:
        place = exact_path(path, fields)
        check_lengths(place, words, fields)
        check_numbers(place, words, fields)
        clauses.append({"terms": {place: words}} if len(words) > 1 else {"term": {place: {"value": words[0]}}})
    return clauses[0] if len(clauses) == 1 else some(clauses)


def field_exists(path: str, *, fields: Collection[str] = ()) -> Clause:
    """A field has a value, which may be an object; null, empty lists and empty objects are no values.

    Args:
        path: Path of the field.
        fields: As in `filter_clauses`. If these say that the path is a key of a `flat_object`, keys below it count:
            for an object, the server indexes no path but those of the strings in it.
    """
    clause = {"exists": {"field": path}}
    if not is_flat_key(path, fields):
        return clause
    return some([clause, {"wildcard": {f"{literally(path)}.*": {"value": "*"}}}])


def in_range(path: str, operator: str, comparison: str, value: Any) -> Clause:  # noqa: ANN401
    """A declared field compares to a value.

    Args:
        path: Name of the field.
        operator: Name of the operator in errors.
        comparison: `gt`, `gte`, `lt` or `lte`.
        value: The bound.

    Raises:
        ValueError: The bound is None, NaN, a list or an object.
    """
    bound = plain(value)
    # The server takes a bound of null for none at all.
    if bound is None or isinstance(bound, list | dict) or bound != bound:
        raise ValueError(f"{operator!r} compares with a number, a date or a string, got {value!r} for {path!r}.")
    return {"range": {path: {comparison: bound}}}


def _clause(name: str, wanted: Any, fields: Collection[str]) -> Clause:  # noqa: ANN401
    if not isinstance(name, str):
        raise ValueError(f"the filter name {name!r} must be a string.")
    if name in _JOINS:
        return _joined(name, wanted, fields)
    if name.startswith("$"):
        raise ValueError(f"{name!r} is not a logical operator; use one of {', '.join(_JOINS)}.")
    path = path_of(name, fields)
    if not isinstance(wanted, Mapping):
        return _any_of(path, wanted, fields)
    if any(isinstance(key, str) and key.startswith("$") for key in wanted):
        return every(_operation(path, operator, value, fields) for operator, value in wanted.items())
    clause = {name: dict(wanted)}
    _refuse_numeric_ranges(clause, fields)
    return clause


def _refuse_numeric_ranges(clause: Any, fields: Collection[str]) -> None:  # noqa: ANN401
    """Refuse ranges of numbers on metadata in a query clause: the server would compare them as strings."""
    if isinstance(clause, list | tuple):
        for each in clause:
            _refuse_numeric_ranges(each, fields)
    elif isinstance(clause, Mapping):
        for key, value in clause.items():
            for path, bounds in value.items() if key == "range" and isinstance(value, Mapping) else ():
                named = path.startswith("metadata.") and path not in fields and isinstance(bounds, Mapping)
                if named and any(isinstance(plain(bounds.get(name)), int | float) for name in BOUNDS):
                    raise _not_comparable("range", path)
            _refuse_numeric_ranges(value, fields)


def _not_comparable(operator: str, path: str) -> ValueError:
    return ValueError(
        f"{operator!r} cannot compare {path!r}: metadata is indexed as strings. Declare it as a field of the index "
        "with a type such as integer or date."
    )


def _joined(name: str, filters: Any, fields: Collection[str]) -> Clause:  # noqa: ANN401
    if name == "$not":
        return negation(_all_of(name, filters, fields))
    if not isinstance(filters, list | tuple):
        raise ValueError(f"{name!r} takes a list of filters, got {filters!r}.")
    clauses = [_all_of(name, each, fields) for each in filters]
    return every(clauses) if name == "$and" else some(clauses)


def _all_of(name: str, filters: Any, fields: Collection[str]) -> Clause:  # noqa: ANN401
    if filters is None:  # only a search without any filter means everything
        raise ValueError(f"{name!r} takes filters, got None.")
    return every(filter_clauses(filters, fields=fields))


def _operation(path: str, operator: str, value: Any, fields: Collection[str]) -> Clause:  # noqa: ANN401
    if operator in ("$in", "$nin"):
        value = plain(value)
        if not isinstance(value, list):
            raise ValueError(f"{operator!r} takes a list, got {value!r} for {path!r}.")
        return _any_of(path, value, fields) if operator == "$in" else negation(_any_of(path, value, fields))
    if operator in ("$eq", "$ne") and isinstance(plain(value), list | dict):
        raise ValueError(f"{operator!r} takes one value, got {value!r} for {path!r}; use $in or $nin for several.")
    if operator == "$eq":
        return words_equal(path, [value], fields=fields)
    if operator == "$ne":
        return negation(words_equal(path, [value], fields=fields))
    if operator == "$exists":
        if not isinstance(value, bool):
            raise ValueError(f"'$exists' takes True or False, got {value!r} for {path!r}.")
        return field_exists(path, fields=fields) if value else negation(field_exists(path, fields=fields))
    if operator not in _RANGES:
        raise ValueError(f"the operator {operator!r} for {path!r} is unknown; use one of {', '.join(_OPERATORS)}.")
    if path not in fields:
        raise _not_comparable(operator, path)
    clause = in_range(exact_path(path, fields), operator, _RANGES[operator], value)
    check_numbers(path, [plain(value)], fields)
    return clause


def _any_of(path: str, wanted: Any, fields: Collection[str]) -> Clause:  # noqa: ANN401
    found = plain(wanted)
    return words_equal(path, found if isinstance(found, list) else [found], fields=fields)


def _word(path: str, value: Any) -> str | None:  # noqa: ANN401
    """A value as `flat_object` indexes it: strings unchanged, other values as JSON."""
    found = plain(value)
    if found is None or isinstance(found, str):
        return found
    if not isinstance(found, bool | int | float):
        raise ValueError(
            f"the filter for {path!r} must be a string, a number, a boolean or a list of these, got {value!r}; "
            'for anything else pass query clauses, e.g. [{"range": {...}}].'
        )
    return json.dumps(found)
