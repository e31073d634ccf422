"""`ksparse export`."""

from __future__ import annotations

from pathlib import Path

import click

from connector.cli.connection import ConnectionOptions, connection_options, open_client
from connector.cli.encoder_option import encoder_option


@click.command(
    epilog="""\b
Examples:
  ksparse export my-encoder --index docs                       the encoder of docs
  ksparse search "how do plants eat" --index docs --encoder my-encoder
  ksparse export my-encoder --encoder all-MiniLM-L6-v2         a head shared by several indices
"""
)
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option("--index", help="Export the encoder of this index.")
@encoder_option("Export this encoder (name or folder) instead.")
@connection_options
def export(folder: Path, index: str | None, encoder: str | None, connection: ConnectionOptions) -> None:
    """Export an encoder to FOLDER that needs neither torch nor sentence-transformers.

    Use it with `--encoder FOLDER` of search, ingest, update and replay. The folder does not contain the dictionary of
    an index, which is stored in the cluster; a new index of 1,000 documents or more builds its own.
    """
    if (index is None) == (encoder is None):
        raise click.UsageError("Give either --index or --encoder.")
    from connector.cli.encoder import open_encoder, open_index_encoder
    from connector.encoders.export import export_encoder
    from connector.index.schema import existing_schema

    if encoder is not None:
        loaded = open_encoder(encoder, device="cpu")
    else:
        client = open_client(connection)
        loaded = open_index_encoder(client, existing_schema(client, str(index)), device="cpu", light=False)
    export_encoder(loaded, folder)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    click.echo(f"{folder}: {size / 1e6:,.0f} MB, for {loaded.fingerprint.base_model}")
