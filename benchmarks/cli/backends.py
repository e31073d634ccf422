"""`backends`."""

from __future__ import annotations

import json
import tempfile
from functools import partial
from itertools import islice
from pathlib import Path

import click

from connector.cli.progress import stages


@click.command(
    epilog="""\b
Examples:
  python -m benchmarks backends beir/scifact packages --documents 1000
"""
)
@click.argument("datasets", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--documents", type=click.IntRange(1), default=2_000, show_default=True, help="Of each, at most.")
@click.option("--rounds", type=click.IntRange(1), default=3, show_default=True)
@click.option(
    "--output", type=click.Path(dir_okay=False, path_type=Path), default=Path(".cache/backends.json"), show_default=True
)
def backends(datasets: tuple[Path, ...], documents: int, rounds: int, output: Path) -> None:
    """`ksparse ingest` by torch and by OpenVINO, in turns."""
    from benchmarks.backends import compare_backends
    from benchmarks.demo import running_cluster
    from benchmarks.environment import describe
    from benchmarks.results import ResultFile
    from connector.corpus.read import read_corpus
    from connector.encoders.load import load_encoder
    from connector.errors import EncoderError
    from connector.types import Document

    # Converted once on a machine, which belongs to no run.
    if load_encoder(device="cpu", backend="openvino").backend != "openvino":
        raise EncoderError("OpenVINO does not run the model; the log says why.")
    with running_cluster(keep=False, say=partial(click.echo, err=True)) as cluster, stages(quiet=False) as report:
        result = ResultFile(output, "backends", {"documents": documents, "rounds": rounds}, describe(cluster))
        with cluster.connect() as client, tempfile.TemporaryDirectory() as folder:
            for dataset in datasets:
                name = dataset.resolve().name
                records = (record for record in read_corpus(dataset) if isinstance(record, Document))
                some = list(islice(records, documents))
                corpus = Path(folder) / f"{name}.jsonl"
                lines = [json.dumps({"_id": each.doc_id, "title": each.title, "text": each.text}) for each in some]
                corpus.write_text("\n".join(lines), encoding="utf-8")
                rows = compare_backends(
                    client,
                    cluster.url,
                    corpus,
                    len(some),
                    backends=("torch", "openvino"),
                    rounds=rounds,
                    report=report,
                )
                result.add(name, rows)
    for name, rows in result.groups.items():
        for row in rows:
            click.echo(
                f"{name}: {row['way']}: {row['documents_per_s']:,.0f} documents/s, "
                f"{row['documents_per_cpu_s']:,.0f} a second of one core"
            )
    click.echo(f"{output}")
