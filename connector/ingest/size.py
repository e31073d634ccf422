"""The size of a record in memory, by which batches and samples are limited."""

from __future__ import annotations

from collections.abc import Mapping

from connector.limits import MAX_DEPTH
from connector.types import Deletion, Document, MalformedRecord

_OF_A_RECORD, _OF_A_VALUE = 1_000, 32
"""Characters that a malformed record takes in memory besides its own, and that a number takes in a list."""


def size_of(record: Document | Deletion | MalformedRecord) -> int:
    """Return the characters of a record, approximately."""
    if isinstance(record, MalformedRecord):
        return len(record.raw) + _OF_A_RECORD
    if isinstance(record, Deletion):
        return len(record.doc_id)
    return len(record.title) + len(record.text) + _characters(record.metadata) + _characters(record.fields)


def _characters(value: object, inside: frozenset[int] = frozenset()) -> int:
    if isinstance(value, str):
        return len(value)
    if not isinstance(value, Mapping | list | tuple):
        return _OF_A_VALUE
    if id(value) in inside or len(inside) > MAX_DEPTH:
        return 0  # circular and too deeply nested values are refused later
    within = inside | {id(value)}
    items = [*value, *value.values()] if isinstance(value, Mapping) else value
    return sum(_characters(item, within) for item in items)
