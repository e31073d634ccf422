"""The OpenSearch to use, and the connection to it."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from opensearchpy import OpenSearch

from connector.connection.access import Access, access_from_environment, url_from_environment
from connector.connection.factory import make_client

if TYPE_CHECKING:
    from connector.cluster.node import Node

Kind = Literal["given", "compose", "embedded"]


@dataclass(frozen=True)
class Cluster:
    """An OpenSearch with its connection settings."""

    url: str
    """E.g. http://127.0.0.1:9200, or several joined by commas; without credentials and trailing slash."""
    access: Access = Access()
    """Credentials, certificates and proxy."""
    kind: Kind = "given"
    """How it runs: by itself (OPENSEARCH_URL), in Docker, or as embedded nodes."""
    nodes: "tuple[Node, ...]" = ()
    """Embedded nodes started by this process."""

    def connect(self, **options: Any) -> OpenSearch:
        """Create a client, without sending a request.

        Args:
            **options: Options of opensearch-py's client.

        Raises:
            ClusterError: A certificate cannot be read, or a requirement for signing requests is missing.
        """
        return make_client(self.url, self.access, **options)


def connection_from_environment() -> Cluster | None:
    """Return the cluster of OPENSEARCH_URL and related variables (`Access`); None without a URL.

    Raises:
        ClusterError: The URL is invalid, or the variables contradict each other.
    """
    url = url_from_environment()
    return None if url is None else Cluster(url, access_from_environment())
