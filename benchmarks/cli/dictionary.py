"""`dictionary`."""

from __future__ import annotations

from pathlib import Path

import click

from benchmarks.cli.stage import Options, common, on_stage, print_comparison


@click.command(
    epilog="""\b
Examples:
  python -m benchmarks dictionary beir/scifact
  python -m benchmarks dictionary packages --documents 100000 --documents 400000
"""
)
@click.argument("dataset", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--documents",
    "sizes",
    multiple=True,
    type=click.IntRange(1_000),
    help="Number of sampled documents, for sets without judgements; repeatable.  [default: all]",
)
@common
def dictionary(dataset: Path, sizes: tuple[int, ...], options: Options) -> None:
    """Compare a new index, with its own dictionary and 4-bit codes, with HNSW, both at their defaults."""
    from benchmarks.compare import Plan
    from benchmarks.growth import resampled
    from benchmarks.suites import default_systems

    with on_stage(options, [dataset]) as stage:
        data = stage.encode(dataset, max_documents=max(sizes, default=None), features=False)
        result = stage.result("dictionary", data)
        for size in sorted(sizes) or [len(data.documents)]:
            if f"{size}" not in result.groups:
                drawn = resampled(data, size)
                plan = Plan(rounds=options.rounds)
                result.add(f"{size}", stage.compare(drawn, default_systems(drawn, stage.report), plan))
    print_comparison(result)
