"""Extract documents from the hits of dumps and from bulk bodies."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from connector.types import restored

_ACTIONS = ("index", "create", "update", "delete")
_ARGUMENTS = frozenset(
    "_index _type _id routing _routing version _version version_type if_seq_no if_primary_term pipeline require_alias "
    "retry_on_conflict dynamic_templates list_executed_pipelines op_type".split()
)
_UPDATE = frozenset("doc doc_as_upsert detect_noop script scripted_upsert upsert _source".split())
_KEPT = {"_id": "_id", "version": "_version", "_version": "_version", "routing": "_routing", "_routing": "_routing"}

Action = tuple[str, Mapping[str, Any]]
"""Name and arguments of an action line of a bulk body."""

HOW_TO_UPDATE = "for `ksparse update`, write its _id and the keys of its doc in one object"


class Envelopes:
    """Extracts documents from the records of a file.

    Of a hit (elasticdump, exports by scroll), `_source`, `_id`, version and routing are kept. In a bulk body, the
    action line has the `_id`, and the next record is the document.

    Args:
        action: Name and arguments of the action line before the first record, if any.
    """

    def __init__(self, action: Action | None = None) -> None:
        self._action = action

    def open(self, record: dict[str, Any]) -> tuple[dict[str, Any] | None, bool]:
        """Return the document of a record, and whether it comes from another index and may have unknown keys.

        The document is None for an action line, whose document follows.

        Raises:
            ValueError: The record is an update or a deletion.
        """
        if self._action is not None:
            (name, meta), self._action = self._action, None
            if name == "update":
                raise ValueError(f"is an update of a bulk body, not a document; {HOW_TO_UPDATE}")
            return restored(record) | kept_of(meta), True
        action = action_of(record)
        if action is not None:
            if action[0] == "delete":
                raise ValueError("is a deletion of a bulk body, not a document; delete the document by its id")
            self._action = action
            return None, False
        source = record.get("_source")
        if isinstance(source, dict):
            return restored(source) | kept_of(record), True
        return record, False

    @property
    def incomplete(self) -> bool:
        """Whether the last action line has no document yet."""
        return self._action is not None

    def discard(self) -> None:
        """Drop the last action line, whose document is malformed."""
        self._action = None


def action_of(record: Mapping[str, Any]) -> Action | None:
    """Return name and arguments of an action line of a bulk body; None for other records."""
    if len(record) != 1:
        return None
    [(name, meta)] = record.items()
    if name not in _ACTIONS or not isinstance(meta, dict) or not meta.keys() <= _ARGUMENTS:
        return None
    return name, meta


def is_of_an_update(record: Mapping[str, Any]) -> bool:
    """Whether a record is an action line of a bulk body, or the line after that of an update."""
    names = record.keys()
    return action_of(record) is not None or (bool({"doc", "script"} & names) and names <= _UPDATE)


def split_action(text: str) -> tuple[Action | None, str]:
    """Split an action line of a bulk body from the record after it; None and the whole text if there is none."""
    first, _, rest = text.partition("\n")
    try:
        record = json.loads(first) if rest else None
    except (ValueError, RecursionError):
        record = None
    action = action_of(record) if isinstance(record, dict) else None
    return (None, text) if action is None else (action, rest)


def kept_of(meta: Mapping[str, Any]) -> dict[str, Any]:
    """The id, version and routing that a hit or an action line has, as keys of a JSONL record."""
    return {_KEPT[name]: value for name, value in meta.items() if name in _KEPT}
