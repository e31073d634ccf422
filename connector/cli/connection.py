"""The client of the commands that talk to OpenSearch."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click
from opensearchpy import OpenSearch

from connector.cluster import find_cluster
from connector.connection.client import check_server, connect
from connector.index.schema import existing_schema

if TYPE_CHECKING:
    from connector.search.retriever import Retriever

F = TypeVar("F", bound=Callable[..., Any])


def connection_options(command: F) -> F:
    """Add the options about TLS; address and credentials come from the environment, never from the command line."""
    insecure = click.option("--insecure", is_flag=True, help="Do not verify the server's certificate.")
    ca_certs = click.option("--ca-certs", type=click.Path(exists=True, dir_okay=False), help="Certificates to trust.")
    return ca_certs(insecure(command))


def open_client(*, insecure: bool = False, ca_certs: str | None = None) -> OpenSearch:
    """Connect to the cluster of OPENSEARCH_URL, else to the one that `ksparse up` started, and ask who it is.

    Raises:
        ClusterError: There is none, or it is away, too old, or refuses the credentials.
    """
    cluster = find_cluster()
    client = connect(
        cluster.url,
        http_auth=cluster.http_auth(),
        verify_certs=not insecure,
        ca_certs=ca_certs,
    )
    if cluster.aws_service != "aoss":  # Serverless does not say who it is
        check_server(client)
    return client


def open_retriever(client: OpenSearch, index: str, encoder: str, *, device: str | None = None) -> Retriever:
    """Load the encoder of an index, with as many features as the index holds, and put it in front of a search."""
    # Before torch is imported: whether there is such an index.
    k = existing_schema(client, index).encoder.k
    from connector.cli.encoder import open_encoder
    from connector.search.retriever import Retriever

    return Retriever(client, index, open_encoder(encoder, device=device, k=k))
