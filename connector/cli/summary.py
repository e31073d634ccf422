"""What an ingestion says at its end."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from connector.ingest.pipeline import IngestResult


def print_summary(index: str, result: IngestResult, *, as_json: bool) -> None:
    """Print the counts, and name the first failures and where all are kept."""
    if as_json:
        click.echo(json.dumps({"index": index, **asdict(result)}, default=str))
    else:
        superseded = f"{result.superseded:,} superseded + " if result.superseded else ""
        rate = result.read / max(result.elapsed_s, 1e-9)
        click.echo(
            f"{index}: {result.indexed:,} indexed + {superseded}{result.dead_lettered:,} dead-lettered "
            f"= {result.read:,} read in {result.elapsed_s:.1f} s ({rate:,.0f} documents/s)"
        )
    for reason in result.reasons:
        click.echo(f"dead-lettered: {reason}", err=True)
    if result.dead_letters:
        click.echo(f"All {result.dead_lettered:,} are kept in {result.dead_letters}", err=True)
