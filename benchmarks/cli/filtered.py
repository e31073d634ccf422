"""`filtered`."""

from __future__ import annotations

from pathlib import Path

import click

from benchmarks.cli.options import documents_option
from benchmarks.cli.stage import Options, common, on_stage, print_result


@click.command(
    epilog="""\b
Examples:
  python -m benchmarks filtered beir/scifact
  python -m benchmarks filtered packages --documents 100000 --max-queries 300
"""
)
@click.argument("dataset", type=click.Path(exists=True, file_okay=False, path_type=Path))
@documents_option
@common
def filtered(dataset: Path, documents: int | None, options: Options) -> None:
    """Compare HNSW and a new index with filters that match 50 to 0.01 % of the documents.

    For each fraction, one filter is unrelated to the query, and one matches a neighbourhood of it. The reference is
    exact search among the matching documents.
    """
    from benchmarks.scenarios.filtered import groups_of, measure_filters
    from benchmarks.scenarios.live import filtered_systems

    with on_stage(options, [dataset]) as stage:
        data = stage.encode_first(dataset, documents)
        result = stage.result("filtered", data)
        if not set(groups_of(len(data.documents))) <= set(result.groups):
            systems_for = filtered_systems(data, "filtered", stage.report)
            with stage.connect() as client:
                measure_filters(
                    client,
                    data,
                    systems_for,
                    rounds=options.rounds,
                    done=result.groups,
                    report=stage.report,
                    add=result.add,
                )
    print_result(result)
