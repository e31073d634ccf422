"""`churn`."""

from __future__ import annotations

from pathlib import Path

import click

from benchmarks.cli.options import documents_option
from benchmarks.cli.stage import Options, common, on_stage, print_result


@click.command(
    epilog="""\b
Examples:
  python -m benchmarks churn beir/scifact
  python -m benchmarks churn packages --documents 100000 --max-queries 300 --seconds 20
  python -m benchmarks churn packages --documents 100000 --max-queries 300 --seconds 60 --rate 1000
"""
)
@click.argument("dataset", type=click.Path(exists=True, file_okay=False, path_type=Path))
@documents_option
@click.option(
    "--seconds",
    type=click.FloatRange(0.1),
    default=10.0,
    show_default=True,
    help="Seconds per turn of a system, at most 20 of them without writes.",
)
@click.option("--writers", type=click.IntRange(1), default=2, show_default=True, help="Number of writing clients.")
@click.option(
    "--rate",
    "per_s",
    multiple=True,
    type=click.FloatRange(0, min_open=True),
    help="Documents written per second to each system, so that runs can be compared; repeatable.  [default: each "
    "system's maximum, half of it, and half of HNSW's]",
)
@common
def churn(
    dataset: Path, documents: int | None, seconds: float, writers: int, per_s: tuple[float, ...], options: Options
) -> None:
    """Search HNSW and a new index while documents are added, updated and deleted.

    First without writes, then at each system's maximum write rate, at half of it, and at half of HNSW's maximum; with
    --rate at these rates instead.
    """
    from benchmarks.scenarios.churn import Load, measure_churn
    from benchmarks.scenarios.live import new_index_systems

    with on_stage(options, [dataset]) as stage:
        data = stage.encode_first(dataset, documents)
        load = Load(options.rounds, seconds, writers, per_s)
        result = stage.result("churn", data, seconds=seconds, writers=writers, per_s=per_s)
        if not set(load.rates) <= set(result.groups):
            measure_churn(
                stage.connect,
                data,
                new_index_systems(data, "churn", report=stage.report),
                load,
                done=result.groups,
                report=stage.report,
                add=result.add,
            )
    print_result(result)
