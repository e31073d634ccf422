"""`ksparse replay`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from connector.cli.connection import ConnectionOptions, connection_options, open_client
from connector.cli.options import batch_size_option, device_option, index_encoder_option, quiet_option, summary_option
from connector.cli.progress import documents
from connector.cli.stop import stoppable
from connector.corpus.jsonl import parse_object
from connector.types import MalformedRecord


@click.command(
    epilog="""\b
Examples:
  ksparse replay docs.dead-letters.jsonl --index docs
  ksparse replay docs.dead-letters.jsonl --index docs --dead-letters still-bad.jsonl
\b
Mend what failed first: the line's `document`, its `raw`, or the index. What fails again is kept in a file of its own.
"""
)
@click.argument("letters", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--index", required=True, help="The index that they were meant for.")
@index_encoder_option
@click.option(
    "--dead-letters",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Keep what fails again in this file.  [default: LETTERS with .again before its suffix]",
)
@batch_size_option
@device_option
@summary_option
@quiet_option
@connection_options
def replay(
    letters: Path,
    index: str,
    encoder: str,
    dead_letters: Path | None,
    batch_size: int,
    device: str | None,
    as_json: bool,
    quiet: bool,
    connection: ConnectionOptions,
) -> None:
    """Send dead letters again, once what made them fail is mended."""
    from connector.cli.encoder import open_encoder
    from connector.cli.summary import conclude
    from connector.corpus.read import check_documents
    from connector.index.schema import existing_schema
    from connector.index.writer import BulkWriter
    from connector.ingest.pipeline import IngestJob
    from connector.ingest.prepare import encoder_of

    again = dead_letters or letters.with_suffix(f".again{letters.suffix}")
    if again.resolve() == letters.resolve():
        raise click.UsageError(f"{again} is what is read; keep what fails again in another file.")
    client = open_client(connection)
    schema = existing_schema(client, index)
    records = list(_read(letters))
    loaded = encoder_of(schema, open_encoder(encoder, device=device, k=schema.encoder.k))
    with stoppable(), documents(quiet, len(records), f"{letters} -> {index}") as progress:
        writer = BulkWriter(client, index)
        with IngestJob(writer, loaded, dead_letters=again, batch_size=batch_size, progress=progress) as job:
            job.add(check_documents(records, fields=schema.fields))
    conclude(index, job.result, as_json=as_json)


def _read(path: Path) -> Iterator[dict[str, Any] | MalformedRecord]:
    """The documents of a file of dead letters; of a record that was malformed, what its raw text says now."""
    # Not splitlines(), which also splits at U+2028 and others that JSON leaves as they are.
    for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), 1):
        if not line.strip():
            continue
        try:
            letter = json.loads(line)
            yield letter["document"] if "document" in letter else _parse(letter["raw"], f"{path}:{number}")
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise click.UsageError(
                f"{path}:{number} is no dead letter ({error!r}); mend the line or take it out."
            ) from error


def _parse(raw: str, location: str) -> dict[str, Any] | MalformedRecord:
    try:
        return parse_object(raw)
    except ValueError as error:
        return MalformedRecord(location, str(error), raw)
