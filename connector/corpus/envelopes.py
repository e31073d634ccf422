"""Extract documents from the hits of dumps and from bulk bodies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_ACTIONS = ("index", "create", "update", "delete")
_ARGUMENTS = frozenset(
    "_index _type _id routing _routing version _version version_type if_seq_no if_primary_term pipeline require_alias "
    "retry_on_conflict dynamic_templates list_executed_pipelines op_type".split()
)
_KEPT = {"_id": "_id", "version": "_version", "_version": "_version", "routing": "_routing", "_routing": "_routing"}


class Envelopes:
    """Extracts documents from the records of a file.

    Of a hit (elasticdump, exports by scroll), `_source`, `_id`, version and routing are kept. In a bulk body, the
    action line has the `_id`, and the next record is the document.
    """

    def __init__(self) -> None:
        self._action: tuple[str, Mapping[str, Any]] | None = None

    def open(self, record: dict[str, Any]) -> tuple[dict[str, Any] | None, bool]:
        """Return the document of a record, and whether it comes from another index and may have unknown keys.

        The document is None for an action line, whose document follows.

        Raises:
            ValueError: The record is an update or a deletion.
        """
        if self._action is not None:
            (name, meta), self._action = self._action, None
            if name == "update":
                raise ValueError("is an update of a bulk body, not a document; use it to update the index")
            return record | _kept(meta), True
        action = action_of(record)
        if action is not None:
            if action[0] == "delete":
                raise ValueError("is a deletion of a bulk body, not a document; delete the document by its id")
            self._action = action
            return None, False
        source = record.get("_source")
        if isinstance(source, dict):
            return source | _kept(record), True
        return record, False

    @property
    def incomplete(self) -> bool:
        """Whether the last action line has no document yet."""
        return self._action is not None

    def discard(self) -> None:
        """Drop the last action line, whose document is malformed."""
        self._action = None


def action_of(record: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]] | None:
    """Return name and arguments of an action line of a bulk body; None for other records."""
    if len(record) != 1:
        return None
    [(name, meta)] = record.items()
    if name not in _ACTIONS or not isinstance(meta, dict) or not meta.keys() <= _ARGUMENTS:
        return None
    return name, meta


def _kept(meta: Mapping[str, Any]) -> dict[str, Any]:
    return {_KEPT[name]: value for name, value in meta.items() if name in _KEPT}
