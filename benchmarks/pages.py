"""Tables in pages of docs/: a comment above each says which result it is written from, and which of its rows.

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
from benchmarks.report import (
    cheapest_to_markdown,
    compare_to_markdown,
    encoders_to_markdown,
    growth_to_markdown,
    ht_sets_to_markdown,
    ht_to_markdown,
    ingest_to_markdown,
    name_of,
    scaling_to_markdown,
    scores_to_markdown,
    selection_to_markdown,
    sizes_to_markdown,
    to_table,
)
from benchmarks.results import Rows, read_result
from benchmarks.scenarios.clock_tables import clock_to_markdown
from benchmarks.scenarios.limited_tables import limited_to_markdown
from benchmarks.scenarios.served_tables import served_to_markdown
from benchmarks.scenarios.shards_tables import cluster_to_markdown
from benchmarks.scenarios.sheet import sheet_to_markdown
from benchmarks.scenarios.tables import churn_to_markdown, filtered_to_markdown, rivals_to_markdown, states_to_markdown
from connector.errors import ConnectorError

ROOT = Path(__file__).parents[1]
_TABLE = re.compile(r"(<!-- table: ([\w-]+) (\S+)([^>]*)-->\n).*?(?=<!-- end -->)", re.DOTALL)


def defaults_to_markdown(groups: Mapping[str, Sequence[dict[str, Any]]]) -> str:
    """Return a line for each corpus of the suite `dictionary`: a new index beside HNSW, both at their defaults.

    Args:
        groups: From "corpus/documents" to the rows: exact search, HNSW, the new index, others.
    """
    heads = ["corpus", "documents", "of dense NDCG@10", "HNSW's", "of the dense top 10", "HNSW's"]
    heads += ["bytes per document", "of HNSW's", "p50", "p99"]
    lines = []
    for group in sorted(groups, key=lambda group: int(group.partition("/")[2]), reverse=True):
        exact, graph, own = groups[group][:3]
        corpus, _, documents = group.partition("/")
        judged = exact["ndcg@10"] < 1
        shares = [f"{row['ndcg_share']:.1%}" if judged else "" for row in (own, graph)]
        shares += [f"{row['overlap@10']:.1%}" for row in (own, graph)]
        ratios = [f"{own[key] / graph[key]:.2f}" for key in ("index_bytes", "p50_ms", "p99_ms")]
        lines.append((corpus, f"{int(documents):,}", *shares, f"{own['bytes_per_document']:,.0f}", *ratios))
    return to_table(heads, lines)


_OF_ONE_SET: dict[str, Callable[[Sequence[dict[str, Any]]], str]] = {
    "compare": compare_to_markdown,
    "cheapest": cheapest_to_markdown,
    "encoders": encoders_to_markdown,
    "ht": ht_to_markdown,
    "ingest": ingest_to_markdown,
    "selection": selection_to_markdown,
    "sizes": sizes_to_markdown,
}
OF_ALL: dict[str, Callable[[Mapping[str, Rows]], str]] = {
    "backends": backends_to_markdown,
    "churn": churn_to_markdown,
    "defaults": defaults_to_markdown,
    "filtered": filtered_to_markdown,
    "growth": growth_to_markdown,
    "ht-sets": ht_sets_to_markdown,
    "rivals": rivals_to_markdown,
    "scaling": scaling_to_markdown,
    "scores": scores_to_markdown,
    "states": states_to_markdown,
    "limited": limited_to_markdown,
    "clock": clock_to_markdown,
    "service": served_to_markdown,
    "sheet": sheet_to_markdown,
    "cluster": cluster_to_markdown,
}


def write_tables(page: str) -> str:
    """Return the page with each of its tables as the result has it now.

    Args:
        page: Markdown.

    Raises:
        ConnectorError: A comment names a kind of table, a file or a row that there is not.
    """
    return _TABLE.sub(lambda found: f"{found[1]}\n{_table(found[2], found[3], found[4])}\n", page)


def _table(kind: str, path: str, names: str) -> str:
    groups = _read(path)
    chosen = names.strip().splitlines()
    if chosen:
        groups = {group: _choose(path, rows, chosen) for group, rows in groups.items()}
    if kind in OF_ALL:
        return OF_ALL[kind](groups)
    if kind not in _OF_ONE_SET:
        raise ConnectorError(f"There is no table {kind!r}; there are {', '.join((*_OF_ONE_SET, *OF_ALL))}.")
    [rows] = groups.values()
    return _OF_ONE_SET[kind](rows)


def _read(path: str) -> dict[str, Rows]:
    """Rows by group; of several files (`*`), by "data set/group"."""
    if "*" not in path:
        only: dict[str, Rows] = read_result(ROOT / path)["results"]
        return only
    results = [read_result(each) for each in sorted(ROOT.glob(path))]
    return {f"{one['params']['dataset']}/{group}": rows for one in results for group, rows in one["results"].items()}


def _choose(path: str, rows: Rows, names: Sequence[str]) -> Rows:
    row_of = {name_of(row): row for row in rows}
    missing = [name for name in names if name not in row_of]
    if missing:
        raise ConnectorError(f"{path} has no row {missing[0]!r}; it has {'; '.join(row_of)}.")
    return [row_of[name] for name in names]
