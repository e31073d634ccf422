"""Markdown tables of the scenarios."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.report import cheapest_to_markdown, compare_to_markdown, costs_to_markdown, to_table
from benchmarks.results import name_of
from benchmarks.scenarios.rivals import NOT_RUN, VECTORS, WORDS

_Groups = Mapping[str, Sequence[dict[str, Any]]]


def is_judged(rows: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a set has judgements: without, the hits of exact dense search, which come first, count as relevant."""
    return bool(rows[0]["ndcg@10"] < 1)


def states_to_markdown(groups: _Groups) -> str:
    """Return a table of the suite `as-ingested`: indices in each state, with ratios to HNSW in the same state."""
    heads = ("state", "system", "segments", "documents", "deleted", "MB", "of HNSW", "of exact top 10", "p50", "p99")
    lines = []
    for state, rows in groups.items():
        for row in rows:
            cells = [state, name_of(row), f"{row['segments']}", f"{row['documents']:,}", f"{row['deleted']:,}"]
            cells += [f"{row['index_bytes'] / 1e6:.1f}", f"{row['index_bytes'] / rows[0]['index_bytes']:.2f}"]
            lines.append([*cells, f"{row['overlap@10']:.1%}", *latencies(row, rows[0])])
    return to_table(heads, lines, left=(0, 1))


def latencies(row: Mapping[str, Any], first: Mapping[str, Any], names: Sequence[str] = ("p50", "p99")) -> list[str]:
    """Return latencies as ratios to those of the first system, which are also given in milliseconds."""
    return [
        f"{row[f'{name}_ms'] / first[f'{name}_ms']:.2f}"
        + (f" ({row[f'{name}_ms']:.{1 if name == 'p99' else 2}f} ms)" if row is first else "")
        for name in names
    ]


def filtered_to_markdown(groups: _Groups) -> str:
    """Return a table of the suite `filtered`: a row per filter and system, with ratios to HNSW with the same filter."""
    heads = ("filter", "documents", "system", "of exact top 10", "too few hits", "p50", "p99")
    lines = []
    for group, rows in groups.items():
        for row in rows:
            cells = [group, f"{row['kept']:,.0f}", name_of(row), f"{row['overlap@10']:.1%}", f"{row['too_few']:.0%}"]
            lines.append([*cells, *latencies(row, rows[0])])
    return to_table(heads, lines, left=(0, 2))


def rivals_to_markdown(groups: _Groups) -> str:
    """Return tables of the suite `rivals`: all settings, the fastest at equal quality, and what was not run.

    Without judgements, the exact top ten count as relevant, so only the costs of combinations with words are compared.
    """
    parts = []
    for group, key, name in ((VECTORS, "overlap@10", "exact top 10"), (WORDS, "ndcg_share", "dense NDCG@10")):
        if group == WORDS and group in groups and not is_judged(groups[group]):
            parts += [f"{group}; their quality cannot be compared without relevance judgements\n"]
            parts += [costs_to_markdown(groups[group])]
        elif group in groups:
            parts += [f"{group}\n", compare_to_markdown(groups[group])]
            parts += [f"The fastest setting of each system that reaches a share of {name}:\n"]
            parts += [cheapest_to_markdown(groups[group], (0.9, 0.95, 0.97, 0.99), key=key)]
    if NOT_RUN in groups:
        systems: dict[str, list[str]] = {}
        for row in groups[NOT_RUN]:
            systems.setdefault(row["reason"], []).append(row["system"])
        parts.append("".join(f"Not run: {'; '.join(names)}, since {reason}.\n" for reason, names in systems.items()))
    return "\n".join(parts)


def churn_to_markdown(groups: _Groups) -> str:
    """Return a table of the suite `churn`: writes and concurrent searches of each system at each rate.

    Latencies have two modes, during and between merges, between which a median jumps. So both modes are shown, with the
    share of the time in which merges run, and the mean, with the 95 % interval of its ratio if there were turns enough.
    """
    heads = ["rate", "system", "documents/s", "found after, p50 s", "maximum", "of exact top 10", "MB", "mean", "p50",
             "p99"]  # fmt: skip
    # Results of earlier versions lack it.
    modes = all("merging_share" in row for rows in groups.values() for row in rows)
    if modes:
        heads += ["merging", "p50 between merges", "during"]
    lines = []
    for rate, rows in groups.items():
        for row in rows:
            cells = [rate, name_of(row), f"{row['documents_per_s']:,.0f}"]
            cells += [f"{row[key]:.2f}" if key in row else "" for key in ("found_p50_s", "found_most_s")]
            cells += [f"{row['overlap@10']:.1%}", f"{row['index_bytes'] / 1e6:.1f}"]
            mean, *percentiles = latencies(row, rows[0], ("mean", "p50", "p99"))
            if "mean_interval" in row:
                mean += " ({:.2f} to {:.2f})".format(*row["mean_interval"])
            cells += [mean, *percentiles]
            if modes:
                cells.append(f"{row['merging_share']:.0%}")
                for mode in ("between_merges", "during_merges"):
                    both = mode in row and mode in rows[0]
                    cells += latencies(row[mode], rows[0][mode], ("p50",)) if both else [""]
            lines.append(cells)
    return to_table(heads, lines, left=(0, 1))
