"""The demo: index a corpus, answer three questions, and compare sparse search with HNSW."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from opensearchpy import OpenSearch

from benchmarks.compare import Plan, compare
from benchmarks.datasets import EncodedSet
from benchmarks.default_index import write_default_index
from benchmarks.environment import describe
from benchmarks.progress import Report, silent
from benchmarks.suites import demo_systems
from connector.cluster import Cluster, down, up
from connector.index.new_index import NewIndex
from connector.search.retriever import Retriever
from connector.types import Hit

DEMO_INDEX = "ksparse-demo"
QUESTIONS = (
    "run a program and read what it prints",
    "how do I wait until several tasks have finished?",
    "make a picture smaller",
)
K_QUERIES = (8, 32)

_PATIENCE_S = 10.0
"""Seconds for each three systems, after which no further block of rounds is begun: a demo should end soon."""


@contextmanager
def running_cluster(*, keep: bool, say: Callable[[str], None], ml: bool = False) -> Iterator[Cluster]:
    """Yield the running cluster, or start one, with ML Commons if `ml`, and stop it afterwards unless `keep` is set."""
    started = up(on_progress=say, ml=ml)
    try:
        yield started.cluster
    finally:
        if not started.was_up and not keep:
            down(purge=True)
            say("Stopped OpenSearch and deleted its data.")


def client_maker(cluster: Cluster) -> Callable[[], OpenSearch]:
    """Return a function that creates clients with a timeout that suffices for a merge."""
    return partial(cluster.connect, timeout=1_800)


def answer_questions(
    client: OpenSearch, data: EncodedSet, questions: Sequence[str], report: Report = silent
) -> list[list[Hit]]:
    """Index the corpus by default settings, reusing its embeddings, and search for the questions. The index is kept."""
    new = NewIndex(settings={"number_of_shards": 1, "number_of_replicas": 0})
    encoder = write_default_index(client, DEMO_INDEX, data, report, new=new)
    retriever = Retriever(client, DEMO_INDEX, encoder)
    return [retriever.search(question, top_k=3) for question in questions]


def compare_with_hnsw(
    connect: Callable[[], OpenSearch], data: EncodedSet, *, rounds: int, report: Report
) -> list[dict[str, Any]]:
    """Index features and embeddings side by side, search both in turns, and return one row per system and setting."""
    return compare(
        connect, data, demo_systems(data, K_QUERIES), Plan(rounds=rounds, patience_s=_PATIENCE_S), report=report
    )


def save_result(path: Path, data: EncodedSet, cluster: Cluster, rows: list[dict[str, Any]]) -> None:
    """Write the rows with their parameters."""
    params = {
        "dataset": data.name,
        "documents": len(data.documents),
        "queries": len(data.judged.queries),
        "encoder": str(data.encoder.fingerprint),
        "environment": describe(cluster),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"params": params, "results": rows}, indent=2) + "\n", encoding="utf-8")
