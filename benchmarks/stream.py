"""Stream synthetic documents through an ingestion job and measure its memory."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import psutil
from opensearchpy import OpenSearch

from benchmarks.systems.base import INDEX_SETTINGS
from connector.index.meta import IndexMeta
from connector.index.new_index import NewIndex
from connector.index.schema import index_body
from connector.index.writer import BulkWriter
from connector.ingest.pipeline import IngestJob
from connector.types import Document, EncoderFingerprint, SparseVectors

INDEX = "ksparse-bench-stream"
_PER_STEP = 1_000
_LATENTS = 16_384
_FINGERPRINT = EncoderFingerprint("synthetic", "", "0" * 64, None, _LATENTS, "none", None)


@dataclass(frozen=True, slots=True)
class Sample:
    """State of a stream at one time.

    Attributes:
        documents: Number of documents accounted for.
        seconds: Seconds since the first document.
        memory_bytes: Resident memory of this process.
    """

    documents: int
    seconds: float
    memory_bytes: int


def stream_documents(
    client: OpenSearch, documents: int, *, features: int, moments: int, report: Callable[[str, float], None]
) -> list[Sample]:
    """Write random documents and sample progress and memory.

    Args:
        client: A client; the index is deleted at the end.
        documents: Number of documents.
        features: Features per document, distributed as by a trained head: some occur in many documents.
        moments: Number of samples, evenly spaced.
        report: Called with the current task and its completed fraction.

    Raises:
        RuntimeError: Documents are missing in the index.
    """
    process = psutil.Process()
    found: list[Sample] = []
    client.indices.delete(index=INDEX, ignore_unavailable=True)
    try:
        client.indices.create(index=INDEX, body=index_body(IndexMeta(_FINGERPRINT), NewIndex(settings=INDEX_SETTINGS)))
        started = time.perf_counter()

        def note(done: int) -> None:
            report("streaming", done / documents)
            if done >= len(found) * documents / moments:
                found.append(Sample(done, time.perf_counter() - started, process.memory_info().rss))

        with IngestJob(BulkWriter(client, INDEX), progress=note) as job:
            for batch, vectors in _synthetic(documents, features):
                job.add_vectors(batch, vectors)
        count = int(client.count(index=INDEX)["count"])
        if (job.result.indexed, count) != (documents, documents):
            raise RuntimeError(
                f"{documents} documents were sent and {job.result.indexed} indexed, but the index has {count}."
            )
    finally:
        client.indices.delete(index=INDEX, ignore_unavailable=True)
    return found


def _synthetic(documents: int, features: int) -> Iterator[tuple[list[Document], SparseVectors]]:
    """Yield batches of short documents and their vectors, with one feature from each range of latents.

    The first ranges are short, so their features occur in many documents.
    """
    random = np.random.default_rng(0)
    edges = np.floor(np.linspace(0, 1, features + 1) ** 2 * (_LATENTS - features)) + np.arange(features + 1)
    for start in range(0, documents, _PER_STEP):
        rows = range(start, min(start + _PER_STEP, documents))
        batch = [Document(f"d{row}", f"synthetic document {row} " * 6) for row in rows]
        chosen = (edges[:-1] + random.random((len(batch), features)) * np.diff(edges)).astype(np.int32)
        weights = np.sort(random.gamma(2.0, 0.1, chosen.shape).astype(np.float32) + 0.01, axis=1)[:, ::-1]
        yield batch, SparseVectors(chosen, np.ascontiguousarray(weights))
