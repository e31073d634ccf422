"""Plot results of the scenarios."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.results import name_of


def plot_filtered(groups: Mapping[str, Sequence[dict[str, Any]]], title: str, path: Path) -> None:
    """Plot overlap and p50 against the fraction of matching documents, with a row per kind of filter.

    Args:
        groups: Groups of the suite `filtered`.
        title: Title of the plot.
        path: Output file, e.g. a PNG.
    """
    from matplotlib.figure import Figure

    kinds = list(dict.fromkeys(group.partition(",")[0] for group in groups))
    figure = Figure(figsize=(11, 4 * len(kinds)), layout="constrained")
    drawn = figure.subplots(len(kinds), 2, squeeze=False)
    for kind, (overlap, latency) in zip(kinds, drawn, strict=True):
        found = [rows for group, rows in groups.items() if group.startswith(f"{kind},")]
        # Default settings differ between groups, so systems are identified by position.
        for number, own in enumerate(zip(*found, strict=True)):
            names = set(map(name_of, own))
            name = names.pop() if len(names) == 1 else f"{own[0]['system']} at its default"
            shares = [100 * row["share"] for row in own]
            for axes, values in (
                (overlap, [row["overlap@10"] for row in own]),
                (latency, [row["p50_ms"] for row in own]),
            ):
                axes.plot(shares, values, marker="o", color=f"C{number}", label=name)
        overlap.set(title=f"{kind} with the query", ylabel="share of the exact top 10", ylim=(0, 1.05))
        latency.set(title=f"{kind} with the query", ylabel="p50, ms", ylim=(0, None))
        for axes in (overlap, latency):
            axes.set(xscale="log", xlabel="documents that the filter keeps, %")
            axes.grid(alpha=0.25)
    figure.legend(*drawn[0][0].get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False)
    figure.suptitle(title)
    figure.savefig(path, dpi=110)
