"""`ingest`."""

from __future__ import annotations

from pathlib import Path

import click

from benchmarks.cli.stage import Options, common, on_stage


@click.command(
    epilog="""\b
Examples:
  python -m benchmarks ingest beir/scifact
  python -m benchmarks ingest beir/msmarco --documents 50000 --encoded 2000
"""
)
@click.argument("dataset", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--documents",
    type=click.IntRange(10),
    default=20_000,
    show_default=True,
    help="Maximum number of documents to write.",
)
@click.option(
    "--encoded", type=click.IntRange(1), default=1_000, show_default=True, help="Maximum number of documents to encode."
)
@common
def ingest(dataset: Path, documents: int, encoded: int, options: Options) -> None:
    """Documents per second of ksparse, opensearch-py's helpers and HNSW; then with encoding."""
    from benchmarks.growth import resampled
    from benchmarks.ingest import compare_writing, encode_and_write
    from benchmarks.report import ingest_to_markdown

    with on_stage(options, [dataset]) as stage:
        data = stage.encode(dataset, k_doc=64, k_query=32)
        some = resampled(data, min(documents, len(data.documents)))
        result = stage.result("ingest", some, encoded=encoded)
        if data.name not in result.groups:
            with stage.connect() as client:
                rows = compare_writing(client, some, rounds=options.rounds, report=stage.report)
                ours = rows[0]["documents_per_s"]
                rows = encode_and_write(client, some, encoded, written_per_s=ours) + rows
            result.add(data.name, rows)
    click.echo(ingest_to_markdown(result.groups[data.name]))
    click.echo(f"{result.path}")
