"""Store a file of an index (its dictionary) in the cluster: in parts, in a hidden index."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial
from logging import getLogger
from pathlib import Path
from threading import Event
from typing import Any

from opensearchpy import OpenSearch
from opensearchpy.exceptions import (
    AuthorizationException,
    NotFoundError,
    RequestError,
    SerializationError,
    TransportError,
)

from connector.connection.client import explained, reason_of
from connector.connection.transport import retry_after
from connector.errors import ClusterError, IndexMappingError
from connector.files import cache_folder, written_whole
from connector.index.bulk_replies import read_items
from connector.index.complete import check_read
from connector.index.names import MAX_NAME_BYTES
from connector.index.patience import UNREADABLE, Patience, Pauses, RetryPolicy, patiently, retryable_cause

_log = getLogger("ksparse.index")

_PART = 512 * 2**10
"""Bytes of the file per document."""

_PARTS = 4
"""Documents per request: 2.7 MB, below the request limits of all services."""

_REFUSED = 400

_MARK, _DIGITS = "-dictionary-", 12
"""Between the name of an index and the beginning of the digest, in the name of its hidden index."""

_MAPPINGS: dict[str, Any] = {"dynamic": False, "properties": {"data": {"type": "binary"}}}
_BODY: dict[str, Any] = {
    # A template for the documents may require a routing, store no source, or name a pipeline that drops documents.
    "mappings": {"_routing": {"required": False}, "_source": {"enabled": True}, **_MAPPINGS},
    "settings": {
        "index": {
            "hidden": True,
            "number_of_shards": 1,
            "auto_expand_replicas": "0-1",
            "codec": "best_compression",
            "default_pipeline": "_none",
            "final_pipeline": "_none",
        }
    },
}


@dataclass(frozen=True, slots=True)
class Companion:
    """Location of the file of an index.

    Attributes:
        index: The hidden index.
        sha256: SHA-256 of the file.
        size: Size of the file in bytes.
    """

    index: str
    sha256: str
    size: int

    def to_json(self) -> dict[str, Any]:
        """The value stored in the mapping's `_meta`."""
        return asdict(self)


def store_companion(client: OpenSearch, owner: str, data: bytes) -> tuple[Companion, bool]:
    """Store the file of an index that is about to be created.

    Args:
        client: A connected client.
        owner: Name of the index. Concurrent jobs store a file each; those that do not create the index delete theirs.
        data: Content of the file.

    Returns:
        Its location, and whether it is new: an index with another name may need the same file.

    Raises:
        ClusterError: The server is unreachable or denies access.
        BulkWriteError: The server stayed busy or unreachable.
        IndexMappingError: The server rejects the hidden index.
    """
    digest = hashlib.sha256(data).hexdigest()
    suffix = _suffix(digest)
    name = owner.encode()[: MAX_NAME_BYTES - len(suffix)].decode(errors="ignore") + suffix
    kept = Companion(name, digest, len(data))
    try:
        created = patiently(
            partial(_create, client, name),
            what=f"Creating {name!r}",
            given_up=f"Index {name!r} for the dictionary of {owner!r} could not be created",
        )
    except ClusterError as error:
        raise ClusterError(f"The dictionary of {owner!r} could not be stored in the index {name!r}. {error}") from error
    except TransportError as error:
        raise IndexMappingError(
            f"The server rejects index {name!r} for the dictionary of {owner!r}: {reason_of(error)}"
        ) from error
    try:
        _write(client, owner, name, data)
    except BaseException:
        if created:
            with suppress(TransportError, ClusterError):
                delete_companion(client, kept)
        raise
    _log.info("Index %s stores a dictionary of %d bytes.", name, len(data))
    return kept, created


def fetch_companion(client: OpenSearch, companion: Companion, *, folder: Path | None = None) -> bytes:
    """Fetch the file of an index, from the local cache if possible.

    Args:
        client: A connected client.
        companion: Location of the file.
        folder: Folder of the local copies; None for `dictionaries` in the cache folder.

    Raises:
        ClusterError: The server is unreachable or denies access.
        IndexMappingError: The hidden index is missing, closed or incomplete.
    """
    path = (folder or cache_folder("dictionaries")) / f"{companion.sha256}.safetensors"
    with suppress(OSError):
        data = path.read_bytes()
        if hashlib.sha256(data).hexdigest() == companion.sha256:
            return data
    data = _fetch(client, companion)
    _keep(path, data)
    return data


def delete_companion(client: OpenSearch, companion: Companion) -> None:
    """Delete the file of an index that was deleted or not created.

    Raises:
        ClusterError: The server is unreachable or denies access.
    """
    with explained(client):
        client.indices.delete(index=companion.index, ignore_unavailable=True)


def copies_of(client: OpenSearch, name: str) -> set[str]:
    """A hidden index, if it exists, and those restored or cloned from it under other names. Errors pass through."""
    params = {"expand_wildcards": "all", "filter_path": "*.settings.index.uuid"}
    marked = re.search(rf"{_MARK}[0-9a-f]{{{_DIGITS}}}$", name)
    try:
        return set(client.indices.get_settings(index=f"*{marked[0]}*" if marked else name, params=params))
    except NotFoundError:
        return set()


def _create(client: OpenSearch, name: str) -> bool:
    """Create the hidden index; with the fields alone if the service does not allow more. False if it exists already.

    It leaves the aliases that a template for the documents gives to it: they would no longer name indices of ksparse
    alone.
    """
    for body in (_BODY, {"mappings": _MAPPINGS}):
        try:
            with explained(client):
                client.indices.create(index=name, body=body)
        except TransportError as error:
            if error.error == "resource_already_exists_exception":
                return False
            if "settings" not in body or error.status_code != _REFUSED:
                raise
        else:
            with suppress(TransportError):  # it has none
                client.indices.delete_alias(index=name, name="*")
            return True
    return False


def _suffix(digest: str) -> str:
    return f"{_MARK}{digest[:_DIGITS]}"


def _write(client: OpenSearch, owner: str, name: str, data: bytes) -> None:
    """Store the parts; requests are sent again as those of documents are, because building the dictionary is slow."""
    policy = RetryPolicy()
    pauses = Pauses(f"Writing into {name!r}", policy.deadline_s)
    parts = [data[start : start + _PART] for start in range(0, len(data), _PART)]
    for first in range(0, len(parts), _PARTS):
        lines: list[dict[str, Any]] = []
        for number, part in enumerate(parts[first : first + _PARTS], start=first):
            lines += [{"index": {"_id": str(number)}}, {"data": base64.b64encode(part).decode("ascii")}]
        patience = Patience(policy, pauses, Event())
        cause, wait = _why_refused(client, owner, name, lines)
        while cause:
            patience.wait(cause, at_least=wait, given_up=f"Index {name!r} did not accept the dictionary of {owner!r}")
            cause, wait = _why_refused(client, owner, name, lines)
        pauses.end()


def _why_refused(client: OpenSearch, owner: str, name: str, lines: list[dict[str, Any]]) -> tuple[str, float]:
    """Send a request; return why it must be sent again, empty if not, and the wait that the server asks for."""
    with explained(client):
        try:
            items = read_items(client.bulk(index=name, body=lines))
        except SerializationError:
            return UNREADABLE, 0.0
        except TransportError as error:
            cause = retryable_cause(error)
            if cause is None:
                raise
            return cause, retry_after(error)
    if items is None or 2 * len(items) != len(lines):
        return UNREADABLE, 0.0
    for item in items:
        if item.kind and (item.is_blocked or not item.is_temporary(1, pipeline=False)):
            raise ClusterError(f"Index {name!r} rejects the dictionary of {owner!r}: {item.reason}")
    return next((f"{item.kind}: {item.reason}" for item in items if item.kind), ""), 0.0


def _fetch(client: OpenSearch, companion: Companion) -> bytes:
    problem = f"is missing or incomplete in {companion.index!r}"
    for index in _places(client, companion):
        try:
            data = _read(client, index, companion.size)
        except (NotFoundError, KeyError, binascii.Error):
            continue
        except RequestError as error:
            problem = f"cannot be read from {index!r} ({reason_of(error)})"
            continue
        except ClusterError as error:
            raise type(error)(f"The dictionary of the index cannot be read from {index!r}. {error}") from error
        if hashlib.sha256(data).hexdigest() == companion.sha256:
            return data
        problem = f"in {index!r} is not the one that wrote the documents"
    raise IndexMappingError(
        f"The dictionary of the index {problem}. Restore that index from a snapshot, or ingest the documents into a "
        "new index."
    )


def _places(client: OpenSearch, companion: Companion) -> Iterator[str]:
    """The indices that may hold the file: the recorded one, then those restored or cloned under another name."""
    yield companion.index
    with suppress(AuthorizationException):
        yield from sorted(copies_of(client, companion.index) - {companion.index})


def _read(client: OpenSearch, index: str, size: int) -> bytes:
    numbers = [str(number) for number in range(-(-size // _PART))]
    data = bytearray()
    for first in range(0, len(numbers), _PARTS):
        with explained(client):
            parts = client.mget(index=index, body={"ids": numbers[first : first + _PARTS]})["docs"]
            check_read(parts)
        for each in parts:
            data += base64.b64decode(each["_source"]["data"], validate=True)
    return bytes(data)


def _keep(path: Path, data: bytes) -> None:
    """Cache the file; if the folder is not writable, the file is fetched again next time."""
    try:
        with written_whole(path) as file:
            file.write(data)
    except OSError as error:
        _log.info("The dictionary is not cached in %s: %s", path.parent, error)
