"""`ksparse replay`."""

from __future__ import annotations

from pathlib import Path

import click

from connector.cli.connection import ConnectionOptions, connection_options, open_client
from connector.cli.encoder_option import index_encoder_option
from connector.cli.layout import name_options
from connector.cli.options import (
    batch_size_option,
    check_outputs,
    device_option,
    generate_ids_option,
    quiet_option,
    summary_option,
)
from connector.cli.progress import documents
from connector.cli.stop import stoppable
from connector.corpus.layout import Layout


@click.command(
    epilog="""\b
Examples:
  ksparse replay docs.dead-letters.jsonl --index docs
  ksparse replay docs.dead-letters.jsonl --index docs --dead-letters still-bad.jsonl
\b
First fix the cause: correct `document`, `change` or `raw` in the file, or the index. Letters that succeed are removed
from the file, also those superseded because the document has changed in the index since.
"""
)
@click.argument("letters", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--index", required=True, help="Index of the dead letters.")
@index_encoder_option
@name_options
@generate_ids_option
@click.option(
    "--dead-letters",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Move letters that fail again to this file.  [default: keep them in LETTERS]",
)
@batch_size_option
@device_option
@summary_option
@quiet_option
@connection_options
def replay(
    letters: Path,
    index: str,
    encoder: str | None,
    generate_ids: bool,
    dead_letters: Path | None,
    batch_size: int,
    device: str | None,
    as_json: bool,
    quiet: bool,
    layout: Layout,
    connection: ConnectionOptions,
) -> None:
    """Retry the operations in dead letters after their cause was fixed."""
    if dead_letters is not None and dead_letters.resolve() == letters.resolve():
        raise click.UsageError(f"Letters that fail again stay in {letters} anyway; leave --dead-letters out.")
    if dead_letters is not None:
        check_outputs([], {"--dead-letters": dead_letters})
    if not letters.is_file():
        raise click.UsageError(f"{letters} is not a file: letters are removed from it. Give the path of the file.")
    from connector.cli.encoder import open_index_encoder
    from connector.cli.passed_on import encoder_to_name
    from connector.cli.summary import conclude, conclude_nothing
    from connector.errors import CorpusError
    from connector.index.schema import existing_schema
    from connector.index.writer import BulkWriter
    from connector.ingest.index_encoder import encoder_of
    from connector.ingest.replay import LetterReplayer, count_letters

    try:
        total = count_letters(letters)
    except CorpusError as error:
        raise click.UsageError(str(error)) from error
    if not total:
        conclude_nothing(index, f"{letters} contains no dead letters; there is nothing to replay.", as_json=as_json)
        return
    client = open_client(connection)
    schema = existing_schema(client, index)
    writer = BulkWriter(client, index)
    writer.target.check_single("changed")
    loaded = encoder_of(schema, open_index_encoder(client, schema, encoder, device=device))
    with stoppable(), documents(quiet, total, f"{letters} -> {index}") as progress:
        result = LetterReplayer(
            writer,
            loaded,
            fields=schema.fields,
            layout=layout,
            generate_ids=generate_ids,
            dead_letters=dead_letters,
            batch_size=batch_size,
            progress=progress,
        ).replay(letters)
    to_name = encoder_to_name(schema, encoder)
    conclude(index, result, as_json=as_json, backend=loaded.runtime, encoder=to_name)
