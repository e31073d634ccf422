"""Tables of the suite `cluster`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.report import to_table
from benchmarks.results import Rows, name_of
from benchmarks.scenarios.tables import latencies

KILLED = "a node killed"


def cluster_to_markdown(groups: Mapping[str, Rows]) -> str:
    """Return systems by shards and nodes, with ratios to HNSW in the same cluster, and the effect of a killed node."""
    heads = ("cluster", "system", "MB", "of exact top 10", "p50", "p99", "requests/s, 8 clients")
    lines = []
    for group, rows in groups.items():
        for row in rows if group != KILLED else ():
            cells = [group, name_of(row), f"{row['index_bytes'] / 1e6:.1f}", f"{row['overlap@10']:.1%}"]
            lines.append([*cells, *latencies(row, rows[0]), f"{row['requests_per_s']:,.0f}"])
    tables = [to_table(heads, lines, left=(0, 1))]
    if KILLED in groups:
        tables.append(_killed(groups[KILLED]))
    return "\n".join(tables)


def _killed(rows: Rows) -> str:
    heads = ["system, one node killed", "requests/s"]
    for part in ("before", "first seconds after", "later"):
        heads += [f"{part}: p50 ms", "p99 ms", "errors"]
    lines = []
    for row in rows:
        cells = [name_of(row), f"{row['rate']:,.0f}"]
        for part in ("before", "during", "after"):
            cells += [*_times(row[part]), f"{row[part]['errors']:,} of {row[part]['requests']:,}"]
        lines.append(cells)
    return to_table(heads, lines)


def _times(part: Mapping[str, Any]) -> list[str]:
    return [f"{part[key]:.1f}" if key in part else "" for key in ("p50_ms", "p99_ms")]
