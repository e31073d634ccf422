"""`ksparse doctor`."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from connector.cli.connection import ConnectionOptions, connection_options, open_client, open_retriever
from connector.cli.options import advice_for_codes, device_option
from connector.errors import SearchError
from connector.index.guard import WITHOUT_FEATURES
from connector.index.schema import existing_schema

if TYPE_CHECKING:
    from connector.search.doctor import Diagnosis


@click.command(
    epilog="""\b
Examples:
  ksparse doctor --index docs
  ksparse doctor --index docs --recall 0.95 --json
\b
Exit status 1: the recall is below --recall.
"""
)
@click.option("--index", required=True, help="Index or alias with codes.")
@click.option(
    "--recall",
    type=click.FloatRange(0, 1, min_open=True),
    default=0.85,
    show_default=True,
    help="Minimum recall of the 10 documents that a scan of all codes ranks first.",
)
@click.option(
    "--sample", type=click.IntRange(1, 1_000), default=50, show_default=True, help="Documents used as queries."
)
@device_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@connection_options
def doctor(
    index: str, recall: float, sample: int, device: str | None, as_json: bool, connection: ConnectionOptions
) -> None:
    """Check the recall of an index and whether a new dictionary would help.

    Random documents of the index serve as queries; their embeddings are decoded from the codes. The expected hits come
    from a scan of all codes, which takes about a second per million documents.
    """
    client = open_client(connection)
    schema = existing_schema(client, index)
    if schema.code is None:
        raise SearchError(f"Index {index!r} stores no codes to compare hits with. {advice_for_codes(schema)}")
    from connector.search.doctor import diagnose
    from connector.search.growth import growth_advice

    found = diagnose(client, open_retriever(client, schema, None, device=device), sample=sample)
    poor = found.recall < recall
    grown = growth_advice(schema, found.documents, found.cells)
    if as_json:
        click.echo(json.dumps(asdict(found) | {"recall_reached": not poor, "outgrown": bool(grown)}))
    else:
        _print(index, found, recall, poor=poor, grown=grown)
    if poor:
        raise SystemExit(1)


def _print(index: str, found: Diagnosis, recall: float, *, poor: bool, grown: str) -> None:
    cells = f", {found.cells:,} cells" if found.cells is not None else ""
    click.echo(
        f"{index}: {found.documents:,} documents{cells}; searches with {found.sampled} of them find {found.recall:.1%} "
        "of the nearest ten"
    )
    if poor:
        advice = (
            "Build a new dictionary (`ksparse reencode INDEX --to NEW --encoder own`), or let searches read more "
            "(`ksparse tune --save`)."
        )
        click.echo(f"That is less than {recall:.0%}. {advice.replace('INDEX', index)}")
    elif grown or not found.without_features:
        click.echo(grown or "Nothing to do.")
    if found.without_features:
        click.echo(f"Searches do not find {found.without_features:,} documents without features: {WITHOUT_FEATURES}")
