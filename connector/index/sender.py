"""Send searches to an index, check the replies, and explain what the server rejects."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from opensearchpy import OpenSearch
from opensearchpy.exceptions import NotFoundError, RequestError, TransportError

from connector.connection.client import explained, reason_of, root_cause
from connector.errors import SearchError
from connector.index.complete import advised, check_complete, error_for
from connector.index.guard import IndexGuard
from connector.index.names import no_index
from connector.index.sizes import check_filters
from connector.types import Hit, restored


class Sender:
    """Sends search bodies to one index (or alias).

    Args:
        client: A connected client.
        index: The index or alias.
        guard: Checks that replies come from the index with the expected schema; None disables the check.
    """

    def __init__(self, client: OpenSearch, index: str, guard: IndexGuard | None) -> None:
        self.client = client
        self.index = index
        self.guard = guard

    @property
    def names(self) -> frozenset[str]:
        """The indices behind the index or alias; without a guard, the given name."""
        return frozenset([self.index]) if self.guard is None else self.guard.names

    def send(
        self,
        body: dict[str, Any],
        params: Mapping[str, str],
        filters: Sequence[Mapping[str, Any]] = (),
        *,
        guarded: bool = True,
    ) -> list[Hit]:
        """Send one search and return its hits.

        Args:
            body: The search body.
            params: URL parameters.
            filters: Filters of the search, which are checked if nothing is found.
            guarded: Whether the guard checks the reply; not for queries that do not name features.

        Raises:
            SearchError: The index does not exist, the server rejects the query, or the guard finds another schema.
            ClusterError: The server is unreachable or denies access.
        """
        with self.errors(guarded=guarded):
            reply = self.client.search(index=self.index, body=body, params=dict(params))
        return self.hits_of(reply, filters, guarded=guarded)

    def send_many(
        self,
        bodies: Sequence[dict[str, Any]],
        params: Mapping[str, str],
        filters: Sequence[Mapping[str, Any]],
        *,
        by_features: int,
    ) -> list[list[Hit]]:
        """Send several searches, the first `by_features` by features, in one request; errors as for `send`."""
        if not bodies:
            return []
        with self.errors():
            lines = [line for body in bodies for line in (dict(params), body)]
            replies = self.client.msearch(index=self.index, body=lines)["responses"]
        errors = [reply for reply in replies if "error" in reply]
        if self.guard is not None:
            self.guard.recheck() if errors else self.guard.check(replies, by_features)
        if errors:
            why = root_cause(errors[0]["error"])
            raise error_for(errors[0].get("status"), why)(f"Index {self.index!r} rejects a query: {advised(why)}")
        for reply in replies:
            check_complete(self.index, reply)
        if self.guard is not None:
            self.guard.check_features([hit for reply in replies[:by_features] for hit in reply["hits"]["hits"]])
        return self._checked([_hits(reply) for reply in replies], filters)

    def hits_of(
        self, reply: Mapping[str, Any], filters: Sequence[Mapping[str, Any]] = (), *, guarded: bool = True
    ) -> list[Hit]:
        """Check a reply and return its hits; errors as for `send`."""
        check_complete(self.index, reply)
        if guarded and self.guard is not None:
            self.guard.check([reply])
            self.guard.check_features(reply["hits"]["hits"])
        return self._checked([_hits(reply)], filters)[0]

    def _checked(self, found: list[list[Hit]], filters: Sequence[Mapping[str, Any]]) -> list[list[Hit]]:
        """The hits; if there are none, check that the filters could match (`check_filters`)."""
        if filters and not any(found):
            with self.errors(guarded=False):
                check_filters(self.client, self.index, filters)
        return found

    @contextmanager
    def errors(self, *, guarded: bool = True) -> Iterator[None]:
        """Translate server errors; if the index was replaced, the guard's error takes precedence."""
        try:
            with explained(self.client):
                yield
        except TransportError as error:
            if guarded and self.guard is not None and isinstance(error, RequestError):
                self.guard.recheck()
            raise _search_error(self.index, error) from error


def _hits(reply: Mapping[str, Any]) -> list[Hit]:
    return [
        Hit(
            hit["_id"],
            float(hit["_score"]),
            restored(hit.get("_source", {})),
            _matches(hit.get("matched_queries")),
            highlight=hit.get("highlight", {}),
            index=hit["_index"],
            routing=hit.get("_routing"),
        )
        for hit in reply["hits"]["hits"]
    ]


def _matches(named: Any) -> Mapping[str, float]:  # noqa: ANN401
    """Scores of named clauses; without them, the server lists the names that a user gave to filters."""
    return named if isinstance(named, Mapping) else {}


def _search_error(index: str, error: TransportError) -> Exception:
    if isinstance(error, NotFoundError) and "search_context_missing" in str(error.info):
        return SearchError(f"The server no longer has the pages of {index!r} ({reason_of(error)}). Search again.")
    if isinstance(error, NotFoundError):
        return SearchError(no_index(index))
    why = reason_of(error)
    kind = error_for(error.status_code, why)
    if isinstance(error, RequestError):
        return kind(f"Index {index!r} rejects the query: {advised(why)}")
    return kind(f"The search in {index!r} failed ({error.status_code}): {advised(why).rstrip('.')}. Try again.")
