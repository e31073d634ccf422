"""`ksparse delete`."""

from __future__ import annotations

from pathlib import Path

import click

from connector.cli.connection import ConnectionOptions, connection_options, open_client
from connector.cli.layout import check_encoding, encoding_option
from connector.cli.options import dead_letters_path, filter_clauses, quiet_option
from connector.cli.progress import documents
from connector.cli.stop import stoppable
from connector.corpus.lines import read_entries
from connector.corpus.values import to_ids
from connector.types import Deletion

_IDS_HELP = "File with one id per line; surrounding spaces are ignored."


@click.command(
    epilog="""\b
Examples:
  ksparse delete --index docs --id plants --id cats
  ksparse delete --index docs --ids gone.txt           one id per line; - for standard input
  ksparse delete --index docs --filter lang=de         documents that match every filter, after confirmation
"""
)
@click.option("--index", required=True, help="Index or alias to delete from.")
@click.option(
    "--id", "ids", multiple=True, help="Id of a document to delete; a missing one is not an error. Repeatable."
)
@click.option("--ids", "file", type=click.Path(exists=True, dir_okay=False, allow_dash=True), help=_IDS_HELP)
@encoding_option
@click.option("--routing", help="Routing of the documents that --id and --ids name.  [default: their own]")
@click.option("--filter", "filters", multiple=True, metavar="NAME=VALUE", help="Delete matching documents. Repeatable.")
@click.option("--yes", is_flag=True, help="Delete by filter without confirmation.")
@quiet_option
@connection_options
def delete(
    index: str,
    ids: tuple[str, ...],
    file: str | None,
    encoding: str | None,
    routing: str | None,
    filters: tuple[str, ...],
    yes: bool,
    quiet: bool,
    connection: ConnectionOptions,
) -> None:
    """Delete documents of an index by id or by filters."""
    if bool(filters) == bool(ids or file):
        raise click.UsageError("Select documents by --id and --ids, or by --filter, not both.")
    if filters and routing is not None:
        raise click.UsageError("--routing needs --id or --ids; filters match documents of any routing.")
    if not all(map(str.strip, ids)):
        raise click.UsageError("--id is blank; give the id of a document.")
    try:
        to_ids(ids)
    except ValueError as error:
        raise click.UsageError(f"--id {error}") from error
    check_encoding(encoding)
    listed = read_entries(None if file == "-" else Path(file), encoding) if file is not None else ()
    named = [*ids, *listed]
    if not filters and not named:
        click.echo(f"{'Standard input' if file == '-' else file} has no ids; there is nothing to delete.", err=True)
        return
    client = open_client(connection)
    from connector.cli.summary import conclude
    from connector.index.delete import delete_matching, number_deleted
    from connector.index.probe import probe_write
    from connector.index.schema import existing_schema
    from connector.index.sizes import count_matching
    from connector.index.writer import BulkWriter
    from connector.ingest.pipeline import IngestJob

    schema = existing_schema(client, index)
    if filters:
        clauses = filter_clauses(schema, filters)
        matching = count_matching(client, index, clauses)
        if not yes:
            click.confirm(f"Delete {matching:,} documents of {index}?", abort=True)
        with documents(quiet, matching, f"deleting from {index}") as progress:
            done = delete_matching(client, index, clauses, progress=progress)
        click.echo(f"{index}: {number_deleted(done, index):,} deleted")
        return
    letters = dead_letters_path(None, index)
    writer = BulkWriter(client, index)
    writer.target.check_single("deleted")
    probe_write(client, index, deletes=True)
    with stoppable(), documents(quiet, len(named), f"deleting from {index}") as progress:
        with IngestJob(writer, dead_letters=letters, progress=progress) as job:
            job.add(Deletion(name, routing=routing) for name in named)
    conclude(index, job.result)
