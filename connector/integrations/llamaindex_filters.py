"""LlamaIndex's filters as a query clause. Pure functions."""

from __future__ import annotations

import re
from typing import Any

from llama_index.core.vector_stores.types import FilterCondition, FilterOperator, MetadataFilter, MetadataFilters

from connector.integrations.filters import META_FIELD, RANGES, Clause, comparison, equal, every, missing, negation, some


def to_clause(filters: MetadataFilters, field: str = META_FIELD) -> Clause:
    """Turn filters, nested ones included, into a clause that means what LlamaIndex's own store makes of them.

    `NE` and `NIN` match nodes without the key as well, and a `NOT` those that match none of its filters.

    Args:
        filters: None at all match every node.
        field: Where the index keeps metadata; other fields than `META_FIELD` have words alone.

    Raises:
        ValueError: A value does not fit its operator, or numbers are to be compared where there are words.
    """
    clauses = [
        to_clause(each, field) if isinstance(each, MetadataFilters) else _filter(each, field)
        for each in filters.filters
    ]
    if filters.condition == FilterCondition.NOT:
        return negation(some(clauses))
    if filters.condition == FilterCondition.OR and clauses:
        return some(clauses)
    return every(clauses)


def _filter(filter: MetadataFilter, field: str) -> Clause:
    operator, path = filter.operator, f"{field}.{filter.key}"
    match operator:
        case FilterOperator.IS_EMPTY:
            # A field of numbers has no empty string, and would refuse the question.
            return some([missing(path), {"match": {path: {"query": "", "lenient": True}}}])
        case FilterOperator.EQ | FilterOperator.CONTAINS:
            return equal(path, _checked(filter, int | float | str, "a string or a number"))
        case FilterOperator.NE:
            return negation(equal(path, _checked(filter, int | float | str, "a string or a number")))
        case FilterOperator.IN | FilterOperator.ANY:
            return some(_each(filter, path))
        case FilterOperator.NIN:
            return negation(some(_each(filter, path)))
        case FilterOperator.ALL:
            return every(_each(filter, path))
        case FilterOperator.TEXT_MATCH | FilterOperator.TEXT_MATCH_INSENSITIVE:
            pattern = re.sub(r"([*?\\])", r"\\\1", _checked(filter, str, "a string"))
            insensitive = operator == FilterOperator.TEXT_MATCH_INSENSITIVE
            return {"wildcard": {path: {"value": f"*{pattern}*", "case_insensitive": insensitive}}}
    if operator.value not in RANGES:
        raise ValueError(f"the operator {operator.value!r} is unknown to this store.")
    if field != META_FIELD:
        raise ValueError(
            f"{operator.value!r} cannot compare {filter.key!r}: the index keeps metadata as words. An index that this "
            "store makes keeps it typed; add the nodes to a new one."
        )
    return comparison(path, operator.value, filter.value)


def _each(filter: MetadataFilter, path: str) -> list[Clause]:
    return [equal(path, value) for value in _checked(filter, list, "a list")]


def _checked(filter: MetadataFilter, kind: Any, wanted: str) -> Any:  # noqa: ANN401
    if not isinstance(filter.value, kind):
        raise ValueError(f"{filter.operator.value!r} takes {wanted}, got {filter.value!r} for {filter.key!r}.")
    return filter.value
