"""What a system must do to be measured, and the index bodies that all of them share."""

from __future__ import annotations

from typing import Any, Protocol

from opensearchpy import OpenSearch

from benchmarks.datasets import EncodedSet
from connector.types import Hit

INDEX_SETTINGS = {"number_of_shards": 1, "number_of_replicas": 0, "refresh_interval": "-1"}
"""One shard, no copies, for every system alike; refreshed by hand."""


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
        """The setting that trades quality for latency."""
        ...

    def configure(self, client: OpenSearch) -> None:
        """Create the index, empty."""
        ...

    def upload(self, client: OpenSearch, data: EncodedSet) -> None:
        """Write all documents, and fail if one is refused."""
        ...

    def prepare(self, data: EncodedSet) -> list[dict[str, Any]]:
        """Build the search bodies of all queries, before the clock starts."""
        ...


def search(client: OpenSearch, index: str, body: dict[str, Any]) -> list[Hit]:
    """Run one body as every system does: no request cache, ids and scores only."""
    reply = client.search(index=index, body=body, params={"request_cache": "false"})
    return [Hit(hit["_id"], float(hit["_score"])) for hit in reply["hits"]["hits"]]
