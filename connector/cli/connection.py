"""Connection options and the client of commands that use OpenSearch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar

import click
from opensearchpy import OpenSearch
from opensearchpy.exceptions import AuthorizationException

from connector.cluster import Cluster, find_cluster
from connector.connection.client import check_server
from connector.errors import ClusterError

if TYPE_CHECKING:
    from connector.index.schema import IndexSchema
    from connector.search.retriever import Retriever

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class ConnectionOptions:
    """Connection options of the command line, which override the environment. Contains no secrets."""

    insecure: bool = False
    ca_certs: str | None = None
    client_cert: str | None = None
    client_key: str | None = None
    proxy: str | None = None

    def apply(self, cluster: Cluster) -> Cluster:
        """Return the cluster with these options applied."""
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
        raise click.BadParameter("other users can read command lines; give proxy credentials in OPENSEARCH_PROXY.")
    return value


# Absolute paths: Ray workers run in another folder.
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
        help="HTTP proxy, or '' for none.  [default: OPENSEARCH_PROXY, else HTTPS_PROXY, HTTP_PROXY or ALL_PROXY, "
        "except for NO_PROXY]",
    ),
)


def connection_options(command: F) -> F:
    """Add the connection options, passed to the command as `connection`.

    Address and credentials are read from the environment only.
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
    """Connect to OPENSEARCH_URL, else to the cluster that `ksparse up` started, and check its version.

    Raises:
        ClusterError: There is no cluster, or it is unreachable, too old, or rejects the credentials.
    """
    cluster = (connection or ConnectionOptions()).apply(find_cluster())
    client = cluster.connect()
    if cluster.access.aws_service != "aoss":  # Serverless does not report its version
        try:
            check_server(client)
        except ClusterError as error:
            if not isinstance(error.__cause__, AuthorizationException):
                raise
            # A user who may only use one index need not be permitted to read it.
    return client


def open_retriever(
    client: OpenSearch,
    schema: IndexSchema,
    encoder: str | None,
    *,
    device: str | None = None,
    light: bool | None = None,
) -> Retriever:
    """Load the encoder of an index and return its retriever; `light` as in `load_index_encoder`."""
    from connector.cli.encoder import open_index_encoder
    from connector.search.retriever import Retriever

    return Retriever(client, schema.index, open_index_encoder(client, schema, encoder, device=device, light=light))
