"""Send a GET request to an OpenSearch, or wait until it is ready."""

import time
from collections.abc import Callable
from logging import getLogger
from typing import Any

from opensearchpy.exceptions import SerializationError, TransportError

from connector.cluster.connection import Cluster
from connector.connection.client import address_of, explained, reason_of
from connector.errors import ClusterError

_log = getLogger("ksparse.cluster")

_SAY_EVERY_S = 5.0


def get_json(cluster: Cluster, path: str, *, timeout_s: float = 10.0) -> dict[str, Any]:
    """Send a GET request and return the JSON object of the reply.

    Args:
        cluster: The cluster.
        path: Path with a leading slash, and optionally a query string.
        timeout_s: Timeout in seconds.

    Raises:
        ClusterError: Nothing answers, or the reply is an error.
    """
    with cluster.connect(timeout=timeout_s) as client:
        url = address_of(client)
        try:
            with explained(client):
                parsed = client.transport.perform_request("GET", path)
        except SerializationError as error:
            raise ClusterError(f"The server at {url} is not OpenSearch. Correct OPENSEARCH_URL.") from error
        except TransportError as error:
            raise ClusterError(
                f"{url} answered GET {path} with status {error.status_code}: {reason_of(error)}. See its log."
            ) from error
    if not isinstance(parsed, dict):
        raise ClusterError(f"The server at {url} is not OpenSearch. Correct OPENSEARCH_URL.")
    return parsed


def wait_until_ready(
    cluster: Cluster,
    *,
    nodes: int,
    timeout_s: float,
    check_alive: Callable[[], None] = lambda: None,
    on_progress: Callable[[str], None] = lambda _: None,
) -> None:
    """Wait until all nodes have joined and shards are allocated (green; yellow with one node).

    Args:
        cluster: The cluster.
        nodes: Number of nodes of the complete cluster, at least 1.
        timeout_s: Timeout in seconds.
        check_alive: Called before each attempt; raises an error if waiting is pointless.
        on_progress: Called with a message every 5 seconds.

    Raises:
        ClusterError: The cluster was not ready in time; the message has the last answer.
    """
    status = "green" if nodes > 1 else "yellow"
    path = f"/_cluster/health?wait_for_nodes=%3E%3D{nodes}&wait_for_status={status}&timeout=1s"
    started = said = time.monotonic()
    _log.info("Waiting for OpenSearch at %s.", cluster.url)
    while True:
        check_alive()
        try:
            get_json(cluster, path)
            _log.info("OpenSearch at %s is ready.", cluster.url)
            return
        except ClusterError as error:
            # A cluster that is not ready answers 408 after one second.
            _log.debug("Not yet: %s", error)
            now = time.monotonic()
            if now > started + timeout_s:
                raise ClusterError(
                    f"OpenSearch at {cluster.url} was not ready after {timeout_s:g} s. "
                    f"Set a longer timeout_s. Last attempt: {error}"
                ) from error
            if now > said + _SAY_EVERY_S:
                on_progress(f"OpenSearch is starting: {now - started:.0f} s")
                said = now
        time.sleep(0.2)
