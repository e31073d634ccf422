"""`levers`."""

from __future__ import annotations

from pathlib import Path

import click

from benchmarks.cli.stage import Options, common, on_stage, print_comparison


@click.command(
    epilog="""\b
Examples:
  python -m benchmarks levers beir/scifact
  python -m benchmarks levers beir/scifact --clients 1 --clients 8
"""
)
@click.argument("dataset", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--split", default="test", show_default=True, help="Split whose judgements are used.")
@click.option("--clients", multiple=True, type=click.IntRange(1), help="Number of clients for throughput; repeatable.")
@common
def levers(dataset: Path, split: str, clients: tuple[int, ...], options: Options) -> None:
    """Effect of each method that reduces the cost of queries on bytes, latency and quality."""
    from benchmarks.compare import Plan
    from benchmarks.suites import lever_systems

    with on_stage(options, [dataset], split=split) as stage:
        data = stage.encode(dataset, split=split, k_doc=64, k_query=64)
        result = stage.result("levers", data, split=split, clients=clients)
        if data.name not in result.groups:
            plan = Plan(rounds=options.rounds, clients=clients)
            result.add(data.name, stage.compare(data, lever_systems(data), plan))
    print_comparison(result)
