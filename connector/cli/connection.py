"""The client of the commands that talk to OpenSearch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar

import click
from opensearchpy import OpenSearch

from connector.cluster import Cluster, find_cluster
from connector.connection.client import check_server

if TYPE_CHECKING:
    from connector.index.schema import IndexSchema
    from connector.search.retriever import Retriever

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class ConnectionOptions:
    """What the command line says of a connection, over what the environment says. It holds no secret."""

    insecure: bool = False
    ca_certs: str | None = None
    client_cert: str | None = None
    client_key: str | None = None
    proxy: str | None = None

    def apply(self, cluster: Cluster) -> Cluster:
        """The cluster, reached as the options say."""
        named = {
            name: value
            for name in ("ca_certs", "client_cert", "client_key", "proxy")
            if (value := getattr(self, name)) is not None
        }
        if self.insecure:
            named["verify_certs"] = False
        return replace(cluster, access=replace(cluster.access, **named))


def _without_credentials(_context: click.Context, _option: click.Parameter, value: str | None) -> str | None:
    if value is not None and "@" in value:
        raise click.BadParameter("others can read a command line; give a proxy's credentials in OPENSEARCH_PROXY.")
    return value


# Whole paths: a worker of Ray runs in another folder.
_file = click.Path(exists=True, dir_okay=False, resolve_path=True)
_file_or_folder = click.Path(exists=True, resolve_path=True)
_OPTIONS = (
    click.option("--insecure", is_flag=True, help="Do not verify the server's certificate."),
    click.option(
        "--ca-certs",
        type=_file_or_folder,
        help="CA certificates to trust: a PEM file or a folder.",
    ),
    click.option("--client-cert", type=_file, help="Client certificate (PEM)."),
    click.option("--client-key", type=_file, help="Key of the client certificate, if in another file."),
    click.option(
        "--proxy",
        metavar="URL",
        callback=_without_credentials,
        help="HTTP proxy, or '' for none.  [default: HTTPS_PROXY, HTTP_PROXY, NO_PROXY]",
    ),
)


def connection_options(command: F) -> F:
    """Add the options about the way to the server, which the command gets as `connection`.

    Address and credentials come from the environment, never from the command line.
    """

    @wraps(command)
    def gathered(
        *args: Any,  # noqa: ANN401
        insecure: bool,
        ca_certs: str | None,
        client_cert: str | None,
        client_key: str | None,
        proxy: str | None,
        **others: Any,
    ) -> Any:  # noqa: ANN401
        connection = ConnectionOptions(insecure, ca_certs, client_cert, client_key, proxy)
        return command(*args, connection=connection, **others)

    decorated: Any = gathered
    for option in reversed(_OPTIONS):
        decorated = option(decorated)
    return decorated  # type: ignore[no-any-return]


def open_client(connection: ConnectionOptions | None = None) -> OpenSearch:
    """Connect to the cluster of OPENSEARCH_URL, else to the one that `ksparse up` started, and ask who it is.

    Raises:
        ClusterError: There is none, or it is away, too old, or refuses the credentials.
    """
    cluster = (connection or ConnectionOptions()).apply(find_cluster())
    client = cluster.connect()
    if cluster.access.aws_service != "aoss":  # Serverless does not say who it is
        check_server(client)
    return client


def open_retriever(
    client: OpenSearch, schema: IndexSchema, encoder: str | None, *, device: str | None = None, light: bool = False
) -> Retriever:
    """Load the encoder of an index, `light` without torch where that is possible, and put it in front of a search."""
    from connector.cli.encoder import open_index_encoder
    from connector.search.retriever import Retriever

    return Retriever(client, schema.index, open_index_encoder(client, schema, encoder, device=device, light=light))
