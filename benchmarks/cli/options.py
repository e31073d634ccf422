"""Common options of suites with and without a node."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from benchmarks.results import Rows

datasets_argument = click.argument(
    "datasets", nargs=-1, required=True, type=click.Path(exists=True, file_okay=False, path_type=Path)
)

encoder_option = click.option(
    "--encoder", default="all-MiniLM-L6-v2", show_default=True, help="A dense model with a K-sparse head."
)

cache_option = click.option(
    "--cache",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(".cache/embeddings"),
    show_default=True,
    help="Cache folder for embeddings and trained heads.",
)

rows_option = click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="Write the rows as JSON.")

documents_option = click.option(
    "--documents",
    type=click.IntRange(1_000),
    help="Maximum number of documents, for sets without judgements.  [default: all]",
)


def print_rows(
    suite: str,
    results: dict[str, Rows],
    to_markdown: Callable[[Rows], str],
    output: Path | None,
    params: dict[str, Any],
) -> None:
    """Print the table of each set, and write the rows if `--output` is given."""
    from benchmarks.results import write_result

    for name, rows in results.items():
        click.echo(f"\n{name}\n\n{to_markdown(rows)}")
    if output is not None:
        write_result(output, suite, params, results)


def heap_option(default: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Option for the heap of nodes that a suite starts."""
    return click.option("--heap", default=default, show_default=True, help="Java heap of each node.")
