"""`ksparse ingest`."""

from __future__ import annotations

from pathlib import Path

import click

from connector.cli.connection import ConnectionOptions, connection_options, open_client
from connector.cli.layout import layout_options
from connector.cli.options import (
    dead_letters_path,
    devices_option,
    index_settings,
    new_index_options,
    quiet_option,
    record_options,
    search_defaults,
    summary_option,
    writing_options,
)
from connector.cli.progress import documents
from connector.cli.stop import stoppable
from connector.corpus.layout import Layout
from connector.errors import IndexMappingError
from connector.vectors.codes import Bits

_MOST_FITTED = 50_000


@click.command(
    epilog="""\b
Examples:
  ksparse ingest corpus.jsonl --index docs
  ksparse ingest beir/scifact --index scifact
  ksparse ingest articles.csv --index articles --field year:integer
  ksparse ingest pyserini.jsonl --index docs --text-field contents
  zcat dump.jsonl.gz | ksparse ingest - --index docs
  ksparse ingest corpus.jsonl --index docs --dry-run          bytes, time and failures to be expected
  ksparse ingest corpus.jsonl --index docs --encoder bert-tiny-splade-ht --posting-budget 0.8
  ksparse ingest corpus.jsonl --index docs --fit my-head      then: ksparse search ... --encoder my-head
\b
A record has _id (or id), text and, if you like, title and metadata. In CSV, TSV, Parquet and dumps every other
column becomes metadata. Exit status 3: finished, but some records are in the dead letters.
"""
)
@click.argument("corpus")
@record_options
@layout_options
@click.option("--strict", is_flag=True, help="Stop at the first record that fails.")
@click.option("--dry-run", is_flag=True, help="Write nothing: say what a run would come to, from 2,000 documents.")
@click.option("--resume", is_flag=True, help="Go on where the last run of the same command was stopped.")
@click.option(
    "--checkpoint",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Where a run notes how far it is.  [default: INDEX.checkpoint.json; none for standard input]",
)
@click.option(
    "--fit",
    type=click.Path(file_okay=False, path_type=Path),
    help="Fit the head to the corpus first and keep it in this folder; one that is there is taken as it is.",
)
@click.option("--fit-minutes", type=click.FloatRange(min=0, min_open=True), default=10, show_default=True)
@new_index_options
@writing_options
@click.option("--max-in-flight", type=click.IntRange(1), default=4, show_default=True, help="Requests at a time.")
@devices_option
@summary_option
@quiet_option
@connection_options
def ingest(
    corpus: str,
    index: str,
    encoder: str,
    k: int | None,
    fields: dict[str, str],
    file_format: str | None,
    generate_ids: bool,
    strict: bool,
    dead_letters: Path | None,
    dry_run: bool,
    resume: bool,
    checkpoint: Path | None,
    idf: bool,
    calibrate: bool,
    fit: Path | None,
    fit_minutes: float,
    rescore: Bits | None,
    posting_budget: float | None,
    shards: int | None,
    replicas: int | None,
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

    CORPUS is a JSONL, JSON, CSV, TSV or Parquet file, compressed or not, a BEIR folder or a folder of such files, or -
    for standard input.
    """
    client = open_client(connection)
    from connector.cli.encoder import open_encoder
    from connector.cli.summary import conclude
    from connector.corpus.read import count_records, read_corpus
    from connector.corpus.source import STANDARD_INPUT, Format, digest_source
    from connector.encoders.base import Encoder
    from connector.index.names import check_index_name
    from connector.index.schema import read_schema, read_uuid
    from connector.index.writer import BulkWriter
    from connector.ingest.checkpoint import Checkpoint
    from connector.ingest.pipeline import IngestJob
    from connector.ingest.prepare import prepare_encoder
    from connector.ingest.sample import Sampled

    device = devices[0] if devices else None
    in_folder = fit is not None and (fit / "config.json").is_file()
    if dry_run and fit is not None and not in_folder:
        raise click.UsageError("--dry-run writes nothing, and --fit would write a head; leave one of them out.")
    kind: Format | None = file_format  # type: ignore[assignment]
    source = "" if corpus == STANDARD_INPUT and not resume else digest_source(corpus, kind, layout)
    check_index_name(index)
    declared = read_schema(client, index)
    check_index_name(index, new=declared is None)
    known_fields = {*fields, *(declared.fields if declared else ())}
    records = Sampled(read_corpus(corpus, fields=known_fields, format=kind, generate_ids=generate_ids, layout=layout))
    loaded = open_encoder(str(fit) if in_folder else encoder, device=device, k=k, idf=idf)
    if fit is not None and not in_folder:
        if declared is not None:
            raise IndexMappingError(
                f"Index {index!r} exists, written by encoder {declared.encoder}; a head that is fitted now would not "
                "be its encoder. Leave --fit out, or ingest into a new index."
            )
        from connector.cli.fit import fitted_encoder

        loaded = fitted_encoder(
            fit,
            loaded,
            records.sample(_MOST_FITTED),
            name=corpus,
            documents=count_records(corpus, format=kind),
            minutes=fit_minutes,
            device=device,
            quiet=quiet,
        )
    if dry_run:
        from connector.cli.dry_run import print_prediction
        from connector.ingest.predict import predict

        with documents(quiet, count_records(corpus, format=kind), f"reading {corpus}") as progress:
            prediction = predict(
                client,
                loaded,
                records,
                rescore=rescore,
                calibrate=calibrate and fit is None,
                fields=fields,
                chunk_size=chunk_size,
                batch_size=batch_size,
                progress=progress,
            )
        print_prediction(index, prediction, as_json=as_json)
        return
    try:
        loaded = prepare_encoder(
            client,
            index,
            loaded,
            sample=records.sample if calibrate and fit is None else (),
            rescore=rescore,
            search=search_defaults(posting_budget),
            fields=fields,
            settings=index_settings(shards, replicas),
        )
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    encoding: Encoder = loaded
    if len(devices) > 1:
        from connector.encoders.devices import SpreadEncoder

        encoding = SpreadEncoder(loaded, devices)
    run = {"input": source, "encoder": loaded.fingerprint.digest, "index": f"{index} {read_uuid(client, index)}"}
    point = Checkpoint(checkpoint or Path(f"{index}.checkpoint.json"), run) if source else None
    if point is not None and point.path.is_file() and not resume:
        click.echo(f"{point.path} is of a run that was stopped; --resume goes on with it. Beginning anew.", err=True)
    writer = BulkWriter(client, index, chunk_size=chunk_size, max_in_flight=max_in_flight)
    going_on = stoppable(option="--resume" if point is not None else "")
    with going_on, documents(quiet, count_records(corpus, format=kind), f"{corpus} -> {index}") as progress:
        with IngestJob(
            writer,
            encoding,
            dead_letters=dead_letters_path(dead_letters, index),
            checkpoint=point,
            resume=resume,
            strict=strict,
            batch_size=batch_size,
            max_in_flight=max_in_flight,
            progress=progress,
        ) as job:
            job.add(records)
    conclude(index, job.result, as_json=as_json)
