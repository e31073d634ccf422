"""`backends`."""

from __future__ import annotations

import json
import tempfile
from functools import partial
from itertools import islice
from pathlib import Path

import click

from benchmarks.cli.options import datasets_argument
from connector.cli.progress import stages

_ENCODERS = ("all-MiniLM-L6-v2", "bert-tiny-splade-ht")
_RUNTIMES = ("torch", "openvino", "openvino in int8")
"""The first one is the reference."""


@click.command(
    epilog="""\b
Examples:
  python -m benchmarks backends beir/scifact packages --documents 1000
  python -m benchmarks backends beir/scifact packages --quality --encoder all-MiniLM-L6-v2
  python -m benchmarks backends packages --documents 20000 --against 27f291f
"""
)
@datasets_argument
@click.option(
    "--documents", type=click.IntRange(1), default=2_000, show_default=True, help="Maximum documents to ingest per set."
)
@click.option(
    "--texts",
    type=click.IntRange(1),
    default=300,
    show_default=True,
    help="Maximum documents to encode per set, without a server.",
)
@click.option("--queries", type=click.IntRange(1), default=200, show_default=True, help="Maximum queries per set.")
@click.option("--encoder", "encoders", multiple=True, help="Repeatable.  [default: the shipped ones]")
@click.option("--quality", is_flag=True, help="Also measure NDCG@10 of judged sets, on all of their documents.")
@click.option(
    "--against", "revisions", multiple=True, help="Also time `ksparse ingest` of this git revision; repeatable."
)
@click.option("--rounds", type=click.IntRange(1), default=3, show_default=True)
@click.option(
    "--output", type=click.Path(dir_okay=False, path_type=Path), default=Path(".cache/backends.json"), show_default=True
)
def backends(
    datasets: tuple[Path, ...],
    documents: int,
    texts: int,
    queries: int,
    encoders: tuple[str, ...],
    quality: bool,
    revisions: tuple[str, ...],
    rounds: int,
    output: Path,
) -> None:
    """Compare torch, OpenVINO and OpenVINO in int8 in encoders and in `ksparse ingest`, in turns.

    The time of `ksparse ingest` is that of the whole command: start, dictionary, encoding and writing.
    """
    from benchmarks.backend_quality import measure_quality
    from benchmarks.backends import compare_backends, unpack_revision
    from benchmarks.backends_table import backends_to_markdown
    from benchmarks.datasets import check_sets, has_judgements, load_queries
    from benchmarks.demo import running_cluster
    from benchmarks.encoder_backends import compare_encoders, load_runtimes
    from benchmarks.environment import describe
    from benchmarks.results import ResultFile
    from connector.corpus.read import read_corpus
    from connector.types import Document

    check_sets(datasets)
    names = encoders or _ENCODERS
    loaded = {name: load_runtimes(name, _RUNTIMES) for name in names}
    params = {
        "documents": documents,
        "texts": texts,
        "queries": queries,
        "encoders": names,
        "rounds": rounds,
        "quality": quality,
        "against": revisions,
    }
    with running_cluster(keep=False, say=partial(click.echo, err=True)) as cluster, stages(quiet=False) as report:
        result = ResultFile(output, "backends", params, describe(cluster))
        with cluster.connect() as client, tempfile.TemporaryDirectory() as folder:
            unpacked = {each: unpack_revision(each, Path(folder) / each) for each in revisions}
            for dataset in datasets:
                records = (record for record in read_corpus(dataset) if isinstance(record, Document))
                some = list(islice(records, documents))
                contents = [record.content for record in some[:texts]]
                asked = [query.text for query in load_queries(dataset).queries[:queries]]
                rows = []
                for name, some_encoders in loaded.items():
                    compared = compare_encoders(name, some_encoders, contents, asked, rounds=rounds, report=report)
                    if quality and has_judgements(dataset) and some_encoders["torch"].head is not None:
                        scores = measure_quality(some_encoders, dataset, report=report)
                        compared = [row | scores[row["backend"]] for row in compared]
                    rows += compared
                corpus = Path(folder) / f"{dataset.resolve().name}.jsonl"
                lines = [json.dumps({"_id": each.doc_id, "title": each.title, "text": each.text}) for each in some]
                corpus.write_text("\n".join(lines), encoding="utf-8")
                rows += compare_backends(
                    client,
                    cluster.url,
                    corpus,
                    len(some),
                    runtimes=_RUNTIMES,
                    revisions=unpacked,
                    rounds=rounds,
                    report=report,
                )
                result.add(dataset.resolve().name, rows)
    click.echo(backends_to_markdown(result.groups))
    click.echo(f"{output}")
