"""Delete documents by filter."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from logging import getLogger
from typing import Any, NamedTuple

from opensearchpy import OpenSearch
from opensearchpy.exceptions import NotFoundError, TransportError

from connector.connection.client import explained, root_cause
from connector.errors import BulkWriteError, ClusterError
from connector.index.sizes import all_of, count_matching
from connector.query.clauses import matches_everything
from connector.query.required import requires_value

_log = getLogger("ksparse.index")

_ATTEMPTS = 5
"""Tasks in a row, if other writers keep changing matching documents."""

_FIRST_POLL_S, _LONGEST_POLL_S = 0.01, 0.2
"""Pauses between two looks at a task, which double: most deletions end within milliseconds."""

_EXPLICITLY = (
    "to delete all of them, use everything=True of SparseIndex, delete() of a LangChain store, "
    "delete_all_documents() of a Haystack store or clear() of a LlamaIndex store, or delete the index."
)


class Deleted(NamedTuple):
    """The result of a deletion by filter.

    Attributes:
        deleted: Number of deleted documents.
        changed: Matching documents that other writers changed in each attempt before they could be deleted.
    """

    deleted: int
    changed: int


def check_narrowed(filters: Sequence[Mapping[str, Any]]) -> None:
    """Refuse to delete by filters that match every document whatever the index holds.

    Raises:
        ValueError: The filters syntactically match every document.
    """
    if all(map(matches_everything, filters)):
        raise ValueError(f"this filter matches every document; {_EXPLICITLY}")


def delete_matching(
    client: OpenSearch,
    index: str,
    filters: Sequence[Mapping[str, Any]],
    *,
    everything: bool = False,
    refresh: bool = True,
    progress: Callable[[int], None] | None = None,
) -> Deleted:
    """Delete the documents that match all filters in a server-side task, and wait for it.

    What other writers change meanwhile is deleted by another task, if it still matches. An interrupt cancels the task;
    documents already deleted stay deleted.

    Filters such as "the field exists" or "is not X", which name no value that documents must have, may match every
    document by mistake; they are refused if they would delete all of several documents.

    Args:
        client: A connected client.
        index: The index or alias; of an alias with a filter, only what the alias shows counts.
        filters: Query clauses.
        everything: Allow filters that match every document.
        refresh: Make the deletion visible to searches immediately.
        progress: Called with the number of deleted documents.

    Raises:
        ClusterError: The server is unreachable, denies access, does not support delete by query, or stopped before all
            documents were deleted, e.g. because of a write block.
        IndexMappingError: The index does not exist.
        SearchError: The server rejects a filter.
        ValueError: The filters match every document and `everything` is not set.
    """
    if not everything:
        check_narrowed(filters)
    _refresh(client, index)  # a task deletes what searches see
    matching = count_matching(client, index, filters)  # reports errors that the task would hide
    if not everything and matching > 1 and not any(map(requires_value, filters)):
        if matching == count_matching(client, index):
            raise ValueError(f"this filter matches every document ({matching:,} of {index!r}); {_EXPLICITLY}")
    done = Deleted(0, 0)
    for _ in range(_ATTEMPTS):
        if done.changed:
            _refresh(client, index)
        again = _delete(client, index, filters, refresh, matching, done.deleted, progress)
        done = Deleted(done.deleted + again.deleted, again.changed)
        if not done.changed:
            break
    return done


def number_deleted(done: Deleted, index: str) -> int:
    """Return the number of deleted documents, if no matching one was kept.

    Raises:
        BulkWriteError: Documents were kept because other writers kept changing them.
    """
    if done.changed:
        raise BulkWriteError(
            f"{done.changed:,} matching documents of {index!r} were kept, because other writers changed them in each "
            f"of {_ATTEMPTS} attempts; {done.deleted:,} were deleted. Stop those writers and run it again."
        )
    return done.deleted


def _delete(
    client: OpenSearch,
    index: str,
    filters: Sequence[Mapping[str, Any]],
    refresh: bool,
    matching: int,
    before: int,
    progress: Callable[[int], None] | None,
) -> Deleted:
    """Run one task; `before` documents were deleted by earlier ones."""
    params = {"conflicts": "proceed", "wait_for_completion": "false", "refresh": str(refresh).lower()}
    try:
        with explained(client):
            task = client.delete_by_query(index=index, body=all_of(filters), params=params)["task"]
    except NotFoundError as error:  # the API is missing: the index has just been counted
        raise ClusterError(
            f"The server of {index!r} does not support delete by query (like Amazon's Serverless); delete by ids."
        ) from error
    _log.info("Deleting from %s by filter, in server task %s.", index, task)
    pause = _FIRST_POLL_S
    try:
        while True:
            state = _state_of(client, index, task)
            status = state["task"]["status"]
            if progress is not None:
                progress(before + status["deleted"])
            if "error" in state:
                raise ClusterError(f"Deleting from {index!r} failed: {root_cause(state['error'])}. Run it again.")
            if state["completed"]:
                if reason := _why_stopped(state.get("response", {})):
                    raise ClusterError(
                        f"Deleting from {index!r} stopped after {before + status['deleted']:,} of {matching:,} "
                        f"documents: {reason.rstrip(';. ')}. Fix the cause and run it again."
                    )
                return Deleted(status["deleted"], status["version_conflicts"])
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_POLL_S)
    except KeyboardInterrupt:
        client.tasks.cancel(task_id=task)
        raise


def _refresh(client: OpenSearch, index: str) -> None:
    with suppress(TransportError):  # not every server allows it
        client.indices.refresh(index=index)


def _state_of(client: OpenSearch, index: str, task: str) -> Any:  # noqa: ANN401
    try:
        with explained(client):
            return client.tasks.get(task_id=task)
    except NotFoundError as error:  # its node has ended, or could not keep its result
        raise ClusterError(
            f"The server no longer knows how its task {task} ended, which deleted from {index!r}. Run it again."
        ) from error
    except ClusterError as error:
        raise type(error)(
            f"The server may still delete from {index!r}, but how far its task {task} is cannot be read. {error}"
        ) from error


def _why_stopped(response: Mapping[str, Any]) -> str:
    """Why a task did not delete all documents, e.g. a write block or a failed shard; empty if it did."""
    for failure in response.get("failures", []):
        return root_cause(failure.get("cause") or failure.get("reason") or {})
    return f"it was cancelled {response['canceled']}" if "canceled" in response else ""
