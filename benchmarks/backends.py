"""Time complete runs of `ksparse ingest` with each backend of the dense model, in turns."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from opensearchpy import OpenSearch

from connector.index.companion import delete_companion
from connector.index.schema import existing_schema

INDEX = "ksparse-bench-backends"


def compare_backends(
    client: OpenSearch,
    url: str,
    corpus: Path,
    documents: int,
    *,
    runtimes: Sequence[str],
    rounds: int,
    report: Callable[[str, float], None],
) -> list[dict[str, Any]]:
    """Ingest a corpus into a new index with each runtime, in turns, and return a row per runtime.

    The whole command is timed: imports, building the dictionary, encoding, writing. CPU time is that of the command
    alone, and is more reliable than elapsed time on a busy machine.

    Args:
        client: A client of the node.
        url: URL of the node.
        corpus: File with the documents.
        documents: Number of documents in the file.
        runtimes: Backends, with a precision other than float32 after ` in `: `openvino in int8`.
        rounds: Number of rounds.
        report: Called with the current task and its completed fraction.
    """
    taken: dict[str, list[tuple[float, float]]] = {backend: [] for backend in runtimes}
    for turn in range(rounds):
        for place, backend in enumerate(runtimes):
            report(f"ingesting {corpus.stem}", (turn * len(runtimes) + place) / (rounds * len(runtimes)))
            taken[backend].append(_ingest(client, url, corpus, backend))
    report(f"ingesting {corpus.stem}", 1.0)
    return [
        {
            "way": "ksparse ingest",
            "backend": backend,
            "documents_per_s": documents / statistics.median(wall for wall, _ in runs),
            "documents_per_cpu_s": documents / statistics.median(cpu for _, cpu in runs),
        }
        for backend, runs in taken.items()
    ]


def _ingest(client: OpenSearch, url: str, corpus: Path, runtime: str) -> tuple[float, float]:
    """Return the elapsed and the CPU seconds of one command."""
    command = [sys.executable, "-c", "from connector.cli.main import cli; cli()", "ingest", str(corpus)]
    backend, _, precision = runtime.partition(" in ")
    command += ["--index", INDEX, "--backend", backend, "--precision", precision or "float32"]
    command += ["--device", "cpu", "--quiet"]
    before, started = os.times(), time.perf_counter()
    try:
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=os.environ | {"OPENSEARCH_URL": url})
        wall, after = time.perf_counter() - started, os.times()
    finally:
        _delete(client)
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return wall, cpu


def _delete(client: OpenSearch) -> None:
    if not client.indices.exists(index=INDEX):
        return
    dictionary = existing_schema(client, INDEX).dictionary
    client.indices.delete(index=INDEX)
    if dictionary is not None:
        delete_companion(client, dictionary)
