"""Searches with filters: inside `knn` for HNSW, in the bool query for ksparse."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
from opensearchpy import OpenSearch

from benchmarks.datasets import EncodedSet
from benchmarks.measure import measure, timed
from benchmarks.progress import Report
from benchmarks.scenarios.filters import SHARES, Kind, Labels, exact_among, label
from benchmarks.scenarios.live import describe_row, each_index, empty_indices
from benchmarks.storage import settle
from benchmarks.systems.base import Request, Writable, write
from connector.evaluation.metrics import overlap_at
from connector.evaluation.runs import Run
from connector.query.rescore import MAX_RESCORED, rescore_all

FIELD = "tags"
KINDS: tuple[Kind, ...] = ("uncorrelated", "correlated")


def groups_of(documents: int) -> dict[str, tuple[Kind, int]]:
    """Return the kinds and levels of filters that match at least one of the documents, by name."""
    levels = [level for level, share in enumerate(SHARES) if share * documents >= 1]
    return {f"{kind}, {SHARES[level]:.2%}": (kind, level) for kind in KINDS for level in levels}


def measure_filters(
    client: OpenSearch,
    data: EncodedSet,
    systems_for: Callable[[int], Sequence[Writable]],
    *,
    rounds: int,
    done: Container[str],
    report: Report,
    add: Callable[[str, list[dict[str, Any]]], None],
) -> None:
    """Index the set with its labels, merge, and search with each filter, with the systems in turns.

    Args:
        client: A client; indices are deleted at the end.
        data: The encoded set.
        systems_for: The systems by number of documents that a filter matches; the first is the reference.
        rounds: Rounds of `measure`.
        done: Groups that are already measured.
        report: Called with the current task and its completed fraction.
        add: Stores the rows of each group.
    """
    systems = systems_for(len(data.documents))
    labels = {kind: label(data, kind) for kind in KINDS}
    with empty_indices(client, systems):
        for system in each_index(systems, report):
            _fill(client, system, data, labels)
        for group, (kind, level) in groups_of(len(data.documents)).items():
            if group in done:
                continue
            kept, asked = labels[kind].documents[level], labels[kind].queries[level]
            truth = exact_among(data, kept, asked)
            tags = [tag(kind, level, number) for number in asked.tolist()]
            counts = np.bincount(kept, minlength=int(asked.max()) + 1)[asked]
            mean_kept = float(np.mean(counts))
            systems = systems_for(round(mean_kept))
            prepared = [system.prepare(data) for system in systems]
            requests = [list(map(with_filter, own, tags, counts.tolist())) for own in prepared]
            measured = measure(client, systems, requests, rounds=rounds, progress=partial(report, group))
            rows = []
            for system, each in zip(systems, measured, strict=True):
                found = data.run_of(each.hits)
                row = describe_row(system) | {"share": SHARES[level], "kept": mean_kept}
                row |= _found(found, truth)
                rows.append(row | timed(each, measured[0]))
            add(group, rows)


def with_filter(request: Request, wanted: str, kept: int) -> Request:
    """Restrict a request to documents with a tag.

    In a `knn` query, the filter is inside, so that the plugin chooses between the graph and exact search. In a bool
    query it is a clause, and codes score all documents if few match, as in `Searcher`.

    Args:
        request: A request without a filter.
        wanted: The tag.
        kept: Number of documents with the tag, which a search counts once a minute; not timed here.
    """
    clause = {"term": {FIELD: {"value": wanted}}}
    [(name, query)] = request["query"].items()
    if name == "knn":
        [(field, asked)] = query.items()
        return request | {"query": {"knn": {field: asked | {"filter": clause}}}}
    changed = request | {"query": {"bool": query | {"filter": [clause]}}}
    if "rescore" in request and kept <= MAX_RESCORED:
        found, rescore = rescore_all(changed["query"], request["rescore"], kept)
        changed |= {"query": found, "rescore": rescore}
    return changed


def tag(kind: Kind, level: int, number: int) -> str:
    """Tag of the documents of a group."""
    return f"{kind}-{level}-{number}"


def _fill(client: OpenSearch, system: Writable, data: EncodedSet, labels: dict[Kind, Labels]) -> None:
    mapping = {"properties": {FIELD: {"type": "keyword"}}}
    client.indices.put_mapping(index=system.index, body=mapping)
    sources = system.sources(data, range(len(data.documents)))
    tagged = ({**source, FIELD: tags} for source, tags in zip(sources, _tags(labels), strict=True))
    write(client, system.index, data.doc_ids, tagged)
    settle(client, system.index, len(data.documents))


def _tags(labels: dict[Kind, Labels]) -> Iterator[list[str]]:
    columns = {(kind, level): row.tolist() for kind, of in labels.items() for level, row in enumerate(of.documents)}
    for numbers in zip(*columns.values(), strict=True):
        yield [tag(kind, level, number) for (kind, level), number in zip(columns, numbers, strict=True)]


def _found(found: Run, truth: Run) -> dict[str, float]:
    """Overlap with exact search, and the fraction of queries with fewer hits than matching documents."""
    asked = {query: hits for query, hits in found.items() if query in truth}
    short = [len(hits) < len(truth[query]) for query, hits in asked.items()]
    return {"overlap@10": overlap_at(asked, truth, 10), "too_few": float(np.mean(short))}
