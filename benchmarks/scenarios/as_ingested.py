"""Compare indices in three states: as ingested, after updates and deletions, and merged to one segment."""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from opensearchpy import OpenSearch
from opensearchpy.helpers import bulk

from benchmarks.datasets import EncodedSet
from benchmarks.measure import measure, timed
from benchmarks.progress import Report
from benchmarks.scenarios.live import (
    checked_shape,
    describe_row,
    each_index,
    empty_indices,
    exact_top_10,
    wait_for_leases,
    wait_for_merges,
)
from benchmarks.systems.base import Writable, write
from connector.evaluation.metrics import overlap_at
from connector.index.sizes import merge_index

UPDATED, DELETED = 0.10, 0.05

LEASES_S = 90.0
"""Maximum wait until a merge can drop deleted documents."""

STATES = ("as ingested", "10 % updated, 5 % deleted", "merged")


@dataclass(frozen=True, slots=True)
class Changes:
    """Changes after all documents are written.

    Attributes:
        updated: Rows of the updated documents.
        contents: Row of the new content of each: another updated document, so that hits by old content are detected.
        deleted: Rows of the deleted documents, none of which is updated.
    """

    updated: NDArray[np.int64]
    contents: NDArray[np.int64]
    deleted: NDArray[np.int64]

    def left(self, documents: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the rows of the remaining documents, and the row of each one's content."""
        contents = np.arange(documents)
        contents[self.updated] = self.contents
        rows = np.setdiff1d(np.arange(documents), self.deleted)
        return rows, contents[rows]


def draw_changes(documents: int, *, seed: int = 0) -> Changes:
    """Select the documents to update and delete."""
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
    """Bring the systems' indices into each state, and search them in turns.

    Args:
        client: A client; indices are deleted at the end.
        data: The encoded set.
        systems: The first is the reference.
        rounds: Rounds of `measure`.
        done: States that are already measured.
        report: Called with the current task and its completed fraction.
        add: Stores the rows of each state.

    Raises:
        ClusterError: An index does not contain what was written.
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
                client, systems, requests, rounds=rounds, progress=partial(report, f"{state}: searching in turns")
            )
            result = []
            for system, each in zip(systems, measured, strict=True):
                row = describe_row(system) | {"overlap@10": overlap_at(data.run_of(each.hits), truth, 10)}
                row |= timed(each, measured[0]) | asdict(checked_shape(client, system, len(rows)))
                result.append(row)
            add(state, result)


def _reach(client: OpenSearch, system: Writable, data: EncodedSet, state: str, changes: Changes) -> None:
    """Bring an index from the previous state to this one."""
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
