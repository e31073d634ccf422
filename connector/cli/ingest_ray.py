"""`ksparse ingest-ray`."""

from __future__ import annotations

import logging
import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from connector.cli.connection import ConnectionOptions, connection_options, open_client
from connector.cli.layout import layout_options
from connector.cli.new_index import NewIndexChoice, new_index_options
from connector.cli.options import (
    check_outputs,
    dead_letters_path,
    quiet_option,
    record_options,
    summary_option,
    writing_options,
)
from connector.cli.progress import documents
from connector.cli.stop import stoppable
from connector.corpus.layout import Layout

if TYPE_CHECKING:
    from connector.corpus.source import Format


@click.command(
    "ingest-ray",
    epilog="""\b
Examples:
  ksparse ingest-ray corpus.jsonl --index docs --actors 2                    a new Ray cluster on this machine
  ksparse ingest-ray /shared/dump --index docs --actors 64 --address auto    an existing Ray cluster
  ksparse ingest-ray /shared/dump --index docs --actors 16 --gpus-per-actor 0.5
\b
Every machine needs ksparse[ray], CORPUS and the encoder under the same path, and OPENSEARCH_URL (with _USERNAME,
_PASSWORD and the like) in the environment in which `ray start` ran.
Exit status 3: finished, but some records are dead letters.
""",
)
@click.argument("corpus")
@record_options
@layout_options
@click.option("--actors", type=click.IntRange(1), required=True, help="Number of actors, each with one CPU.")
@click.option(
    "--gpus-per-actor",
    type=click.FloatRange(0),
    default=0,
    show_default=True,
    help="GPUs per actor: 0.5 lets two actors share a GPU, 0 encodes on the CPU.",
)
@click.option(
    "--address", help="Address of the Ray cluster.  [default: RAY_ADDRESS, a running local one, or a new local one]"
)
@new_index_options()
@writing_options
@click.option(
    "--max-in-flight", type=click.IntRange(1), default=2, show_default=True, help="Concurrent requests per actor."
)
@summary_option
@quiet_option
@connection_options
def ingest_ray(
    corpus: str,
    index: str,
    encoder: str | None,
    k: int | None,
    fields: dict[str, str],
    file_format: str | None,
    generate_ids: bool,
    dead_letters: Path | None,
    actors: int,
    gpus_per_actor: float,
    address: str | None,
    new: NewIndexChoice,
    batch_size: int,
    chunk_size: int,
    max_in_flight: int,
    as_json: bool,
    quiet: bool,
    layout: Layout,
    connection: ConnectionOptions,
) -> None:
    """Encode a corpus and index it on many machines with Ray.

    CORPUS is one file as in `ksparse ingest`, or a folder with any number of such files. JSONL and Parquet files are
    split into parts; other files are read whole. The parts of a lost machine are repeated; no
    document is duplicated. Ids must be unique: a repeated id is not refused, and the record written last wins.
    """
    new.check_own(encoder, k=k)
    connect = partial(open_client, connection)
    # Fast checks first.
    client = connect()
    from connector.corpus.parts import split_corpus
    from connector.corpus.source import find_sources, warn_of_unread
    from connector.index.names import check_index_name
    from connector.index.probe import probe_write
    from connector.index.schema import check_new_index, read_schema
    from connector.ingest.ray.address import check_address

    kind: Format | None = file_format  # type: ignore[assignment]
    new_index = new.to_new_index(fields=fields)
    check_index_name(index)
    schema = read_schema(client, index)
    try:
        next(split_corpus(corpus, kind, layout=layout), None)
        warn_of_unread(corpus, kind)
        if schema is None:
            check_new_index(client, index, new_index)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    if schema is not None:
        new.check_existing(client, schema, k=k, fields=fields, encoder=encoder)
        probe_write(client, index)
    letters = dead_letters_path(dead_letters, index)
    check_outputs([each.path for each in find_sources(corpus, kind)], {"--dead-letters": letters})
    check_address(address)
    from connector.cli.encoder import hide_loading
    from connector.cli.passed_on import encoder_to_name
    from connector.cli.summary import conclude
    from connector.encoders.folders import OWN_ENCODER
    from connector.ingest.ray.job import RayIngest, import_ray

    named = None if encoder == OWN_ENCODER else encoder
    hide_loading()
    _join(address)
    job = RayIngest(
        index=index,
        connect=connect,
        encoder=named,
        k=k,
        actors=actors,
        gpus_per_actor=gpus_per_actor,
        dead_letters=letters,
        idf=bool(new.idf),
        new=new_index,
        generate_ids=generate_ids,
        layout=layout,
        batch_size=batch_size,
        chunk_size=chunk_size,
        max_in_flight=max_in_flight,
    )
    with stoppable(), documents(quiet, None, f"{corpus} -> {index}") as progress:
        try:
            result = job.ingest_corpus(corpus, format=kind, progress=progress)
        except ValueError as error:
            raise click.UsageError(str(error)) from error
        except KeyboardInterrupt:
            # Otherwise processes of a Ray cluster started for this run would outlive it by a minute.
            import_ray().shutdown()
            raise
    conclude(index, result, as_json=as_json, encoder=encoder_to_name(schema, named))


def _join(address: str | None) -> None:
    """Join a Ray cluster or start a local one, without its own output."""
    from connector.ingest.ray.job import import_ray

    ray = import_ray()
    if not ray.is_initialized():
        # Otherwise a Ray cluster that we start sends usage statistics.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        # Ray writes a line to standard error about the creation of actors.
        os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
        try:
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
        except (ConnectionError, ValueError) as error:
            raise click.UsageError(f"--address {address}: {error}") from error
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
