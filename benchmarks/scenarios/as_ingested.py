"""The same indices in three states: as ingested, after updates and deletions, and merged to one segment."""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from opensearchpy import OpenSearch
from opensearchpy.helpers import bulk

from benchmarks.compare import Report
from benchmarks.datasets import EncodedSet
from benchmarks.measure import measure, timed
from benchmarks.scenarios.live import (
    checked_shape,
    describe_row,
    each_index,
    empty_indices,
    exact_top_10,
    run_of,
    wait_for_leases,
    wait_for_merges,
)
from benchmarks.systems.base import Writable, write
from connector.evaluation.metrics import overlap_at
from connector.index.sizes import merge_index

UPDATED, DELETED = 0.10, 0.05

LEASES_S = 90.0
"""The longest wait for deleted documents to be free before the merge that shall drop them."""

STATES = ("as ingested", "10 % updated, 5 % deleted", "merged")


@dataclass(frozen=True, slots=True)
class Changes:
    """What is written after all documents are there.

    Attributes:
        updated: Rows of the documents that are written again.
        contents: For each of them, the row whose content it gets: another updated one, so that what is found by its
            old content is found out.
        deleted: Rows of other documents, which are deleted.
    """

    updated: NDArray[np.int64]
    contents: NDArray[np.int64]
    deleted: NDArray[np.int64]

    def left(self, documents: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the rows of so many documents that are left, and for each the row that it has its content from."""
        contents = np.arange(documents)
        contents[self.updated] = self.contents
        rows = np.setdiff1d(np.arange(documents), self.deleted)
        return rows, contents[rows]


def draw_changes(documents: int, *, seed: int = 0) -> Changes:
    """Choose the documents that are updated and deleted."""
    drawn = np.random.default_rng(seed).permutation(documents)
    some, others = round(UPDATED * documents), round(DELETED * documents)
    return Changes(drawn[:some], np.roll(drawn[:some], 1), drawn[some : some + others])


def measure_states(
    client: OpenSearch,
    data: EncodedSet,
    systems: Sequence[Writable],
    *,
    rounds: int,
    done: Container[str],
    report: Report,
    add: Callable[[str, list[dict[str, Any]]], None],
) -> None:
    """Bring the systems' indices from state to state, and search them in turns in each.

    Args:
        client: Of the node; indices are deleted at the end.
        data: Encoded.
        systems: The first is the one that others are compared with.
        rounds: Timed, after a warm-up.
        done: States that need no measuring.
        report: Called with the current task and the share of it done.
        add: Takes the rows of each state.

    Raises:
        ClusterError: An index does not hold what was written.
    """
    changes = draw_changes(len(data.documents))
    requests = [system.prepare(data) for system in systems]
    with empty_indices(client, systems):
        for state in STATES:
            for system in each_index(systems, report, f"{state}: writing"):
                _reach(client, system, data, state, changes)
            if state in done:
                continue
            every = np.arange(len(data.documents))
            rows, contents = (every, every) if state == STATES[0] else changes.left(len(every))
            truth = exact_top_10(data, rows, contents)
            measured = measure(
                client, systems, requests, rounds=rounds, progress=partial(report, f"{state}: searching, in turns")
            )
            result = []
            for system, each in zip(systems, measured, strict=True):
                row = describe_row(system) | {"overlap@10": overlap_at(run_of(data, each.hits), truth, 10)}
                row |= timed(each, measured[0]) | asdict(checked_shape(client, system.index, len(rows)))
                row["index_bytes"] += getattr(system, "more_bytes", 0)
                result.append(row)
            add(state, result)


def _reach(client: OpenSearch, system: Writable, data: EncodedSet, state: str, changes: Changes) -> None:
    """Bring an index from the state before to this one."""
    if state == STATES[0]:
        system.upload(client, data)
    elif state == STATES[1]:
        ids = data.doc_ids
        updated = [ids[row] for row in changes.updated.tolist()]
        write(client, system.index, updated, system.sources(data, changes.contents.tolist()))
        gone = [ids[row] for row in changes.deleted.tolist()]
        bulk(client, ({"_op_type": "delete", "_index": system.index, "_id": doc_id} for doc_id in gone))
    else:
        wait_for_leases(client, system.index, LEASES_S)
        merge_index(client, system.index)
    wait_for_merges(client, system.index)
