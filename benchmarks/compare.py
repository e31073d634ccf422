"""Compare systems on one set and one node, with a row per system and setting."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from opensearchpy import OpenSearch

from benchmarks.datasets import EncodedSet
from benchmarks.encoding import query_encodings
from benchmarks.measure import Answers, Measured, difference_interval, measure, throughput, timed, to_latency
from benchmarks.memory import memory_by_index
from benchmarks.progress import Report
from benchmarks.storage import Stored, build
from benchmarks.systems.base import Encoding, System
from benchmarks.systems.fused import Fused
from benchmarks.systems.neural_sparse import NeuralSparse
from benchmarks.systems.rank_features import RankFeatures, document_shares, searched_features
from benchmarks.systems.rescored import Rescored
from connector.encoders.text import TextEncoder
from connector.errors import ConnectorError
from connector.evaluation.exact import exact_search
from connector.evaluation.metrics import evaluate_run, ndcg_by_query, overlap_at
from connector.evaluation.runs import Run

_DEPTH = 100


@dataclass(frozen=True, slots=True)
class Plan:
    """Settings of a comparison.

    Attributes:
        rounds: Rounds of `measure`, in which every query is sent to every system.
        patience_s: Of `measure`.
        clients: Numbers of clients for measuring throughput; empty for none.
        seconds: Duration of each measurement of throughput.
        encoding: Also time query encoding, in the same turns.
        fast: Encoder with a query model, to be timed as well.
        memory: Measure the node's memory for each index separately.
        deep: Also measure Recall@100, in a separate pass that is not timed.
        knobs_from: Number of documents from which settings of a system with identical hits are an error.
    """

    rounds: int = 3
    patience_s: float = 60.0
    clients: tuple[int, ...] = ()
    seconds: float = 3.0
    encoding: bool = False
    fast: TextEncoder | None = None
    memory: bool = False
    deep: bool = False
    knobs_from: int = 2_000


def compare(
    connect: Callable[[], OpenSearch],
    data: EncodedSet,
    systems: Sequence[System],
    plan: Plan,
    *,
    report: Report,
) -> list[dict[str, Any]]:
    """Index, check, and search in turns; the first system is the reference.

    Indices are deleted afterwards.

    Args:
        connect: Creates a client.
        data: The encoded set, with judgements.
        systems: The systems; of those with the same index, the first writes it.
        plan: What to measure.
        report: Called with the current task and its completed fraction.

    Raises:
        ConnectorError: The content of an index is wrong, or the settings of a system have no effect.
    """
    stored: dict[str, Stored] = {}
    with connect() as client:
        try:
            for step, system in enumerate(systems):
                report("indexing", step / len(systems))
                if system.index not in stored:
                    stored[system.index] = build(client, system, data)
            report("indexing", 1.0)
            requests = [system.prepare(data) for system in systems]
            encoders, texts = query_encodings(data, plan.fast) if plan.encoding else ([], [])
            answers: list[Answers] = [*systems, *encoders]
            measured = measure(
                client,
                answers,
                requests + texts,
                rounds=plan.rounds,
                patience_s=plan.patience_s,
                progress=partial(report, "searching in turns"),
            )
            if len(data.documents) >= plan.knobs_from:
                _check_knobs(systems, measured)
            truth, *rows = _rows(data, systems, measured, stored)
            encoded = {
                each.kind: found.times_ms for each, found in zip(encoders, measured[len(systems) :], strict=True)
            }
            if plan.encoding:
                _add_encoding(rows, systems, measured, encoded)
            for step, (system, row) in enumerate(zip(systems, rows, strict=True)):
                report("measuring throughput", step / len(systems))
                if plan.clients:
                    row["requests_per_s"] = {
                        str(clients): throughput(connect, system, requests[step], clients, seconds=plan.seconds)
                        for clients in plan.clients
                    }
                if plan.deep:
                    row["recall@100"] = _recall_100(client, system, data)
            report("measuring throughput", 1.0)
            if plan.memory:
                held = memory_by_index(
                    client, systems, requests, progress=partial(report, "opening indices one by one")
                )
                for system, row in zip(systems, rows, strict=True):
                    row |= {"memory": held[system.index]} if system.index in held else {}
        finally:
            for index in {system.index for system in systems}:
                client.indices.delete(index=index, ignore_unavailable=True)
    return [truth, *rows]


def _rows(
    data: EncodedSet, systems: Sequence[System], measured: Sequence[Measured], stored: dict[str, Stored]
) -> list[dict[str, Any]]:
    truth = data.run_of(exact_search(data.document_embeddings, data.query_embeddings, data.doc_ids, _DEPTH))
    dense = evaluate_run(truth, data.judged.qrels)
    exact = {"system": "exact dense", "knob": "", **_quality(dense, dense)}
    rows: list[dict[str, Any]] = [exact | {"recall@100": dense["recall@100"], "overlap@10": 1.0}]
    top_10 = {query: hits[:10] for query, hits in truth.items()}
    reference = measured[0]
    reference_gains = _gains(data, data.run_of(reference.hits))
    shares: dict[str, dict[str, float]] = {}
    for system, each in zip(systems, measured, strict=False):
        run = data.run_of(each.hits)
        index = stored[system.index]
        row: dict[str, Any] = {"system": system.name, "knob": system.knob}
        row |= _quality(evaluate_run(run, data.judged.qrels), dense)
        row["ndcg_difference_interval"] = difference_interval(_gains(data, run), reference_gains)
        row["overlap@10"] = overlap_at(run, top_10, 10)
        size = index.bytes + (system.more_bytes if isinstance(system, Rescored | Fused) else 0)
        row |= {"index_bytes": size, "bytes_per_document": size / len(data.documents)}
        row |= {"files": index.files, "build_s": index.build_s, "documents_per_s": len(data.documents) / index.write_s}
        row |= timed(each, reference)
        row |= _postings(data, system, shares)
        rows.append(row)
    return rows


def _add_encoding(
    rows: Sequence[dict[str, Any]],
    systems: Sequence[System],
    measured: Sequence[Measured],
    encoded: Mapping[Encoding, NDArray[np.float64]],
) -> None:
    """Add the latencies from text to hits under `with_encoding`: the sums of encoding and searching."""
    for row, system, each in zip(rows, systems, measured, strict=False):
        if system.encoding == "none":
            row["with_encoding"] = asdict(each.latency)
        elif system.encoding is not None and system.encoding in encoded:
            row["with_encoding"] = asdict(to_latency(each.times_ms + encoded[system.encoding]))


def _postings(data: EncodedSet, system: System, shares: dict[str, dict[str, float]]) -> dict[str, float]:
    """Postings of a query's features relative to the number of documents, if the system's features are known.

    Args:
        data: The set.
        system: The system.
        shares: Cache of document frequencies, as fractions, by index.
    """
    storage = system.system if isinstance(system, NeuralSparse) else system
    if not isinstance(storage, RankFeatures | Rescored):
        return {}
    documents, queries = storage.vectors or (data.document_vectors, data.query_vectors)
    if storage.index not in shares:
        shares[storage.index] = document_shares(documents, storage.k_doc)
    own_shares = shares[storage.index]
    searched = searched_features(queries, storage.k_query, storage.pruning, lambda: own_shares)
    read = [sum(own_shares.get(name, 0.0) for name in features) for features in searched]
    return {
        "postings_per_document": float(np.mean(read)),
        "postings_per_document_p99": float(np.percentile(read, 99)),
    }


def _recall_100(client: OpenSearch, system: System, data: EncodedSet) -> float:
    """Recall@100 against the judgements, with 100 hits."""
    changed: Any = system.system if isinstance(system, NeuralSparse) else system
    deeper = replace(changed, top_k=_DEPTH)
    if isinstance(system, NeuralSparse):
        deeper = replace(system, system=deeper)
    hits = [deeper.search(client, request) for request in deeper.prepare(data)]
    return evaluate_run(data.run_of(hits), data.judged.qrels)["recall@100"]


def _check_knobs(systems: Sequence[System], measured: Sequence[Measured]) -> None:
    """Raise an error if different settings of a system return the same hits."""
    for name in {system.name for system in systems}:
        settings = [(system, each) for system, each in zip(systems, measured, strict=False) if system.name == name]
        answers = {tuple(tuple(hit.doc_id for hit in hits) for hits in each.hits) for _, each in settings}
        if len(settings) > 1 and len(answers) == 1:
            knobs = ", ".join(system.knob for system, _ in settings)
            raise ConnectorError(f"{name} returns the same hits with {knobs}: this setting has no effect.")


def _gains(data: EncodedSet, run: Run) -> NDArray[np.float64]:
    """NDCG@10 of each query, in order."""
    gains = ndcg_by_query(run, data.judged.qrels)
    return np.array([gains[query.query_id] for query in data.judged.queries])


def _quality(values: dict[str, float], dense: dict[str, float]) -> dict[str, float]:
    return {
        "ndcg@10": values["ndcg@10"],
        "mrr@10": values["mrr@10"],
        "ndcg_share": values["ndcg@10"] / dense["ndcg@10"],
    }
