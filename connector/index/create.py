"""Create an index and check the effect of index templates on it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from logging import getLogger
from typing import Any

from opensearchpy import OpenSearch
from opensearchpy.exceptions import OpenSearchException, RequestError, TransportError

from connector.connection.client import explained, reason_of
from connector.errors import ClusterError, IndexMappingError
from connector.index.probe import probe_write
from connector.index.templates import advice_about_templates
from connector.query.body import SPACE_FIELD

_log = getLogger("ksparse.index")

_HIGHEST_PRIORITY = 2**31 - 1
_WAIT_S = 30
"""Time for one copy of each shard to start; on a busy machine it takes seconds."""


def create_index(client: OpenSearch, index: str, body: dict[str, Any]) -> bool:
    """Create an index and check that it can store documents.

    Returns:
        True if the index was created, False if another job has just created it.

    Raises:
        ClusterError: The server is unreachable or denies access; or no node can hold the index or it rejects documents
            (the index is then deleted again).
        IndexMappingError: The server rejects the index, or a template leaves fields out of `_source`.
    """
    try:
        with explained(client):
            reply = _create(client, index, body)
    except TransportError as error:
        if error.error == "resource_already_exists_exception":
            return False
        reason = reason_of(error).rstrip(".")
        raise IndexMappingError(
            f"The server refuses to create index {index!r}: {reason}.{advice_about_templates(client, index)}"
        ) from error
    try:
        _check_source(client, index)
        if not reply.get("shards_acknowledged", True):
            _check_allocation(client, index)
            _check_copies(client, index)
        probe_write(client, index, created=True)
    except (ClusterError, IndexMappingError):
        with suppress(TransportError):  # a read-only index cannot be deleted
            client.indices.delete(index=index, ignore_unavailable=True)
        raise
    _log.info("Index %s created.", index)
    return True


def check_mapping(client: OpenSearch, index: str, mappings: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
    """Validate parts of a mapping on the server before the index exists; skipped if the server cannot.

    Args:
        client: A connected client.
        index: Name of the index.
        mappings: The parts.
        settings: Settings of the index, which define its analyzers, normalizers and similarities.

    Raises:
        IndexMappingError: The server would reject them.
    """
    parts = {"mappings": dict(mappings), "settings": {"index": dict(settings)}}
    template = {"index_patterns": [index], "priority": _HIGHEST_PRIORITY, "template": parts}
    try:
        client.transport.perform_request("POST", "/_index_template/_simulate", body=template)
    except RequestError as error:
        cause: Any = error.info.get("error", {}) if isinstance(error.info, dict) else {}
        while isinstance(cause, dict) and "caused_by" in cause:
            cause = cause["caused_by"]
        if cause.get("type") == "mapper_parsing_exception":
            raise IndexMappingError(f"The server refuses to create index {index!r}: {cause['reason']}.") from error
    except OpenSearchException:  # no permission or no such API; creating the index will report the error
        return


def _create(client: OpenSearch, index: str, body: dict[str, Any]) -> dict[str, Any]:
    """Send the request; if the server lacks the field type of the space, without that field. Errors pass through."""
    params = {"request_timeout": 2 * _WAIT_S, "timeout": f"{_WAIT_S}s"}
    try:
        return dict(client.indices.create(index=index, body=body, params=params))
    except RequestError as error:
        if "[constant_keyword]" not in reason_of(error):
            raise
    del body["mappings"]["properties"][SPACE_FIELD]
    return dict(client.indices.create(index=index, body=body, params=params))


def _check_source(client: OpenSearch, index: str) -> None:
    """Legacy templates are merged with the request and may disable `_source`, or restrict it to some fields."""
    with explained(client):
        replies = client.indices.get_mapping(index=index, params={"filter_path": "*.mappings._source"})
    for reply in replies.values():
        found = reply["mappings"]["_source"]
        what = "is disabled" if found.get("enabled") is False else f"includes only {found.get('includes')}"
        if found.get("enabled") is False or "includes" in found:
            raise IndexMappingError(
                f"Index {index!r} would not store its documents (_source {what})."
                f"{advice_about_templates(client, index)}"
            )


def _check_copies(client: OpenSearch, index: str) -> None:
    """Report how many copies of a shard a write waits for, if these have not started."""
    name = "index.write.wait_for_active_shards"
    with suppress(TransportError):
        found = client.indices.get_settings(index=index, name=name, params={"flat_settings": "true"})
        copies = found[index]["settings"].get(name, "1") if found else "1"
        if copies != "1":
            raise ClusterError(
                f"Index {index!r} accepts writes only while {copies} copies of each shard are active ({name}), which "
                f"have not started within {_WAIT_S} s.{advice_about_templates(client, index)}"
            )


def _check_allocation(client: OpenSearch, index: str) -> None:
    """Report why no node can hold the first shard; otherwise each write would fail after a minute."""
    try:
        found = client.transport.perform_request(
            "GET", "/_cluster/allocation/explain", body={"index": index, "shard": 0, "primary": True}
        )
    except OpenSearchException:  # it has started meanwhile, or permission is missing
        return
    if found.get("can_allocate") != "no":
        return
    reasons = {
        decider["explanation"]
        for node in found.get("node_allocation_decisions", [])
        for decider in node.get("deciders", [])
        if decider.get("decision") == "NO"
    }
    raise ClusterError(
        f"No node can hold index {index!r}: {'; '.join(sorted(reasons)) or found.get('allocate_explanation')}."
        f"{advice_about_templates(client, index)}"
    )
