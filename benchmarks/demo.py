"""The main job, end to end: a corpus, three questions, and one table of sparse search beside HNSW."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from opensearchpy import OpenSearch

from benchmarks.datasets import EncodedSet
from benchmarks.environment import describe
from benchmarks.measure import Measured, measure, settle
from benchmarks.systems.base import System
from benchmarks.systems.lucene_hnsw import LuceneHnsw
from benchmarks.systems.rank_features import RankFeatures
from connector.cluster import Cluster, down, up
from connector.evaluation.exact import document_frequencies, exact_search, postings_read
from connector.evaluation.metrics import evaluate_run, overlap_at
from connector.index.schema import prepare_index
from connector.index.writer import BulkWriter
from connector.ingest.pipeline import to_sparse_documents
from connector.retriever import Retriever
from connector.sparsify import prune
from connector.types import Hit

DEMO_INDEX = "ksparse-demo"
QUESTIONS = (
    "run a program and read what it prints",
    "how do I wait until several tasks have finished?",
    "make a picture smaller",
)
K_QUERIES = (8, 16, 32, 64)

Report = Callable[[str, float], None]


@contextmanager
def running_cluster(*, keep: bool, say: Callable[[str], None]) -> Iterator[Cluster]:
    """Yield the cluster that is up, or start one and stop it afterwards unless it shall be kept."""
    started = up(on_progress=say)
    try:
        yield started.cluster
    finally:
        if not started.was_up and not keep:
            down(purge=True)
            say("Stopped OpenSearch and deleted its data.")


def answer_questions(client: OpenSearch, data: EncodedSet, questions: Sequence[str]) -> list[list[Hit]]:
    """Index the corpus with its text, and search the questions as any user would. The index stays."""
    client.indices.delete(index=DEMO_INDEX, ignore_unavailable=True)
    prepare_index(
        client,
        DEMO_INDEX,
        data.encoder.fingerprint,
        statistics=data.encoder.statistics,
        settings={"number_of_shards": 1, "number_of_replicas": 0},
    )
    writer = BulkWriter(client, DEMO_INDEX)
    writer.write(to_sparse_documents(data.documents, data.document_vectors))
    writer.refresh()
    retriever = Retriever(client, DEMO_INDEX, data.encoder)
    return [retriever.search(question, top_k=3) for question in questions]


def compare(client: OpenSearch, data: EncodedSet, *, rounds: int, report: Report) -> list[dict[str, Any]]:
    """Index features and embeddings side by side, search both in turns, and return one row per system and setting."""
    dim = data.document_embeddings.shape[1]
    sparse_index, dense_index = "ksparse-demo-features", "ksparse-demo-hnsw"
    systems: list[System] = [LuceneHnsw(dense_index, dim)]
    systems += [RankFeatures(sparse_index, data.encoder.fingerprint, k) for k in K_QUERIES]
    index_bytes: dict[str, int] = {}
    try:
        for step, system in enumerate(systems):
            report("indexing", step / len(systems))
            if system.index not in index_bytes:
                client.indices.delete(index=system.index, ignore_unavailable=True)
                system.configure(client)
                system.upload(client, data)
                index_bytes[system.index] = settle(client, system.index, len(data.documents))
        report("indexing", 1.0)
        bodies = [system.prepare(data) for system in systems]
        measured = measure(
            client, systems, bodies, rounds=rounds, progress=lambda share: report("searching, in turns", share)
        )
    finally:
        client.indices.delete(index=f"{sparse_index},{dense_index}", ignore_unavailable=True)
    return _rows(data, measured, index_bytes)


def _rows(data: EncodedSet, measured: Sequence[Measured], index_bytes: dict[str, int]) -> list[dict[str, Any]]:
    ids = [query.query_id for query in data.judged.queries]
    truth = dict(zip(ids, exact_search(data.document_embeddings, data.query_embeddings, data.doc_ids, 10), strict=True))
    dense = evaluate_run(truth, data.judged.qrels)
    rows: list[dict[str, Any]] = [{"system": "exact dense", "knob": "", **_quality(dense, dense), "overlap@10": 1.0}]
    frequencies = document_frequencies(data.document_vectors, data.encoder.num_latents)
    reference = measured[0].latency
    for each in measured:
        run = dict(zip(ids, each.hits, strict=True))
        row: dict[str, Any] = {"system": each.system.name, "knob": each.system.knob}
        row |= _quality(evaluate_run(run, data.judged.qrels), dense)
        row["overlap@10"] = overlap_at(run, truth, 10)
        row["index_bytes"] = index_bytes[each.system.index]
        row["bytes_per_document"] = index_bytes[each.system.index] / len(data.documents)
        row |= asdict(each.latency)
        row["p50_ratio"] = each.latency.p50_ms / reference.p50_ms
        row["p99_ratio"] = each.latency.p99_ms / reference.p99_ms
        if isinstance(each.system, RankFeatures):
            queries = prune(data.query_vectors, each.system.k_query)
            row["postings_per_document"] = float(postings_read(queries, frequencies).mean()) / len(data.documents)
        rows.append(row)
    return rows


def _quality(values: dict[str, float], dense: dict[str, float]) -> dict[str, float]:
    return {
        "ndcg@10": values["ndcg@10"],
        "mrr@10": values["mrr@10"],
        "ndcg_share": values["ndcg@10"] / dense["ndcg@10"],
    }


def save_result(path: Path, data: EncodedSet, cluster: Cluster, rows: list[dict[str, Any]]) -> None:
    """Write the rows with what they depend on."""
    params = {
        "dataset": data.name,
        "documents": len(data.documents),
        "queries": len(data.judged.queries),
        "encoder": str(data.encoder.fingerprint),
        "environment": describe(cluster),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"params": params, "results": rows}, indent=2) + "\n", encoding="utf-8")
