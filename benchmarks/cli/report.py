"""`report`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click


@click.command(
    epilog="""\b
Examples:
  python -m benchmarks report .cache/frontier-scifact.json
  python -m benchmarks report benchmarks/results/*.json --output report
  python -m benchmarks report docs/comparison.md docs/operations.md      # update the tables of pages
"""
)
@click.argument("results", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for the plots.  [default: that of the results]",
)
def report(results: tuple[Path, ...], output: Path | None) -> None:
    """Print results of suites as Markdown tables and write plots (PNG).

    In a page (.md), the tables that come from results are updated.
    """
    from benchmarks.pages import write_tables
    from benchmarks.results import read_result

    for path in results:
        if path.suffix == ".md":
            path.write_text(write_tables(path.read_text(encoding="utf-8")), encoding="utf-8")
            continue
        result = read_result(path)
        folder = output or path.parent
        folder.mkdir(parents=True, exist_ok=True)
        click.echo(f"## {result['suite']}: {path.name}\n")
        _WRITERS.get(result["suite"], _plain)(result, folder / f"{path.stem}.png")


def _frontier(result: dict[str, Any], picture: Path) -> None:
    from benchmarks.plots import plot_frontier
    from benchmarks.report import cheapest_to_markdown, details_to_markdown, to_markdown

    for name, rows in result["results"].items():
        click.echo(to_markdown(rows))
        click.echo(details_to_markdown(rows))
        click.echo("The fastest setting of each system that reaches a fraction of dense NDCG@10:\n")
        click.echo(cheapest_to_markdown(rows))
        plot_frontier(rows, f"{name}, {result['params']['documents']:,} documents", picture)
        click.echo(f"![{result['suite']}]({picture.name})\n")


def _table_4(result: dict[str, Any], picture: Path) -> None:
    from benchmarks.plots import plot_growth
    from benchmarks.report import table_4_to_markdown

    click.echo(table_4_to_markdown(result["results"]))
    plot_growth(result["results"], f"{result['params']['dataset']}: Table 4 of the K-sparse paper", picture)
    click.echo(f"![{result['suite']}]({picture.name})\n")


def _growth(result: dict[str, Any], picture: Path) -> None:
    from benchmarks.plots import plot_growth
    from benchmarks.report import growth_to_markdown

    click.echo(growth_to_markdown(result["results"]))
    real = result["params"]["documents"]
    plot_growth(result["results"], f"{result['params']['dataset']}: {real:,} documents, above that resampled", picture)
    click.echo(f"![{result['suite']}]({picture.name})\n")


def _stream(result: dict[str, Any], picture: Path) -> None:
    from benchmarks.plots import plot_stream
    from benchmarks.report import stream_to_markdown

    click.echo(stream_to_markdown(result["results"]["stream"]))
    plot_stream(result["results"]["stream"], picture)


def _ingest(result: dict[str, Any], _picture: Path) -> None:
    from benchmarks.report import ingest_to_markdown

    for name, rows in result["results"].items():
        click.echo(f"{name}, {result['params']['documents']:,} documents\n\n{ingest_to_markdown(rows)}")


def _encoders(result: dict[str, Any], _picture: Path) -> None:
    from benchmarks.report import encoders_to_markdown

    _each_set(result, encoders_to_markdown)


def _ht(result: dict[str, Any], _picture: Path) -> None:
    from benchmarks.report import ht_to_markdown

    _each_set(result, ht_to_markdown)


def _ht_sets(result: dict[str, Any], picture: Path) -> None:
    from benchmarks.report import ht_sets_to_markdown

    click.echo(ht_sets_to_markdown(result["results"]))
    _ht(result, picture)


def _selection(result: dict[str, Any], _picture: Path) -> None:
    from benchmarks.report import selection_to_markdown

    _each_set(result, selection_to_markdown)


def _filtered(result: dict[str, Any], picture: Path) -> None:
    from benchmarks.scenarios.plots import plot_filtered
    from benchmarks.scenarios.tables import filtered_to_markdown

    click.echo(filtered_to_markdown(result["results"]))
    plot_filtered(result["results"], _title(result), picture)
    click.echo(f"![{result['suite']}]({picture.name})\n")


def _rivals(result: dict[str, Any], picture: Path) -> None:
    from benchmarks.plots import plot_frontier
    from benchmarks.scenarios.rivals import VECTORS, WORDS
    from benchmarks.scenarios.tables import rivals_to_markdown

    click.echo(rivals_to_markdown(result["results"]))
    for group, quality in ((VECTORS, "overlap@10"), (WORDS, "ndcg@10")):
        if group in result["results"]:
            path = picture.with_stem(f"{picture.stem}-{group.replace(' ', '-')}")
            plot_frontier(result["results"][group], f"{_title(result)}: {group}", path, quality=quality)
            click.echo(f"![{group}]({path.name})\n")


def _limited(result: dict[str, Any], picture: Path) -> None:
    from benchmarks.scenarios.limited_tables import limited_to_markdown, plot_limited

    click.echo(limited_to_markdown(result["results"]))
    plot_limited(result["results"], _title(result), picture)
    click.echo(f"![{result['suite']}]({picture.name})\n")


def _service(result: dict[str, Any], picture: Path) -> None:
    from benchmarks.scenarios.served_tables import plot_served, served_to_markdown

    click.echo(served_to_markdown(result["results"]))
    plot_served(result["results"], _title(result), result["params"]["most_p99_ms"], picture)
    click.echo(f"![{result['suite']}]({picture.name})\n")


def _table_of(kind: str) -> Callable[[dict[str, Any], Path], None]:
    """Return a function that prints a result as one table, as in pages."""

    def write(result: dict[str, Any], _picture: Path) -> None:
        from benchmarks.pages import OF_ALL

        click.echo(OF_ALL[kind](result["results"]))

    return write


def _title(result: dict[str, Any]) -> str:
    return f"{result['params']['dataset']}, {result['params']['documents']:,} documents"


def _plain(result: dict[str, Any], _picture: Path) -> None:
    from benchmarks.ksparse_tables import to_markdown

    _each_set(result, to_markdown)


def _each_set(result: dict[str, Any], to_markdown: Callable[[list[dict[str, Any]]], str]) -> None:
    for name, rows in result["results"].items():
        click.echo(f"{name}\n\n{to_markdown(rows)}")


_WRITERS: dict[str, Callable[[dict[str, Any], Path], None]] = {
    "frontier": _frontier,
    "levers": _frontier,
    "ksparse-table4": _table_4,
    "growth": _growth,
    "as-ingested": _table_of("states"),
    "backends": _table_of("backends"),
    "churn": _table_of("churn"),
    "filtered": _filtered,
    "rivals": _rivals,
    "ingest": _ingest,
    "stream": _stream,
    "memory": _limited,
    "clock": _table_of("clock"),
    "sheet": _table_of("sheet"),
    "service": _service,
    "cluster": _table_of("cluster"),
    "query-encoders": _encoders,
    "feature-selection": _selection,
    **dict.fromkeys(("ht-table1", "ht-table3", "ht-idf"), _ht),
    "ht-table2": _ht_sets,
}
