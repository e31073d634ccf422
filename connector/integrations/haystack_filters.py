"""Haystack's filters as a query clause. Pure functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from haystack.errors import FilterError

META_FIELD = "meta"

_NOTHING: dict[str, Any] = {"match_none": {}}
_RANGES = {">": "gt", ">=": "gte", "<": "lt", "<=": "lte"}


def to_clause(filters: Mapping[str, Any]) -> dict[str, Any]:
    """Turn a comparison or a logical filter into a clause.

    Raises:
        FilterError: A part is missing, an operator is unknown, or a value does not fit its operator.
    """
    if not isinstance(filters, Mapping):
        raise FilterError(f"a filter must be a dictionary, got {filters!r}.")
    if "field" in filters:
        return _comparison(filters)
    return _logic(filters)


def _logic(filters: Mapping[str, Any]) -> dict[str, Any]:
    for name in ("operator", "conditions"):
        if name not in filters:
            raise FilterError(f"the filter {dict(filters)!r} lacks {name!r}.")
    clauses = [to_clause(each) for each in filters["conditions"]]
    operator = filters["operator"]
    if operator == "AND":
        return {"bool": {"filter": clauses}}
    if operator == "OR":
        return {"bool": {"should": clauses, "minimum_should_match": 1}}
    if operator == "NOT":
        return _not({"bool": {"filter": clauses}})
    raise FilterError(f"the logical operator {operator!r} is unknown; take AND, OR or NOT.")


def _comparison(filters: Mapping[str, Any]) -> dict[str, Any]:
    for name in ("operator", "value"):
        if name not in filters:
            raise FilterError(f"the filter {dict(filters)!r} lacks {name!r}.")
    field, operator, value = filters["field"], filters["operator"], filters["value"]
    make = _OPERATORS.get(operator)
    if make is None:
        raise FilterError(f"the operator {operator!r} is unknown; take one of {', '.join(_OPERATORS)}.")
    return make(field, operator, value)


def _equal(field: str, _operator: str, value: Any) -> dict[str, Any]:  # noqa: ANN401
    if value is None:
        return _not({"exists": {"field": _name(field)}})
    if isinstance(value, list):
        # All of them; an index does not know whether there are more.
        return {"bool": {"filter": [_equal(field, "==", each) for each in value]}} if value else _NOTHING
    if field == "content":
        return {"match_phrase": {"text": value}}
    return {"term": {_name(field): {"value": value}}}


def _not_equal(field: str, operator: str, value: Any) -> dict[str, Any]:  # noqa: ANN401
    return _not(_equal(field, operator, value))


def _range(field: str, operator: str, value: Any) -> dict[str, Any]:  # noqa: ANN401
    if value is None:
        return _NOTHING
    if isinstance(value, str):
        try:
            datetime.fromisoformat(value)
        except ValueError as error:
            raise FilterError(f"{operator} compares numbers and ISO dates, got {value!r} for {field!r}.") from error
    elif isinstance(value, bool) or not isinstance(value, int | float):
        raise FilterError(f"{operator} compares numbers and ISO dates, got {value!r} for {field!r}.")
    return {"range": {_name(field): {_RANGES[operator]: value}}}


def _in(field: str, operator: str, value: Any) -> dict[str, Any]:  # noqa: ANN401
    if not isinstance(value, list):
        raise FilterError(f"{operator!r} takes a list, got {value!r} for {field!r}.")
    return {"bool": {"should": [_equal(field, "==", each) for each in value], "minimum_should_match": 1}}


def _not_in(field: str, operator: str, value: Any) -> dict[str, Any]:  # noqa: ANN401
    return _not(_in(field, operator, value))


def _not(clause: dict[str, Any]) -> dict[str, Any]:
    return {"bool": {"must_not": [clause]}}


def _name(field: str) -> str:
    if field == "id":
        return "_id"
    if field == "content":
        return "text"
    return field if field.startswith(f"{META_FIELD}.") else f"{META_FIELD}.{field}"


_OPERATORS: dict[str, Callable[[str, str, Any], dict[str, Any]]] = {
    "==": _equal,
    "!=": _not_equal,
    **dict.fromkeys(_RANGES, _range),
    "in": _in,
    "not in": _not_in,
}
