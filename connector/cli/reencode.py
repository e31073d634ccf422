"""`ksparse reencode`."""

from __future__ import annotations

import click

from connector.cli.connection import ConnectionOptions, connection_options, open_client
from connector.cli.options import (
    batch_size_option,
    dead_letters_path,
    device_option,
    idf_option,
    quiet_option,
    rescore_option,
)
from connector.cli.progress import documents
from connector.cli.stop import stoppable
from connector.limits import MAX_HITS
from connector.vectors.codes import Bits


@click.command(
    epilog="""\b
Examples:
  ksparse reencode docs --to docs-2 --encoder my-head
  ksparse reencode docs --to docs-2 --encoder my-head --no-switch      look at docs-2 first; the same again switches
  ksparse reencode docs --to docs-2 --rescore 4 --delete-old           where docs is an index, and no alias yet
\b
Documents are written with their versions: what is written into both indices meanwhile, with versions, stays as it is.
The old index is kept until it is deleted.
"""
)
@click.argument("alias")
@click.option("--to", "target", required=True, help="The new index; one that is there already is gone on with.")
@click.option("--encoder", default="all-MiniLM-L6-v2", show_default=True, help="To encode the documents with.")
@click.option("--old-encoder", help="The one that wrote the old index.  [default: the same]")
@click.option("--k", type=click.IntRange(1), help="Features kept per document.  [default: the encoder's]")
@idf_option
@rescore_option
@click.option("--sample", type=click.IntRange(1, MAX_HITS), default=200, show_default=True, help="Documents compared.")
@click.option(
    "--tolerance",
    type=click.FloatRange(0, 1),
    default=0.02,
    show_default=True,
    help="How much smaller a share of the sample the new index may find by their own first words.",
)
@click.option("--switch/--no-switch", default=True, show_default=True, help="Let ALIAS name the new index at the end.")
@click.option("--delete-old", is_flag=True, help="Delete the old index when the alias is switched.")
@batch_size_option
@device_option
@quiet_option
@connection_options
def reencode(
    alias: str,
    target: str,
    encoder: str,
    old_encoder: str | None,
    k: int | None,
    idf: bool,
    rescore: Bits | None,
    sample: int,
    tolerance: float,
    switch: bool,
    delete_old: bool,
    batch_size: int,
    device: str | None,
    quiet: bool,
    connection: ConnectionOptions,
) -> None:
    """Encode the documents of ALIAS (or an index) again, into a new index that then takes its place."""
    client = open_client(connection)
    from connector.cli.encoder import open_encoder
    from connector.cli.main import EXIT_DEAD_LETTERS, EXIT_FAILED
    from connector.cli.summary import name_replay, print_summary
    from connector.index.schema import existing_schema
    from connector.index.sizes import count_matching
    from connector.index.writer import BulkWriter
    from connector.ingest.pipeline import IngestJob
    from connector.ingest.prepare import prepare_encoder
    from connector.ingest.sample import Sampled
    from connector.search.reencode import compare_indices, copied_mappings, copied_settings, read_index, switch_alias
    from connector.search.retriever import Retriever

    schema = existing_schema(client, alias)
    settings = copied_settings(client, alias)
    own = open_encoder(encoder, device=device, k=k, idf=idf)
    same = not idf and old_encoder in (None, encoder) and own.k == schema.encoder.k
    before = own if same else open_encoder(old_encoder or encoder, device=device, k=schema.encoder.k)
    # Not the alias, which may hide documents by its filter.
    source = ",".join(schema.names)
    old = Retriever(client, source, before)
    records = Sampled(read_index(client, source))
    told = prepare_encoder(
        client,
        target,
        own,
        sample=records.sample,
        rescore=rescore,
        fields=schema.fields,
        mappings=copied_mappings(client, alias),
        settings=settings,
    )
    total = count_matching(client, source)
    letters = dead_letters_path(None, target)
    with stoppable(), documents(quiet, total, f"{alias} -> {target}") as progress:
        with IngestJob(
            BulkWriter(client, target), told, dead_letters=letters, batch_size=batch_size, progress=progress
        ) as job:
            job.add(records)
    print_summary(target, job.result, as_json=False)
    comparison = compare_indices(client, old, Retriever(client, target, own), sample=sample)
    click.echo(
        f"{comparison.sampled} documents compared: {len(comparison.differing)} differ; by their own first words "
        f"{alias} finds {comparison.found:.1%}, {target} {comparison.new_found:.1%}"
    )
    if objections := comparison.objections(tolerance):
        click.echo(f"{alias} stays as it is: {target} is not fit to take its place; {'; '.join(objections)}.", err=True)
        name_replay(target, job.result)
        raise SystemExit(EXIT_DEAD_LETTERS if job.result.dead_lettered else EXIT_FAILED)
    if switch:
        replaced = switch_alias(client, alias, target, delete_old=delete_old)
        fate = "deleted" if delete_old else "kept"
        click.echo(f"{alias} is now {target}" + (f"; {', '.join(replaced)} is {fate}" if replaced else ""))
    name_replay(target, job.result)
