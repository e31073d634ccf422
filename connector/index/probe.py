"""Check that an index accepts writes before documents are encoded."""

from __future__ import annotations

from typing import Any

from opensearchpy import OpenSearch
from opensearchpy.exceptions import RequestError

from connector.connection.client import explained, reason_of
from connector.errors import ClusterError
from connector.index.bulk_replies import FILTER_PATH, read_items
from connector.index.target import read_target
from connector.index.templates import advice_about_templates

_PROBE_ID = "ksparse:write-probe"
_NO_SEQ_NO = 2**53 - 1


def probe_write(client: OpenSearch, index: str, *, created: bool = False, deletes: bool = False) -> None:
    """Send a write whose condition always fails; any other error would affect all documents.

    Args:
        client: A connected client.
        index: The index or alias.
        created: Whether the index has just been created, so that a block comes from a template or the cluster.
        deletes: Send a deletion, which needs other permissions and succeeds on a full disk.

    Raises:
        ClusterError: The server is unreachable, denies access, or rejects writes to this index.
    """
    with explained(client):
        target = read_target(client, index)
        head = {"_id": _PROBE_ID, "if_seq_no": _NO_SEQ_NO, "if_primary_term": 1}
        if target.routing is not None or target.routing_required:
            head["routing"] = target.routing or _PROBE_ID
        try:
            lines: list[dict[str, Any]] = [{"delete": head}] if deletes else [{"index": head}, {}]
            reply = client.bulk(body=lines, index=index, params={"filter_path": FILTER_PATH})
        except RequestError as error:
            raise ClusterError(f"Index {index!r} cannot be written to: {reason_of(error)}") from error
    items = read_items(reply)
    # Other errors, e.g. of a pipeline, may concern only this empty document.
    if not items or not (items[0].is_blocked or items[0].concerns_the_index or items[0].status in (404, 503)):
        return
    advice = "Name an open index, or an alias with a write index."
    if items[0].is_blocked:
        advice = "Lift the block."
    elif "pipeline" in items[0].reason:
        advice = "Create the pipeline, or set index.default_pipeline to _none."
    subject = f"Index {index!r} was created, and" if created else f"Index {index!r}"
    if created:
        advice = advice_about_templates(client, index).strip() or advice
    raise ClusterError(f"{subject} cannot be written to: {items[0].reason.rstrip(';. ')}. {advice}")
