"""Haystack's filters as a query clause. Pure functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from haystack.errors import FilterError

from connector.integrations.filters import (
    META_FIELD,
    NOTHING,
    RANGES,
    Clause,
    comparison,
    equal,
    every,
    missing,
    negation,
    some,
)


def to_clause(filters: Mapping[str, Any]) -> Clause:
    """Turn a comparison or a logical filter into a clause.

    Raises:
        FilterError: A part is missing, an operator is unknown, or a value does not fit its operator.
    """
    if not isinstance(filters, Mapping):
        raise FilterError(f"a filter must be a dictionary, got {filters!r}.")
    if "field" in filters:
        return _comparison(filters)
    return _logic(filters)


def _logic(filters: Mapping[str, Any]) -> Clause:
    for name in ("operator", "conditions"):
        if name not in filters:
            raise FilterError(f"the filter {dict(filters)!r} lacks {name!r}.")
    clauses = [to_clause(each) for each in filters["conditions"]]
    operator = filters["operator"]
    if operator == "AND":
        return every(clauses)
    if operator == "OR":
        return some(clauses)
    if operator == "NOT":
        return negation(every(clauses))
    raise FilterError(f"the logical operator {operator!r} is unknown; take AND, OR or NOT.")


def _comparison(filters: Mapping[str, Any]) -> Clause:
    for name in ("operator", "value"):
        if name not in filters:
            raise FilterError(f"the filter {dict(filters)!r} lacks {name!r}.")
    field, operator, value = filters["field"], filters["operator"], filters["value"]
    make = _OPERATORS.get(operator)
    if make is None:
        raise FilterError(f"the operator {operator!r} is unknown; take one of {', '.join(_OPERATORS)}.")
    return make(field, operator, value)


def _equal(field: str, _operator: str, value: Any) -> Clause:  # noqa: ANN401
    if value is None:
        return missing(_name(field))
    if isinstance(value, list):
        # All of them; an index does not know whether there are more.
        return every(_equal(field, "==", each) for each in value) if value else NOTHING
    if field == "content":
        return {"match_phrase": {"text": value}}
    return equal(_name(field), value)


def _not_equal(field: str, operator: str, value: Any) -> Clause:  # noqa: ANN401
    return negation(_equal(field, operator, value))


def _range(field: str, operator: str, value: Any) -> Clause:  # noqa: ANN401
    if value is None:
        return NOTHING
    try:
        return comparison(_name(field), operator, value)
    except ValueError as error:
        raise FilterError(str(error)) from error


def _in(field: str, operator: str, value: Any) -> Clause:  # noqa: ANN401
    if not isinstance(value, list):
        raise FilterError(f"{operator!r} takes a list, got {value!r} for {field!r}.")
    return some(_equal(field, "==", each) for each in value)


def _not_in(field: str, operator: str, value: Any) -> Clause:  # noqa: ANN401
    return negation(_in(field, operator, value))


def _name(field: str) -> str:
    if field == "id":
        return "_id"
    if field == "content":
        return "text"
    return field if field.startswith(f"{META_FIELD}.") else f"{META_FIELD}.{field}"


_OPERATORS: dict[str, Callable[[str, str, Any], Clause]] = {
    "==": _equal,
    "!=": _not_equal,
    **dict.fromkeys(RANGES, _range),
    "in": _in,
    "not in": _not_in,
}
