"""`report`."""

from __future__ import annotations

from collections.abc import Mapping
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
    from benchmarks.pages import suite_to_markdown, write_tables
    from benchmarks.results import read_result

    for path in results:
        if path.suffix == ".md":
            path.write_text(write_tables(path.read_text(encoding="utf-8")), encoding="utf-8")
            continue
        result = read_result(path)
        folder = output or path.parent
        folder.mkdir(parents=True, exist_ok=True)
        click.echo(f"## {result['suite']}: {path.name}\n")
        click.echo(suite_to_markdown(result["suite"], result["results"]))
        for picture in _draw(result, folder / f"{path.stem}.png"):
            click.echo(f"![{picture.stem}]({picture.name})\n")


def _draw(result: dict[str, Any], picture: Path) -> list[Path]:
    """Write the plots of a result, if its suite has any."""
    from benchmarks import plots
    from benchmarks.scenarios.limited_tables import plot_limited
    from benchmarks.scenarios.plots import plot_filtered
    from benchmarks.scenarios.rivals import VECTORS, WORDS
    from benchmarks.scenarios.served_tables import plot_served

    groups, params = result["results"], result["params"]
    documents = f"{params.get('documents', 0):,} documents"
    title = f"{params.get('dataset')}, {documents}"
    match result["suite"]:
        case "frontier" | "levers":
            for name, rows in groups.items():
                plots.plot_frontier(rows, f"{name}, {documents}", picture)
        case "ksparse-table4":
            plots.plot_growth(groups, f"{params['dataset']}: Table 4 of the K-sparse paper", picture)
        case "growth":
            real = max(map(int, groups)) <= params["documents"]
            title = f"{params['dataset']}: " + ("random samples" if real else f"{documents}, above that resampled")
            plots.plot_growth(_without_fixed_heads(groups) if real else groups, title, picture, neighbours=real)
        case "stream":
            plots.plot_stream(groups["stream"], picture)
        case "filtered":
            plot_filtered(groups, title, picture)
        case "memory":
            plot_limited(groups, title, picture)
        case "service":
            plot_served(groups, title, params["most_p99_ms"], picture)
        case "rivals":
            pictures = []
            for group, quality in ((VECTORS, "overlap@10"), (WORDS, "ndcg@10")):
                if group in groups:
                    pictures.append(picture.with_stem(f"{picture.stem}-{group.replace(' ', '-')}"))
                    plots.plot_frontier(groups[group], f"{title}: {group}", pictures[-1], quality=quality)
            return pictures
        case _:
            return []
    return [picture]


def _without_fixed_heads(groups: Mapping[str, list[dict[str, Any]]]) -> dict[str, list[dict[str, Any]]]:
    """Leave the settings of fixed heads to the tables, which have room for them."""
    return {size: [row for row in rows if not row["system"].startswith("k-sparse")] for size, rows in groups.items()}
