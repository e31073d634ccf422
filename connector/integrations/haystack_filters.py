"""Convert Haystack filters to query clauses. Pure functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from haystack.errors import FilterError

from connector.integrations.filters import Metadata, TypedMetadata
from connector.query.clauses import NOTHING, Clause, every, negation, some
from connector.query.terms import COMPARISONS

_TYPED = TypedMetadata(naive="any")


def _no_texts(text: str) -> list[str]:
    raise FilterError(f"'content' is compared with {text!r} by a store only.")


def to_clause(
    filters: Mapping[str, Any], metadata: Metadata = _TYPED, with_text: Callable[[str], list[str]] = _no_texts
) -> Clause:
    """Convert a comparison or logical filter to a clause.

    Args:
        filters: The Haystack filter.
        metadata: How the index stores metadata.
        with_text: Returns the ids of the documents with exactly this content, which the server compares only by words.

    Raises:
        FilterError: A part is missing, an operator is unknown, or a value does not fit its operator.
    """
    if not isinstance(filters, Mapping):
        raise FilterError(f"a filter must be a dictionary, got {filters!r}.")
    try:
        if "field" in filters:
            return _comparison(filters, metadata, with_text)
        return _logic(filters, lambda part: to_clause(part, metadata, with_text))
    except ValueError as error:
        raise FilterError(str(error)) from error


def _logic(filters: Mapping[str, Any], convert: Callable[[Mapping[str, Any]], Clause]) -> Clause:
    _check_parts(filters, "operator", "conditions")
    if not isinstance(filters["conditions"], list | tuple):
        raise FilterError(f"'conditions' must be a list of filters, got {filters['conditions']!r}.")
    clauses = [convert(each) for each in filters["conditions"]]
    match filters["operator"]:
        case "AND":
            return every(clauses)
        case "OR":
            return some(clauses)
        case "NOT":
            return negation(every(clauses))
    raise FilterError(f"the logical operator {filters['operator']!r} is unknown; use AND, OR or NOT.")


def _comparison(filters: Mapping[str, Any], metadata: Metadata, with_text: Callable[[str], list[str]]) -> Clause:
    _check_parts(filters, "operator", "value")
    field, operator, value = filters["field"], filters["operator"], filters["value"]
    if not isinstance(field, str):
        raise FilterError(f"'field' must be a string, got {field!r}.")
    if not isinstance(operator, str) or operator not in _OPERATORS:
        raise FilterError(f"the operator {operator!r} is unknown; use one of {', '.join(_OPERATORS)}.")
    return _OPERATORS[operator](_Field(field, metadata, with_text), operator, value)


def _check_parts(filters: Mapping[str, Any], *names: str) -> None:
    for name in names:
        if name not in filters:
            raise FilterError(f"the filter {dict(filters)!r} lacks {name!r}.")


class _Field:
    """A field of a document: id, text or a metadata key."""

    def __init__(self, name: str, metadata: Metadata, with_text: Callable[[str], list[str]]) -> None:
        self.name = name
        self._path = name.removeprefix("meta.")
        self._metadata = metadata
        self._with_text = with_text

    def equal(self, values: list[Any]) -> Clause:
        if self.name == "id":
            return {"ids": {"values": [str(value) for value in values if value is not None]}}
        if self.name == "content":
            return {"ids": {"values": [doc_id for value in values for doc_id in self._having(value)]}}
        return self._metadata.any_of(self._path, values)

    def _having(self, text: Any) -> list[str]:  # noqa: ANN401
        return self._with_text(text) if isinstance(text, str) else []

    def compare(self, operator: str, value: Any) -> Clause:  # noqa: ANN401
        if self.name in ("id", "content"):
            raise FilterError(f"{operator!r} compares numbers and dates; {self.name!r} is a string.")
        return self._metadata.compare(self._path, operator, value)


def _equal(field: _Field, _operator: str, value: Any) -> Clause:  # noqa: ANN401
    return field.equal([value])


def _not_equal(field: _Field, _operator: str, value: Any) -> Clause:  # noqa: ANN401
    return negation(field.equal([value]))


def _range(field: _Field, operator: str, value: Any) -> Clause:  # noqa: ANN401
    # Nothing is greater or smaller than None.
    return NOTHING if value is None else field.compare(operator, value)


def _in(field: _Field, operator: str, value: Any) -> Clause:  # noqa: ANN401
    if not isinstance(value, list):
        raise FilterError(f"{operator!r} takes a list, got {value!r} for {field.name!r}.")
    return field.equal(value)


def _not_in(field: _Field, operator: str, value: Any) -> Clause:  # noqa: ANN401
    return negation(_in(field, operator, value))


_OPERATORS: dict[str, Callable[[_Field, str, Any], Clause]] = {
    "==": _equal,
    "!=": _not_equal,
    **dict.fromkeys(COMPARISONS, _range),
    "in": _in,
    "not in": _not_in,
}
