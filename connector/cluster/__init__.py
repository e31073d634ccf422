"""A local OpenSearch: an existing one, Docker, or embedded nodes."""

from connector.cluster.compose import docker_answers
from connector.cluster.connection import Cluster, connection_from_environment
from connector.cluster.embedded import embedded_cluster
from connector.cluster.local import Started, Stopped, down, find_cluster, up
from connector.cluster.node import Node
from connector.cluster.probe import wait_until_ready
from connector.cluster.status import Status, read_status

__all__ = [
    "Cluster",
    "Node",
    "Started",
    "Status",
    "Stopped",
    "connection_from_environment",
    "docker_answers",
    "down",
    "embedded_cluster",
    "find_cluster",
    "read_status",
    "up",
    "wait_until_ready",
]
