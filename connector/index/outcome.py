"""Outcome of each document of a write."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from connector.index.bulk_replies import Item
from connector.index.lookup import Place
from connector.index.target import WriteTarget
from connector.types import Deletion, Document, SparseDocument

STORED_ELSEWHERE = "stored_elsewhere"
"""Kind of a refusal: an ingest pipeline dropped the document, or sent it to another index, id or routing."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A document that was not indexed or not deleted, with the reason.

    Attributes:
        document: The document or deletion as given.
        status: The server's status; 0 if it was not sent.
        kind: The server's error type, `invalid_document`, or `stored_elsewhere`.
        reason: The reason in one line.
        attempts: Number of requests that contained it.
    """

    document: Document | SparseDocument | Deletion
    status: int
    kind: str
    reason: str
    attempts: int


@dataclass(frozen=True, slots=True)
class WriteResult:
    """The result of one write: the counts and the refusals add up to the number of inputs.

    Attributes:
        indexed: Number of documents that were indexed.
        refused: Documents that were not, with reasons.
        superseded: Number of documents of which the index has a newer version.
        deleted: Number of deleted documents.
        not_found: Number of deletions of documents that did not exist.
        superseded_ids: Ids of the superseded documents.
    """

    indexed: int
    refused: tuple[Refusal, ...] = ()
    superseded: int = 0
    deleted: int = 0
    not_found: int = 0
    superseded_ids: tuple[str, ...] = ()


@dataclass(slots=True)
class Action:
    """A document or deletion serialized for a bulk request.

    Attributes:
        document: The document or deletion.
        payload: Its lines.
        attempts: Number of requests that contained it.
    """

    document: SparseDocument | Deletion
    payload: bytes
    attempts: int = 0

    @property
    def place(self) -> Place:
        """Where the document is written."""
        return Place(self.document.doc_id, self.document.routing)

    def refused(self, status: int, kind: str, reason: str) -> Refusal:
        """Create the refusal of this action."""
        return Refusal(self.document, status, kind, reason, self.attempts)


@dataclass(slots=True)
class Outcome:
    """Outcomes collected so far.

    Attributes:
        stored: Indexed documents.
        deleted: Deleted documents.
        not_found: Deletions of documents that did not exist.
        superseded: Ids of documents of which the index has a newer version.
        refused: Refused documents, with reasons.
    """

    stored: list[Action] = field(default_factory=list)
    deleted: int = 0
    not_found: int = 0
    superseded: list[str] = field(default_factory=list)
    refused: list[Refusal] = field(default_factory=list)

    def note(self, action: Action, item: Item, targets: Sequence[WriteTarget]) -> None:
        """Record the final outcome of one document.

        Args:
            action: The document.
            item: The server's reply.
            targets: The write targets before and after the request.
        """
        document = action.document
        if isinstance(document, Deletion) and not item.kind:
            self.deleted += item.status != 404
            self.not_found += item.status == 404
        elif item.status == 409 and (reason := _displaced(document, item, targets)):
            self.refused.append(action.refused(item.status, STORED_ELSEWHERE, f"{reason}: {item.reason}"))
        elif item.status == 409 and document.version is not None:
            self.superseded.append(document.doc_id)
        elif item.kind and not item.index_is_gone:
            self.refused.append(action.refused(item.status, item.kind, item.reason))
        elif reason := _displaced(document, item, targets):
            self.refused.append(action.refused(item.status, STORED_ELSEWHERE, reason))
        else:
            self.stored.append(action)

    def without_hidden(self, chunk: Sequence[Action], hidden: Collection[Place], alias: str) -> list[Action]:
        """Return the actions that may be sent, and record the outcome of those on documents that the alias hides.

        Args:
            chunk: The actions.
            hidden: Places of hidden documents, which are not deleted and not replaced.
            alias: Name of the alias.
        """
        allowed: list[Action] = []
        for action in chunk:
            if action.place not in hidden:
                allowed.append(action)
            elif isinstance(action.document, Deletion):
                self.not_found += 1
            else:
                reason = f"the alias {alias!r} cannot write this id: it belongs to a document that the alias hides"
                self.refused.append(action.refused(0, "invalid_document", reason))
        return allowed

    @property
    def result(self) -> WriteResult:
        """The counts."""
        return WriteResult(
            len(self.stored),
            tuple(self.refused),
            len(self.superseded),
            self.deleted,
            self.not_found,
            tuple(self.superseded),
        )


def _displaced(document: SparseDocument | Deletion, item: Item, targets: Sequence[WriteTarget]) -> str:
    """The reason why an accepted document is not in the index under its own id; empty if it is."""
    if item.result == "noop":
        return "an ingest pipeline dropped it"
    verb = "would have" if item.kind else "has"
    if item.stored_in and not any(target.takes(item.stored_in) for target in targets):
        return f"an ingest pipeline {verb} stored it in the index {item.stored_in!r}"
    if item.stored_as and item.stored_as != document.doc_id:
        return f"an ingest pipeline {verb} stored it under the id {item.stored_as!r}"
    return ""
