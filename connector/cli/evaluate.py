"""`ksparse evaluate`."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from pathlib import Path

import click

from connector.cli.connection import ConnectionOptions, connection_options, open_client
from connector.cli.options import (
    device_option,
    idf_option,
    posting_budget_option,
    quiet_option,
    rescore_option,
    search_defaults,
)
from connector.cli.progress import documents
from connector.limits import MAX_CLAUSES
from connector.vectors.codes import Bits


@click.command(
    epilog="""\b
Examples:
  ksparse evaluate beir/scifact
  ksparse evaluate beir/scifact --index scifact --k-query 16     an index that is there already
  ksparse evaluate beir/scifact --run scifact.trec --json
"""
)
@click.argument("dataset", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--split", default="test", show_default=True, help="Judgements to use: qrels/SPLIT.tsv.")
@click.option("--index", help="An index that holds the corpus.  [default: a new one, deleted afterwards]")
@click.option("--encoder", default="all-MiniLM-L6-v2", show_default=True, help="As for `ksparse ingest`.")
@click.option("--k", type=click.IntRange(1), help="Features kept per document.  [default: the encoder's]")
@click.option("--k-query", type=click.IntRange(1, MAX_CLAUSES), help="Features per query.  [default: the encoder's]")
@click.option("--run", "run_file", type=click.Path(dir_okay=False, path_type=Path), help="Write a TREC run file.")
@click.option(
    "--calibrate/--no-calibrate", default=True, show_default=True, help="Of a new index, as for `ksparse ingest`."
)
@idf_option
@rescore_option
@posting_budget_option
@device_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@quiet_option
@connection_options
def evaluate(
    dataset: Path,
    split: str,
    index: str | None,
    encoder: str,
    k: int | None,
    k_query: int | None,
    run_file: Path | None,
    calibrate: bool,
    idf: bool,
    rescore: Bits | None,
    posting_budget: float | None,
    device: str | None,
    as_json: bool,
    quiet: bool,
    connection: ConnectionOptions,
) -> None:
    """Measure NDCG@10, MRR@10 and Recall@100 on a BEIR folder: sparse search beside exact dense search."""
    client = open_client(connection)
    from connector.cli.encoder import open_encoder
    from connector.corpus.read import read_corpus
    from connector.evaluation.datasets import load_retrieval_set
    from connector.evaluation.runs import check_run_ids, write_run
    from connector.ingest.prepare import prepare_encoder
    from connector.search.evaluate import evaluate as measure
    from connector.types import Document, MalformedRecord

    if run_file is not None and not run_file.absolute().parent.is_dir():
        raise click.UsageError(f"--run {run_file} cannot be written: there is no folder {run_file.absolute().parent}.")
    judged = load_retrieval_set(dataset, split)
    records = list(read_corpus(dataset))
    corpus = [record for record in records if isinstance(record, Document)]
    for record in records:
        if isinstance(record, MalformedRecord):
            click.echo(f"left out: {record.location}: {record.reason}", err=True)
    if run_file is not None:
        try:
            check_run_ids(judged.qrels, (document.doc_id for document in corpus))
        except ValueError as error:
            raise click.UsageError(f"--run {run_file} cannot be written: {error}") from error
    loaded = open_encoder(encoder, device=device, k=k, idf=idf)
    name = index or f"ksparse-evaluate-{uuid.uuid4().hex[:8]}"
    if index is None:
        prepare_encoder(
            client,
            name,
            loaded,
            sample=[document.content for document in corpus] if calibrate else (),
            rescore=rescore,
            search=search_defaults(posting_budget),
            settings={"number_of_shards": 1, "number_of_replicas": 0},
        )
    try:
        with documents(quiet, len(corpus), f"encoding {judged.name}") as progress:
            result = measure(
                corpus,
                judged,
                loaded,
                client,
                name,
                write=index is None,
                k_query=k_query,
                progress=progress,
            )
    finally:
        if index is None:
            client.indices.delete(index=name, ignore_unavailable=True)
    if as_json:
        counts = {"queries": len(judged.queries), "left_out": len(judged.left_out), "documents": len(corpus)}
        click.echo(json.dumps({"dataset": judged.name, "split": split, **counts, **result.figures}))
    else:
        without = f" ({len(judged.left_out):,} without a relevant document left out)" if judged.left_out else ""
        counted = f"{len(judged.queries):,} queries{without}, {len(corpus):,} documents"
        _print_table(f"{judged.name}, {split}: {counted}", result.figures)
    if run_file is not None:
        # Behind the figures, which took the time: an index may hold ids that the corpus does not.
        try:
            write_run(result.sparse_run, run_file)
        except ValueError as error:
            raise click.UsageError(f"--run {run_file} cannot be written: {error}") from error


def _print_table(title: str, figures: Mapping[str, Mapping[str, float]]) -> None:
    from rich.console import Console
    from rich.table import Table

    click.echo(title)
    table = Table(box=None, pad_edge=False)
    metrics = list(next(iter(figures.values())))
    table.add_column("system")
    for metric in metrics:
        table.add_column(metric, justify="right")
    for system, values in figures.items():
        table.add_row(system, *(f"{values[metric]:.4f}" for metric in metrics))
    Console().print(table)
