"""Status of a cluster."""

from dataclasses import dataclass
from typing import Any

from connector.cluster.connection import Cluster, Kind
from connector.cluster.probe import get_json
from connector.errors import ClusterError


@dataclass(frozen=True)
class Status:
    """Status of a cluster; values that a managed service does not provide are None."""

    url: str
    kind: Kind
    version: str
    health: str | None
    """green, yellow or red."""
    nodes: int | None
    plugins: tuple[str, ...] | None
    java: str | None
    simd: bool | None
    """Whether Lucene compares dense vectors with SIMD. Without it, latencies of dense search are not valid."""
    heap_used_bytes: int | None
    heap_max_bytes: int | None
    """Of all nodes together, like the sizes below."""
    disk_used_bytes: int | None
    """Used by indices."""
    disk_free_bytes: int | None
    documents: int | None


def read_status(cluster: Cluster) -> Status:
    """Request the status of a cluster.

    Raises:
        ClusterError: Nothing answers, or not an OpenSearch.
    """
    root = get_json(cluster, "/")
    try:
        version = str(root["version"]["number"])
    except (KeyError, TypeError) as error:
        raise ClusterError(f"The server at {cluster.url} is not OpenSearch. Correct OPENSEARCH_URL.") from error
    health = _try(cluster, "/_cluster/health")
    nodes = list(_try(cluster, "/_nodes/plugins,jvm").get("nodes", {}).values())
    stats = _try(cluster, "/_cluster/stats")
    heap = stats.get("nodes", {}).get("jvm", {}).get("mem", {})
    return Status(
        url=cluster.url,
        kind=cluster.kind,
        version=version,
        health=health.get("status"),
        nodes=health.get("number_of_nodes"),
        plugins=_names(nodes, "plugins"),
        java=nodes[0]["jvm"]["version"] if nodes and "jvm" in nodes[0] else None,
        simd=_has_simd(nodes),
        heap_used_bytes=heap.get("heap_used_in_bytes"),
        heap_max_bytes=heap.get("heap_max_in_bytes"),
        disk_used_bytes=stats.get("indices", {}).get("store", {}).get("size_in_bytes"),
        disk_free_bytes=stats.get("nodes", {}).get("fs", {}).get("available_in_bytes"),
        documents=stats.get("indices", {}).get("docs", {}).get("count"),
    )


def _try(cluster: Cluster, path: str) -> dict[str, Any]:
    try:
        return get_json(cluster, path)
    except ClusterError:
        return {}


def _names(nodes: list[dict[str, Any]], key: str) -> tuple[str, ...] | None:
    """Names that all nodes have in common."""
    if not nodes:
        return None
    return tuple(sorted(set.intersection(*({item["name"] for item in node.get(key, ())} for node in nodes))))


def _has_simd(nodes: list[dict[str, Any]]) -> bool | None:
    arguments = [node["jvm"]["input_arguments"] for node in nodes if "input_arguments" in node.get("jvm", {})]
    return all("--add-modules=jdk.incubator.vector" in given for given in arguments) if arguments else None
