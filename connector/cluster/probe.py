"""Ask an OpenSearch about itself: one GET, and the wait until it is ready."""

import time
from collections.abc import Callable
from logging import getLogger
from typing import Any

from opensearchpy.exceptions import SerializationError, TransportError

from connector.cluster.connection import Cluster
from connector.connection.client import address_of, explained, reason_of
from connector.errors import ClusterError

_log = getLogger("ksparse.cluster")


def get_json(cluster: Cluster, path: str, *, timeout_s: float = 10.0) -> dict[str, Any]:
    """Return the parsed reply to a GET, a JSON object.

    Args:
        cluster: Whom to ask.
        path: Starts with a slash; may hold a query string.
        timeout_s: Seconds to wait for the reply.

    Raises:
        ClusterError: Nothing answers, or it answers with an error; the message says what to do.
    """
    with cluster.connect(timeout=timeout_s) as client:
        url = address_of(client)
        try:
            with explained(client):
                parsed = client.transport.perform_request("GET", path)
        except SerializationError as error:
            raise ClusterError(f"What answers at {url} is not OpenSearch. Correct OPENSEARCH_URL.") from error
        except TransportError as error:
            raise ClusterError(
                f"{url} answered GET {path} with status {error.status_code}: {reason_of(error)}. See its log."
            ) from error
    if not isinstance(parsed, dict):
        raise ClusterError(f"What answers at {url} is not OpenSearch. Correct OPENSEARCH_URL.")
    return parsed


def wait_until_ready(
    cluster: Cluster, *, nodes: int, timeout_s: float, check_alive: Callable[[], None] = lambda: None
) -> None:
    """Wait until all nodes have joined and every primary shard is there (green; yellow where there is one node).

    Args:
        cluster: Whom to wait for.
        nodes: How many nodes the cluster has when it is complete, at least 1.
        timeout_s: Seconds to wait.
        check_alive: Is called before each try, and raises when there is nothing left to wait for.

    Raises:
        ClusterError: It was not ready in time; the message holds the last answer.
    """
    status = "green" if nodes > 1 else "yellow"
    path = f"/_cluster/health?wait_for_nodes=%3E%3D{nodes}&wait_for_status={status}&timeout=1s"
    deadline = time.monotonic() + timeout_s
    _log.info("Waiting for OpenSearch at %s.", cluster.url)
    while True:
        check_alive()
        try:
            get_json(cluster, path)
            _log.info("OpenSearch at %s is ready.", cluster.url)
            return
        except ClusterError as error:
            # An unready cluster answers 408 after the second it was given.
            _log.debug("Not yet: %s", error)
            if time.monotonic() > deadline:
                raise ClusterError(
                    f"OpenSearch at {cluster.url} was not ready after {timeout_s:g} s. "
                    f"Set a longer --timeout. Last attempt: {error}"
                ) from error
        time.sleep(0.2)
