"""Ask an OpenSearch about itself: one GET, and the wait until it is ready."""

import base64
import json
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from typing import Any

from connector.cluster.connection import Cluster
from connector.connection.tls import explain_tls
from connector.errors import ClusterError


def get_json(cluster: Cluster, path: str, *, timeout_s: float = 10.0) -> dict[str, Any]:
    """Return the parsed reply to a GET, a JSON object.

    Args:
        cluster: Whom to ask.
        path: Starts with a slash; may hold a query string.
        timeout_s: Seconds to wait for the reply.

    Raises:
        ClusterError: Nothing answers, or it answers with an error; the message says what to do.
    """
    request = urllib.request.Request(cluster.url + path, headers={"Accept": "application/json"})
    for name, value in _credentials(cluster, request.full_url).items():
        # Not sent on to where a redirect leads.
        request.add_unredirected_header(name, value)
    try:
        with _opener(cluster).open(request, timeout=timeout_s) as reply:
            parsed = json.load(reply)
    except urllib.error.HTTPError as error:
        with error:
            hint = {
                401: "Set OPENSEARCH_USERNAME and OPENSEARCH_PASSWORD.",
                403: f"The user {cluster.username!r} may not read this.",
            }.get(error.code, "Look into its log.")
            raise ClusterError(f"{cluster.url} answered GET {path} with status {error.code}. {hint}") from error
    except (OSError, ValueError) as error:
        told = explain_tls(cluster.url, error)
        if told is not None:
            raise ClusterError(told) from error
        reason = getattr(error, "reason", error)
        raise ClusterError(
            f"No OpenSearch answers at {cluster.url} ({reason}). "
            "Start one with `ksparse up`, or correct OPENSEARCH_URL."
        ) from error
    if not isinstance(parsed, dict):
        raise ClusterError(f"What answers at {cluster.url} is no OpenSearch. Correct OPENSEARCH_URL.")
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
    while True:
        check_alive()
        try:
            get_json(cluster, path)
            return
        except ClusterError as error:
            # An unready cluster answers 408 after the second it was given.
            if time.monotonic() > deadline:
                raise ClusterError(
                    f"OpenSearch at {cluster.url} was not ready after {timeout_s:g} s. "
                    f"Give it a longer --timeout. The last try: {error}"
                ) from error
        time.sleep(0.2)


def _opener(cluster: Cluster) -> urllib.request.OpenerDirector:
    # A proxy of the environment is for other machines; opensearch-py uses none either.
    handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]
    if cluster.url.startswith("https:"):  # reading the certificates takes longer than an answer of this machine
        context = ssl.create_default_context(cafile=cluster.ca_certs)
        if not cluster.verify_certs:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        handlers.append(urllib.request.HTTPSHandler(context=context))
    return urllib.request.build_opener(*handlers)


def _credentials(cluster: Cluster, url: str) -> Mapping[str, str]:
    """The headers that say who asks."""
    auth = cluster.http_auth()
    if auth is None:
        return {}
    if callable(auth):
        return auth("GET", url)
    return {"Authorization": "Basic " + base64.b64encode(":".join(auth).encode()).decode()}
