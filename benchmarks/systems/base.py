"""What a system must do to be measured, and what all of them share."""

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
"""One shard, no copies, for every system alike; refreshed by hand, and weighed anew when asked for its size."""

Request = dict[str, Any]
"""A query that is ready to be sent: everything that needs no server is done before the clock starts."""

Encoding = Literal["none", "dense", "features", "static", "static features"]
"""How the text of a query becomes a request: as it is, by the dense model or by one without a transformer, the head
behind it or not."""

Probe = tuple[Request, float | None]
"""A request and the score that its document must have; None where that is the server's secret."""


class System(Protocol):
    """A way to search, at one setting of its knob."""

    @property
    def name(self) -> str:
        """What it is called in tables."""
        ...

    @property
    def index(self) -> str:
        """The index that it searches; systems may share one."""
        ...

    @property
    def knob(self) -> str:
        """The setting that trades quality for latency; empty where there is none."""
        ...

    @property
    def encoding(self) -> Encoding | None:
        """What it takes to encode a query; None where the set's encoder cannot tell."""
        ...

    def configure(self, client: OpenSearch) -> None:
        """Create the index, empty."""
        ...

    def upload(self, client: OpenSearch, data: EncodedSet) -> None:
        """Write all documents, and fail if one is refused."""
        ...

    def prepare(self, data: EncodedSet) -> list[Request]:
        """Build the requests of all queries."""
        ...

    def probes(self, data: EncodedSet, rows: Sequence[int]) -> list[Probe]:
        """Build a query for each of some documents that the document itself must answer, and its score.

        Empty where a system cannot promise to find it.
        """
        ...

    def search(self, client: OpenSearch, request: Request) -> list[Hit]:
        """Answer one request: what the clock measures."""
        ...


class Writable(System, Protocol):
    """A system whose documents can be written one by one, with other fields beside its own."""

    def sources(self, data: EncodedSet, rows: Sequence[int]) -> Iterator[dict[str, Any]]:
        """Build the fields of some documents, given by their rows."""
        ...


def blocks(rows: Sequence[int], size: int = 10_000) -> Iterator[NDArray[np.int64]]:
    """Split rows, so that what is made of them need not be held for a million at once."""
    for start in range(0, len(rows), size):
        yield np.asarray(rows[start : start + size], dtype=np.int64)


def send(client: OpenSearch, index: str, body: Request) -> dict[str, Any]:
    """Send one body as every system does: no request cache, no count of hits, no source."""
    reply: dict[str, Any] = client.search(
        index=index, body={"track_total_hits": False, "_source": False, **body}, params={"request_cache": "false"}
    )
    return reply


def to_hits(reply: dict[str, Any]) -> list[Hit]:
    """Ids and scores of a reply."""
    return [Hit(hit["_id"], float(hit["_score"])) for hit in reply["hits"]["hits"]]


def write(client: OpenSearch, index: str, doc_ids: Iterable[str], sources: Iterable[dict[str, Any]]) -> None:
    """Write documents by opensearch-py's own helper; one that is refused is an error."""
    bulk(client, ({"_index": index, "_id": i, **source} for i, source in zip(doc_ids, sources, strict=True)))


def without_source(*fields: str) -> dict[str, Any]:
    """`_source` less some fields, without the hidden copy that the server keeps for recovery."""
    return {"excludes": list(fields), "recovery_source_excludes": list(fields)}
