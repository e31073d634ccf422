"""Delete the documents that a filter matches."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from logging import getLogger
from typing import Any, NamedTuple

from opensearchpy import OpenSearch
from opensearchpy.exceptions import NotFoundError

from connector.connection.client import explained, root_cause
from connector.errors import ClusterError
from connector.index.sizes import all_of, count_matching
from connector.query.clauses import matches_everything

_log = getLogger("ksparse.index")

_POLL_S = 0.2


class Deleted(NamedTuple):
    """What a deletion by filter did.

    Attributes:
        deleted: Documents that are gone.
        changed: Documents that matched, and were changed by another writer before they could be deleted.
    """

    deleted: int
    changed: int


def check_narrowed(filters: Sequence[Mapping[str, Any]]) -> None:
    """Make sure that a deletion by filters is not one of everything, such as by one that says nothing.

    Raises:
        ValueError: It is, by the form of the filters alone.
    """
    if all(map(matches_everything, filters)):
        raise ValueError(
            "a deletion needs a filter, and this one matches every document; say so in so many words (everything=True, "
            "or the method that clears the store), or delete the index."
        )


def delete_matching(
    client: OpenSearch,
    index: str,
    filters: Sequence[Mapping[str, Any]],
    *,
    everything: bool = False,
    refresh: bool = True,
    progress: Callable[[int], None] | None = None,
) -> Deleted:
    """Delete the documents that match all filters, as a task of the server's, and wait for it.

    An interrupt cancels the task; what it deleted stays deleted.

    Args:
        client: A ready client.
        index: The index or alias.
        filters: Query clauses.
        everything: Delete all documents, if that is what the filters say.
        refresh: Make it visible to searches at once.
        progress: Called with the number gone.

    Raises:
        ClusterError: The server is away, does not permit it, or has no such request.
        IndexMappingError: There is no such index.
        SearchError: The server refuses a filter.
        ValueError: The filters match every document, whatever it holds, and `everything` does not say so.
    """
    if not everything:
        check_narrowed(filters)
    params = {"conflicts": "proceed", "wait_for_completion": "false", "refresh": str(refresh).lower()}
    count_matching(client, index, filters)  # the task would fail where nobody reads it
    try:
        with explained(client):
            task = client.delete_by_query(index=index, body=all_of(filters), params=params)["task"]
    except NotFoundError as error:  # of the request: the index was counted just now
        raise ClusterError(
            f"The server of {index!r} does not delete by a filter, as Amazon's Serverless does not; delete by ids."
        ) from error
    _log.info("Deleting from %s by a filter, as task %s of the server.", index, task)
    try:
        while True:
            with explained(client):
                state = client.tasks.get(task_id=task)
            status = state["task"]["status"]
            if progress is not None:
                progress(status["deleted"])
            if "error" in state:
                raise ClusterError(f"Deleting from {index!r} failed: {root_cause(state['error'])}. Run it again.")
            if state["completed"]:
                return Deleted(status["deleted"], status["version_conflicts"])
            time.sleep(_POLL_S)
    except KeyboardInterrupt:
        client.tasks.cancel(task_id=task)
        raise
