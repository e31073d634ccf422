"""`ksparse search`."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any

import click

from connector.cli.connection import ConnectionOptions, connection_options, open_client, open_retriever
from connector.cli.layout import check_encoding, encoding_option
from connector.cli.options import device_option, filter_clauses, index_encoder_option
from connector.cli.plain import plain
from connector.corpus.lines import read_entries
from connector.limits import MAX_CLAUSES, MAX_HITS
from connector.query.body import SearchOptions, check_text
from connector.query.pruning import PRUNE_TYPES, PruneType, Pruning
from connector.types import Hit


@click.command(
    epilog="""\b
Examples:
  ksparse search "how do plants eat" --index docs
  ksparse search "how do plants eat" --index docs --filter lang=en --top-k 3
  ksparse search "how do plants eat" --index docs --json | jq .hits
  ksparse search "how do plants eat" --index docs --hybrid
  ksparse search "how do plants eat" --index docs --prune-type posting_budget --prune-ratio 0.1
  ksparse search - --index docs < queries.txt     one query a line, in batches
"""
)
@click.argument("query")
@click.option("--index", required=True, help="Index or alias to search.")
@index_encoder_option
@click.option(
    "--k-query",
    type=click.IntRange(1, MAX_CLAUSES),
    help="Features kept of the query.  [default: what `ksparse tune` saved, or the encoder's, half of it if rescored]",
)
@click.option(
    "--prune-type",
    type=click.Choice(PRUNE_TYPES),
    help="Leave features of the query out: names as in neural-search, and posting_budget.  [default: what "
    "`ksparse tune` saved, or none]",
)
@click.option(
    "--prune-ratio",
    type=float,
    help="How many, which share of the strongest or of all weight, which weight, or how many postings per document.",
)
@click.option("--top-k", type=click.IntRange(1, MAX_HITS), default=10, show_default=True, help="Hits asked for.")
@click.option(
    "--window",
    type=click.IntRange(0, MAX_HITS),
    help="Hits rescored by the index's codes, 0 for none.  [default: 100 if it has codes]",
)
@click.option("--min-score", type=float, help="Leave out hits that score less.")
@click.option("--fields", metavar="NAMES", help="To return, comma-separated.  [default: title,text,metadata]")
@click.option("--hybrid", is_flag=True, help="By meaning and by words (BM25), both rankings fused by rank.")
@click.option("--bm25-weight", type=float, help="Instead: the dot product plus so much of BM25, e.g. 0.01.")
@click.option("--filter", "filters", multiple=True, metavar="NAME=VALUE", help="Keep matching documents. Repeatable.")
@encoding_option
@device_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@connection_options
def search(
    query: str,
    index: str,
    encoder: str,
    k_query: int | None,
    prune_type: PruneType | None,
    prune_ratio: float | None,
    top_k: int,
    window: int | None,
    min_score: float | None,
    fields: str | None,
    hybrid: bool,
    bm25_weight: float | None,
    filters: tuple[str, ...],
    encoding: str | None,
    device: str | None,
    as_json: bool,
    connection: ConnectionOptions,
) -> None:
    """Search an index by meaning. QUERY may be - for one query a line from standard input."""
    check_text(query)
    if hybrid and bm25_weight is not None:
        raise click.UsageError("--hybrid fuses by rank, --bm25-weight adds scores; choose one.")
    if query == "-" and (hybrid or bm25_weight is not None):
        raise click.UsageError("many queries at once are searched by features; leave --hybrid and --bm25-weight out.")
    if bm25_weight is not None and bm25_weight <= 0:
        raise click.UsageError(f"--bm25-weight must be above 0, got {bm25_weight:g}.")
    if bm25_weight is not None and window:
        raise click.UsageError("--bm25-weight scores by one query, without codes; leave --window out, or use --hybrid.")
    if prune_ratio is not None and prune_type is None:
        raise click.UsageError(f"--prune-ratio {prune_ratio:g} says how much; say what it is of with --prune-type.")
    try:
        pruning = Pruning(prune_type, prune_ratio or 0.0) if prune_type is not None else None
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    check_encoding(encoding)
    queries = [*read_entries(None, encoding)] if query == "-" else [query]
    client = open_client(connection)
    retriever = open_retriever(client, index, encoder, device=device)
    clauses = filter_clauses(filters, retriever.schema.fields)
    asked = SearchOptions(min_score=min_score, source=fields.split(",") if fields else None)
    options: dict[str, Any] = {"top_k": top_k, "k_query": k_query, "pruning": pruning}
    options |= {"filters": clauses, "window": window, "options": asked}
    if query == "-":
        found = retriever.search_many(queries, **options)
    else:
        mixed = hybrid or bm25_weight is not None
        found = [
            retriever.search_hybrid(query, weight=bm25_weight, **options)
            if mixed
            else retriever.search(query, **options)
        ]
    for text, hits in zip(queries, found, strict=True):
        if as_json:
            shown = [{"doc_id": hit.doc_id, "score": hit.score, "source": hit.source} for hit in hits]
            click.echo(json.dumps({"query": text, "hits": shown}, ensure_ascii=False))
        else:
            _print_table(text if query == "-" else None, hits)


def _print_table(title: str | None, hits: Sequence[Hit]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    if not hits:
        click.echo("No hits.")
        return
    table = Table(title=Text(plain(title)) if title else None, title_justify="left", box=None, pad_edge=False)
    for name, justify in (("score", "right"), ("id", "left"), ("text", "left")):
        table.add_column(name, justify=justify, overflow="fold")  # type: ignore[arg-type]
    for hit in hits:
        words = plain(f"{hit.source.get('title', '')} {hit.source.get('text', '')}")
        snippet = words if len(words) <= 200 else f"{words[:199]}…"
        table.add_row(f"{hit.score:.3f}", Text(plain(hit.doc_id)), Text(snippet))
    Console(width=None if sys.stdout.isatty() else 120).print(table)
