"""What the server takes at most. Imports nothing."""

from __future__ import annotations

from collections.abc import Mapping

MAX_ID_BYTES = 512
"""Of a document's `_id` in UTF-8."""

MAX_HITS = 10_000
"""Of one search, and of a rescoring window: `index.max_result_window` and `index.max_rescore_window`."""

MAX_CLAUSES = 1_024
"""Of a bool query: `indices.query.bool.max_clause_count`."""

MAX_DEPTH = 100
"""Arrays and objects inside of each other. Near 900 of them, with the default stack, a node that maps them as
`flat_object` ends itself (StackOverflowError, OpenSearch 3.6)."""


def check_depth(fields: Mapping[str, object], written: bytes) -> None:
    """Make sure that the fields of a document may be sent.

    Args:
        fields: As they were given, of objects, arrays and what they hold.
        written: The same as JSON, which is searched first: it takes a walk to know the depth for sure.

    Raises:
        ValueError: A field is nested deeper than MAX_DEPTH.
    """
    if written.count(b"{") + written.count(b"[") <= MAX_DEPTH:
        return
    for name, value in fields.items():
        if _is_deeper(value):
            raise ValueError(
                f"{name!r} is nested deeper than {MAX_DEPTH} arrays and objects, which can end a node; flatten it"
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
