"""`clock`."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import click

from benchmarks.cli.options import documents_option
from benchmarks.cli.stage import Options, common, on_stage, print_result


@click.command(
    epilog="""\b
Examples:
  python -m benchmarks clock packages --documents 50000 --max-queries 300
  python -m benchmarks clock packages --documents 50000 --tool venv/bin/opensearch-benchmark
"""
)
@click.argument("dataset", type=click.Path(exists=True, file_okay=False, path_type=Path))
@documents_option
@click.option(
    "--tool",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The program opensearch-benchmark.  [default: install it into .cache/opensearch-benchmark]",
)
@common
def clock(dataset: Path, documents: int | None, tool: Path | None, options: Options) -> None:
    """Compare timings of the benchmarks with those of OpenSearch Benchmark for the same requests and indices.

    Their ratios of p50 between systems should agree within 15 %.
    """
    from benchmarks.scenarios.clock import REQUIREMENT, install, time_both
    from benchmarks.scenarios.live import each_index, new_index_systems
    from benchmarks.storage import build

    program = tool or install(Path(".cache/opensearch-benchmark"), partial(click.echo, err=True))
    with on_stage(options, [dataset]) as stage:
        data = stage.encode_first(dataset, documents)
        result = stage.result("clock", data, tool=REQUIREMENT)
        if not result.groups:
            systems = new_index_systems(data, "clock", merged=True, report=stage.report)[:2]
            with stage.connect() as client:
                try:
                    for system in each_index(systems, stage.report):
                        build(client, system, data)
                    found = time_both(
                        client,
                        stage.cluster.url,
                        systems,
                        [system.prepare(data) for system in systems],
                        program,
                        Path(".cache/clock"),
                        rounds=options.rounds,
                        report=stage.report,
                    )
                finally:
                    for system in systems:
                        client.indices.delete(index=system.index, ignore_unavailable=True)
            for group, rows in found.items():
                result.add(group, rows)
    print_result(result)
