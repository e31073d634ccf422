"""Clauses over metadata that an index keeps typed, so that numbers compare as numbers. Pure functions."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

Clause = dict[str, Any]
"""Of OpenSearch's query language."""

META_FIELD = "meta"

NOTHING: Clause = {"match_none": {}}

RANGES = {">": "gt", ">=": "gte", "<": "lt", "<=": "lte"}


def typed_mappings(rest: str) -> dict[str, Any]:
    """Build the mappings of an index that keeps metadata typed; a `flat_object` has words alone.

    Args:
        rest: The field for what the index need not look into.
    """
    return {
        "date_detection": False,
        "dynamic_templates": [
            {"words": {"match_mapping_type": "string", "mapping": {"type": "keyword"}}},
            # The server would make a long of a first 10, and take a later 9.99 for 9.
            {"integers": {"match_mapping_type": "long", "mapping": {"type": "double"}}},
            {"floats": {"match_mapping_type": "double", "mapping": {"type": "double"}}},
        ],
        "properties": {
            META_FIELD: {"type": "object", "dynamic": True},
            rest: {"type": "object", "enabled": False},
        },
    }


def equal(path: str, value: Any) -> Clause:  # noqa: ANN401
    """A field has a value, maybe among others."""
    return {"term": {path: {"value": value}}}


def missing(path: str) -> Clause:
    """A field is not there, or it is null or an empty list."""
    return negation({"exists": {"field": path}})


def comparison(path: str, operator: str, value: Any) -> Clause:  # noqa: ANN401
    """A field compares to a value by one of `RANGES`.

    Raises:
        ValueError: The value is neither a number nor an ISO date.
    """
    if not _is_comparable(value):
        raise ValueError(f"{operator} compares numbers and ISO dates, got {value!r} for {path!r}.")
    return {"range": {path: {RANGES[operator]: value}}}


def every(clauses: Iterable[Clause]) -> Clause:
    """All of the clauses match; so they do where there are none."""
    return {"bool": {"filter": list(clauses)}}


def some(clauses: Iterable[Clause]) -> Clause:
    """One of the clauses matches; none does where there are none."""
    return {"bool": {"should": list(clauses), "minimum_should_match": 1}}


def negation(clause: Clause) -> Clause:
    """The clause does not match."""
    return {"bool": {"must_not": [clause]}}


def _is_comparable(value: object) -> bool:
    if isinstance(value, str):
        try:
            datetime.fromisoformat(value)
        except ValueError:
            return False
        return True
    return isinstance(value, int | float) and not isinstance(value, bool)
