"""Compute memory, disk and machine for any number of documents from measurements."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any

from benchmarks.report import to_table
from benchmarks.results import Rows, name_of, write_result
from benchmarks.scenarios.rivals import VECTORS
from connector.errors import ConnectorError

COUNTS = (1_000_000, 10_000_000, 100_000_000)
MACHINES_GB = (4, 8, 16, 32, 64, 128, 256, 512)

FORMULA = (
    "index = documents x bytes per document; memory = node + index x share of the index that has to be in memory; "
    "disk = 2 x index, since a merge writes a segment before it deletes those that it is made of."
)

_SLOWER = 1.5
"""Maximum ratio of p50 to that without a limit, for memory that counts as sufficient."""


@dataclass(frozen=True, slots=True)
class Need:
    """Memory need of a system, from the suite `memory`.

    Attributes:
        node_bytes: Memory of the node without index files.
        share: Fraction of the index that has to be in memory.
    """

    node_bytes: int
    share: float


def needs(groups: Mapping[str, Rows]) -> dict[str, Need]:
    """Find the smallest sufficient memory for files of each system.

    Args:
        groups: Groups of the suite `memory`.
    """
    free = {row["system"]: row for row in groups["no limit"]}
    found = {}
    for system, row in free.items():
        shares = [
            each["budget_bytes"] / each["index_bytes"]
            for rows in groups.values()
            for each in rows
            if each["system"] == system
            and "budget_bytes" in each
            and each.get("p50_ms", float("inf")) <= _SLOWER * row["p50_ms"]
        ]
        # At most the complete index, also if no limit was sufficient.
        found[system] = Need(row["node_bytes"], min([1.0, *shares]))
    return found


def equal_settings(rows: Sequence[dict[str, Any]], overlap: float | None) -> Rows:
    """Select the fastest setting of each system with a given overlap with exact search.

    Args:
        rows: Rows of a comparison.
        overlap: Overlap to reach; None means the highest that all systems reach.

    Raises:
        ConnectorError: No system reaches the overlap.
    """
    timed = [row for row in rows if "p50_ms" in row]
    best: dict[str, float] = {}
    for row in timed:
        best[row["system"]] = max(best.get(row["system"], 0.0), row["overlap@10"])
    wanted = min(best.values()) if overlap is None else overlap
    chosen = []
    for system in best:
        enough = [row for row in timed if row["system"] == system and row["overlap@10"] >= wanted]
        if enough:
            chosen.append(min(enough, key=lambda row: float(row["p50_ms"])))
    if not chosen:
        raise ConnectorError(
            f"No system has an overlap of {wanted:g}; the highest is {max(best.values()):.3f}. Choose a lower overlap."
        )
    return chosen


def compute(
    result: dict[str, Any],
    memory: Mapping[str, Need],
    *,
    overlap: float | None,
    counts: Sequence[int],
    machines_gb: Sequence[int],
) -> dict[str, Rows]:
    """Compute the sheet.

    Args:
        result: Result of `rivals`, or of a suite with groups by number of documents, e.g. `dictionary`, of which the
            largest is used.
        memory: Memory needs by system; for others, the complete index and the heap of the result are assumed.
        overlap: As in `equal_settings`.
        counts: Numbers of documents.
        machines_gb: Memory of the available machines.

    Returns:
        Rows of all systems by number of documents.

    Raises:
        ConnectorError: The result has no such groups, or the memory of the node is unknown.
    """
    measured, compared = _measured_rows(result)
    chosen = equal_settings(compared, overlap)
    heap = result.get("environment", {}).get("heap_bytes")
    if heap is None and not memory:
        raise ConnectorError("The result does not contain the heap of the node; add a result of the suite `memory`.")
    known = [need.node_bytes for need in memory.values()]
    usual = Need(max(known) if known else int(heap), 1.0)
    rows_of: dict[str, Rows] = {}
    for count in counts:
        rows = []
        for row in chosen:
            need = memory.get(row["system"], usual)
            index = row["bytes_per_document"] * count
            held = index * need.share
            machine, nodes = fit(need.node_bytes, held, machines_gb)
            rows.append(
                {
                    "system": row["system"],
                    "knob": row["knob"],
                    "overlap@10": row["overlap@10"],
                    "p50_ratio": row["p50_ratio"],
                    "measured_documents": measured,
                    "bytes_per_document": row["bytes_per_document"],
                    "node_bytes": need.node_bytes,
                    "share_in_memory": need.share,
                    "index_bytes": index,
                    "memory_bytes": nodes * need.node_bytes + held,
                    "disk_bytes": 2 * index,
                    "machine_gb": machine,
                    "nodes": nodes,
                }
            )
        rows_of[str(count)] = rows
    return rows_of


def _measured_rows(result: dict[str, Any]) -> tuple[int, Rows]:
    """Return the number of documents of a comparison, and its rows."""
    groups: dict[str, Rows] = result["results"]
    documents = result["params"].get("documents")
    if VECTORS in groups and documents is not None:
        return int(documents), groups[VECTORS]
    sizes = [int(group) for group in groups if group.isdigit()]
    if not sizes:
        raise ConnectorError(
            f"The result of the suite {result['suite']!r} has no groups by documents; use one of `dictionary`, or one "
            "of `rivals` with --documents."
        )
    return max(sizes), groups[str(max(sizes))]


def fit(node_bytes: float, held: float, machines_gb: Sequence[int]) -> tuple[int, int]:
    """Return the size of the smallest sufficient machine and 1, or the largest size and the required number."""
    for machine in sorted(machines_gb):
        if node_bytes + held <= machine * 1e9:
            return machine, 1
    largest = max(machines_gb)
    room = largest * 1e9 - node_bytes
    if room <= 0:
        raise ConnectorError(
            f"A node needs {node_bytes / 1e9:.1f} GB without any index, more than a machine of {largest} GB has; "
            "choose a larger --machine."
        )
    return largest, ceil(held / room)


def sheet_to_markdown(groups: Mapping[str, Rows]) -> str:
    """Return the sheet with a row per number of documents and system, and the formula with the measurements."""
    lines = []
    for count, rows in groups.items():
        for row in rows:
            nodes = f"{row['nodes']} x " if row["nodes"] > 1 else ""
            figures = (f"{row[key] / 1e9:,.1f}" for key in ("index_bytes", "memory_bytes", "disk_bytes"))
            machine = f"{nodes}{row['machine_gb']} GB"
            facts = (f"{row['overlap@10']:.1%}", f"{row['p50_ratio']:.2f}")
            lines.append((f"{int(count):,}", name_of(row), *facts, *figures, machine))
    heads = ("documents", "system", "overlap", "p50 of HNSW", "index GB", "memory GB", "disk GB", "machine")
    rows = next(iter(groups.values()))
    sources = "; ".join(
        f"{row['system']}: {row['bytes_per_document']:,.0f} bytes per document, node {row['node_bytes'] / 1e9:.1f} GB, "
        f"{row['share_in_memory']:.0%} of the index in memory"
        for row in rows
    )
    source = f"Measured at {rows[0]['measured_documents']:,} documents, overlap and p50 as well. {sources}."
    return f"{to_table(heads, lines, left=(0, 1))}\n{FORMULA[0].upper()}{FORMULA[1:]} {source}\n"


def write_sheet(path: Path, sources: Sequence[Path], groups: dict[str, Rows]) -> None:
    """Write the sheet as a result, with the names of its source results."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_result(path, "sheet", {"computed_from": [source.name for source in sources]}, groups)
