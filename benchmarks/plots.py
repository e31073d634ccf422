"""Plot results of suites."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.results import name_of

if TYPE_CHECKING:
    from matplotlib.axis import Axis

_COLOURS = {
    "HNSW": "#b3542e", "HNSW byte": "#d99a6c", "BM25": "#7a7a7a", "k-sparse": "#1f6f8b",
    "k-sparse, 128 a document": "#12455a", "k-sparse, two phases": "#4fa3bd", "neural_sparse": "#5b8c3a",
    "neural_sparse, two phases": "#9cc47c", "SEISMIC": "#8c4a8c", "BM25 + k-sparse": "#c9a227", "SPLADE": "#a03050",
    "ours": "#1f6f8b",
}  # fmt: skip


_QUALITIES = {"ndcg@10": "NDCG@10", "overlap@10": "share of the exact top 10"}


def plot_frontier(rows: Sequence[dict[str, Any]], title: str, path: Path, *, quality: str = "ndcg@10") -> None:
    """Plot quality against latency and against bytes, with a line per system and for exact dense search.

    Args:
        rows: Rows of `compare`.
        title: Title of the plot.
        path: Output file, e.g. a PNG.
        quality: Measure on the y axis: `ndcg@10` or `overlap@10`.
    """
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12.5, 5), layout="constrained")
    by_latency, by_bytes = figure.subplots(1, 2, sharey=True)
    timed = [row for row in rows if "p50_ms" in row]
    colours = colormaps["tab20"]
    for number, system in enumerate(dict.fromkeys(row["system"] for row in timed)):
        points = sorted((row for row in timed if row["system"] == system), key=lambda row: row["p50_ms"])
        colour = _COLOURS.get(system, colours(number % 20))
        height = [row[quality] for row in points]
        marker = "s" if system.startswith("HNSW") else "o"
        by_latency.plot(
            [row["p50_ms"] for row in points], height, marker=marker, color=colour, label=system, linewidth=1
        )
        by_bytes.plot([row["bytes_per_document"] for row in points], height, marker=marker, color=colour, linewidth=1)
    dense = next(row for row in rows if row["system"] == "exact dense")
    for axes in (by_latency, by_bytes):
        axes.axhline(dense[quality], color="#555555", linestyle=":", label="exact dense")
        axes.grid(alpha=0.25)
    by_latency.set(xlabel="p50 of a request, ms (without query encoding)", ylabel=_QUALITIES[quality])
    by_bytes.set(xlabel="index, bytes per document", xscale="log")
    _plain_ticks(by_bytes.xaxis)
    figure.suptitle(title)
    figure.legend(*by_latency.get_legend_handles_labels(), loc="outside right center", frameon=False)
    figure.savefig(path, dpi=110)


def _plain_ticks(axis: Axis, subs: tuple[float, ...] = (1, 2, 5), form: str = "{x:,.0f}") -> None:
    """Format ticks of a logarithmic axis as plain numbers."""
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    axis.set_major_locator(LogLocator(subs=subs))
    axis.set_major_formatter(StrMethodFormatter(form))
    axis.set_minor_formatter(NullFormatter())


_LINE_STYLES = ("-", "--", ":", "-.")


def plot_growth(
    groups: Mapping[str, Sequence[dict[str, Any]]], title: str, path: Path, *, neighbours: bool = False
) -> None:
    """Plot p50, p99 and bytes against the number of documents, with the fitted exponent of each line.

    Args:
        groups: Rows of `compare` by number of documents.
        title: Title of the plot.
        path: Output file, e.g. a PNG.
        neighbours: Also plot the share of the exact top ten that each system finds.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import PercentFormatter

    panels = [("p50_ms", "p50, ms", 1.0), ("p99_ms", "p99, ms", 1.0), ("index_bytes", "index, MB", 1e-6)]
    if neighbours:
        panels.append(("overlap@10", "of the exact top 10", 1.0))
    figure = Figure(figsize=(15, 10) if neighbours else (15, 6), layout="constrained")
    powers: dict[str, list[str]] = {}
    drawn = np.ravel(figure.subplots(2, 2) if neighbours else figure.subplots(1, 3))
    # Exact search has neighbours, but no latency.
    groups = {count: [row for row in rows if "p50_ms" in row] for count, rows in groups.items()}
    looks = _looks(row for rows in groups.values() for row in rows)
    for axes, (key, label, unit) in zip(drawn, panels, strict=True):
        for system, counts, values in growth_lines(groups, key):
            axes.plot(counts, np.multiply(values, unit), marker="o", label=system, **looks[system])
            if key != "overlap@10":
                powers.setdefault(system, []).append(f"{exponent(counts, values):.2f}")
        axes.set(xscale="log", xlabel="documents", title=label)
        _plain_ticks(axes.xaxis, (1,) if len(groups) > 3 else (1, 2, 5))
        if key == "overlap@10":
            axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        else:
            axes.set_yscale("log")
            _plain_ticks(axes.yaxis, (1, 1.5, 2, 3, 5, 7), "{x:,g}")
        axes.grid(alpha=0.25)
    lines, systems = drawn[0].get_legend_handles_labels()
    labels = [f"{system}: exponents {', '.join(powers[system])}" for system in systems]
    figure.legend(lines, labels, loc="outside lower center", ncols=2, frameon=False, fontsize="small", handlelength=4)
    figure.suptitle(title)
    figure.savefig(path, dpi=110)


def _looks(rows: Iterable[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """A colour for each system and a line style for each of its settings, by `name_of`."""
    settings: dict[str, dict[str, None]] = {}
    for row in rows:
        settings.setdefault(row["system"], {})[name_of(row)] = None
    return {
        name: {"color": f"C{number}", "linestyle": _LINE_STYLES[place % len(_LINE_STYLES)]}
        for number, names in enumerate(settings.values())
        for place, name in enumerate(names)
    }


def plot_stream(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Plot memory and speed against the number of written documents.

    Args:
        rows: Rows of the suite `stream`.
        path: Output file, e.g. a PNG.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4), layout="constrained")
    by_memory, by_speed = figure.subplots(1, 2)
    done = [row["documents"] for row in rows]
    megabytes = [row["memory_bytes"] / 1e6 for row in rows]
    by_memory.plot(done, megabytes, color=_COLOURS["k-sparse"])
    by_memory.set(xlabel="documents", ylabel="memory of the ingesting process, MB", ylim=(0, 1.2 * max(megabytes)))
    taken = np.diff([row["seconds"] for row in rows])
    by_speed.plot(done[1:], np.diff(done) / taken, color=_COLOURS["k-sparse"])
    by_speed.set(xlabel="documents", ylabel="documents/s", ylim=(0, None))
    for axes in (by_memory, by_speed):
        axes.grid(alpha=0.25)
    figure.savefig(path, dpi=110)


def growth_lines(groups: Mapping[str, Sequence[dict[str, Any]]], key: str) -> list[tuple[str, list[int], list[float]]]:
    """A measured value by number of documents, for each system and setting."""
    lines: dict[str, tuple[list[int], list[float]]] = {}
    for count, rows in sorted(groups.items(), key=lambda each: int(each[0])):
        for row in rows:
            if key in row:
                counts, values = lines.setdefault(name_of(row), ([], []))
                counts.append(int(count))
                values.append(float(row[key]))
    return [(name, counts, values) for name, (counts, values) in lines.items()]


def exponent(counts: Sequence[int], values: Sequence[float]) -> float:
    """Fit the exponent of N: the slope of a line through the logarithms."""
    if len(counts) < 2:
        return float("nan")
    return float(np.polyfit(np.log(counts), np.log(values), 1)[0])
