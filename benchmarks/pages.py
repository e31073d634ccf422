"""Tables in pages of docs/: a comment above each names its result file and the selected rows.

<!-- table: compare benchmarks/results/frontier-debian.json
HNSW default
k-sparse k_query=32
-->

| system | ...

<!-- end -->
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.backends_table import backends_to_markdown
from benchmarks.dictionary_levers_table import dictionary_levers_to_markdown
from benchmarks.report import (
    cheapest_to_markdown,
    compare_to_markdown,
    encoders_to_markdown,
    frontier_to_markdown,
    growth_to_markdown,
    ht_sets_to_markdown,
    ht_to_markdown,
    ingest_to_markdown,
    levers_to_markdown,
    neighbours_to_markdown,
    paper_to_markdown,
    rows_to_markdown,
    scaling_to_markdown,
    scores_to_markdown,
    selection_to_markdown,
    sizes_to_markdown,
    stream_to_markdown,
    systems_to_markdown,
    table_4_to_markdown,
    to_table,
)
from benchmarks.results import Rows, name_of, read_result
from benchmarks.scenarios.clock_tables import clock_to_markdown
from benchmarks.scenarios.limited_tables import limited_to_markdown
from benchmarks.scenarios.served_tables import served_to_markdown
from benchmarks.scenarios.shards_tables import cluster_to_markdown
from benchmarks.scenarios.sheet import sheet_to_markdown
from benchmarks.scenarios.tables import (
    churn_to_markdown,
    filtered_to_markdown,
    is_judged,
    rivals_to_markdown,
    states_to_markdown,
)
from connector.errors import ConnectorError

ROOT = Path(__file__).parents[1]
_TABLE = re.compile(r"(<!-- table: ([\w-]+) (\S+)([^>]*)-->\n).*?(?=<!-- end -->)", re.DOTALL)


def defaults_to_markdown(groups: Mapping[str, Sequence[dict[str, Any]]]) -> str:
    """Return a row per corpus of the suite `dictionary`: a new index and HNSW, both at their defaults.

    Args:
        groups: From "corpus/documents" to the rows: exact search, HNSW, the new index, others.
    """
    heads = ["corpus", "documents", "NDCG@10 / dense", "HNSW: NDCG@10 / dense", "dense top 10", "HNSW: dense top 10"]
    heads += ["bytes per document", "bytes / HNSW", "p50 / HNSW", "p99 / HNSW"]
    lines = []
    for group in sorted(groups, key=lambda group: int(group.partition("/")[2]), reverse=True):
        _exact, graph, own = groups[group][:3]
        corpus, _, documents = group.partition("/")
        shares = [f"{row['ndcg_share']:.1%}" if is_judged(groups[group]) else "" for row in (own, graph)]
        shares += [f"{row['overlap@10']:.1%}" for row in (own, graph)]
        ratios = [f"{own[key] / graph[key]:.2f}" for key in ("index_bytes", "p50_ms", "p99_ms")]
        lines.append((corpus, f"{int(documents):,}", *shares, f"{own['bytes_per_document']:,.0f}", *ratios))
    return to_table(heads, lines)


_OF_ONE_SET: dict[str, Callable[[Sequence[dict[str, Any]]], str]] = {
    "compare": compare_to_markdown,
    "cheapest": cheapest_to_markdown,
    "encoders": encoders_to_markdown,
    "frontier": frontier_to_markdown,
    "ht": ht_to_markdown,
    "ksparse-paper": paper_to_markdown,
    "ingest": ingest_to_markdown,
    "levers": levers_to_markdown,
    "dictionary-levers": dictionary_levers_to_markdown,
    "selection": selection_to_markdown,
    "sizes": sizes_to_markdown,
    "stream": stream_to_markdown,
    "systems": systems_to_markdown,
}
_OF_ALL: dict[str, Callable[[Mapping[str, Rows]], str]] = {
    "backends": backends_to_markdown,
    "churn": churn_to_markdown,
    "defaults": defaults_to_markdown,
    "filtered": filtered_to_markdown,
    "growth": growth_to_markdown,
    "ht-sets": ht_sets_to_markdown,
    "neighbours": neighbours_to_markdown,
    "rivals": rivals_to_markdown,
    "scaling": scaling_to_markdown,
    "scores": scores_to_markdown,
    "states": states_to_markdown,
    "limited": limited_to_markdown,
    "clock": clock_to_markdown,
    "service": served_to_markdown,
    "sheet": sheet_to_markdown,
    "cluster": cluster_to_markdown,
    "table-4": table_4_to_markdown,
}
_OF_SUITE = {
    **dict.fromkeys(("dictionary", "frontier", "levers"), ("systems",)),
    **dict.fromkeys(("ht-table1", "ht-table3", "ht-idf"), ("ht",)),
    "ht-table2": ("ht-sets", "ht"),
    "as-ingested": ("states",),
    "encoder-frontier": ("frontier",),
    "feature-selection": ("selection",),
    "ksparse-table4": ("table-4",),
    "memory": ("limited",),
    "query-encoders": ("encoders",),
}
"""Kinds of tables of a suite, if they have other names than the suite."""


def suite_to_markdown(suite: str, groups: Mapping[str, Rows]) -> str:
    """Return the tables of a suite's result."""
    return "\n".join(_all_of(kind, groups) for kind in _OF_SUITE.get(suite, (suite,)))


def _all_of(kind: str, groups: Mapping[str, Rows]) -> str:
    if kind in _OF_ALL:
        return _OF_ALL[kind](groups)
    to_markdown = _OF_ONE_SET.get(kind, rows_to_markdown)
    return "\n".join(f"{name}\n\n{to_markdown(rows)}" for name, rows in groups.items())


def write_tables(page: str) -> str:
    """Return the page with its tables updated from the results.

    Args:
        page: Markdown.

    Raises:
        ConnectorError: A comment names an unknown kind of table, file or row.
    """
    return _TABLE.sub(lambda found: f"{found[1]}\n{_table(found[2], found[3], found[4])}\n", page)


def _table(kind: str, path: str, names: str) -> str:
    groups = _read(path)
    chosen = names.strip().splitlines()
    if chosen:
        groups = _choose(path, groups, chosen)
    if kind in _OF_ALL:
        return _OF_ALL[kind](groups)
    if kind not in _OF_ONE_SET:
        raise ConnectorError(f"There is no table {kind!r}; there are {', '.join((*_OF_ONE_SET, *_OF_ALL))}.")
    [rows] = groups.values()
    return _OF_ONE_SET[kind](rows)


def _read(path: str) -> dict[str, Rows]:
    """Rows by group; of several files (`*`), by "data set/group"."""
    if "*" not in path:
        only: dict[str, Rows] = read_result(ROOT / path)["results"]
        return only
    results = [read_result(each) for each in sorted(ROOT.glob(path))]
    return {f"{one['params']['dataset']}/{group}": rows for one in results for group, rows in one["results"].items()}


def _choose(path: str, groups: Mapping[str, Rows], names: Sequence[str]) -> dict[str, Rows]:
    """Keep the named rows of each group, in this order; a group may lack some of them."""
    named = {group: {name_of(row): row for row in rows} for group, rows in groups.items()}
    known = dict.fromkeys(name for rows in named.values() for name in rows)
    if missing := [name for name in names if name not in known]:
        raise ConnectorError(f"{path} has no row {missing[0]!r}; it has {'; '.join(known)}.")
    return {group: [rows[name] for name in names if name in rows] for group, rows in named.items()}
