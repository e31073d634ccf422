"""Time complete runs of `ksparse ingest` with each backend of the dense model, or by another revision, in turns."""

from __future__ import annotations

import io
import os
import statistics
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from opensearchpy import OpenSearch

from connector.errors import ConnectorError
from connector.index.companion import delete_companion
from connector.index.schema import existing_schema

INDEX = "ksparse-bench-backends"
_ROOT = Path(__file__).resolve().parents[1]


def unpack_revision(revision: str, folder: Path) -> Path:
    """Write the files of a git revision into a folder, and return it.

    Raises:
        ConnectorError: git does not know the revision, or this is not a clone.
    """
    command = ["git", "-C", str(_ROOT), "archive", "--format=tar", revision]
    try:
        packed = subprocess.run(command, check=True, capture_output=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        reason = (getattr(error, "stderr", None) or str(error).encode()).decode(errors="replace").strip()
        raise ConnectorError(
            f"revision {revision!r} cannot be read: {reason}. Give one that `git log` shows."
        ) from None
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        archive.extractall(folder, filter="data")
    return folder


def compare_backends(
    client: OpenSearch,
    url: str,
    corpus: Path,
    documents: int,
    *,
    runtimes: Sequence[str],
    revisions: Mapping[str, Path],
    rounds: int,
    report: Callable[[str, float], None],
) -> list[dict[str, Any]]:
    """Ingest a corpus into a new index with each runtime and revision, in turns, and return a row for each.

    The whole command is timed: imports, building the dictionary, encoding, writing. CPU time is that of the command
    alone, and is more reliable than elapsed time on a busy machine.

    Args:
        client: A client of the node.
        url: URL of the node.
        corpus: File with the documents.
        documents: Number of documents in the file.
        runtimes: Backends, with a precision other than float32 after ` in `: `openvino in int8`.
        revisions: Folders with the files of other revisions, by name; they run with their own defaults.
        rounds: Number of rounds.
        report: Called with the current task and its completed fraction.
    """
    taken: dict[str, list[tuple[float, float]]] = {each: [] for each in (*runtimes, *revisions)}
    for turn in range(rounds):
        for place, each in enumerate(taken):
            report(f"ingesting {corpus.stem}", (turn * len(taken) + place) / (rounds * len(taken)))
            options = [] if each in revisions else _options(each)
            taken[each].append(_ingest(client, url, corpus, options, revisions.get(each, _ROOT)))
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


def _options(runtime: str) -> list[str]:
    backend, _, precision = runtime.partition(" in ")
    return ["--backend", backend, "--precision", precision or "float32"]


def _ingest(client: OpenSearch, url: str, corpus: Path, options: Sequence[str], root: Path) -> tuple[float, float]:
    """Return the elapsed and the CPU seconds of one command, run by the packages in `root`."""
    command = [sys.executable, "-c", "from connector.cli.main import cli; cli()", "ingest", str(corpus)]
    command += ["--index", INDEX, *options, "--device", "cpu", "--quiet"]
    environment = os.environ | {"OPENSEARCH_URL": url, "PYTHONPATH": str(root)}
    before, started = os.times(), time.perf_counter()
    try:
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment, cwd=corpus.parent)
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
