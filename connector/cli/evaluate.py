"""`ksparse evaluate`."""

from __future__ import annotations

import json
import uuid
from collections.abc import Collection, Mapping, Sequence
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from connector.cli.connection import ConnectionOptions, connection_options, open_client
from connector.cli.encoder_option import new_encoder_option
from connector.cli.new_index import NewIndexChoice, new_index_options
from connector.cli.options import device_option, quiet_option
from connector.cli.progress import documents, stages
from connector.cli.search_choice import SearchChoice, search_options
from connector.errors import CorpusError

if TYPE_CHECKING:
    from connector.evaluation.datasets import RetrievalSet
    from connector.index.schema import IndexSchema
    from connector.search.retriever import Retriever
    from connector.types import Hit


@click.command(
    epilog="""\b
Examples:
  ksparse evaluate beir/scifact
  ksparse evaluate beir/scifact --index scifact --k-query 16     an existing index
  ksparse evaluate beir/scifact --run scifact.trec --json
"""
)
@click.argument("dataset", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--split", default="test", show_default=True, help="Judgements: qrels/SPLIT.tsv.")
@click.option("--index", help="Existing index of the corpus.  [default: a temporary one]")
@new_encoder_option("As in `ksparse ingest`.  [default: that of the index, `own` for a new one]")
@click.option("--k", type=click.IntRange(1), help="Features kept per document, as in `ksparse ingest`.")
@search_options
@click.option("--run", "run_file", type=click.Path(dir_okay=False, path_type=Path), help="Write a TREC run file.")
@new_index_options("idf", "calibrate", "code_bits", "posting_budget")
@device_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@quiet_option
@connection_options
def evaluate(
    dataset: Path,
    split: str,
    index: str | None,
    encoder: str | None,
    k: int | None,
    choice: SearchChoice,
    run_file: Path | None,
    new: NewIndexChoice,
    device: str | None,
    as_json: bool,
    quiet: bool,
    connection: ConnectionOptions,
) -> None:
    """Measure NDCG@10, MRR@10 and Recall@100 on a BEIR folder, for sparse and exact dense search.

    With --filter, only matching documents are searched, by both, and only their judgements count. A hit with the id of
    its query is dropped, as BEIR does: the queries of some sets are documents of the corpus.
    """
    new.check_own(encoder, k=k)
    client = open_client(connection)
    from connector.corpus.read import read_corpus
    from connector.evaluation.datasets import load_retrieval_set
    from connector.evaluation.runs import DEPTH, check_run_ids, write_run
    from connector.index.schema import existing_schema
    from connector.types import Document, MalformedRecord

    if run_file is not None and not run_file.absolute().parent.is_dir():
        raise click.UsageError(f"--run {run_file} cannot be written: there is no folder {run_file.absolute().parent}.")
    judged = load_retrieval_set(dataset, split)
    schema = None
    clauses: list[dict[str, Any]] = []
    if index is not None:
        schema = existing_schema(client, index)
        new.check_existing(client, schema, k=k, encoder=encoder)
        clauses = choice.clauses(schema, top_k=DEPTH)
    records = list(read_corpus(dataset, fields=() if schema is None else schema.fields))
    corpus = [record for record in records if isinstance(record, Document)]
    for record in records:
        if isinstance(record, MalformedRecord):
            click.echo(f"skipped: {record.location}: {record.reason}", err=True)
    if run_file is not None:
        try:
            check_run_ids(judged.qrels, (document.doc_id for document in corpus))
        except ValueError as error:
            raise click.UsageError(f"--run {run_file} cannot be written: {error}") from error
    if not corpus and index is None:
        raise CorpusError(f"{dataset} contains no documents to search. Give a corpus, or --index.")
    if corpus:
        _check_judged(judged, {document.doc_id for document in corpus}, index)
    from connector.cli.encoder import open_index_encoder, open_new_encoder
    from connector.encoders.folders import DEFAULT_ENCODER, OWN_ENCODER
    from connector.index.drop import drop_index
    from connector.ingest.own_dictionary import OwnDictionary
    from connector.ingest.prepare import prepare_encoder
    from connector.search.evaluate import evaluate as measure

    encoder = None if encoder == OWN_ENCODER else encoder
    texts = [document.content for document in corpus]
    own = None
    if schema is not None:
        loaded = open_index_encoder(client, schema, encoder, device=device)
    else:
        loaded = open_new_encoder(encoder or DEFAULT_ENCODER, device=device, k=k, idf=bool(new.idf))
    name = index or f"ksparse-evaluate-{uuid.uuid4().hex[:8]}"
    if index is None:
        builds = new.builds_dictionary(encoder, k) or loaded.needs_dictionary
        with stages(quiet or not builds) as report:
            own = OwnDictionary(lambda _most=0: texts, documents=len(texts), progress=report) if builds else None
            loaded = prepare_encoder(
                client,
                name,
                loaded,
                sample=texts,
                dictionary=own,
                new=new.to_new_index(settings={"number_of_shards": 1, "number_of_replicas": 0}),
            )

    def filters(opened: IndexSchema) -> Sequence[Mapping[str, Any]]:
        return clauses if schema is not None else choice.clauses(opened, top_k=DEPTH)

    def search(
        retriever: Retriever, texts: Sequence[str], asked: Sequence[Mapping[str, Any]], top_k: int
    ) -> list[list[Hit]]:
        return choice.ask(retriever, texts, asked, top_k=min(top_k, choice.rank_window_size or top_k))

    try:
        with documents(quiet, len(corpus), f"encoding {judged.name}") as progress:
            result = measure(
                corpus,
                judged,
                loaded,
                client,
                name,
                write=index is None,
                embeddings=own.embeddings if own is not None else None,
                filters=filters,
                search=search,
                progress=progress,
            )
    finally:
        if index is None:
            drop_index(client, name)
    measured = result.judged
    if not corpus:
        click.echo(f"{dataset} contains no documents: exact dense search is skipped.", err=True)
    if as_json:
        counts = {"queries": len(measured.queries), "left_out": len(measured.left_out), "documents": result.documents}
        figures = {
            system: {metric: None if isnan(value) else value for metric, value in values.items()}
            for system, values in result.figures.items()
        }
        click.echo(json.dumps({"dataset": judged.name, "split": split, **counts, **figures}))
    else:
        without = f" ({len(measured.left_out):,} without a relevant document skipped)" if measured.left_out else ""
        counted = f"{len(measured.queries):,} queries{without}, {result.documents:,} documents"
        _print_table(f"{judged.name}, {split}: {counted}", result.figures)
    if run_file is not None:
        # After printing the figures, which took the time: writing fails if a TREC file cannot hold an id.
        try:
            write_run(result.sparse_run, run_file)
        except ValueError as error:
            raise click.UsageError(f"--run {run_file} cannot be written: {error}") from error


def _check_judged(judged: RetrievalSet, doc_ids: Collection[str], index: str | None) -> None:
    """Refuse judgements of other documents than those of the corpus; warn if some are of others.

    Raises:
        CorpusError: The corpus has no relevant document, and is all that is searched.
    """
    relevant = {doc_id for each in judged.qrels.values() for doc_id, relevance in each.items() if relevance > 0}
    absent = [doc_id for doc_id in relevant if doc_id not in doc_ids]
    if not absent:
        return
    counted = f"{len(absent):,} of {len(relevant):,} relevant documents, e.g. {min(absent)!r}, are not in the corpus"
    if len(absent) == len(relevant) and index is None:
        raise CorpusError(f"{counted}, which has ids such as {next(iter(doc_ids))!r}. Use judgements of this corpus.")
    click.echo(f"{counted}; the metrics count them as not found.", err=True)


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
        table.add_row(system, *("-" if isnan(values[metric]) else f"{values[metric]:.4f}" for metric in metrics))
    Console().print(table)
