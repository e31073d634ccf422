"""`growth`."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import click

from benchmarks.cli.stage import Options, common, on_stage, print_comparison


@click.command(
    epilog="""\b
Examples:
  python -m benchmarks growth beir/msmarco
  python -m benchmarks growth packages --max-queries 300 --documents 10000 --documents 100000 --documents 800000
"""
)
@click.argument("dataset", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--documents",
    "sizes",
    multiple=True,
    type=click.IntRange(10),
    default=(10_000, 30_000, 100_000, 300_000, 1_000_000),
    show_default=True,
    help="Number of documents; repeatable. Above the size of the set, documents are resampled.",
)
@common
def growth(dataset: Path, sizes: tuple[int, ...], options: Options) -> None:
    """Bytes, memory and latency by number of documents, compared with HNSW, with fitted exponents.

    Without judgements, the relevant documents of a query are the top ten of exact search at each size.
    """
    from benchmarks.compare import Plan
    from benchmarks.datasets import has_judgements, with_exact_truth
    from benchmarks.growth import resampled
    from benchmarks.suites import growth_systems

    with on_stage(options, [dataset]) as stage:
        data = stage.encode(dataset, k_doc=64, k_query=32, max_documents=max(sizes))
        result = stage.result("growth", data)
        for size in sorted(sizes):
            if f"{size}" not in result.groups:
                larger = resampled(data, size, progress=partial(stage.report, f"resampling to {size:,} documents"))
                if not has_judgements(dataset):
                    larger = with_exact_truth(larger)
                plan = Plan(rounds=options.rounds, memory=True)
                result.add(f"{size}", stage.compare(larger, growth_systems(larger, stage.report), plan))
    print_comparison(result)
