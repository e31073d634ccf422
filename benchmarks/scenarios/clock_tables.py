"""The suite `clock` as a table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.report import to_table
from benchmarks.results import Rows
from benchmarks.scenarios.clock import AGREED, AGREEMENT, OURS, THEIRS


def clock_to_markdown(groups: Mapping[str, Rows]) -> str:
    """Return p50 and p99 by both clocks, then the ratios, and whether they agree."""
    heads = ("system", "p50, ours, ms", "p50, OpenSearch Benchmark", "p99, ours, ms", "p99, OpenSearch Benchmark")
    pairs = zip(groups[OURS], groups[THEIRS], strict=True)
    times = [
        (
            own["system"],
            *(f"{row[key]:.2f}" if key in row else "" for key in ("p50_ms", "p99_ms") for row in (own, other)),
        )
        for own, other in pairs
    ]
    ratios = []
    for row in groups[AGREEMENT]:
        verdict = "agree" if abs(row["difference"]) <= AGREED else "differ"
        ratios.append(
            (
                row["system"],
                f"{row['p50_ratio']:.2f}",
                f"{row['p50_ratio_theirs']:.2f}",
                f"{row['difference']:+.0%}, they {verdict}",
                f"{row['net_ratio']:.2f}",
                f"{row['net_ratio_theirs']:.2f}",
                f"{row['net_difference']:+.0%}",
            )
        )
    ratio_heads = ("p50 of HNSW", "ours", "OpenSearch Benchmark", f"difference (at most {AGREED:.0%})",
                   "less a search for nothing: ours", "OpenSearch Benchmark", "difference")  # fmt: skip
    return f"{to_table(heads, times)}\n{to_table(ratio_heads, ratios)}"


def _figure(row: Mapping[str, Any], key: str) -> str:
    return f"{row[key]:.2f}" if key in row else ""
