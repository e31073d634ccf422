"""The final output of an ingestion."""

from __future__ import annotations

import json
import sys
from contextlib import suppress
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from connector.cli.passed_on import replay_command
from connector.cli.plain import plain
from connector.errors import ConnectorError

if TYPE_CHECKING:
    from opensearchpy import OpenSearch

    from connector.encoders.text import TextEncoder
    from connector.ingest.ledger import IngestResult


_SHOWN = 1_000
"""Characters of a reason that are printed; it can contain a key or value of any length."""


def print_summary(index: str, result: IngestResult, *, as_json: bool, backend: str | None = None) -> None:
    """Print the counts, the backend of the encoder and the first failures."""
    if as_json:
        click.echo(
            json.dumps({"index": index, **asdict(result), **({"backend": backend} if backend else {})}, default=str)
        )
    else:
        counts = {
            "indexed": result.indexed,
            "deleted": result.deleted,
            "not found": result.not_found,
            "superseded": result.superseded,
        }
        first = "deleted" if result.not_found and not result.indexed else "indexed"
        parts = [f"{count:,} {name}" for name, count in counts.items() if count or name == first]
        by = f", encoded by {backend}" if backend else ""
        rate = result.read / max(result.elapsed_s, 1e-9)
        counted = f"{' + '.join(parts)} + {result.dead_lettered:,} dead-lettered = {result.read:,} read"
        click.echo(f"{index}: {counted} in {result.elapsed_s:.1f} s ({rate:,.0f} documents/s{by})")
    for reason in result.reasons:
        click.echo(f"dead-lettered: {plain(reason)[:_SHOWN]}", err=True)


def name_replay(index: str, result: IngestResult, *, encoder: str | None = None, created: bool = True) -> None:
    """Print the path of the dead letters and the command that replays them.

    Args:
        index: The index.
        result: The outcome of the run.
        encoder: Encoder that the command must name (`encoder_to_name`).
        created: Whether there is an index, without which nothing can be replayed.
    """
    if result.dead_letters:
        letters = f"{result.dead_lettered:,} dead letter{'s are' if result.dead_lettered != 1 else ' is'}"
        advice = "Correct the input, then ingest it again."
        if created:
            advice = f"Correct the cause, then run: {replay_command(result.dead_letters, index, encoder)}"
        click.echo(f"{letters} kept in {result.dead_letters}. {advice}", err=True)


def conclude_nothing(index: str, reason: str, *, as_json: bool = False) -> None:
    """Print why there is nothing to do, and an empty summary."""
    from connector.ingest.ledger import IngestResult

    click.echo(reason, err=True)
    nothing = IngestResult(read=0, indexed=0, dead_lettered=0, reasons=(), dead_letters=None, elapsed_s=0.0)
    print_summary(index, nothing, as_json=as_json)


def print_growth_advice(client: OpenSearch, index: str, encoder: TextEncoder) -> None:
    """Print whether the index, with the documents that it has now, should build a new dictionary."""
    from connector.index.schema import existing_schema
    from connector.index.sizes import count_matching
    from connector.search.growth import growth_advice
    from connector.search.opened import cells_of

    # An account may write documents without the right to count them.
    with suppress(ConnectorError):
        documents = count_matching(client, index)
        if advice := growth_advice(existing_schema(client, index), documents, cells_of(encoder)):
            click.echo(f"{index}: {advice}", err=True)


def conclude(
    index: str,
    result: IngestResult,
    *,
    as_json: bool = False,
    backend: str | None = None,
    encoder: str | None = None,
    created: bool = True,
) -> None:
    """Print the summary and exit with the status for dead letters, if there are any; see `name_replay`."""
    from connector.cli.main import EXIT_DEAD_LETTERS

    print_summary(index, result, as_json=as_json, backend=backend)
    name_replay(index, result, encoder=encoder, created=created)
    if result.dead_lettered:
        sys.exit(EXIT_DEAD_LETTERS)
