"""Derived fields, which a writer adds to documents and a reader removes.

- Terms of typed metadata (`connector.query.terms`) are computed at each write and excluded from `_source`.
- A string that `flat_object` cannot index (above 32,766 bytes) would cause the document to be rejected. It is removed
  from the indexed field, and the complete field is stored in a second one that is not indexed.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from connector.limits import MAX_TERM_BYTES
from connector.query.terms import META_FIELD, TERMS_FIELD, terms_of
from connector.types import FLAT_FIELDS, WHOLE_FIELD

_DEFINITIONS: Mapping[str, Mapping[str, Any]] = {
    TERMS_FIELD: {"type": "keyword", "doc_values": False},
    WHOLE_FIELD: {"type": "object", "enabled": False},
}
"""Their mappings; a field with such a name and another mapping belongs to the user."""

DERIVED_MAPPING = tuple(f"{name}.{key}" for name, definition in _DEFINITIONS.items() for key in definition)
"""The part of a mapping's `properties` that `derived_in` reads."""


def derived_in(properties: Mapping[str, Any]) -> frozenset[str]:
    """The derived fields of an index, from the `properties` of its mapping."""
    return frozenset(name for name, definition in _DEFINITIONS.items() if properties.get(name) == definition)


def with_derived(source: Mapping[str, Any], fields: Collection[str]) -> dict[str, Any]:
    """Return a document's fields with derived fields added.

    Args:
        source: The fields as given.
        fields: The derived fields of the index.
    """
    sent = {name: value for name, value in source.items() if name not in fields}
    metadata = sent.get(META_FIELD)
    if TERMS_FIELD in fields and isinstance(metadata, Mapping):
        sent[TERMS_FIELD] = terms_of(metadata)
    if WHOLE_FIELD in fields:
        whole = {name: sent[name] for name in FLAT_FIELDS if _has_long(name, sent.get(name))}
        if whole:
            sent |= {name: _without_long(name, value) for name, value in whole.items()} | {WHOLE_FIELD: whole}
    return sent


def _has_long(path: str, value: object) -> bool:
    if isinstance(value, Mapping):
        return any(_has_long(f"{path}.{key}", item) for key, item in value.items())
    if isinstance(value, list | tuple):
        return any(_has_long(path, item) for item in value)
    # A character has at most four bytes in UTF-8.
    size = len(path) + (len(value) if isinstance(value, str) else 0)
    return 4 * size > MAX_TERM_BYTES and len(path.encode()) + len(str(value).encode()) > MAX_TERM_BYTES


def _without_long(path: str, value: Any) -> Any:  # noqa: ANN401
    if isinstance(value, Mapping):
        items = ((key, f"{path}.{key}", item) for key, item in value.items())
        return {
            key: _without_long(place, item)
            for key, place, item in items
            if isinstance(item, Mapping | list | tuple) or not _has_long(place, item)
        }
    if isinstance(value, list | tuple):
        kept = (item for item in value if isinstance(item, Mapping | list | tuple) or not _has_long(path, item))
        return [_without_long(path, item) for item in kept]
    return value
