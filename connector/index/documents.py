"""Read documents by their ids: those that a search of the same index or alias could find, and no others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from opensearchpy import OpenSearch
from opensearchpy.exceptions import AuthorizationException, NotFoundError, TransportError

from connector.connection.client import explained
from connector.errors import ClusterError, IndexMappingError
from connector.index.aliases import hides_documents, read_alias
from connector.index.derived import restored
from connector.index.schema import IndexSchema
from connector.index.sizes import all_of
from connector.limits import MAX_HITS
from connector.types import StoredState

_PER_REQUEST = 1_000


class StoredDocument(NamedTuple):
    """A document as an index holds it.

    Attributes:
        source: Its stored fields.
        state: The write that made it what it is.
    """

    source: dict[str, Any]
    state: StoredState


def read_documents(client: OpenSearch, index: str, doc_ids: Sequence[str]) -> dict[str, StoredDocument]:
    """Read documents by their ids.

    `_mget` knows nothing of an alias's filter, no alias of several indices, and no document that was written by a
    routing. Where an alias has either or routes its searches, and for ids that `_mget` does not find, the index is
    refreshed and the documents are searched by their ids. Of several documents of an id, one is returned.

    Args:
        client: A ready client.
        index: The index or alias.
        doc_ids: Ids; one that occurs twice is read once.

    Returns:
        From id to document; those that are not there, or that the alias hides, are left out.

    Raises:
        ClusterError: The server is away or does not permit it.
        IndexMappingError: There is no such index.
    """
    wanted = list(dict.fromkeys(doc_ids))
    if not wanted:
        return {}
    try:
        with explained(client):
            found = {} if _is_narrowed(client, index) else _get(client, index, wanted)
            missing = [doc_id for doc_id in wanted if doc_id not in found]
            return found | _search(client, index, missing) if missing else found
    except NotFoundError as error:
        raise IndexMappingError(f"There is no index {index!r}.") from error


def explain_absence(
    client: OpenSearch,
    schema: IndexSchema,
    doc_id: str,
    *,
    filters: Sequence[Mapping[str, Any]] = (),
    routing: str | None = None,
) -> str:
    """Say why a search by features did not find a document, in one request.

    A document that an alias hides does not exist for whoever searches the alias: the answer must not reveal its id.

    Args:
        client: A ready client.
        schema: Of the index or alias that was searched.
        doc_id: Of the document.
        filters: Of the search.
        routing: Of the search.

    Raises:
        ClusterError: The server is away or does not permit it.
    """
    this = {"ids": {"values": [doc_id]}}
    asked: list[tuple[dict[str, Any], list[Any]]] = [
        ({"index": schema.index} | ({} if routing is None else {"routing": routing}), [this, *filters]),
        ({"index": schema.index}, [this]),
    ]
    lines = [line for header, clauses in asked for line in (header, {"size": 1, "_source": False, **all_of(clauses)})]
    with explained(client):
        replies = client.msearch(body=lines)["responses"]
    found = [reply.get("hits", {}).get("hits", []) for reply in replies]
    name = f"document {doc_id!r}"
    if found[0]:
        return f"The query shares no feature with {name} of index {schema.index!r}."
    if found[1]:
        return f"The filters or the routing of the search leave {name} of index {schema.index!r} out."
    return f"Index {schema.index!r} has no {name}."


def _is_narrowed(client: OpenSearch, index: str) -> bool:
    try:
        return hides_documents(read_alias(client, index))
    except ClusterError as error:
        if isinstance(error.__cause__, AuthorizationException):
            return True  # nobody says what the alias hides
        raise


def _get(client: OpenSearch, index: str, doc_ids: Sequence[str]) -> dict[str, StoredDocument]:
    """Documents as they were last written, searchable or not; none where an alias has several indices."""
    # A document that needs its routing, or lies in one of several indices, has an error.
    replies = client.mget(index=index, body={"ids": doc_ids})["docs"]
    return {reply["_id"]: _stored(reply) for reply in replies if reply.get("found")}


def _search(client: OpenSearch, index: str, doc_ids: Sequence[str]) -> dict[str, StoredDocument]:
    with suppress(TransportError):  # not every server refreshes when it is asked to
        client.indices.refresh(index=index)
    found: dict[str, StoredDocument] = {}
    for start in range(0, len(doc_ids), _PER_REQUEST):
        clause = {"ids": {"values": doc_ids[start : start + _PER_REQUEST]}}
        body = all_of([clause]) | {"size": MAX_HITS, "seq_no_primary_term": True}
        hits = client.search(index=index, body=body)["hits"]["hits"]
        found |= {hit["_id"]: _stored(hit) for hit in hits}
    return found


def _stored(reply: Mapping[str, Any]) -> StoredDocument:
    # A server without sequence numbers (Serverless) leaves them out.
    state = StoredState(reply.get("_seq_no", -1), reply.get("_primary_term", -1))
    return StoredDocument(restored(reply.get("_source", {})), state)
