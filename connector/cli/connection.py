"""The client of the commands that talk to OpenSearch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click
from opensearchpy import OpenSearch

from connector.cluster import find_cluster
from connector.index.client import check_server, connect

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
