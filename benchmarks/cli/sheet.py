"""`sheet`."""

from __future__ import annotations

from pathlib import Path

import click

_file = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command(
    epilog="""\b
Examples:
  python -m benchmarks sheet benchmarks/results/rivals-packages.json
  python -m benchmarks sheet .cache/rivals-packages.json --memory .cache/memory-packages.json --overlap 0.95
"""
)
@click.argument("result", type=_file)
@click.option(
    "--memory",
    type=_file,
    help="Result of the suite `memory`.  [default: assume that heap and the complete index are in memory]",
)
@click.option(
    "--overlap",
    type=click.FloatRange(0, 1),
    help="Overlap with exact search to reach.  [default: the highest that all systems reach]",
)
@click.option(
    "--documents",
    "counts",
    multiple=True,
    type=click.IntRange(1),
    help="Number of documents; repeatable.  [default: 1, 10, 100 million]",
)
@click.option(
    "--machine",
    "machines",
    multiple=True,
    type=click.IntRange(1),
    help="Memory of an available machine in GB; repeatable.  [default: 4 to 512]",
)
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path(".cache/sheet.json"),
    show_default=True,
    help="Result as JSON.",
)
def sheet(
    result: Path,
    memory: Path | None,
    overlap: float | None,
    counts: tuple[int, ...],
    machines: tuple[int, ...],
    output: Path,
) -> None:
    """Compute memory, disk and machine of each system at equal overlap from a RESULT of `rivals` or `dictionary`."""
    from benchmarks.results import read_result
    from benchmarks.scenarios.sheet import COUNTS, MACHINES_GB, compute, needs, sheet_to_markdown, write_sheet

    measured = needs(read_result(memory)["results"]) if memory is not None else {}
    groups = compute(
        read_result(result), measured, overlap=overlap, counts=counts or COUNTS, machines_gb=machines or MACHINES_GB
    )
    write_sheet(output, [result, *([memory] if memory is not None else [])], groups)
    click.echo(sheet_to_markdown(groups))
    click.echo(f"{output}; print it again with python -m benchmarks report {output}")
