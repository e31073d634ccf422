"""What other tools wrap documents in: the hits of a dump, the action lines of a bulk body."""

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
    """Takes the records of one file out of what they are wrapped in; an action line is kept for what follows it.

    A hit as the server returns it (elasticdump, exports by scroll) is its `_source` under its `_id`, and what else the
    server says of it is left out. In a bulk body the action has the `_id`, and the record behind it is the document.
    """

    def __init__(self) -> None:
        self._action: tuple[str, Mapping[str, Any]] | None = None

    def open(self, record: dict[str, Any]) -> tuple[dict[str, Any] | None, bool]:
        """Return the record that is meant, and whether it is a document of another index, with keys of its own.

        None stands for an action whose document follows.

        Raises:
            ValueError: It asks for something else than to index a document.
        """
        if self._action is not None:
            (name, meta), self._action = self._action, None
            if name == "update":
                raise ValueError("belongs to an update of a bulk body, which is not a document; update the index by it")
            return record | _kept(meta), True
        action = action_of(record)
        if action is not None:
            if action[0] == "delete":
                raise ValueError("is a deletion of a bulk body, which is not a document; delete the document by its id")
            self._action = action
            return None, False
        source = record.get("_source")
        if isinstance(source, dict):
            return source | _kept(record), True
        return record, False

    @property
    def incomplete(self) -> bool:
        """Whether the document of the last action has not come."""
        return self._action is not None

    def discard(self) -> None:
        """Forget the last action, whose document cannot be read."""
        self._action = None


def action_of(record: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]] | None:
    """The name and the arguments of an action line of a bulk body; None for any other record."""
    if len(record) != 1:
        return None
    [(name, meta)] = record.items()
    if name not in _ACTIONS or not isinstance(meta, dict) or not meta.keys() <= _ARGUMENTS:
        return None
    return name, meta


def _kept(meta: Mapping[str, Any]) -> dict[str, Any]:
    return {_KEPT[name]: value for name, value in meta.items() if name in _KEPT}
