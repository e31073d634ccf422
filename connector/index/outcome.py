"""What became of the documents of one write."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from connector.index.bulk_replies import Item
from connector.index.target import WriteTarget
from connector.types import Deletion, Document, SparseDocument


@dataclass(frozen=True, slots=True)
class Refusal:
    """A document that the index does not hold, or did not give up, and why.

    Attributes:
        document: As it was given, or its deletion.
        status: The server's status for it; 0 where it was never sent.
        kind: The server's type of error, `invalid_document`, or `stored_elsewhere`.
        reason: In one line.
        attempts: Requests that carried it.
    """

    document: Document | SparseDocument | Deletion
    status: int
    kind: str
    reason: str
    attempts: int


@dataclass(frozen=True, slots=True)
class WriteResult:
    """What became of what one call gave: the counts and the refused add up to all of it.

    Attributes:
        indexed: Documents that the index holds as they were given.
        refused: Those that it does not hold, and why.
        superseded: Those of which the index holds a newer version.
        deleted: Documents that the index held and gave up.
        not_found: Deletions of documents that it did not hold.
    """

    indexed: int
    refused: tuple[Refusal, ...] = ()
    superseded: int = 0
    deleted: int = 0
    not_found: int = 0


@dataclass(slots=True)
class Action:
    """A document or a deletion as the bytes of a bulk request.

    Attributes:
        document: As it is sent.
        payload: Its lines.
        attempts: Requests that carried it.
    """

    document: SparseDocument | Deletion
    payload: bytes
    attempts: int = 0

    def refused(self, status: int, kind: str, reason: str) -> Refusal:
        """What is reported of it where the index does not take it."""
        return Refusal(self.document, status, kind, reason, self.attempts)


@dataclass(slots=True)
class Outcome:
    """What is known of some documents so far.

    Attributes:
        stored: Documents that the index holds.
        deleted: Documents that it held and gave up.
        not_found: Deletions of documents that it did not hold.
        superseded: Documents of which it holds a newer version.
        refused: Documents that it does not take, and why.
    """

    stored: list[Action] = field(default_factory=list)
    deleted: int = 0
    not_found: int = 0
    superseded: int = 0
    refused: list[Refusal] = field(default_factory=list)

    def note(self, action: Action, item: Item, targets: Sequence[WriteTarget]) -> None:
        """Note what became of one document, which is known for good.

        Args:
            action: The document.
            item: What the server replied.
            targets: What the name stood for before the request and after it.
        """
        document = action.document
        if isinstance(document, Deletion) and not item.kind:
            self.deleted += item.status != 404
            self.not_found += item.status == 404
        elif item.status == 409 and document.version is not None:
            self.superseded += 1
        elif item.kind and not item.index_is_gone:
            self.refused.append(action.refused(item.status, item.kind, item.reason))
        elif reason := _displaced(document, item, targets):
            self.refused.append(action.refused(item.status, "stored_elsewhere", reason))
        else:
            self.stored.append(action)

    @property
    def result(self) -> WriteResult:
        """The counts."""
        return WriteResult(len(self.stored), tuple(self.refused), self.superseded, self.deleted, self.not_found)


def _displaced(document: SparseDocument | Deletion, item: Item, targets: Sequence[WriteTarget]) -> str:
    """Why a document that the server took is not in the index under its own id; empty if it is."""
    if item.result == "noop":
        return "an ingest pipeline dropped it"
    if item.stored_in and not any(target.takes(item.stored_in) for target in targets):
        verb = "would have" if item.kind else "has"
        return f"an ingest pipeline {verb} stored it in the index {item.stored_in!r}"
    if item.stored_as and item.stored_as != document.doc_id:
        return f"an ingest pipeline stored it under the id {item.stored_as!r}"
    return ""
