"""Convert LlamaIndex filters to query clauses. Pure functions."""

from __future__ import annotations

from typing import Any

from llama_index.core.vector_stores.types import FilterCondition, FilterOperator, MetadataFilter, MetadataFilters

from connector.integrations.filters import Metadata, TypedMetadata
from connector.query.clauses import NOTHING, Clause, every, negation, some
from connector.query.terms import COMPARISONS

_TYPED = TypedMetadata()


def to_clause(filters: MetadataFilters, metadata: Metadata = _TYPED) -> Clause:
    """Convert filters, which may be nested, to a clause with the semantics of LlamaIndex's own store.

    `NE` and `NIN` also match nodes without the key; `NOT` matches nodes that match none of its filters. `ALL` of an
    empty list and `OR` of no filters match nothing, so that empty filters find nothing.

    Args:
        filters: The filters; `AND` without any matches every node.
        metadata: How the index stores metadata.

    Raises:
        ValueError: A value does not fit its operator, or metadata stored as strings cannot be compared.
    """
    clauses = [
        to_clause(each, metadata) if isinstance(each, MetadataFilters) else _filter(each, metadata)
        for each in filters.filters
    ]
    if filters.condition == FilterCondition.NOT:
        return negation(some(clauses))
    if filters.condition == FilterCondition.OR:
        return some(clauses)
    return every(clauses)


def _filter(filter: MetadataFilter, metadata: Metadata) -> Clause:
    operator, key = filter.operator, filter.key
    match operator:
        case FilterOperator.IS_EMPTY:
            return metadata.empty(key)
        case FilterOperator.EQ | FilterOperator.CONTAINS:
            return metadata.any_of(key, [_scalar(filter)])
        case FilterOperator.NE:
            return negation(metadata.any_of(key, [_scalar(filter)]))
        case FilterOperator.IN | FilterOperator.ANY:
            return metadata.any_of(key, _listed(filter))
        case FilterOperator.NIN:
            return negation(metadata.any_of(key, _listed(filter)))
        case FilterOperator.ALL:
            wanted = [metadata.any_of(key, [value]) for value in _listed(filter)]
            return every(wanted) if wanted else NOTHING
        case FilterOperator.TEXT_MATCH | FilterOperator.TEXT_MATCH_INSENSITIVE:
            if not isinstance(filter.value, str):
                raise _misfit(filter, "a string")
            ignore_case = operator == FilterOperator.TEXT_MATCH_INSENSITIVE
            return metadata.contains(key, filter.value, ignore_case=ignore_case)
    if operator.value not in COMPARISONS:
        raise ValueError(f"the operator {operator.value!r} is not supported by this store.")
    if filter.value is None or isinstance(filter.value, list):
        raise _misfit(filter, "a number or an ISO date")
    return metadata.compare(key, operator.value, filter.value)


def _scalar(filter: MetadataFilter) -> Any:  # noqa: ANN401
    if filter.value is None or isinstance(filter.value, list):
        raise _misfit(filter, "a string or a number")
    return filter.value


def _listed(filter: MetadataFilter) -> list[Any]:
    if not isinstance(filter.value, list):
        raise _misfit(filter, "a list")
    return filter.value


def _misfit(filter: MetadataFilter, wanted: str) -> ValueError:
    return ValueError(f"{filter.operator.value!r} takes {wanted}, got {filter.value!r} for {filter.key!r}.")
