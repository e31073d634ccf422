"""Take a shard of an index away, as the end of its node does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from opensearchpy import OpenSearch

from tests.patience import wait_until

_RECOVERIES = "cluster.routing.allocation.node_initial_primaries_recoveries"


@contextmanager
def shard_away(client: OpenSearch, index: str, *, shard: int = 0) -> Iterator[None]:
    """Keep a primary shard without a copy, as long as the block runs. No index can be created meanwhile."""

    def states() -> set[str]:
        rows = client.cat.shards(index=index, params={"format": "json"})
        return {row["state"] for row in rows if row["shard"] == str(shard) and row["prirep"] == "p"}

    client.cluster.put_settings(body={"transient": {_RECOVERIES: 0}})
    try:
        [node] = {
            row["node"] for row in client.cat.shards(index=index, params={"format": "json"}) if row["prirep"] == "p"
        }
        cancel = {"index": index, "shard": shard, "node": node, "allow_primary": True}
        client.cluster.reroute(body={"commands": [{"cancel": cancel}]})
        wait_until(lambda: states() == {"UNASSIGNED"}, f"shard {shard} of {index} stays")
        yield
    finally:
        client.cluster.put_settings(body={"transient": {_RECOVERIES: None}})
        client.cluster.reroute(params={"retry_failed": "true"})
        wait_until(lambda: states() == {"STARTED"}, f"shard {shard} of {index} stays away")
