"""Which OpenSearch to talk to, and how."""

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, get_args
from urllib.parse import urlsplit

from connector.connection.aws import Service, Signer, aws_signer
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
    aws_service: Service | None = None
    """Requests are signed for it (SigV4), with what botocore finds; instead of a user name."""
    verify_certs: bool = True
    ca_certs: str | None = None
    """A file of certificates to trust; with None, those of the system."""
    nodes: "tuple[Node, ...]" = ()
    """Handles of the nodes that this process started; empty otherwise."""

    def http_auth(self) -> "tuple[str, str] | Signer | None":
        """Return the credentials as `connect` takes them.

        Raises:
            ClusterError: Requests are to be signed, and botocore, its credentials or a region are missing.
        """
        if self.aws_service is not None:
            return aws_signer(self.aws_service)
        return None if self.username is None else (self.username, self.password or "")


def connection_from_environment() -> Cluster | None:
    """Return the cluster that OPENSEARCH_URL, OPENSEARCH_USERNAME and OPENSEARCH_PASSWORD name, None without a URL.

    OPENSEARCH_AWS_SERVICE (es or aoss) in place of the latter two has requests signed for AWS.

    Raises:
        ClusterError: The URL is none, only one of user name and password is set, or the service is unknown or beside
            a user name.
    """
    url = os.environ.get("OPENSEARCH_URL", "").strip()
    if not url:
        return None
    if "@" in url:
        raise ClusterError(
            "OPENSEARCH_URL holds a user name or password. Take them out, and set OPENSEARCH_USERNAME and "
            "OPENSEARCH_PASSWORD instead."
        )
    try:
        parts = urlsplit(url)
        readable = parts.port != 0
    except ValueError:
        readable = False
    if not readable:  # and not shown: what stands where a port should may be a password
        raise ClusterError("OPENSEARCH_URL cannot be read: is its port a number? Correct it.")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ClusterError(f"OPENSEARCH_URL is {url!r}, not a URL such as http://127.0.0.1:9200. Correct it.")
    username = os.environ.get("OPENSEARCH_USERNAME") or None
    password = os.environ.get("OPENSEARCH_PASSWORD") or None
    if (username is None) != (password is None):
        missing = "OPENSEARCH_USERNAME" if username is None else "OPENSEARCH_PASSWORD"
        raise ClusterError(f"{missing} is not set, but its counterpart is. Set both or neither.")
    service = os.environ.get("OPENSEARCH_AWS_SERVICE") or None
    if service is not None and service not in get_args(Service):
        raise ClusterError(f"OPENSEARCH_AWS_SERVICE is {service!r}; set es, or aoss for Serverless.")
    if service is not None and username is not None:
        raise ClusterError("OPENSEARCH_AWS_SERVICE and OPENSEARCH_USERNAME are both set. Unset one of them.")
    return Cluster(url.rstrip("/"), username, password, aws_service=service)  # type: ignore[arg-type]
