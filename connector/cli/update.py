"""`ksparse update`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from connector.cli.connection import connection_options, open_client
from connector.cli.options import device_option, index_encoder_option, quiet_option
from connector.cli.progress import documents
from connector.cli.stop import stoppable

if TYPE_CHECKING:
    from connector.ingest.update import Change
    from connector.types import MalformedRecord


@click.command(
    epilog="""\b
Examples:
  ksparse update changes.jsonl --index docs
  ksparse update changes.jsonl --index docs --upsert
  ksparse update --index docs --filter lang=de --set lang=de-AT --set reviewed=yes
\b
A line of CHANGES has the `_id` of a document and the keys that change; the others stay. Keys of `metadata` change one
by one, and null takes a key away. Documents are encoded again; one that another writer changes meanwhile is read anew.
"""
)
@click.argument("changes", required=False, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--index", required=True, help="Index that holds the documents.")
@index_encoder_option
@click.option("--filter", "filters", multiple=True, metavar="NAME=VALUE", help="Change what matches. Repeatable.")
@click.option(
    "--set",
    "values",
    multiple=True,
    metavar="NAME=VALUE",
    help="With --filter: a key of the metadata, or a field that the index declares, and its new value. Repeatable.",
)
@click.option("--upsert", is_flag=True, help="Make a document of a change whose document does not exist.")
@click.option(
    "--dead-letters",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Keep what fails in this file.  [default: INDEX.dead-letters.jsonl]",
)
@click.option("--batch-size", type=click.IntRange(1), default=32, show_default=True, help="Texts per forward pass.")
@device_option
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
@quiet_option
@connection_options
def update(
    changes: Path | None,
    index: str,
    encoder: str,
    filters: tuple[str, ...],
    values: tuple[str, ...],
    upsert: bool,
    dead_letters: Path | None,
    batch_size: int,
    device: str | None,
    as_json: bool,
    quiet: bool,
    insecure: bool,
    ca_certs: str | None,
) -> None:
    """Change documents of an index: those that the lines of CHANGES name, or those that match filters."""
    if (changes is None) != bool(filters) or bool(filters) != bool(values):
        raise click.UsageError("Give a file of changes, or --filter with --set.")
    client = open_client(insecure=insecure, ca_certs=ca_certs)
    from connector.cli.encoder import open_encoder
    from connector.cli.main import EXIT_DEAD_LETTERS
    from connector.cli.summary import print_summary
    from connector.corpus.read import count_records
    from connector.encoders.text import adapt
    from connector.index.delete import count_matching
    from connector.index.schema import check_encoder, existing_schema
    from connector.index.writer import BulkWriter
    from connector.ingest.update import DocumentUpdater, matching_changes, read_changes
    from connector.query import parse_filters

    schema = existing_schema(client, index)
    loaded = adapt(open_encoder(encoder, device=device, k=schema.encoder.k), schema.statistics, schema.code)
    check_encoder(schema, loaded.fingerprint)
    wanted: Iterator[Change | MalformedRecord]
    if changes is not None:
        wanted, total = read_changes(changes), count_records(changes, format="jsonl")
    else:
        try:
            clauses = parse_filters(filters, fields=tuple(schema.fields))
            wanted = matching_changes(client, index, clauses, _parse_values(values, tuple(schema.fields)))
        except ValueError as error:
            raise click.UsageError(str(error)) from error
        total = count_matching(client, index, clauses)
    updater = DocumentUpdater(
        client,
        BulkWriter(client, index),
        loaded,
        fields=tuple(schema.fields),
        upsert=upsert,
        dead_letters=dead_letters or Path(f"{index}.dead-letters.jsonl"),
        batch_size=batch_size,
    )
    with stoppable(), documents(quiet, total, f"updating {index}") as progress:
        result = updater.update(wanted, progress=progress)
    print_summary(index, result, as_json=as_json)
    if result.dead_lettered:
        raise SystemExit(EXIT_DEAD_LETTERS)


def _parse_values(expressions: tuple[str, ...], fields: tuple[str, ...]) -> dict[str, Any]:
    """The keys of a record that `NAME=VALUE` expressions set."""
    values: dict[str, Any] = {}
    for expression in expressions:
        name, separator, value = expression.partition("=")
        if not separator or not name:
            raise ValueError(f"--set {expression!r} is not of the form NAME=VALUE, e.g. lang=en.")
        if name in fields:
            values[name] = value
        else:
            values.setdefault("metadata", {})[name.removeprefix("metadata.")] = value
    return values
