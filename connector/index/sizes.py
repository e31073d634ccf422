"""Document counts, filters that match nothing, and disk size of an index."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from logging import getLogger
from typing import Any

from opensearchpy import OpenSearch
from opensearchpy.exceptions import AuthorizationException, NotFoundError, RequestError

from connector.connection.client import explained, reason_of
from connector.errors import IndexMappingError, SearchError
from connector.index.complete import check_complete
from connector.index.names import no_index
from connector.query.clauses import Clause, every, listed
from connector.query.terms import TERMS_FIELD, exists, path_of

_log = getLogger("ksparse.index")

_MERGE_TIMEOUT_S = 1_800
_METADATA = "metadata."


def all_of(filters: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Build a query body for the documents that match all filters; without filters, for all documents."""
    return {"query": every(filters)}


def count_matching(client: OpenSearch, index: str, filters: Sequence[Mapping[str, Any]] = ()) -> int:
    """Count the documents that match all filters.

    Raises:
        ClusterError: The server is unreachable or denies access.
        IndexMappingError: The index does not exist.
        SearchError: The server rejects a filter, or as in `check_filters`.
    """
    try:
        with explained(client):
            reply = client.count(index=index, body=all_of(filters))
            check_complete(index, reply)
            if not reply["count"]:
                check_filters(client, index, filters)
    except NotFoundError as error:
        raise IndexMappingError(no_index(index)) from error
    except RequestError as error:
        raise SearchError(f"Index {index!r} rejects the filter: {reason_of(error)}") from error
    return int(reply["count"])


def check_filters(client: OpenSearch, index: str, filters: Sequence[Mapping[str, Any]]) -> None:
    """Log a warning of fields and metadata keys that filters name and no document has; for filters that match nothing.

    A user who may search need not be permitted to send several searches in one request; then nothing is checked.

    Raises:
        SearchError: Such a key is `title` or `text`, so the filter means that field, which is indexed by words.
        TransportError: The server is unreachable.
    """
    keys = dict(key for clause in filters for key in _required_keys(clause))
    if not keys:
        return
    try:
        not_empty, *all_used = _any_matches(client, index, [every([]), *keys.values()])
    except (AuthorizationException, NotFoundError) as error:
        _log.debug("Filters of a search in %s that found nothing are not checked: %s", index, reason_of(error))
        return
    for (path, having), used in zip(keys.items(), all_used if not_empty else (), strict=not_empty):
        if used:
            continue
        name = path.removeprefix(_METADATA)
        if path in (f"{_METADATA}title", f"{_METADATA}text") and _any_matches(client, index, [_exists(name)])[0]:
            raise SearchError(
                f"No document of index {index!r} has the metadata key {name!r}, and the field {name!r} is indexed by "
                "words, so a filter cannot compare its whole value. Pass a query clause from Python, e.g. "
                f'{{"match_phrase": {{"{name}": "x"}}}}.'
            )
        if path == name and having == _exists(path):
            kind, hint = "field", f" A key of the metadata is {_METADATA + name!r}."
        else:
            kind, hint = "metadata key", " The id of a document is `_id`." if name == "id" else ""
        _log.warning("No document of index %r has the %s %r, which a filter names.%s", index, kind, name, hint)


def _any_matches(client: OpenSearch, index: str, clauses: Sequence[Clause]) -> list[bool]:
    """Whether each clause matches any document, by one request; one that cannot be queried counts as matching."""
    lines: list[dict[str, Any]] = []
    for clause in clauses:
        lines += [{}, all_of([clause]) | {"size": 0, "terminate_after": 1}]
    replies = client.msearch(index=index, body=lines)["responses"]
    return ["error" in reply or reply["hits"]["total"]["value"] > 0 for reply in replies]


def _required_keys(clause: Mapping[str, Any]) -> Iterator[tuple[str, Clause]]:
    """The fields and metadata keys of which a clause requires a value, or one of several, with `exists` clauses."""
    for kind in ("term", "terms", "range"):
        for field, condition in clause.get(kind, {}).items():
            if field == TERMS_FIELD:
                if (path := path_of(condition)) is not None:
                    yield path, exists(path)
            elif not field.startswith("_") and field != "boost":
                yield field, _exists(field)
    for part in ("must", "filter", "should"):
        for each in listed(clause.get("bool", {}).get(part)):
            yield from _required_keys(each)


def _exists(field: str) -> Clause:
    return {"exists": {"field": field}}


def merge_index(client: OpenSearch, index: str) -> None:
    """Merge an index to one segment, flush it and refresh it."""
    client.indices.refresh(index=index)
    client.indices.forcemerge(index=index, max_num_segments=1, request_timeout=_MERGE_TIMEOUT_S)
    client.indices.flush(index=index, force=True, wait_if_ongoing=True)
    client.indices.refresh(index=index)


def file_bytes(client: OpenSearch, index: str) -> dict[str, int]:
    """Bytes of the primary shards by Lucene file extension, largest first."""
    params = {"include_segment_file_sizes": "true", "level": "indices"}
    stats = client.indices.stats(index=index, metric="segments", params=params)
    files = stats["indices"][index]["primaries"]["segments"]["file_sizes"]
    sizes = {kind: int(facts["size_in_bytes"]) for kind, facts in files.items()}
    return dict(sorted(sizes.items(), key=lambda each: -each[1]))
