"""Find documents by id, whatever their routing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from threading import Event
from typing import Any, NamedTuple, Protocol, TypeVar

from opensearchpy import OpenSearch
from opensearchpy.exceptions import AuthorizationException, NotFoundError

from connector.connection.client import explained
from connector.errors import ClusterError
from connector.index.derived import restored
from connector.index.target import WriteTarget
from connector.limits import MAX_HITS
from connector.types import Deletion, Document, StoredState

T = TypeVar("T")
Record = TypeVar("Record", bound=Document | Deletion)


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
        self._routed: bool | None = None

    def find(
        self, wanted: Mapping[str, str | None], *, source: bool = True, stopped: Event | None = None
    ) -> dict[str, list[Found]]:
        """Find the current documents; for an id without a routing, the copies of all routings.

        Args:
            wanted: Routing by id; None if unknown.
            source: Whether to return fields.
            stopped: Ends retries when set.

        Raises:
            BulkWriteError: The request failed and retries did not help.
            ClusterError: The server denies access.
        """
        if not wanted:
            return {}
        if self._target().has_filter:  # reading by id would ignore the filter
            return self._search(list(wanted), source=source, stopped=stopped)
        found = self._get(wanted, source=source, stopped=stopped)
        missing = [doc_id for doc_id in wanted if doc_id not in found]
        if missing and self._holds_routed():
            found |= self._search(missing, source=source, stopped=stopped)
        return found

    def held(self, wanted: Mapping[str, str | None], *, stopped: Event | None = None) -> dict[str, Held]:
        """Return the states of documents, without ids with several copies; empty if reading is not permitted.

        Args:
            wanted: As in `find`.
            stopped: As in `find`.
        """
        uuid = self.uuid
        if uuid is None:
            return {}
        try:
            found = self.find(wanted, source=False, stopped=stopped)
        except ClusterError:
            return {}
        states = {doc_id: found.get(doc_id, []) for doc_id in wanted}
        return {
            doc_id: Held(uuid, copies[0].state if copies else StoredState())
            for doc_id, copies in states.items()
            if len(copies) < 2
        }

    def hidden(self, doc_ids: Sequence[str], *, stopped: Event | None = None) -> frozenset[str]:
        """Return the ids whose documents are in the index, but not shown by the filter of the alias.

        Raises:
            BulkWriteError, ClusterError: As `find`.
        """
        target = self._target()
        if not doc_ids or not target.has_filter:
            return frozenset()
        shown = self._search(doc_ids, source=False, stopped=stopped)
        others = [doc_id for doc_id in doc_ids if doc_id not in shown]
        return (
            frozenset(self._search(others, source=False, stopped=stopped, unfiltered=True)) if others else frozenset()
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
        deleted = [record.doc_id for record in records if target.has_filter and isinstance(record, Deletion)]
        hidden = self.hidden([record.doc_id for record in records if not isinstance(record, Deletion)])
        routed = target.routing is None and any(record.routing is None for record in records) and self._holds_routed()
        unrouted = [record.doc_id for record in records if routed and record.routing is None]
        copies = self._search([*deleted, *unrouted], source=False) if deleted or unrouted else {}
        resolved: list[Record | str] = []
        for record in records:
            try:
                if record.doc_id in deleted and record.doc_id not in copies:
                    raise ValueError(f"the alias {target.name!r} has no document with this id")
                if record.doc_id in hidden and not isinstance(record, Deletion):
                    raise ValueError(reason_of_hidden(target.name))
                if record.routing is None:
                    record = replace(record, routing=only_routing(record.doc_id, copies.get(record.doc_id, [])))
                resolved.append(replace(record, routing=target.routing_of(record)))
            except ValueError as error:
                resolved.append(str(error))
        if target.routing is None and any(record.routing is not None for record in records):
            self._routed = True
        return resolved

    def _holds_routed(self) -> bool:
        """Whether the index is known to have documents with a routing."""
        if self._routed is None:
            target = self._target()
            self._routed = target.routing_required or self._count_routed(target) > 0
        return self._routed

    def _count_routed(self, target: WriteTarget) -> int:
        body = {"query": {"exists": {"field": "_routing"}}}
        try:
            reply = self._ask(lambda: self._client.count(index=target.index or target.name, body=body))
        except (ClusterError, NotFoundError):  # no read permission
            return 0
        return int(reply["count"])

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
        reply = self._ask(lambda: self._client.mget(index=index, body={"docs": docs}, params=params), stopped=stopped)
        return {each["_id"]: [_found(each)] for each in reply["docs"] if each.get("found")}

    def _search(
        self, doc_ids: Sequence[str], *, source: bool, stopped: Event | None = None, unfiltered: bool = False
    ) -> dict[str, list[Found]]:
        target = self._target()
        index = target.name if target.has_filter and not unfiltered else target.index or target.name
        body = {
            "query": {"ids": {"values": list(doc_ids)}},
            "size": MAX_HITS,
            "_source": source,
            "seq_no_primary_term": True,
        }

        def search() -> Any:  # noqa: ANN401
            try:
                self._client.indices.refresh(index=index)
            except (NotFoundError, AuthorizationException):
                pass  # Amazon's Serverless refreshes automatically
            return self._client.search(index=index, body=body)

        found: dict[str, list[Found]] = {}
        for hit in self._ask(search, stopped=stopped)["hits"]["hits"]:
            found.setdefault(hit["_id"], []).append(_found(hit))
        return found


def reason_of_hidden(alias: str) -> str:
    """The reason why a document cannot be written whose id belongs to one that the alias does not show."""
    return f"the alias {alias!r} cannot write this id: it belongs to a document that the filter of the alias excludes"


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


def _found(reply: Mapping[str, Any]) -> Found:
    state = StoredState(reply["_seq_no"], reply["_primary_term"])
    return Found(restored(reply.get("_source", {})), state, reply.get("_routing"))
