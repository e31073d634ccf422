"""Table and plot of the suite `memory`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.report import to_table
from benchmarks.results import Rows, name_of


def limited_to_markdown(groups: Mapping[str, Rows]) -> str:
    """Return limit and latency of each system at each limit, warm and in the first minute after a restart."""
    heads = ("memory", "system", "limit MB", "of these for files", "overlap", "p50 ms", "p99 ms", "p50 of HNSW",
             "restarted: first p50 ms", "p99 ms", "last p50 ms")  # fmt: skip
    lines: list[tuple[str, ...]] = []
    for group, rows in groups.items():
        for row in rows:
            limit = [f"{row[key] / 1e6:,.0f}" if key in row else "" for key in ("limit_bytes", "budget_bytes")]
            name = name_of(row)
            if "p50_ms" not in row:
                lines.append((group, name, *limit, row.get("ended", ""), *[""] * 6))
                continue
            ratio = f"{row['p50_ratio']:.2f}" if "p50_ratio" in row else ""
            warm = (f"{row['overlap@10']:.3f}", f"{row['p50_ms']:.2f}", f"{row['p99_ms']:.1f}", ratio)
            lines.append((group, name, *limit, *warm, *_restarted(row)))
    return to_table(heads, lines, left=(0, 1))


def _restarted(row: Mapping[str, Any]) -> tuple[str, str, str]:
    if "first" not in row:
        return "", "", ""
    first, last = row["first"][0], row["first"][-1]
    return f"{first['p50_ms']:.1f}", f"{first['p99_ms']:.1f}", f"{last['p50_ms']:.1f}"


def plot_limited(groups: Mapping[str, Rows], title: str, path: Path) -> None:
    """Plot p50 and p99 against the memory for files, with a line per system.

    Args:
        groups: Groups of the suite `memory`.
        title: Title of the plot.
        path: Output file, e.g. a PNG.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.5), layout="constrained")
    drawn = figure.subplots(1, 2)
    shares = {group: rows for group, rows in groups.items() if group.endswith("of HNSW")}
    systems = list(dict.fromkeys(row["system"] for rows in shares.values() for row in rows))
    for axes, key in zip(drawn, ("p50_ms", "p99_ms"), strict=True):
        for system in systems:
            own = [row for rows in shares.values() for row in rows if row["system"] == system and key in row]
            points = sorted((row["budget_bytes"] / 1e6, row[key]) for row in own)
            axes.plot([at for at, _ in points], [value for _, value in points], marker="o", label=system)
        axes.set(xlabel="memory for files, MB", ylabel=f"{key[:3]}, ms", ylim=(0, None))
        axes.grid(alpha=0.25)
    drawn[0].legend(frameon=False)
    figure.suptitle(title)
    figure.savefig(path, dpi=110)
