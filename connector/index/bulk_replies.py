"""Parse the items of bulk replies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from connector.index.patience import RETRIED_STATUS

FILTER_PATH = ",".join(
    f"items.*.{name}" for name in ("status", "result", "_index", "_id", "error.type", "error.reason", "error.caused_by")
)
"""Parts of the reply to request."""

_KINDS_OF_THE_INDEX = ("index_closed_exception", "security_exception")
_REASONS_OF_THE_INDEX = (
    "pipeline with id [",  # "... does not exist"
    "no write index is defined for alias",
    "only write ops with an op_type of create are allowed in data streams",
)
_PIPELINE_ATTEMPTS = 5


class Item(NamedTuple):
    """The result for one document.

    Attributes:
        status: HTTP status.
        result: `created`, `updated`, `deleted`, `not_found` or `noop`; empty for an error.
        stored_in: Index in which it was stored.
        stored_as: Id under which it was stored.
        kind: The server's error type; empty without an error.
        reason: Reason of the error in one line.
    """

    status: int
    result: str
    stored_in: str
    stored_as: str
    kind: str
    reason: str

    @property
    def index_is_gone(self) -> bool:
        """Whether the index does not exist."""
        return self.kind == "index_not_found_exception"

    @property
    def is_blocked(self) -> bool:
        """Whether a block prevents writes to the index or the cluster."""
        return self.kind == "cluster_block_exception"

    @property
    def concerns_the_index(self) -> bool:
        """Whether the error would affect every document."""
        return bool(self.kind) and (
            self.kind in _KINDS_OF_THE_INDEX
            or self.reason.startswith(_REASONS_OF_THE_INDEX)
            or (self.status in (401, 403) and not self.is_blocked)
        )

    def is_temporary(self, attempts: int, *, pipeline: bool) -> bool:
        """Whether a retry may help.

        Args:
            attempts: Number of requests that contained the document.
            pipeline: Whether the index has an ingest pipeline, whose processor errors also have status 500.
        """
        if self.status == 500 and (
            self.kind.endswith("processor_exception") or (pipeline and attempts >= _PIPELINE_ATTEMPTS)
        ):
            return False
        return self.status in RETRIED_STATUS or self.is_blocked


def read_items(reply: Any) -> list[Item] | None:  # noqa: ANN401
    """Return the items of a reply in the order of the request; None if it is not a bulk reply."""
    if not isinstance(reply, dict):
        return None
    return [_read(next(iter(item.values()))) for item in reply.get("items", [])]


def _read(item: Mapping[str, Any]) -> Item:
    error = item.get("error", {})
    return Item(
        item["status"],
        item.get("result", ""),
        item.get("_index", ""),
        item.get("_id", ""),
        str(error.get("type", "")),
        _reason(error) if error else "",
    )


def _reason(error: Mapping[str, Any]) -> str:
    """The server's reason with the innermost cause, which is often more specific."""
    reason, cause = str(error.get("reason", "")), error
    while isinstance(cause.get("caused_by"), dict):
        cause = cause["caused_by"]
    innermost = str(cause.get("reason", ""))
    return reason if innermost in reason else f"{reason}: {innermost}"
