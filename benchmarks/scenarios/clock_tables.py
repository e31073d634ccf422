"""The suite `clock` as a table."""

from __future__ import annotations

from collections.abc import Mapping

from benchmarks.report import to_table
from benchmarks.results import Rows
from benchmarks.scenarios.clock import AGREED, AGREEMENT, OURS, THEIRS


def clock_to_markdown(groups: Mapping[str, Rows]) -> str:
    """Return p50 and p99 by both tools, then the ratios, and whether they agree."""
    heads = ("system", "p50 ms", "before and after", "p50 ms, OpenSearch Benchmark", "p99 ms",
             "p99 ms, OpenSearch Benchmark")  # fmt: skip
    times = []
    for own, other in zip(groups[OURS], groups[THEIRS], strict=True):
        halves = f"{own['p50_before_ms']:.2f}, {own['p50_after_ms']:.2f}"
        p99 = f"{other['p99_ms']:.2f}" if "p99_ms" in other else ""
        cells = (f"{own['p50_ms']:.2f}", halves, f"{other['p50_ms']:.2f}", f"{own['p99_ms']:.2f}", p99)
        times.append((own["system"], *cells))
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
    ratio_heads = ("system", "p50 / HNSW", "by OpenSearch Benchmark", f"difference (at most {AGREED:.0%})",
                   "without the fixed cost", "by OpenSearch Benchmark", "difference")  # fmt: skip
    return f"{to_table(heads, times)}\n{to_table(ratio_heads, ratios)}"
