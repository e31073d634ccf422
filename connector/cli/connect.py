"""`ksparse connect`."""

from __future__ import annotations

from pathlib import Path

import click

from connector.cli.connection import ConnectionOptions, connection_options, open_client
from connector.cli.serve import api_key_file_option, read_keys
from connector.errors import ConnectorError


@click.command(
    epilog="""\b
Examples:
  ksparse connect docs                                  the service at http://127.0.0.1:8080
  ksparse connect docs --service http://ksparse:8080    the address as seen from OpenSearch
  ksparse connect docs --dry-run                        print the requests and send none
  ksparse connect docs --remove                         undo it
\b
Then OpenSearch encodes documents that any client writes into docs, and searches by text:
  curl 'localhost:9200/docs/_search?search_pipeline=ksparse-docs&q=how+do+plants+eat'
"""
)
@click.argument("index")
@click.option(
    "--service",
    default="http://127.0.0.1:8080",
    show_default=True,
    metavar="URL",
    help="Address of `ksparse serve` as seen from OpenSearch.",
)
@api_key_file_option
@click.option("--dry-run", is_flag=True, help="Print the requests, with secrets masked, without changing anything.")
@click.option("--remove", is_flag=True, help="Remove everything that an earlier run set up.")
@connection_options
def connect(
    index: str,
    service: str,
    api_key_file: Path | None,
    dry_run: bool,
    remove: bool,
    connection: ConnectionOptions,
) -> None:
    """Let OpenSearch encode the documents and queries of INDEX itself, through ML Commons.

    Creates two connectors, two models, an ingest pipeline (the index's final pipeline) and a search pipeline. Running
    the command again changes nothing unless the service, its key or the index has changed.
    """
    from connector.service.connect import check_service, connect_index, disconnect_index

    try:
        check_service(service)
    except ValueError as error:
        raise click.UsageError(f"--service: {error}") from error
    client = open_client(connection)

    def say(request: str) -> None:
        click.echo(request if dry_run else request.partition("\n")[0])

    if remove:
        if not disconnect_index(client, index, say=say, rehearse=dry_run):
            click.echo(f"Nothing was connected as {index}.", err=True)
        return
    keys = read_keys(api_key_file)
    if len(keys) > 1:
        raise ConnectorError(f"The key file has {len(keys)} keys; give a file with the one that OpenSearch is to send.")
    name = connect_index(client, index, service, key=keys[0] if keys else None, say=say, rehearse=dry_run)
    if not dry_run:
        click.echo(f"Connected: OpenSearch encodes documents written into {index}; search with search_pipeline={name}")
