"""Find documents by id, whatever their routing."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from math import inf
from threading import Event
from time import monotonic
from typing import Any, NamedTuple, Protocol, TypeVar

from opensearchpy import OpenSearch
from opensearchpy.exceptions import AuthorizationException, NotFoundError

from connector.connection.client import explained
from connector.corpus.values import is_unicode
from connector.errors import ClusterError
from connector.index.complete import WHOLE, check_read
from connector.index.hits import hits_of_ids
from connector.index.target import WriteTarget
from connector.types import Deletion, Document, StoredState, restored

T = TypeVar("T")
Record = TypeVar("Record", bound=Document | Deletion)

_ASK_AGAIN_S = 120.0
"""Seconds after which an index without routings is asked again: another job may write the first one meanwhile. It is
refreshed for that (0.1 to 0.8 s), and every second for 30 s after a search (index.search.idle.after)."""


class Patiently(Protocol):
    """Sends a request and retries it if that may help."""

    def __call__(self, call: Callable[[], T], *, stopped: Event | None = None) -> T:
        """Return the result of the request."""


class Found(NamedTuple):
    """A stored document.

    Attributes:
        source: Its fields.
        state: The last write of the document.
        routing: Its routing; None for the default by id.
    """

    source: Mapping[str, Any]
    state: StoredState
    routing: str | None


class Place(NamedTuple):
    """Where a document is written.

    Attributes:
        doc_id: Its id.
        routing: Its routing; None for the default by id.
    """

    doc_id: str
    routing: str | None


class Held(NamedTuple):
    """The state of a document at some time, to compare with its later state.

    Attributes:
        uuid: UUID of the index.
        state: The last write of the document.
    """

    uuid: str
    state: StoredState


class DocumentLookup:
    """Finds documents in the write index of a name.

    A document with a routing can be on any shard, and only a search finds it by id alone. So an id without a routing
    means the document on whichever shard it is.

    Args:
        client: A connected client.
        target: Returns the current write target.
        patiently: Sends a request with retries.
    """

    def __init__(self, client: OpenSearch, target: Callable[[], WriteTarget], patiently: Patiently) -> None:
        self._client = client
        self._target = target
        self._patiently = patiently
        self._routed = False
        self._asked = -inf

    def find(
        self,
        wanted: Mapping[str, str | None],
        *,
        source: bool = True,
        hidden: bool = False,
        placed: Collection[str] = (),
        stopped: Event | None = None,
    ) -> dict[str, list[Found]]:
        """Find the current documents; for an id without a routing, the copies of all routings.

        Args:
            wanted: Routing by id; None if unknown.
            source: Whether to return fields.
            hidden: Whether to return also documents that the alias hides.
            placed: Ids whose routing is that of the document. Without one there, other ids with a routing return the
                copies of all routings.
            stopped: Ends retries when set.

        Raises:
            BulkWriteError: The request failed and retries did not help.
            ClusterError: The server denies access.
        """
        wanted = {doc_id: wanted[doc_id] for doc_id in _sendable(wanted)}
        if not wanted:
            return {}
        if self._target().hides_documents and not hidden:  # reading by id would ignore what the alias hides
            shown = self._search(list(wanted), source=source, stopped=stopped)
            return {doc_id: _named(copies, wanted[doc_id], only=doc_id in placed) for doc_id, copies in shown.items()}
        found = self._get(wanted, source=source, stopped=stopped)
        if self._target().finds_by_id:
            return found
        self._routed |= any(routing is not None for routing in wanted.values())
        routing = self._target().routing
        anywhere = [
            doc_id
            for doc_id, by in wanted.items()
            if (doc_id not in found and (by is None or doc_id not in placed)) or (by or routing) is None
        ]
        if anywhere and self._holds_routed(stopped=stopped):
            for doc_id, copies in self._search(anywhere, source=source, stopped=stopped).items():
                read = found.setdefault(doc_id, [])  # may be newer than what searches see without a refresh
                read += [each for each in copies if each.routing not in [one.routing for one in read]]
        return found

    def held(self, wanted: Mapping[str, str | None], *, stopped: Event | None = None) -> dict[str, Held]:
        """Return the states of documents by id and routing, without ids with several copies.

        Empty if reading is not permitted.

        Args:
            wanted: As in `find`.
            stopped: As in `find`.
        """
        uuid = self.uuid
        if uuid is None:
            return {}
        try:
            found = self.find(wanted, source=False, placed=wanted, stopped=stopped)
        except ClusterError:
            return {}
        states = {doc_id: found.get(doc_id, []) for doc_id in wanted}
        return {
            doc_id: Held(uuid, copies[0].state if copies else StoredState())
            for doc_id, copies in states.items()
            if len(copies) < 2
        }

    def hidden(self, written: Collection[Place], *, stopped: Event | None = None) -> frozenset[Place]:
        """Return the places at which a write might replace or delete a document that the alias hides.

        A hidden copy of an id may be on the same shard as any other routing. So only the place of a copy that the alias
        shows is safe.

        Args:
            written: Places of the documents to write.
            stopped: As in `find`.

        Raises:
            BulkWriteError, ClusterError: As `find`.
        """
        if not written or not self._target().hides_documents:
            return frozenset()
        stored = self._search(list({place.doc_id for place in written}), source=False, stopped=stopped, everything=True)
        shown = self._search(list(stored), source=False, stopped=stopped, refresh=False) if stored else {}
        routings = {doc_id: [each.routing for each in shown.get(doc_id, [])] for doc_id in stored}
        hidden = {doc_id for doc_id, copies in stored.items() if any(c.routing not in routings[doc_id] for c in copies)}
        return frozenset(
            place for place in written if place.doc_id in hidden and place.routing not in routings[place.doc_id]
        )

    @property
    def uuid(self) -> str | None:
        """UUID of the write index; None if unknown."""
        target = self._target()
        state = None if target.index is None else target.states.get(target.index)
        return state and state.uuid

    def resolve(self, records: Sequence[Record]) -> list[Record | str]:
        """Set the routing of each record, or return the reason why it cannot be written or deleted.

        Raises:
            BulkWriteError, ClusterError: As `find`.
        """
        target = self._target()
        routed = target.routing is None and any(record.routing is None for record in records) and self._holds_routed()
        unrouted = [record.doc_id for record in records if routed and record.routing is None]
        if target.finds_by_id and not target.hides_documents:
            copies = self._get(dict.fromkeys(unrouted), source=False, stopped=None) if unrouted else {}
        else:
            copies = self._search(unrouted, source=False)
        resolved: list[Record | str] = []
        for record in records:
            try:
                if record.routing is None:
                    record = replace(record, routing=only_routing(record.doc_id, copies.get(record.doc_id, [])))
                if isinstance(record, Deletion) and record.routing is None and target.routing_required:
                    record = replace(record, routing=target.routing or record.doc_id)  # the server finds none by any
                resolved.append(replace(record, routing=target.routing_of(record)))
            except ValueError as error:
                resolved.append(str(error))
        if target.routing is None and any(record.routing is not None for record in records):
            self._routed = True
        return resolved

    def _holds_routed(self, *, stopped: Event | None = None) -> bool:
        """Whether the index has documents with a routing; if not, it is refreshed and asked again after a while."""
        if not self._routed and monotonic() >= self._asked + _ASK_AGAIN_S:
            target = self._target()
            self._routed = target.routing_required or self._has_routed(target, stopped)
            self._asked = monotonic()
        return self._routed

    def _has_routed(self, target: WriteTarget, stopped: Event | None) -> bool:
        index = target.index or target.name
        body = {"query": {"exists": {"field": "_routing"}}, "size": 0, "terminate_after": 1}
        self._refresh(index, stopped)
        try:
            reply = self._ask(lambda: self._client.search(index=index, body=body, params=WHOLE), stopped=stopped)
        except (ClusterError, NotFoundError):  # no read permission
            return False
        return bool(reply["hits"]["total"]["value"])

    def _refresh(self, index: str, stopped: Event | None) -> None:
        def refreshed() -> None:
            try:
                self._client.indices.refresh(index=index)
            except (NotFoundError, AuthorizationException):
                pass  # Amazon's Serverless refreshes automatically

        self._ask(refreshed, stopped=stopped)

    def _ask(self, call: Callable[[], Any], *, stopped: Event | None = None) -> Any:  # noqa: ANN401
        with explained(self._client):
            return self._patiently(call, stopped=stopped)

    def _get(self, wanted: Mapping[str, str | None], *, source: bool, stopped: Event | None) -> dict[str, list[Found]]:
        target = self._target()
        routings = {doc_id: routing or target.routing for doc_id, routing in wanted.items()}
        docs = [
            {"_id": doc_id} | ({} if routing is None else {"routing": routing}) for doc_id, routing in routings.items()
        ]
        # Without `_source`, the routing must be requested.
        params = {} if source else {"_source": "false", "stored_fields": "_routing"}
        index = target.index or target.name

        def read() -> Any:  # noqa: ANN401
            replies = self._client.mget(index=index, body={"docs": docs}, params=params)["docs"]
            check_read(replies)
            return replies

        return {each["_id"]: [_found(each)] for each in self._ask(read, stopped=stopped) if each.get("found")}

    def _search(
        self,
        doc_ids: Sequence[str],
        *,
        source: bool,
        stopped: Event | None = None,
        everything: bool = False,
        refresh: bool = True,
    ) -> dict[str, list[Found]]:
        """Search the write index for ids, refreshed once: what the alias shows, or everything that writes can reach."""
        target = self._target()
        index = target.name if target.hides_documents and not everything else target.index or target.name
        params = WHOLE | ({"routing": target.routing} if target.routing is not None and everything else {})

        def search(some: Sequence[str], size: int) -> Any:  # noqa: ANN401
            body = {
                "query": {"ids": {"values": some}},
                "size": size,
                "_source": source,
                "seq_no_primary_term": True,
            }
            reply = self._ask(lambda: self._client.search(index=index, body=body, params=params), stopped=stopped)
            return reply["hits"]["hits"]

        found: dict[str, list[Found]] = {}
        sent = _sendable(doc_ids)
        if sent and refresh:
            self._refresh(index, stopped)
        for hit in hits_of_ids(sent, search):
            if target.takes(hit["_index"]):
                found.setdefault(hit["_id"], []).append(_found(hit))
        return found


def _sendable(doc_ids: Iterable[str]) -> list[str]:
    """The ids that are valid Unicode; the server rejects a whole request for another one, which no document has."""
    return list(filter(is_unicode, doc_ids))


def only_routing(doc_id: str, copies: Sequence[Found]) -> str | None:
    """The routing of the only document with an id; None if there is none, or if it has no routing.

    Raises:
        ValueError: Several documents have the id.
    """
    if len(copies) > 1:
        routings = ", ".join("none" if each.routing is None else repr(each.routing) for each in copies)
        raise ValueError(
            f"the index has {len(copies)} documents with the id {doc_id!r}, with routings {routings}; name one as "
            "'_routing'"
        )
    return copies[0].routing if copies else None


def _named(copies: list[Found], routing: str | None, *, only: bool) -> list[Found]:
    """The copy with the routing; all copies without a routing, or if there is none and `only` is not set."""
    named = [each for each in copies if routing is not None and each.routing == routing]
    return named if only and routing is not None else named or copies


def _found(reply: Mapping[str, Any]) -> Found:
    state = StoredState(reply["_seq_no"], reply["_primary_term"])
    return Found(restored(reply.get("_source", {})), state, reply.get("_routing"))
