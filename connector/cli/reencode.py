"""`ksparse reencode`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, get_args

import click

from connector.cli.connection import ConnectionOptions, connection_options, open_client
from connector.cli.encoder_option import encoder_option, new_encoder_option
from connector.cli.new_index import NewIndexChoice, check_copied, new_index_options, weighs_by_idf
from connector.cli.options import batch_size_option, dead_letters_path, device_option, quiet_option
from connector.cli.progress import documents, stages
from connector.cli.stop import stoppable
from connector.index.new_index import NewIndex
from connector.limits import MAX_HITS
from connector.vectors.codes import UniformBits

if TYPE_CHECKING:
    from opensearchpy import OpenSearch

    from connector.encoders.text import TextEncoder
    from connector.index.schema import IndexSchema
    from connector.query.settings import SearchSettings


@click.command(
    epilog="""\b
Examples:
  ksparse reencode docs --to docs-2 --encoder my-head
  ksparse reencode docs --to docs-2 --encoder my-head --no-switch   check docs-2 first; rerun without it to switch
  ksparse reencode docs --to docs-2 --encoder own                   a new dictionary after the documents changed
  ksparse reencode docs --to docs-2 --code-bits 4 --delete-old      if docs is an index and not an alias
\b
Documents keep their versions and routing: versioned writes that go to both indices meanwhile are not overwritten. If
the new index exists, e.g. after a run that stopped, all documents are encoded again, and newer ones in it are kept. The
old index is kept unless --delete-old is given. Fields and the default ingest pipeline are copied, and the bits of codes
as well unless a new dictionary is built (then give --code-bits again); tuned settings are copied if model and head stay
the same.
"""
)
@click.argument("alias")
@click.option("--to", "target", required=True, help="Target index; created if missing.")
@new_encoder_option("Encoder of the new index; `own` builds a new dictionary.  [default: the one that wrote ALIAS]")
@encoder_option("Encoder that wrote ALIAS, or a copy.  [default: the one that the index names]", "--old-encoder")
@click.option(
    "--k",
    type=click.IntRange(1),
    help="Features kept per document.  [default: unchanged for the same encoder, else that of the new encoder]",
)
@new_index_options("idf", "code_bits")
@click.option(
    "--sample", type=click.IntRange(1, MAX_HITS), default=200, show_default=True, help="Number of documents to compare."
)
@click.option(
    "--tolerance",
    type=click.FloatRange(0, 1),
    default=0.02,
    show_default=True,
    help="Largest allowed drop in known-item recall on the sample; a larger one must also be significant (p < 0.01).",
)
@click.option("--switch/--no-switch", default=True, show_default=True, help="Switch ALIAS to the new index at the end.")
@click.option("--delete-old", is_flag=True, help="Delete the old index after the switch.")
@batch_size_option
@device_option
@quiet_option
@connection_options
def reencode(
    alias: str,
    target: str,
    encoder: str | None,
    old_encoder: str | None,
    k: int | None,
    new: NewIndexChoice,
    sample: int,
    tolerance: float,
    switch: bool,
    delete_old: bool,
    batch_size: int,
    device: str | None,
    quiet: bool,
    connection: ConnectionOptions,
) -> None:
    """Re-encode the documents of ALIAS (or an index) into a new index and switch the alias to it."""
    if delete_old and not switch:
        raise click.UsageError("--delete-old and --no-switch contradict each other; choose one.")
    new.check_own(encoder, k=k)
    client = open_client(connection)
    from connector.index.names import check_index_name
    from connector.index.pipelines import PIPELINE_PREFIX
    from connector.index.probe import probe_write
    from connector.index.schema import (
        check_fields,
        check_new_index,
        existing_schema,
        read_further_mappings,
        read_schema,
    )
    from connector.search.reencode import check_switch, check_target, copied_settings

    schema = existing_schema(client, alias)
    settings, mappings = copied_settings(client, alias), read_further_mappings(client, alias)
    there = read_schema(client, target)
    check_target(schema, target, there)
    if there is None:
        check_index_name(target, new=True)
    if switch:
        check_switch(client, alias, target, delete_old=delete_old)
    if there is None:
        if encoder is None:
            check_copied(schema, k, idf=bool(new.idf))
        check_new_index(client, target, NewIndex(mappings=mappings, settings=settings))
    else:
        new.check_existing(client, there, k=k, encoder=encoder)
        check_fields(there, schema.fields)
        probe_write(client, target)
    from connector.cli.main import EXIT_DEAD_LETTERS, EXIT_FAILED
    from connector.cli.passed_on import encoder_to_name
    from connector.cli.summary import name_replay, print_summary
    from connector.encoders.folders import OWN_ENCODER
    from connector.index.patience import patiently
    from connector.index.sizes import count_matching
    from connector.search.reencode import RandomTexts, compare_indices, final_pipelines, read_index, switch_alias
    from connector.search.retriever import Retriever
    from connector.search.sparse_index import SparseIndex

    named = None if encoder == OWN_ENCODER else encoder
    builds = encoder == OWN_ENCODER and there is None
    before, after = _open_encoders(client, schema, there, named, old_encoder, k=k, idf=bool(new.idf), device=device)
    builds = builds or (there is None and after.needs_dictionary)
    # Not by the alias, whose filter may hide documents.
    source = ",".join(schema.names)
    old = Retriever(client, source, before)
    if new.code_bits is None and not builds:
        new = replace(new, code_bits=_bits_kept(schema, after))
    total = count_matching(client, source)
    new_index = new.to_new_index(
        dictionary=builds,
        search=None if builds else _settings_kept(schema, after),
        mappings=mappings,
        settings=settings,
    )
    written = SparseIndex(target, encoder=after, client=client, new=new_index)
    with stages(quiet or not builds) as report:
        written.prepare(RandomTexts(client, source), documents=total, progress=report)
    letters = dead_letters_path(None, target)
    with stoppable(), documents(quiet, total, f"{alias} -> {target}") as progress:
        with written.job(dead_letters=letters, batch_size=batch_size, progress=progress) as job:
            job.add(read_index(client, source))
    print_summary(target, job.result, as_json=False, backend=written.encoder.runtime)
    superseded = job.result.superseded_ids
    comparison = patiently(
        lambda: compare_indices(client, old, written.retriever, sample=sample, superseded=superseded),
        what=f"Comparing {alias!r} with {target!r}",
        given_up=f"{alias!r} could not be compared with {target!r}",
    )
    click.echo(
        f"{comparison.sampled} documents compared: {len(comparison.differing)} differ; known-item recall of "
        f"{alias} {comparison.found:.1%}, of {target} {comparison.new_found:.1%}"
    )
    objections = comparison.objections(tolerance)
    if job.result.dead_lettered and not objections:
        objections = [f"{job.result.dead_lettered:,} documents, which it holds already, are dead letters now"]
    if objections:
        click.echo(f"{alias} was not switched to {target}: {'; '.join(objections)}.", err=True)
        name_replay(target, job.result, encoder=encoder_to_name(there, named))
        raise SystemExit(EXIT_DEAD_LETTERS if job.result.dead_lettered else EXIT_FAILED)
    if switch:
        connected = [
            each for each in final_pipelines(client, schema.names).values() if each.startswith(PIPELINE_PREFIX)
        ]
        replaced = switch_alias(client, alias, target, delete_old=delete_old)
        fate = "deleted" if delete_old else "kept"
        click.echo(f"{alias} is now {target}" + (f"; {', '.join(replaced)} is {fate}" if replaced else ""))
        moved = connected and set(connected) != {f"{PIPELINE_PREFIX}{alias}"}
        if moved or (connected and written.retriever.schema.space != schema.space):
            click.echo(
                f"OpenSearch still encodes for {', '.join(schema.names)}; run `ksparse connect {alias}` again.",
                err=True,
            )


def _bits_kept(schema: IndexSchema, after: TextEncoder) -> str | None:
    """The code bits of the old index, if the new encoder supports them."""
    if schema.code is None or after.head is None:
        return "none"
    fits = schema.code.bits in get_args(UniformBits) or after.has_dictionary
    return str(schema.code.bits) if fits else None


def _settings_kept(schema: IndexSchema, after: TextEncoder) -> SearchSettings | None:
    """The search settings of the old index, if the new encoder has the same weights: the best ones depend on these."""
    from connector.encoders.adapt import adapt

    calibrated = adapt(after, schema.statistics, None)
    return schema.search if calibrated.fingerprint.weights_sha256 == schema.encoder.weights_sha256 else None


def _open_encoders(
    client: OpenSearch,
    schema: IndexSchema,
    there: IndexSchema | None,
    encoder: str | None,
    old_encoder: str | None,
    *,
    k: int | None,
    idf: bool,
    device: str | None,
) -> tuple[TextEncoder, TextEncoder]:
    """Load the encoders of the old and the new index, which may be the same."""
    from connector.cli.encoder import open_index_encoder, open_new_encoder
    from connector.encoders.folders import lasting_name

    before = open_index_encoder(client, schema, old_encoder, device=device)
    if there is not None:
        return before, open_index_encoder(client, there, encoder, device=device)
    if encoder is not None and lasting_name(encoder) != before.name:
        return before, open_new_encoder(encoder, device=device, k=k, idf=idf)
    k, idf = k or schema.encoder.k, idf or weighs_by_idf(schema)
    if k == schema.encoder.k and not idf:
        return before, before
    return before, open_new_encoder(before.name, device=device, k=k, idf=idf)
