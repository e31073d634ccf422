"""`ksparse explain`."""

from __future__ import annotations

import sys
from dataclasses import asdict

import click

from connector.cli.connection import ConnectionOptions, connection_options, open_client, open_retriever
from connector.cli.encoder_option import index_encoder_option
from connector.cli.options import check_window, device_option
from connector.cli.plain import plain, to_json
from connector.errors import SearchError
from connector.index.documents import explain_absence, read_documents
from connector.index.schema import existing_schema
from connector.limits import MAX_CLAUSES, MAX_HITS
from connector.query.body import check_text
from connector.query.settings import SearchSettings
from connector.types import Hit


@click.command(
    epilog="""\b
Examples:
  ksparse explain "how do plants eat" --index docs
  ksparse explain "how do plants eat" --index docs --id 7
  ksparse explain "how do plants eat" --index docs --json | jq .contributions
"""
)
@click.argument("query")
@click.option("--index", required=True, help="Index or alias to search.")
@click.option("--id", "doc_id", help="Document to explain.  [default: the first hit]")
@index_encoder_option
@click.option("--k-query", type=click.IntRange(1, MAX_CLAUSES), help="Features per query.  [default: as search]")
@click.option("--window", type=click.IntRange(0, MAX_HITS), help="Hits rescored by codes.  [default: as search]")
@device_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@connection_options
def explain(
    query: str,
    index: str,
    doc_id: str | None,
    encoder: str | None,
    k_query: int | None,
    window: int | None,
    device: str | None,
    as_json: bool,
    connection: ConnectionOptions,
) -> None:
    """Explain a hit: the features it shares with the query and their contributions to the score."""
    check_text(query)
    if doc_id is not None and not doc_id.strip():
        raise click.UsageError("--id is blank; give the id of a document.")
    client = open_client(connection)
    schema = existing_schema(client, index)
    check_window(schema, window)
    if doc_id is not None and not read_documents(client, index, [doc_id]):
        raise SearchError(explain_absence(client, schema, doc_id))
    retriever = open_retriever(client, schema, encoder, device=device)
    settings = SearchSettings(k_query, window)
    if doc_id is not None:
        hit = retriever.explain(query, doc_id, settings=settings)
    else:
        hits = retriever.search(query, top_k=1, settings=settings, explain=True)
        if not hits:
            raise SearchError(f"Index {index!r} has no document that shares a feature with the query.")
        hit = hits[0]
    if as_json:
        found = {"query": query, "doc_id": hit.doc_id, **asdict(hit.explain())}
        click.echo(to_json(found))
    else:
        _print_table(hit)


def _print_table(hit: Hit) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    explanation = hit.explain()
    table = Table(box=None, pad_edge=False)
    for name in ("share", "adds", "query", "document", "feature"):
        table.add_column(name, justify="right")
    table.add_column("stands for", overflow="fold")
    for part in explanation.contributions:
        numbers = (f"{part.share:.1%}", f"{part.score:.4f}", f"{part.query_weight:.4f}", f"{part.document_weight:.4f}")
        table.add_row(*numbers, part.feature, Text(plain(part.label)))
    console = Console(width=None if sys.stdout.isatty() else 120)
    title = Text(f"{plain(hit.doc_id)}: {explanation.feature_score:.4f} from {len(explanation.contributions)} features")
    if explanation.rescored:
        title.append(f", rescored by its code to {explanation.score:.4f}")
    console.print(title)
    console.print(table)
