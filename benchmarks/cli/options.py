"""Common options of suites with and without a node."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

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


def heap_option(default: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Option for the heap of nodes that a suite starts."""
    return click.option("--heap", default=default, show_default=True, help="Java heap of each node.")
