"""Whether a filter names a value that documents must have. Pure functions.

A filter such as "the field exists" or "is not X" may match every document by mistake; one that names a value says which
documents are meant.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from connector.query.clauses import listed, unwrapped

BOUNDS = ("gt", "gte", "lt", "lte", "from", "to")
_OF_ONE_VALUE = (
    *("term", "prefix", "fuzzy", "wildcard"),
    *("match", "match_phrase", "match_phrase_prefix", "match_bool_prefix"),
)
_OF_EVERY_DOCUMENT = ("_index", "_type")
_OPTIONS = ("boost", "_name")
_SEPARATOR = "\0"
"""Separates path and value of a typed term (`connector.query.terms`)."""


def requires_value(clause: Mapping[str, Any]) -> bool:
    """Whether a document must have a value that the clause names; False for clauses that are not known here."""
    return isinstance(clause, Mapping) and len(clause) == 1 and _requires(*next(iter(clause.items())))


def _requires(name: str, body: Any) -> bool:  # noqa: ANN401
    if not isinstance(body, Mapping):
        return False
    match name:
        case "bool":
            return _bool_requires(body)
        case "dis_max":
            return all(map(requires_value, listed(body.get("queries"))))
        case "constant_score":
            return requires_value(body.get("filter", {}))
        case "function_score" | "script_score" | "nested":
            return requires_value(body.get("query", {}))
        case "boosting":
            return requires_value(body.get("positive", {}))
        case "wrapper":
            return requires_value(unwrapped(body.get("query")))
        case "ids":
            return True
    values = [value for field, value in body.items() if field not in (*_OF_EVERY_DOCUMENT, *_OPTIONS)]
    if name == "range":
        return any(isinstance(value, Mapping) and _is_bounded(value) for value in values)
    if name == "terms":
        return any(isinstance(value, list) and all(map(_says_something, value)) for value in values)
    return name in _OF_ONE_VALUE and any(_says_something(_value(value)) for value in values)


def _bool_requires(body: Mapping[str, Any]) -> bool:
    required = [*listed(body.get("must")), *listed(body.get("filter"))]
    should = listed(body.get("should"))
    minimum = str(body.get("minimum_should_match", 0 if required else 1))
    demanded = bool(should) and minimum.isdigit() and int(minimum) > 0
    return any(map(requires_value, required)) or (demanded and all(map(requires_value, should)))


def _is_bounded(bounds: Mapping[str, Any]) -> bool:
    return any(bounds.get(bound) is not None for bound in BOUNDS)


def _value(body: Any) -> Any:  # noqa: ANN401
    return body.get("value", body.get("query", "")) if isinstance(body, Mapping) else body


def _says_something(value: Any) -> bool:  # noqa: ANN401
    text = str(value)
    if _SEPARATOR in text:
        text = text.rpartition(_SEPARATOR)[2][1:]  # without the path and the type
    return any(map(str.isalnum, text))
