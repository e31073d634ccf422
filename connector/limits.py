"""Limits of the server. Imports nothing."""

from __future__ import annotations

from collections.abc import Mapping

MAX_ID_BYTES = 512
"""Bytes of a document's `_id` in UTF-8."""

MAX_HITS = 10_000
"""Hits of one search and of a rescoring window: `index.max_result_window` and `index.max_rescore_window`."""

MAX_CLAUSES = 1_024
"""Clauses of a bool query: `indices.query.bool.max_clause_count`."""

MAX_TERM_BYTES = 32_766 - 64
"""Bytes of a path in a `flat_object` and its value, without the server's separators."""

MAX_REGEXP = 1_000
"""Characters of a regular expression in UTF-16: `index.max_regex_length`."""

MAX_DEPTH = 100
"""Nested arrays and objects. Near 900 levels, with the default stack, a node that maps them as `flat_object` exits
with a StackOverflowError (OpenSearch 3.6)."""


def check_depth(fields: Mapping[str, object], written: bytes) -> None:
    """Check the nesting depth of a document's fields.

    Args:
        fields: The fields as Python values.
        written: The fields as JSON, whose bytes are checked first because walking the values is slower.

    Raises:
        ValueError: A field is nested deeper than MAX_DEPTH.
    """
    if written.count(b"{") + written.count(b"[") <= MAX_DEPTH:
        return
    for name, value in fields.items():
        if _is_deeper(value):
            raise ValueError(
                f"{name!r} is nested deeper than {MAX_DEPTH} arrays and objects, which can crash a node; flatten it"
            )


def _is_deeper(value: object) -> bool:
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        level = [item for each in level for item in _items(each)]
        if not level:
            return False
    return True


def _items(value: object) -> list[object]:
    if isinstance(value, Mapping):
        return list(value.values())
    return list(value) if isinstance(value, list | tuple) else []
