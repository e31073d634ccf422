"""`ksparse update`."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import click

from connector.cli.connection import ConnectionOptions, connection_options, open_client
from connector.cli.encoder_option import index_encoder_option
from connector.cli.options import (
    batch_size_option,
    check_outputs,
    dead_letters_option,
    dead_letters_path,
    device_option,
    filter_clauses,
    quiet_option,
    summary_option,
)
from connector.cli.progress import documents
from connector.cli.stop import stoppable


@click.command(
    epilog="""\b
Examples:
  ksparse update changes.jsonl --index docs
  ksparse update changes.jsonl --index docs --upsert
  ksparse update --index docs --filter lang=de --set lang=de-AT --set reviewed=yes
\b
A line of CHANGES has the `_id` of a document and the keys to change; other keys are kept. `metadata` is merged key by
key, and null removes a key. Documents are encoded again; one that is changed concurrently is read again, and must
still match the filter.
"""
)
@click.argument(
    "changes", required=False, type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path)
)
@click.option("--index", required=True, help="Index that holds the documents.")
@index_encoder_option
@click.option("--filter", "filters", multiple=True, metavar="NAME=VALUE", help="Change matching documents. Repeatable.")
@click.option(
    "--set",
    "values",
    multiple=True,
    metavar="NAME=VALUE",
    help="With --filter: new value of a metadata key or declared field. Repeatable.",
)
@click.option("--upsert", is_flag=True, help="Create documents that do not exist yet.")
@dead_letters_option
@batch_size_option
@device_option
@summary_option
@quiet_option
@connection_options
def update(
    changes: Path | None,
    index: str,
    encoder: str | None,
    filters: tuple[str, ...],
    values: tuple[str, ...],
    upsert: bool,
    dead_letters: Path | None,
    batch_size: int,
    device: str | None,
    as_json: bool,
    quiet: bool,
    connection: ConnectionOptions,
) -> None:
    """Update documents of an index: those listed in CHANGES (- for standard input), or those that match filters."""
    if (changes is None) != bool(filters) or bool(filters) != bool(values):
        raise click.UsageError("Give a file of changes, or --filter with --set.")
    if upsert and filters:
        raise click.UsageError("--upsert needs a file of changes: a filter matches only documents that exist.")
    from connector.corpus.source import find_source, format_of

    letters = dead_letters_path(dead_letters, index)
    if changes is not None:
        kind = format_of(changes)
        if kind not in (None, "jsonl"):
            raise click.UsageError(
                f"{changes} is {kind}; changes are JSON lines, each an object with _id and the keys to change."
            )
    read = [] if changes is None else [find_source(changes, "jsonl").path]
    check_outputs(read, {"--dead-letters": letters})
    client = open_client(connection)
    from connector.cli.encoder import open_index_encoder
    from connector.cli.passed_on import encoder_to_name
    from connector.cli.summary import conclude, conclude_nothing
    from connector.corpus.read import count_records
    from connector.index.probe import probe_write
    from connector.index.schema import existing_schema
    from connector.index.sizes import count_matching
    from connector.index.writer import BulkWriter
    from connector.ingest.index_encoder import encoder_of
    from connector.ingest.update import DocumentUpdater, read_changes

    schema = existing_schema(client, index)
    probe_write(client, index)
    writer = BulkWriter(client, index)
    writer.target.check_single("changed")
    clauses, new_values = filter_clauses(schema, filters), _parse_values(values, schema.fields)
    if changes is not None:
        total = count_records(changes, format="jsonl")
    else:
        writer.refresh()  # a filter matches what searches see
        total = count_matching(client, index, clauses)
    if total == 0:
        reason = f"{changes} contains no changes" if changes is not None else f"no document of {index} matches"
        conclude_nothing(index, f"{reason}; there is nothing to update.", as_json=as_json)
        return
    loaded = encoder_of(schema, open_index_encoder(client, schema, encoder, device=device))
    updater = DocumentUpdater(
        client,
        writer,
        loaded,
        fields=schema.fields,
        upsert=upsert,
        dead_letters=letters,
        batch_size=batch_size,
    )
    with stoppable(), documents(quiet, total, f"updating {index}") as progress:
        if changes is not None:
            result = updater.update(read_changes(changes), progress=progress)
        else:
            result = updater.update_matching(clauses, new_values, progress=progress)
    to_name = encoder_to_name(schema, encoder)
    conclude(index, result, as_json=as_json, backend=loaded.runtime, encoder=to_name)


def _parse_values(expressions: tuple[str, ...], fields: Collection[str]) -> dict[str, Any]:
    """The record that `NAME=VALUE` expressions describe."""
    values: dict[str, Any] = {}
    for expression in expressions:
        name, separator, value = expression.partition("=")
        if not separator or not name:
            raise click.UsageError(f"--set {expression!r} is not of the form NAME=VALUE, e.g. lang=en.")
        if name in ("_id", "_version", "_routing"):
            raise click.UsageError(
                f"--set {name} is not possible: a document keeps its {name}; ingest it under another."
            )
        if name in ("title", "text"):
            raise click.UsageError(
                f"--set {name} would give all documents the same {name}; give a file of changes, or set metadata.{name}"
                " for a key of the metadata."
            )
        if name in fields:
            values[name] = value
        else:
            values.setdefault("metadata", {})[name.removeprefix("metadata.")] = value
    return values
