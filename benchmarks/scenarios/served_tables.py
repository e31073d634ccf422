"""Table and plot of the suite `service`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from benchmarks.report import to_table
from benchmarks.results import Rows


def served_to_markdown(groups: Mapping[str, Rows]) -> str:
    """Return capacity and latency at each rate by backend, with the highest sustained rate marked."""
    heads = ("backend", "arrivals", "requests/s", "of capacity", "p50 ms", "p99 ms", "requests", "errors", "")
    lines: list[tuple[str, ...]] = []
    for backend, rows in groups.items():
        capacity, *others = rows
        clients = f"{capacity['clients']} clients, one after the other"
        lines.append((backend, clients, f"{capacity['rate']:.1f}", "100%", "", "", "", "", "capacity"))
        best = highest_rate(rows)
        for row in sorted(others, key=lambda row: (str(row["kind"] == "long"), float(row["rate"]))):
            what = "by a schedule" if row["kind"] == "rate" else f"{row['clients']} clients, {row['seconds']:.0f} s"
            times = [f"{row[key]:.1f}" if key in row else "" for key in ("p50_ms", "p99_ms")]
            share = f"{row['rate'] / capacity['rate']:.0%}"
            counts = (f"{row['requests']:,}", f"{row['errors']:,}")
            mark = "highest sustained" if row["kind"] == "rate" and row["rate"] == best else ""
            lines.append((backend, what, f"{row['rate']:.1f}", share, *times, *counts, mark))
    return to_table(heads, lines, left=(0, 1, 8))


def highest_rate(rows: Rows) -> float | None:
    """Return the highest sustained rate; None if there is none."""
    rates = [float(row["rate"]) for row in rows if row.get("sustained")]
    return max(rates, default=None)


def plot_served(groups: Mapping[str, Rows], title: str, max_p99_ms: float, path: Path) -> None:
    """Plot p50 and p99 against the arrival rate, with a colour per backend.

    Args:
        groups: Groups of the suite `service`.
        title: Title of the plot.
        max_p99_ms: Maximum p99 of a sustained rate.
        path: Output file, e.g. a PNG.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    for number, (backend, rows) in enumerate(groups.items()):
        points = sorted((row["rate"], row["p50_ms"], row["p99_ms"]) for row in rows if "sustained" in row)
        for place, style in ((1, ":"), (2, "-")):
            label = f"{backend}, {'p50' if place == 1 else 'p99'}"
            values = [point[place] for point in points]
            axes.plot([point[0] for point in points], values, style, marker="o", color=f"C{number}", label=label)
    axes.axhline(max_p99_ms, color="#555555", linewidth=1)
    axes.set(xlabel="arrival rate, requests/s", ylabel="text to hits, ms", yscale="log", title=title)
    axes.grid(alpha=0.25)
    axes.legend(frameon=False)
    figure.savefig(path, dpi=110)
