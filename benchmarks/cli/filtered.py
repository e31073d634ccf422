"""`filtered`."""

from __future__ import annotations

from pathlib import Path

import click

from benchmarks.cli.stage import Options, common, documents_option, on_stage, print_groups


@click.command(
    epilog="""\b
Examples:
  python -m benchmarks filtered beir/scifact
  python -m benchmarks filtered packages --documents 100000 --most-queries 300
"""
)
@click.argument("dataset", type=click.Path(exists=True, file_okay=False, path_type=Path))
@documents_option
@common
def filtered(dataset: Path, documents: int | None, options: Options) -> None:
    """HNSW and a new index with filters that keep 50 to 0.01 % of the documents.

    Each share with a filter that has nothing to do with the query, and with one that keeps a neighbourhood of it. The
    truth is exact search among the documents that are kept.
    """
    from benchmarks.scenarios.filtered import groups_of, measure_filters
    from benchmarks.scenarios.live import filtered_systems
    from benchmarks.scenarios.tables import filtered_to_markdown

    with on_stage(options, [dataset]) as stage:
        data = stage.encode_first(dataset, documents)
        result = stage.result("filtered", data)
        if not set(groups_of(len(data.documents))) <= set(result.groups):
            systems_for = filtered_systems(data, "filtered")
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
    print_groups(result, filtered_to_markdown)
