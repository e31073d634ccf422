"""Filters as people write them -> query clauses. Pure functions."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

Filters = Mapping[str, Any] | Sequence[Mapping[str, Any]] | None
"""Values that a document must have (`{"lang": "en"}`), or clauses of OpenSearch's query language."""

_PLAIN = (str, int, float)


def filter_clauses(filters: Filters, *, fields: Collection[str] = ()) -> list[dict[str, Any]]:
    """Turn filters into query clauses.

    Args:
        filters: From name to value, all of which must match: a list means any of its values, and an empty list
            matches nothing. A name that `fields` lacks is looked up under `metadata`. Or query clauses, which are
            passed on as they are.
        fields: The top-level fields that the index declares.

    Raises:
        ValueError: A value is of a kind that cannot be compared.
    """
    if filters is None:
        return []
    if isinstance(filters, str | bytes):
        raise ValueError(f'filters must be a mapping such as {{"lang": "en"}} or query clauses, got {filters!r}.')
    if not isinstance(filters, Mapping):
        return [dict(clause) for clause in filters]
    return [_clause(name if name in fields else f"metadata.{name}", value) for name, value in filters.items()]


def _clause(path: str, value: object) -> dict[str, Any]:
    if isinstance(value, list | tuple | set | frozenset):
        return {"terms": {path: [_plain(path, each) for each in value]}} if value else {"match_none": {}}
    return {"term": {path: {"value": _plain(path, value)}}}


def _plain(path: str, value: object) -> str | int | float | bool:
    """A value as JSON has it; whole floats become integers, since metadata holds words."""
    if not isinstance(value, _PLAIN):
        raise ValueError(
            f"the filter for {path!r} must be a string, a number, a boolean or a list of these, got {value!r}; "
            'for anything else pass query clauses, e.g. [{"range": {...}}].'
        )
    return int(value) if isinstance(value, float) and value.is_integer() else value
