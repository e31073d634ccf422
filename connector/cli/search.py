"""`ksparse search`."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import click

from connector.cli.connection import ConnectionOptions, connection_options, open_client, open_retriever
from connector.cli.encoder_option import index_encoder_option
from connector.cli.layout import check_encoding, encoding_option
from connector.cli.options import device_option, source_fields
from connector.cli.plain import plain, to_json
from connector.cli.search_choice import SearchChoice, search_options
from connector.corpus.lines import read_entries
from connector.index.schema import existing_schema
from connector.limits import MAX_HITS
from connector.query.body import check_text
from connector.types import Hit


@click.command(
    epilog="""\b
Examples:
  ksparse search "how do plants eat" --index docs
  ksparse search "how do plants eat" --index docs --filter lang=en --top-k 3
  ksparse search "how do plants eat" --index docs --json | jq .hits
  ksparse search "how do plants eat" --index docs --hybrid
  ksparse search "how do plants eat" --index docs --prune-type posting_budget --prune-ratio 0.1
  ksparse search - --index docs < queries.txt     one query per line, in batches
"""
)
@click.argument("query")
@click.option("--index", required=True, help="Index or alias to search.")
@index_encoder_option
@click.option("--top-k", type=click.IntRange(1, MAX_HITS), default=10, show_default=True, help="Number of hits.")
@click.option("--fields", metavar="NAMES", help="Fields to return, comma-separated.  [default: all]")
@search_options
@encoding_option
@device_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@connection_options
def search(
    query: str,
    index: str,
    encoder: str | None,
    top_k: int,
    fields: str | None,
    choice: SearchChoice,
    encoding: str | None,
    device: str | None,
    as_json: bool,
    connection: ConnectionOptions,
) -> None:
    """Search an index by meaning. QUERY - reads one query per line from standard input."""
    check_text(query)
    if query == "-" and choice.mixed:
        raise click.UsageError(
            "queries from standard input do not support hybrid search; leave --hybrid and --bm25-weight out."
        )
    check_encoding(encoding)
    queries = [*read_entries(None, encoding)] if query == "-" else [query]
    if not queries:
        raise click.UsageError("standard input has no queries; give one per line.")
    client = open_client(connection)
    schema = existing_schema(client, index)
    source = source_fields(schema, fields)
    clauses = choice.clauses(schema, top_k=top_k)
    retriever = open_retriever(client, schema, encoder, device=device, light=True)
    found = choice.ask(retriever, queries, clauses, top_k=top_k, source=source, many=query == "-")
    for text, hits in zip(queries, found, strict=True):
        if as_json:
            shown = [{"doc_id": hit.doc_id, "score": hit.score, "source": hit.source} for hit in hits]
            click.echo(to_json({"query": text, "hits": shown}))
        else:
            _print_table(text if query == "-" else None, hits, source)


def _print_table(title: str | None, hits: Sequence[Hit], names: Sequence[str] | None) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    if not hits:
        click.echo("No hits.")
        return
    table = Table(title=Text(plain(title)) if title else None, title_justify="left", box=None, pad_edge=False)
    table.add_column("score", justify="right", overflow="fold")
    for name in ("id", *(names or ["text"])):
        table.add_column(name, overflow="fold")
    for hit in hits:
        if names is None:
            cells = [f"{hit.source.get('title', '')} {hit.source.get('text', '')}"]
        else:
            cells = [_value(hit.source, name) for name in names]
        table.add_row(f"{hit.score:.3f}", Text(plain(hit.doc_id)), *(Text(_shortened(plain(cell))) for cell in cells))
    Console(width=None if sys.stdout.isatty() else 120).print(table)


def _value(source: Mapping[str, Any], name: str) -> str:
    """The value of a field, or of a key within it, as text; for a pattern, all that it begins with."""
    path = name.partition("*")[0].rstrip(".")
    values = list(_values(source, path)) if path else [source]
    value = values[0] if len(values) == 1 else values or ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _values(value: Any, path: str) -> Iterator[Any]:  # noqa: ANN401
    """The values at a path. A key can contain dots, and objects can be in a list."""
    if isinstance(value, list):
        for item in value:
            yield from _values(item, path)
    elif isinstance(value, Mapping):
        for key, item in value.items():
            if key == path:
                yield item
            elif path.startswith(f"{key}."):
                yield from _values(item, path.removeprefix(f"{key}."))


def _shortened(words: str) -> str:
    return words if len(words) <= 200 else f"{words[:199]}…"
