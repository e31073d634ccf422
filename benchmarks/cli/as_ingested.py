"""`as-ingested`."""

from __future__ import annotations

from pathlib import Path

import click

from benchmarks.cli.options import documents_option
from benchmarks.cli.stage import Options, common, on_stage, print_result


@click.command(
    epilog="""\b
Examples:
  python -m benchmarks as-ingested beir/scifact
  python -m benchmarks as-ingested packages --documents 100000 --max-queries 300
"""
)
@click.argument("dataset", type=click.Path(exists=True, file_okay=False, path_type=Path))
@documents_option
@common
def as_ingested(dataset: Path, documents: int | None, options: Options) -> None:
    """Compare HNSW and a new index as ingested, after updates and deletions, and merged.

    The reference is exact search among the remaining documents.
    """
    from benchmarks.scenarios.as_ingested import STATES, measure_states
    from benchmarks.scenarios.live import new_index_systems

    with on_stage(options, [dataset]) as stage:
        data = stage.encode_first(dataset, documents)
        result = stage.result("as-ingested", data)
        if not set(STATES) <= set(result.groups):
            systems = new_index_systems(data, "states", report=stage.report)
            with stage.connect() as client:
                measure_states(
                    client,
                    data,
                    systems,
                    rounds=options.rounds,
                    done=result.groups,
                    report=stage.report,
                    add=result.add,
                )
    print_result(result)
