"""`ksparse export`."""

from __future__ import annotations

from pathlib import Path

import click

from connector.cli.connection import ConnectionOptions, connection_options, open_client


@click.command(
    epilog="""\b
Examples:
  ksparse export my-encoder --index docs                       what searches and writes docs
  ksparse search "how do plants eat" --index docs --encoder my-encoder
  ksparse export my-encoder --encoder all-MiniLM-L6-v2         a head that several indices share
"""
)
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option("--index", help="Of which index the encoder is.")
@click.option("--encoder", help="Instead: an encoder by its name or folder.")
@connection_options
def export(folder: Path, index: str | None, encoder: str | None, connection: ConnectionOptions) -> None:
    """Write an encoder into FOLDER that needs neither torch nor sentence-transformers.

    `--encoder FOLDER` of search, ingest, update and replay takes it, for an index that exists. A dictionary of an
    index's own is not in the folder: the cluster keeps it.
    """
    if (index is None) == (encoder is None):
        raise click.UsageError("Name an index by --index, or an encoder by --encoder: one of both.")
    from connector.cli.encoder import open_encoder, open_index_encoder
    from connector.encoders.export import export_encoder
    from connector.index.schema import existing_schema

    if encoder is not None:
        loaded = open_encoder(encoder, device="cpu")
    else:
        client = open_client(connection)
        loaded = open_index_encoder(client, existing_schema(client, str(index)), device="cpu")
    export_encoder(loaded, folder)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    click.echo(f"{folder}: {size / 1e6:,.0f} MB, for {loaded.fingerprint.base_model}")
