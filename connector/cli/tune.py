"""`ksparse tune`."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from connector.cli.connection import ConnectionOptions, connection_options, open_client
from connector.cli.encoder_option import index_encoder_option
from connector.cli.options import advice_for_codes, device_option, quiet_option
from connector.cli.progress import stages
from connector.corpus.lines import read_entries
from connector.errors import SearchError
from connector.index.schema import existing_schema, save_search_defaults
from connector.query.clauses import at_random

if TYPE_CHECKING:
    from opensearchpy import OpenSearch

    from connector.index.schema import IndexSchema
    from connector.search.tune import Tuning

_SAMPLED = 200


@click.command(
    epilog="""\b
Examples:
  ksparse tune --index docs                              queries are sentences of its documents
  ksparse tune --index docs --queries asked.txt --recall 0.95 --save
"""
)
@click.option("--index", required=True, help="Index or alias with codes.")
@click.option(
    "--queries",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="File with one query per line, preferably 100 real ones.  [default: sentences of documents]",
)
@click.option(
    "--recall",
    type=click.FloatRange(0, 1, min_open=True),
    default=0.9,
    show_default=True,
    help="Target recall of the 10 hits that a scan of all codes ranks first.",
)
@click.option("--save", is_flag=True, help="Store the best setting as the index's default.")
@index_encoder_option
@device_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@quiet_option
@connection_options
def tune(
    index: str,
    queries: Path | None,
    recall: float,
    save: bool,
    encoder: str | None,
    device: str | None,
    as_json: bool,
    quiet: bool,
    connection: ConnectionOptions,
) -> None:
    """Find the fastest search settings that reach a target recall."""
    client = open_client(connection)
    schema = existing_schema(client, index)
    if schema.code is None:
        raise SearchError(f"Index {index!r} stores no codes to compare hits with. {advice_for_codes(schema)}")
    from connector.cli.encoder import open_index_encoder
    from connector.search.tune import check_queries
    from connector.search.tune import tune as measure

    texts = list(read_entries(queries)) if queries is not None else _sentences(client, index)
    try:
        check_queries(texts)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    loaded = open_index_encoder(client, schema, encoder, device=device)
    with stages(quiet) as report:
        tuning = measure(
            client, index, loaded, texts, recall=recall, progress=lambda done: report("searching, in turns", done)
        )
    saved = False
    try:
        if save:
            save_search_defaults(client, index, tuning.best.setting)
            saved = True
    finally:  # an error does not take the measurements with it
        if as_json:
            trials = [asdict(trial) | {"setting": trial.setting.to_json()} for trial in tuning.trials]
            best = tuning.best.setting.to_json()
            click.echo(json.dumps({"best": best, "reached": tuning.reached, "saved": saved, "trials": trials}))
        else:
            _print(tuning, recall, len(texts), schema)
    if not as_json:
        click.echo("Stored in the index." if saved else "--save stores it in the index.")


def _sentences(client: OpenSearch, index: str) -> list[str]:
    """Random sentences, one per randomly drawn document."""
    from connector.training.sources import TextSource

    body = {"size": _SAMPLED, "_source": ["text"], "query": at_random()}
    hits = client.search(index=index, body=body)["hits"]["hits"]
    texts = tuple(str(hit["_source"]["text"]) for hit in hits if hit["_source"].get("text"))
    return list(TextSource(index, texts, queries=(), positives=(), skipped=0).with_queries(_SAMPLED).queries)


def _print(tuning: Tuning, recall: float, queries: int, schema: IndexSchema) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for name in ("k_query", "budget", "window", "recall", "p50 ms", "p99 ms"):
        table.add_column(name, justify="right")
    table.add_column("")
    for trial in tuning.trials:
        setting = trial.setting
        figures = (f"{trial.recall:.3f}", f"{trial.p50_ms:.2f}", f"{trial.p99_ms:.2f}")
        mark = "<-" if trial is tuning.best else ""
        budget = "" if setting.posting_budget is None else f"{setting.posting_budget:g} N"
        table.add_row(str(setting.k_query), budget, str(setting.window), *figures, mark)
    Console().print(table)
    best = tuning.best.setting
    within = "" if best.posting_budget is None else f" within a posting_budget of {best.posting_budget:g}"
    what = f"k_query {best.k_query}{within} and a window of {best.window}"
    if tuning.reached:
        click.echo(f"{what} reach {recall:g} on {queries} queries with the lowest latency.")
    else:
        copy = f"ksparse reencode {schema.index} --to NEW"
        advice = f"more than {schema.encoder.k} features per document: `{copy} --k K --no-switch`"
        if schema.dictionary is not None:
            advice = f"build a new dictionary: `{copy} --encoder own --no-switch`"
        click.echo(
            f"No setting reaches {recall:g} on {queries} queries; {what} come closest. Ask for a lower --recall, or "
            f"{advice}."
        )
