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

# The columns of a comparison that the README shows, as far as the result has them.
_SUMMARY_COLUMNS = (
    "system",
    "NDCG@10",
    "of dense",
    "bytes a document",
    "p50",
    "p99",
    "requests/s, 8 clients",
    "mapped MB",
)


def summary_to_markdown(rows: Sequence[dict[str, Any]]) -> str:
    """Return the columns of a comparison that the README shows."""
    table = [line[2:-2].split(" | ") for line in compare_to_markdown(list(rows)).splitlines()]
    columns = [column for column in _SUMMARY_COLUMNS if column in table[0]]
    places = [table[0].index(column) for column in columns]
    return to_table(columns, ([cells[place] for place in places] for cells in table[2:]))


_OF_ONE_SET: dict[str, Callable[[Sequence[dict[str, Any]]], str]] = {
    "compare": compare_to_markdown,
    "cheapest": cheapest_to_markdown,
    "encoders": encoders_to_markdown,
    "ht": ht_to_markdown,
    "ingest": ingest_to_markdown,
    "selection": selection_to_markdown,
    "sizes": sizes_to_markdown,
    "summary": summary_to_markdown,
}
OF_ALL: dict[str, Callable[[Mapping[str, Rows]], str]] = {
    "churn": churn_to_markdown,
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
    groups = read_result(ROOT / path)["results"]
    chosen = names.strip().splitlines()
    if chosen:
        groups = {group: _choose(path, rows, chosen) for group, rows in groups.items()}
    if kind in OF_ALL:
        return OF_ALL[kind](groups)
    if kind not in _OF_ONE_SET:
        raise ConnectorError(f"There is no table {kind!r}; there are {', '.join((*_OF_ONE_SET, *OF_ALL))}.")
    [rows] = groups.values()
    return _OF_ONE_SET[kind](rows)


def _choose(path: str, rows: Rows, names: Sequence[str]) -> Rows:
    row_of = {name_of(row): row for row in rows}
    missing = [name for name in names if name not in row_of]
    if missing:
        raise ConnectorError(f"{path} has no row {missing[0]!r}; it has {'; '.join(row_of)}.")
    return [row_of[name] for name in names]
