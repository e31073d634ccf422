"""Store a file of an index (its dictionary) in the cluster: in parts, in a hidden index."""

from __future__ import annotations

import base64
import binascii
import hashlib
from contextlib import suppress
from dataclasses import asdict, dataclass
from logging import getLogger
from pathlib import Path
from typing import Any

from opensearchpy import OpenSearch
from opensearchpy.exceptions import NotFoundError, TransportError

from connector.connection.client import explained, reason_of
from connector.errors import ClusterError, IndexMappingError
from connector.files import cache_folder, written_whole
from connector.index.names import MAX_NAME_BYTES

_log = getLogger("ksparse.index")

_PART = 512 * 2**10
"""Bytes of the file per document."""

_PARTS = 4
"""Documents per request: 2.7 MB, below the request limits of all services."""

_REFUSED = 400

_BODY: dict[str, Any] = {
    "mappings": {"dynamic": False, "properties": {"data": {"type": "binary"}}},
    "settings": {
        "index": {
            "hidden": True,
            "number_of_shards": 1,
            "auto_expand_replicas": "0-1",
            "codec": "best_compression",
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


def store_companion(client: OpenSearch, owner: str, data: bytes) -> Companion:
    """Store the file of an index that is about to be created.

    Args:
        client: A connected client.
        owner: Name of the index. Concurrent jobs store a file each; those that do not create the index delete theirs.
        data: Content of the file.

    Raises:
        ClusterError: The server is unreachable or denies access.
        IndexMappingError: The server rejects the hidden index.
    """
    digest = hashlib.sha256(data).hexdigest()
    suffix = f"-dictionary-{digest[:12]}"
    name = owner.encode()[: MAX_NAME_BYTES - len(suffix)].decode(errors="ignore") + suffix
    kept = Companion(name, digest, len(data))
    try:
        _create(client, name)
    except ClusterError as error:
        raise ClusterError(f"The dictionary of {owner!r} could not be stored in the index {name!r}. {error}") from error
    except TransportError as error:
        raise IndexMappingError(
            f"The server rejects index {name!r} for the dictionary of {owner!r}: {reason_of(error)}"
        ) from error
    parts = [data[start : start + _PART] for start in range(0, len(data), _PART)]
    for first in range(0, len(parts), _PARTS):
        lines: list[dict[str, Any]] = []
        for number, part in enumerate(parts[first : first + _PARTS], start=first):
            lines += [{"index": {"_id": str(number)}}, {"data": base64.b64encode(part).decode("ascii")}]
        with explained(client):
            reply = client.bulk(index=name, body=lines)
        if reply["errors"]:
            reasons = [each["index"]["error"]["reason"] for each in reply["items"] if "error" in each["index"]]
            raise ClusterError(f"Index {name!r} rejects the dictionary of {owner!r}: {reasons[0]}")
    _log.info("Index %s stores a dictionary of %d bytes.", name, len(data))
    return kept


def fetch_companion(client: OpenSearch, companion: Companion, *, folder: Path | None = None) -> bytes:
    """Fetch the file of an index, from the local cache if possible.

    Args:
        client: A connected client.
        companion: Location of the file.
        folder: Folder of the local copies; None for `dictionaries` in the cache folder.

    Raises:
        ClusterError: The server is unreachable or denies access.
        IndexMappingError: The hidden index is missing or incomplete.
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


def _create(client: OpenSearch, name: str) -> None:
    """Create the hidden index unless it exists; without settings if the service does not allow them."""
    for body in (_BODY, {"mappings": _BODY["mappings"]}):
        try:
            with explained(client):
                client.indices.create(index=name, body=body)
        except TransportError as error:
            if error.error == "resource_already_exists_exception":
                return
            if "settings" not in body or error.status_code != _REFUSED:
                raise
        else:
            return


def _fetch(client: OpenSearch, companion: Companion) -> bytes:
    numbers = [str(number) for number in range(-(-companion.size // _PART))]
    data = bytearray()
    try:
        for first in range(0, len(numbers), _PARTS):
            with explained(client):
                reply = client.mget(index=companion.index, body={"ids": numbers[first : first + _PARTS]})
            for each in reply["docs"]:
                data += base64.b64decode(each["_source"]["data"], validate=True)
    except (NotFoundError, KeyError, binascii.Error) as error:
        raise IndexMappingError(
            f"The dictionary of the index is missing or incomplete in {companion.index!r}. Restore that index from a "
            "snapshot, or ingest the documents into a new index."
        ) from error
    if hashlib.sha256(data).hexdigest() != companion.sha256:
        raise IndexMappingError(
            f"The dictionary in {companion.index!r} is not the one that wrote the documents. Restore that index from a "
            "snapshot, or ingest the documents into a new index."
        )
    return bytes(data)


def _keep(path: Path, data: bytes) -> None:
    """Cache the file; if the folder is not writable, the file is fetched again next time."""
    try:
        with written_whole(path) as file:
            file.write(data)
    except OSError as error:
        _log.info("The dictionary is not cached in %s: %s", path.parent, error)
