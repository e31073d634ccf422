"""The protocol of systems, and common functions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from opensearchpy import OpenSearch
from opensearchpy.helpers import bulk

from benchmarks.datasets import EncodedSet
from connector.types import Hit

INDEX_SETTINGS = {
    "number_of_shards": 1,
    "number_of_replicas": 0,
    "refresh_interval": "-1",
    "store.stats_refresh_interval": "0s",
}
"""Settings of all indices: one shard without replicas, explicit refresh, exact size statistics."""

Request = dict[str, Any]
"""A prepared query: everything that needs no server is done before timing."""

Encoding = Literal["none", "dense", "features", "static", "static features"]
"""How query texts are encoded: not at all, by the dense model or by a static query encoder, with or without the
head."""

Probe = tuple[Request, float | None]
"""A request and the expected score of its document; None if the score cannot be computed here."""


class System(Protocol):
    """A search system at one setting."""

    @property
    def name(self) -> str:
        """Name in tables."""
        ...

    @property
    def index(self) -> str:
        """Name of its index, which systems may share."""
        ...

    @property
    def knob(self) -> str:
        """Setting that trades quality for latency; empty if there is none."""
        ...

    @property
    def encoding(self) -> Encoding | None:
        """How queries are encoded; None if it cannot be timed with the set's encoder."""
        ...

    def configure(self, client: OpenSearch) -> None:
        """Create the empty index."""
        ...

    def upload(self, client: OpenSearch, data: EncodedSet) -> None:
        """Write all documents; fail if one is refused."""
        ...

    def prepare(self, data: EncodedSet) -> list[Request]:
        """Build the requests of all queries."""
        ...

    def probes(self, data: EncodedSet, rows: Sequence[int]) -> list[Probe]:
        """Build a query for each document that must find it, with the expected score.

        Empty if a system does not guarantee this.
        """
        ...

    def search(self, client: OpenSearch, request: Request) -> list[Hit]:
        """Answer one request; this is timed."""
        ...


class _Indexed(Protocol):
    @property
    def index(self) -> str: ...


class OneRequest:
    """Base of systems whose prepared queries are bodies of `_search`."""

    __slots__ = ()

    def search(self: _Indexed, client: OpenSearch, request: Request) -> list[Hit]:
        """Answer one request."""
        return to_hits(send(client, self.index, request))


class Writable(System, Protocol):
    """A system whose documents can be written separately, with additional fields."""

    def sources(self, data: EncodedSet, rows: Sequence[int]) -> Iterator[dict[str, Any]]:
        """Yield the fields of documents, given by their rows."""
        ...


def blocks(rows: Sequence[int], size: int = 10_000) -> Iterator[NDArray[np.int64]]:
    """Split rows into blocks, so that a million documents need not be in memory at once."""
    for start in range(0, len(rows), size):
        yield np.asarray(rows[start : start + size], dtype=np.int64)


def send(client: OpenSearch, index: str, body: Request) -> dict[str, Any]:
    """Send a search without request cache, hit count and source, as all systems do."""
    reply: dict[str, Any] = client.search(
        index=index, body={"track_total_hits": False, "_source": False, **body}, params={"request_cache": "false"}
    )
    return reply


def to_hits(reply: dict[str, Any]) -> list[Hit]:
    """Return the ids and scores of a reply."""
    return [Hit(hit["_id"], float(hit["_score"])) for hit in reply["hits"]["hits"]]


def write(client: OpenSearch, index: str, doc_ids: Iterable[str], sources: Iterable[dict[str, Any]]) -> None:
    """Write documents with opensearch-py's helper; a refused document is an error."""
    bulk(client, ({"_index": index, "_id": i, **source} for i, source in zip(doc_ids, sources, strict=True)))


def without_source(*fields: str) -> dict[str, Any]:
    """Mapping of `_source` without some fields and without the recovery source."""
    return {"excludes": list(fields), "recovery_source_excludes": list(fields)}
