"""Read documents by id; of an alias only those that a search of it could find."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from opensearchpy import OpenSearch
from opensearchpy.exceptions import AuthorizationException, NotFoundError, RequestError, TransportError

from connector.connection.client import explained, reason_of
from connector.errors import ClusterError, IndexMappingError
from connector.index.aliases import hides_documents, read_alias
from connector.index.complete import WHOLE, check_read, check_replies
from connector.index.guard import WITHOUT_FEATURES
from connector.index.hits import hits_with_ids
from connector.index.names import no_index
from connector.index.schema import IndexSchema
from connector.index.sizes import all_of
from connector.query.body import has_features
from connector.types import StoredState, restored

_PER_REQUEST = 500


class StoredDocument(NamedTuple):
    """A stored document.

    Attributes:
        source: Its stored fields.
        state: The last write of the document.
    """

    source: dict[str, Any]
    state: StoredState


def read_documents(client: OpenSearch, index: str, doc_ids: Sequence[str]) -> dict[str, StoredDocument]:
    """Read documents by their ids.

    `_mget` ignores the filter of an alias and supports neither aliases of several indices nor documents with a routing.
    So for aliases with a filter or search routing, and for ids that `_mget` does not find, the index is refreshed and
    the ids are searched. If several documents have an id, one of them is returned.

    Args:
        client: A connected client.
        index: The index or alias.
        doc_ids: The ids; duplicates are read once.

    Returns:
        Documents by id; missing and hidden documents are omitted.

    Raises:
        ClusterError: The server is unreachable or denies access.
        IndexMappingError: The index does not exist, or is closed.
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
        raise IndexMappingError(no_index(index)) from error
    except RequestError as error:
        raise IndexMappingError(f"Index {index!r} cannot be read: {reason_of(error)}.") from error


def explain_absence(
    client: OpenSearch,
    schema: IndexSchema,
    doc_id: str,
    *,
    filters: Sequence[Mapping[str, Any]] = (),
    routing: str | None = None,
) -> str:
    """Explain in one request why a search by features did not find a document.

    For a search of an alias, hidden documents count as missing: the answer must not reveal them.

    Args:
        client: A connected client.
        schema: Schema of the searched index or alias.
        doc_id: Id of the document.
        filters: Filters of the search.
        routing: Routing of the search.

    Raises:
        BusyError: A shard did not answer, so the document may exist.
        ClusterError: The server is unreachable or denies access.
        SearchError: The server rejects the filters.
    """
    this = {"ids": {"values": [doc_id]}}
    routed = WHOLE | ({} if routing is None else {"routing": routing})
    asked: list[tuple[Mapping[str, str], list[Any]]] = [
        (routed, [this, *filters]),
        (routed, [this, *filters, has_features()]),
        (WHOLE, [this]),
    ]
    lines = [line for header, clauses in asked for line in (header, {"size": 1, "_source": False, **all_of(clauses)})]
    with explained(client):
        # By the path: a server may not permit headers to name indices (rest.action.multi.allow_explicit_index).
        replies = client.msearch(index=schema.index, body=lines)["responses"]
    check_replies(schema.index, replies)
    found = [reply["hits"]["hits"] for reply in replies]
    name = f"document {doc_id!r}"
    if found[1]:
        return f"The query shares no feature with {name} of index {schema.index!r}."
    if found[0]:
        return f"Document {doc_id!r} of index {schema.index!r} has no features: {WITHOUT_FEATURES}"
    if found[2]:
        return f"The filters or the routing of the search exclude {name} of index {schema.index!r}."
    return f"Index {schema.index!r} has no {name}."


def _is_narrowed(client: OpenSearch, index: str) -> bool:
    try:
        return hides_documents(read_alias(client, index))
    except ClusterError as error:
        if isinstance(error.__cause__, AuthorizationException):
            return True  # unknown whether the alias hides documents
        raise


def _get(client: OpenSearch, index: str, doc_ids: Sequence[str]) -> dict[str, StoredDocument]:
    """Documents as last written, refreshed or not; empty for an alias of several indices."""
    # Documents that need a routing, or an alias of several indices, give errors.
    found: dict[str, StoredDocument] = {}
    for start in range(0, len(doc_ids), _PER_REQUEST):
        replies = client.mget(index=index, body={"ids": doc_ids[start : start + _PER_REQUEST]})["docs"]
        check_read(replies)
        found |= {reply["_id"]: _stored(reply) for reply in replies if reply.get("found")}
    return found


def _search(client: OpenSearch, index: str, doc_ids: Sequence[str]) -> dict[str, StoredDocument]:
    with suppress(TransportError):  # not every server allows refresh
        client.indices.refresh(index=index)
    return {hit["_id"]: _stored(hit) for hit in hits_with_ids(client, index, doc_ids)}


def _stored(reply: Mapping[str, Any]) -> StoredDocument:
    # Serverless has no sequence numbers.
    state = StoredState(reply.get("_seq_no", -1), reply.get("_primary_term", -1))
    return StoredDocument(restored(reply.get("_source", {})), state)
