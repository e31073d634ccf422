"""Refuse replies that lack documents because only some shards could answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from logging import getLogger
from typing import Any

from opensearchpy.exceptions import AuthorizationException, RequestError, TransportError

from connector.connection.client import root_cause
from connector.errors import BusyError, SearchError

_log = getLogger("ksparse.index")

WHOLE = {"allow_partial_search_results": "false"}
"""Parameters of a search whose missing hits would be taken for missing documents: shards that are away are an error."""

_OF_THE_QUERY = (
    "query_shard_exception",
    "script_exception",
    "general_script_exception",
    "parsing_exception",
    "illegal_argument_exception",
    "number_format_exception",
)

_TOO_MANY_SCRIPTS = "max_compilations_rate"
"""In the reason of a node that has compiled its maximum of scripts per minute."""

_NOT_BY_ID = ("routing_missing_exception", "index_not_found_exception", "illegal_argument_exception")
"""Errors of a document that its id alone does not find: it needs a routing, or the alias has several indices."""

_ERRORS: Mapping[str, tuple[int, type[TransportError]]] = {
    "index_closed_exception": (400, RequestError),
    "cluster_block_exception": (403, AuthorizationException),
    "security_exception": (403, AuthorizationException),
}
"""Errors of a document that concern its index; others are those of a shard that is away."""


def check_complete(index: str, reply: Mapping[str, Any]) -> None:
    """Check that no shard rejected the query, e.g. because a field has another type in one index of an alias.

    The server then answers with the hits of the other shards. An unavailable shard is a warning.

    Args:
        index: The searched index or alias.
        reply: Reply to a search or a count.

    Raises:
        SearchError: A shard rejected the query.
        BusyError: The server stopped after its time limit, or a node has compiled too many scripts.
    """
    if reply.get("timed_out"):
        raise BusyError(
            f"The search in {index!r} reached the server's time limit (search.default_search_timeout), so hits are "
            "missing. Raise it, or try again."
        )
    failures = reply.get("_shards", {}).get("failures", ())
    for failure in failures:
        reason = failure.get("reason", {})
        if isinstance(reason, Mapping) and reason.get("type") in _OF_THE_QUERY:
            why = root_cause(reason)
            raise error_for(None, why)(
                f"A part of index {index!r} ({failure.get('index', 'unknown')}) rejects the query: {advised(why)}"
            )
    answered, total = count_shards(reply)
    if answered < total:
        reasons = [each["reason"] for each in failures if isinstance(each.get("reason"), Mapping)]
        why = root_cause(reasons[0]) if reasons else "no copy is at hand"
        _log.warning(
            "%d of %d shards of %s did not answer; documents are missing: %s", total - answered, total, index, why
        )


def count_shards(reply: Mapping[str, Any]) -> tuple[int, int]:
    """Return the numbers of shards that answered a search or a count, and of all."""
    shards = reply.get("_shards", {})
    return shards.get("successful", 0), shards.get("total", 0)


def check_whole(index: str, reply: Mapping[str, Any]) -> None:
    """Check that all shards answered, where missing hits would be taken for the end.

    Raises:
        BusyError: A shard did not answer.
    """
    answered, total = count_shards(reply)
    if answered < total:
        raise BusyError(
            f"Only {answered} of {total} shards of {index!r} answered, so documents are missing. Try again."
        )


def check_replies(index: str, replies: Sequence[Mapping[str, Any]]) -> None:
    """Check that all shards answered each search of one `_msearch`, where missing hits would be taken for the truth.

    Raises:
        SearchError: The server rejects a search.
        BusyError: A shard did not answer.
    """
    for reply in replies:
        if "error" in reply:
            kind, why = error_for(reply.get("status")), root_cause(reply["error"])
            raise kind(f"The search in {index!r} failed: {why}.{' Try again.' if kind is BusyError else ''}")
        check_whole(index, reply)


def advised(reason: str) -> str:
    """The server's reason, with the next step if the cluster permits no such query, or a filter is no query clause."""
    if "search.allow_expensive_queries" in reason and "[script" not in reason:
        return f"{reason}. A filter needs such a query: set this to true, or search without that filter."
    if "script" in reason and ("search.allow_expensive_queries" in reason or "cannot execute" in reason):
        return f"{reason}. A script rescores hits by codes: permit it, or search with window=0 (--window 0)."
    if _TOO_MANY_SCRIPTS in reason:
        return f"{reason}. A script rescores hits by codes: raise that limit, or search with window=0 (--window 0)."
    if "Rescore window [" in reason:
        return (
            f"{reason.rstrip('.')}; search with a smaller window (--window), or 0, or raise it; permit "
            "`indices:monitor/settings/get`, so that a window to score all documents stays below it."
        )
    if "unknown query [" in reason:
        return f"{reason}. A mapping in a filter is a query clause; a key inside of an object is named a.b."
    return reason


def error_for(status: object, reason: str = "") -> type[SearchError]:
    """The class of an error: what the server could not do, or does only so often, may succeed at the next attempt.

    Args:
        status: Status of the reply.
        reason: The server's reason; a node that has compiled too many scripts calls the query wrong.
    """
    busy = isinstance(status, int) and (status == 429 or status >= 500)
    return BusyError if busy or _TOO_MANY_SCRIPTS in reason else SearchError


def check_read(documents: Sequence[Mapping[str, Any]]) -> None:
    """Check that each document of an `_mget` reply was read, or is not there.

    Raises:
        TransportError: A shard is away (503), its index is closed (400) or must not be read (403).
    """
    for each in documents:
        kind = each.get("error", {}).get("type", "")
        if kind and kind not in _NOT_BY_ID:
            status, error = _ERRORS.get(kind, (503, TransportError))
            raise error(status, kind, {"error": each["error"]})
