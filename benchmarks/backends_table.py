"""The suite `backends` as a table."""

from __future__ import annotations

from collections.abc import Mapping

from benchmarks.report import to_table
from benchmarks.results import Rows

_HEADS = [
    *("texts", "method", "backend", "documents/s", "of torch", "query p50 ms", "p99 ms"),
    *("cosine", "equal features"),
]

_SCORES = {"ndcg@10": "NDCG@10", "ndcg@10_documents": "documents only", "ndcg@10_queries": "queries only"}
"""Columns of judged sets: both sides by this backend, documents only, queries only; torch encodes the other side."""


def backends_to_markdown(groups: Mapping[str, Rows]) -> str:
    """Return speed, latency and agreement by corpus, method and backend, and quality if any row has it."""
    scored = any("ndcg@10" in row for rows in groups.values() for row in rows)
    heads = [*_HEADS, *_SCORES.values()] if scored else _HEADS
    lines = []
    for group, rows in groups.items():
        speed_of = {(row["way"], row["backend"]): row["documents_per_s"] for row in rows}
        for row in rows:
            lines.append(
                (
                    group,
                    row["way"],
                    row["backend"],
                    f"{row['documents_per_s']:,.0f}",
                    f"{row['documents_per_s'] / speed_of[row['way'], 'torch']:.2f}",
                    *(f"{row[key]:.1f}" if key in row else "" for key in ("p50_ms", "p99_ms")),
                    f"{row['cosine']:.6f}" if "cosine" in row else "",
                    f"{row['equal_features']:.2%}" if "equal_features" in row else "",
                    *(f"{row[key]:.4f}" if key in row else "" for key in (_SCORES if scored else ())),
                )
            )
    return to_table(heads, lines, left=(0, 1, 2))
