"""`ksparse ingest`."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from connector.cli.connection import ConnectionOptions, connection_options, open_client
from connector.cli.layout import layout_options
from connector.cli.new_index import NewIndexChoice, new_index_options
from connector.cli.options import (
    check_outputs,
    dead_letters_path,
    devices_option,
    quiet_option,
    record_options,
    summary_option,
    writing_options,
)
from connector.cli.progress import documents, stages
from connector.cli.stop import stoppable
from connector.corpus.layout import Layout
from connector.errors import CheckpointError, IndexMappingError

_MAX_FITTED = 50_000


@click.command(
    epilog="""\b
Examples:
  ksparse ingest corpus.jsonl --index docs
  ksparse ingest beir/scifact --index scifact
  ksparse ingest articles.csv --index articles --field year:integer
  ksparse ingest part-*.parquet --index docs
  ksparse ingest pyserini.jsonl --index docs --text-field contents
  zcat dump.jsonl.gz | ksparse ingest - --index docs
  ksparse ingest corpus.jsonl --index docs --dry-run          expected size, time and failures
  ksparse ingest corpus.jsonl --index docs --encoder bert-tiny-splade-ht --posting-budget 0.8
  ksparse ingest corpus.jsonl --index docs --encoder all-MiniLM-L6-v2 --code-bits none      features only, least disk
\b
A record has _id (or id), text and optionally title and metadata. In CSV, TSV, Parquet and dumps every other
column becomes metadata. Exit status 3: finished, but some records are dead letters.
"""
)
@click.argument("corpus", nargs=-1, required=True)
@record_options
@layout_options
@click.option("--strict", is_flag=True, help="Stop at the first record that fails.")
@click.option(
    "--dry-run", is_flag=True, help="Estimate size, time and failures from 2,000 documents (uses a temporary index)."
)
@click.option(
    "--documents",
    "expected",
    type=click.IntRange(1),
    help="Expected number of documents, which sets the size of a dictionary.  [default: counted or estimated; 10,000 "
    "for standard input]",
)
@click.option("--resume", is_flag=True, help="Resume where the last run of the same command stopped.")
@click.option(
    "--checkpoint",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Checkpoint file of the run.  [default: INDEX.checkpoint.json; none for standard input]",
)
@click.option(
    "--fit",
    type=click.Path(file_okay=False, path_type=Path),
    help="Fit a head to the corpus and save it here first; an existing head is reused.",
)
@click.option(
    "--fit-minutes", type=click.FloatRange(min=0, min_open=True), help="Minutes to train for --fit.  [default: 10]"
)
@new_index_options()
@writing_options
@click.option("--max-in-flight", type=click.IntRange(1), default=4, show_default=True, help="Concurrent requests.")
@devices_option
@summary_option
@quiet_option
@connection_options
def ingest(
    corpus: tuple[str, ...],
    index: str,
    encoder: str | None,
    k: int | None,
    fields: dict[str, str],
    file_format: str | None,
    generate_ids: bool,
    strict: bool,
    dead_letters: Path | None,
    dry_run: bool,
    expected: int | None,
    resume: bool,
    checkpoint: Path | None,
    fit: Path | None,
    fit_minutes: float | None,
    new: NewIndexChoice,
    batch_size: int,
    chunk_size: int,
    max_in_flight: int,
    devices: tuple[str, ...],
    as_json: bool,
    quiet: bool,
    layout: Layout,
    connection: ConnectionOptions,
) -> None:
    """Encode a corpus and index it.

    CORPUS is a JSONL, JSON, CSV, TSV or Parquet file, compressed or not, a BEIR folder or a folder of such files,
    several of these, or - for standard input.
    """
    fitted = fit is not None and (fit / "config.json").is_file()
    _check_options(corpus, dry_run, resume, checkpoint, fit_minutes, fits=fit is not None and not fitted, fit=fit)
    new.check_own(encoder, k=k, fit=fit is not None)
    client = open_client(connection)
    from connector.corpus.estimate import estimate_records
    from connector.corpus.read import count_records, read_corpus
    from connector.corpus.source import CHECKPOINT_END, STANDARD_INPUT, Format, digest_source, find_sources
    from connector.index.names import check_index_name
    from connector.index.probe import probe_write
    from connector.index.schema import check_new_index, read_schema, read_uuid
    from connector.ingest.checkpoint import Checkpoint
    from connector.ingest.sample import MAX_SAMPLED, Sampled
    from connector.training.heads.settings import MIN_DOCUMENTS, check_documents

    kind: Format | None = file_format  # type: ignore[assignment]
    path = checkpoint or Path(f"{index}{CHECKPOINT_END}")
    letters = dead_letters_path(dead_letters, index)
    files = [each.path for each in find_sources(corpus, kind)]
    check_outputs(files, {"--dead-letters": letters, "--checkpoint": path})
    name = corpus[0] if len(corpus) == 1 else f"{corpus[0]} and {len(corpus) - 1} more"
    source = "" if name == STANDARD_INPUT and not resume else digest_source(corpus, kind, layout)
    check_index_name(index)
    schema = read_schema(client, index)

    def point_of(encoder: str) -> Checkpoint:
        return Checkpoint(path, {"input": source, "encoder": encoder, "index": f"{index} {read_uuid(client, index)}"})

    if schema is not None:
        new.check_existing(client, schema, k=k, fields=fields, encoder=encoder)
        if fit is not None and not fitted:
            raise IndexMappingError(
                f"Index {index!r} exists, written by encoder {schema.encoder}; a head fitted now would be a "
                "different encoder. Leave --fit out, or ingest into a new index."
            )
        probe_write(client, index)
        if resume:
            point_of(schema.encoder.digest).load()
    elif resume:
        raise CheckpointError(f"There is no index {index!r} to resume. Leave --resume out.")
    else:
        try:
            check_new_index(client, index, new.to_new_index(fields=fields))
        except ValueError as error:
            raise click.UsageError(str(error)) from error
    known_fields = {**(schema.fields if schema is not None else {}), **fields}
    records = Sampled(read_corpus(corpus, fields=known_fields, format=kind, generate_ids=generate_ids, layout=layout))
    total = count_records(corpus, format=kind)
    # Before slow imports and loading.
    if fit is not None and not fitted:
        check_documents(len(records.sample(MIN_DOCUMENTS)))
    nothing = schema is None and not dry_run and not records.sample(1)
    from connector.cli.encoder import open_index_encoder, open_new_encoder
    from connector.cli.passed_on import encoder_to_name
    from connector.cli.summary import conclude, print_growth_advice
    from connector.encoders.folders import DEFAULT_ENCODER, OWN_ENCODER
    from connector.index.writer import BulkWriter
    from connector.ingest.index_encoder import encoder_of
    from connector.ingest.pipeline import IngestJob
    from connector.search.growth import small_corpus_note
    from connector.search.sparse_index import SparseIndex

    if nothing:
        with stoppable(), documents(quiet, total, f"{name} -> {index}") as progress:
            writer = BulkWriter(client, index)
            with IngestJob(writer, dead_letters=letters, strict=strict, refresh=False, progress=progress) as job:
                job.add(records)
        click.echo(f"Index {index} was not created: the input contains no documents.", err=True)
        conclude(index, job.result, as_json=as_json, created=False)
        return
    device = devices[0] if devices else None
    named = str(fit) if fitted else None if encoder == OWN_ENCODER else encoder
    # Copies for several devices need torch, and so does training.
    light = False if len(devices) > 1 or (fit is not None and not fitted) else None
    if schema is not None:
        loaded = encoder_of(schema, open_index_encoder(client, schema, named, device=device, light=light))
    else:
        loaded = open_new_encoder(named or DEFAULT_ENCODER, device=device, k=k, idf=bool(new.idf), light=light)
    if fit is not None and not fitted:
        from connector.cli.fit import fitted_encoder

        loaded = fitted_encoder(
            fit,
            loaded,
            records.sample(_MAX_FITTED),
            name=name,
            documents=total,
            k=k,
            minutes=fit_minutes or 10,
            device=device,
            quiet=quiet,
        )
    calibrate = new.calibrate is not False and fit is None and schema is None
    builds = calibrate and (new.builds_dictionary(named, k) or loaded.needs_dictionary)
    if expected is not None and not builds:
        raise click.UsageError("--documents sets the size of a dictionary, and this run builds none; leave it out.")
    new_index = new.to_new_index(fields=fields, dictionary=builds, calibrate=calibrate)
    if dry_run:
        from connector.cli.dry_run import like_existing, print_prediction
        from connector.ingest.predict import predict

        if schema is not None:
            new_index = like_existing(client, schema, new_index)
        with documents(quiet, total, f"reading {name}") as progress:
            prediction = predict(
                client,
                loaded,
                records,
                new=new_index,
                chunk_size=chunk_size,
                batch_size=batch_size,
                progress=progress,
            )
        print_prediction(index, prediction, as_json=as_json)
        return
    written = SparseIndex(index, encoder=loaded, client=client, new=new_index)
    if builds and expected is None:
        expected = total if total is not None else estimate_records(corpus, format=kind, layout=layout)
        if total is None and not quiet and (expected or len(records.sample(MAX_SAMPLED))) >= MAX_SAMPLED:
            click.echo(_size_note(index, expected), err=True)
    with stages(quiet or not builds) as report:
        loaded = written.prepare(records.sample, documents=expected, progress=report)
    if builds and not loaded.has_dictionary and not quiet:
        click.echo(small_corpus_note(index, len(records.sample())), err=True)
    spread = None
    if len(devices) > 1:
        from connector.encoders.devices import SpreadEncoder

        spread = SpreadEncoder(loaded, devices)
    point = point_of(loaded.fingerprint.digest) if source else None
    if point is not None and not resume:
        if (aside := point.set_aside()) is not None:
            click.echo(
                f"{point.path} belongs to a stopped run of another input and is now {aside}. To continue that run, "
                f"rerun its command with --resume --checkpoint {shlex.quote(str(aside))}.",
                err=True,
            )
        elif point.path.is_file():
            click.echo(
                f"{point.path} belongs to a stopped run, which --resume would continue. Starting over.", err=True
            )
    writer = BulkWriter(client, index, chunk_size=chunk_size, max_in_flight=max_in_flight)
    going_on = stoppable(option="--resume" if point is not None else "")
    with going_on, documents(quiet, total, f"{name} -> {index}") as progress:
        with written.job(
            encoder=spread,
            writer=writer,
            dead_letters=letters,
            checkpoint=point,
            resume=resume,
            strict=strict,
            batch_size=batch_size,
            max_in_flight=max_in_flight,
            progress=progress,
        ) as job:
            job.add(records)
    if named is None and not quiet:
        print_growth_advice(client, index, loaded)
    to_name = encoder_to_name(schema, named)
    conclude(index, job.result, as_json=as_json, backend=loaded.runtime, encoder=to_name)


def _size_note(index: str, documents: int | None) -> str:
    """Say for how many documents a dictionary is built if they were not counted."""
    from connector.ingest.sample import MAX_SAMPLED

    if documents is None:
        return (
            f"{index}: for a dictionary of more than {MAX_SAMPLED:,} documents from standard input, give --documents."
        )
    return (
        f"{index}: estimated {documents:,} documents from the size of the files; the dictionary is built for that "
        "number. If it is wrong, give --documents."
    )


def _check_options(
    corpus: tuple[str, ...],
    dry_run: bool,
    resume: bool,
    checkpoint: Path | None,
    fit_minutes: float | None,
    *,
    fit: Path | None,
    fits: bool,
) -> None:
    """Refuse contradictory options."""
    if fit_minutes is not None and fit is None:
        raise click.UsageError("--fit-minutes needs --fit.")
    if dry_run and fits:
        raise click.UsageError("--dry-run keeps nothing, and --fit would write a head; choose one.")
    if dry_run and (resume or checkpoint is not None):
        raise click.UsageError("--dry-run cannot be resumed; leave --resume and --checkpoint out.")
    if corpus == ("-",) and checkpoint is not None:
        raise click.UsageError("standard input cannot be resumed from a checkpoint; leave --checkpoint out.")
