"""Which OpenSearch to talk to, and how."""

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

from connector.errors import ClusterError

if TYPE_CHECKING:
    from connector.cluster.node import Node

Kind = Literal["given", "compose", "embedded"]


@dataclass(frozen=True)
class Cluster:
    """An OpenSearch that can be talked to."""

    url: str
    """Such as http://127.0.0.1:9200: no credentials in it, no slash at the end."""
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    kind: Kind = "given"
    """Who runs it: somebody else (OPENSEARCH_URL), Docker, or we as embedded nodes."""
    nodes: "tuple[Node, ...]" = ()
    """Handles of the nodes that this process started; empty otherwise."""


def connection_from_environment() -> Cluster | None:
    """Return the cluster that OPENSEARCH_URL, OPENSEARCH_USERNAME and OPENSEARCH_PASSWORD name, None without a URL.

    Raises:
        ClusterError: The URL is none, or only one of user name and password is set.
    """
    url = os.environ.get("OPENSEARCH_URL", "").strip()
    if not url:
        return None
    parts = urlsplit(url)
    if parts.username or parts.password:
        raise ClusterError(
            "OPENSEARCH_URL holds a user name or password. Take them out, and set OPENSEARCH_USERNAME and "
            "OPENSEARCH_PASSWORD instead."
        )
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ClusterError(f"OPENSEARCH_URL is {url!r}, not a URL such as http://127.0.0.1:9200. Correct it.")
    username = os.environ.get("OPENSEARCH_USERNAME") or None
    password = os.environ.get("OPENSEARCH_PASSWORD") or None
    if (username is None) != (password is None):
        missing = "OPENSEARCH_USERNAME" if username is None else "OPENSEARCH_PASSWORD"
        raise ClusterError(f"{missing} is not set, but its counterpart is. Set both or neither.")
    return Cluster(url.rstrip("/"), username, password)
