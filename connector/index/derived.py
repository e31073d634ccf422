"""What a writer makes of a document's fields so that the server takes and finds them, and what a reader makes of that.

- Terms of typed metadata (`connector.query.terms`) are made anew at each write, and are in no `_source`.
- A string that `flat_object` cannot index (a term has 32,766 bytes at most) would have the document refused. It is left
  out there, and the field is kept whole beside it, where the server does not look.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from connector.query.body import FLAT_FIELDS, WHOLE_FIELD
from connector.query.terms import META_FIELD, TERMS_FIELD, terms_of

_DEFINITIONS: Mapping[str, Mapping[str, Any]] = {
    TERMS_FIELD: {"type": "keyword", "doc_values": False},
    WHOLE_FIELD: {"type": "object", "enabled": False},
}
"""How the mapping of an index declares them; a field of that name that is declared otherwise is the user's own."""

DERIVED_MAPPING = tuple(f"{name}.{key}" for name, definition in _DEFINITIONS.items() for key in definition)
"""What `derived_in` has to know of the `properties` of a mapping."""

_LONGEST_TERM = 32_766 - 64
"""Bytes of a path and its value, less what the server puts between them."""


def derived_in(properties: Mapping[str, Any]) -> frozenset[str]:
    """Which of the derived fields an index has, by the `properties` of its mapping."""
    return frozenset(name for name, definition in _DEFINITIONS.items() if properties.get(name) == definition)


def with_derived(source: Mapping[str, Any], fields: Collection[str]) -> dict[str, Any]:
    """What is sent of a document's fields.

    Args:
        source: As they are to be read again.
        fields: The derived ones that the index has.
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


def restored(source: Mapping[str, Any]) -> dict[str, Any]:
    """A document's fields as they were given, from a `_source`."""
    whole = source.get(WHOLE_FIELD)
    if not isinstance(whole, Mapping) or not whole or not all(name in FLAT_FIELDS for name in whole):
        return dict(source)  # there is none, or it is a field of the user's own
    return {name: whole.get(name, value) for name, value in source.items() if name != WHOLE_FIELD}


def _has_long(path: str, value: object) -> bool:
    if isinstance(value, Mapping):
        return any(_has_long(f"{path}.{key}", item) for key, item in value.items())
    if isinstance(value, list | tuple):
        return any(_has_long(path, item) for item in value)
    # Four bytes are the most that UTF-8 takes for a character.
    size = len(path) + (len(value) if isinstance(value, str) else 0)
    return 4 * size > _LONGEST_TERM and len(path.encode()) + len(str(value).encode()) > _LONGEST_TERM


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
