"""Which OpenSearch to talk to, and how."""

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
    """An OpenSearch that can be talked to."""

    url: str
    """Such as http://127.0.0.1:9200, or several joined by commas: no credentials in it, no slash at the end."""
    access: Access = Access()
    """Credentials, certificates and proxy."""
    kind: Kind = "given"
    """Who runs it: somebody else (OPENSEARCH_URL), Docker, or we as embedded nodes."""
    nodes: "tuple[Node, ...]" = ()
    """Handles of the nodes that this process started; empty otherwise."""

    def connect(self, **options: Any) -> OpenSearch:
        """Make a client; nothing is sent yet.

        Args:
            **options: Of opensearch-py's client.

        Raises:
            ClusterError: A certificate cannot be read, or requests are to be signed, and what that needs is missing.
        """
        return make_client(self.url, self.access, **options)


def connection_from_environment() -> Cluster | None:
    """Return the cluster that OPENSEARCH_URL and its companions name (`Access`), None without a URL.

    Raises:
        ClusterError: The URL is none, or the companions contradict each other.
    """
    url = url_from_environment()
    return None if url is None else Cluster(url, access_from_environment())
