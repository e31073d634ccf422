"""`stream`."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from pathlib import Path

import click

from connector.cli.progress import stages


@click.command(
    epilog="""\b
Examples:
  python -m benchmarks stream
  python -m benchmarks stream --documents 100000 --output stream.json
"""
)
@click.option("--documents", type=click.IntRange(1_000), default=1_000_000, show_default=True)
@click.option("--features", type=click.IntRange(1, 1_000), default=64, show_default=True, help="Features per document.")
@click.option("--moments", type=click.IntRange(2), default=100, show_default=True, help="Number of memory samples.")
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path(".cache/stream.json"),
    show_default=True,
    help="Result as JSON; the plot is stored next to it.",
)
def stream(documents: int, features: int, moments: int, output: Path) -> None:
    """Memory of an ingestion job during the ingestion of a million synthetic documents."""
    from benchmarks.demo import client_maker, running_cluster
    from benchmarks.environment import describe
    from benchmarks.plots import plot_stream
    from benchmarks.report import stream_to_markdown
    from benchmarks.results import ResultFile
    from benchmarks.stream import stream_documents

    params = {"documents": documents, "features": features, "moments": moments}
    with running_cluster(keep=False, say=partial(click.echo, err=True)) as cluster, stages(quiet=False) as report:
        result = ResultFile(output, "stream", params, describe(cluster))
        if "stream" not in result.groups:
            with client_maker(cluster)() as client:
                found = stream_documents(client, documents, features=features, moments=moments, report=report)
            result.add("stream", [asdict(moment) for moment in found])
    picture = output.with_suffix(".png")
    plot_stream(result.groups["stream"], picture)
    click.echo(f"{stream_to_markdown(result.groups['stream'])}\n{output}, {picture}")
