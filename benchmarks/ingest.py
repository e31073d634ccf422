"""Indexing throughput of ksparse's pipeline, opensearch-py's helpers and HNSW, in turns on one node."""

from __future__ import annotations

import random
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import psutil
from opensearchpy import OpenSearch
from opensearchpy.helpers import parallel_bulk, streaming_bulk

from benchmarks.datasets import EncodedSet
from benchmarks.storage import settle
from benchmarks.systems.base import INDEX_SETTINGS
from benchmarks.systems.lucene_hnsw import LuceneHnsw, to_numbers
from benchmarks.systems.rank_features import stored_features
from connector.index.meta import IndexMeta
from connector.index.new_index import NewIndex
from connector.index.outcome import WriteResult
from connector.index.schema import index_body
from connector.index.writer import BulkWriter
from connector.ingest.pipeline import IngestJob, ingest_documents
from connector.query.body import FEATURES_FIELD
from connector.types import Deletion, Document, SparseDocument

INDEX = "ksparse-bench-ingest"
_POLL_S = 0.02

Write = Callable[[OpenSearch, EncodedSet], None]


@dataclass(frozen=True, slots=True)
class Method:
    """A method of writing an index.

    Attributes:
        name: Name in tables.
        configure: Creates the index.
        write: Writes all documents.
    """

    name: str
    configure: Callable[[OpenSearch, EncodedSet], None]
    write: Write


def methods() -> list[Method]:
    """All compared methods: features by ksparse and by the helpers, then embeddings by the helpers."""
    return [
        Method("features, ksparse", _features_index, _by_us),
        Method("features, streaming_bulk", _features_index, _helper(streaming_bulk, _features)),
        *(
            Method(
                f"features, parallel_bulk, {threads} threads",
                _features_index,
                _helper(parallel_bulk, _features, thread_count=threads),
            )
            for threads in (2, 4)
        ),
        Method("HNSW, parallel_bulk, 4 threads", _hnsw_index, _helper(parallel_bulk, _embeddings, thread_count=4)),
    ]


def compare_writing(
    client: OpenSearch, data: EncodedSet, *, rounds: int, report: Callable[[str, float], None]
) -> list[dict[str, Any]]:
    """Write an index with each method, in turns, and return a row per method.

    The first round is a warm-up. The order changes every round, because a method is affected by the load that the
    previous one left behind (especially an HNSW graph).

    A row has documents per second until the last reply and until the index is merged, and the additional memory of this
    process; medians over the rounds.
    """
    chosen = methods()
    taken: dict[str, list[tuple[float, float, int]]] = {way.name: [] for way in chosen}
    order = random.Random(0)  # noqa: S311 - of measurements, not a secret
    for turn in range(-1, rounds):
        for step, way in enumerate(chosen[:1] if turn < 0 else order.sample(chosen, len(chosen))):
            report("writing", max(0.0, (turn * len(chosen) + step) / (rounds * len(chosen))))
            client.indices.delete(index=INDEX, ignore_unavailable=True)
            try:
                way.configure(client, data)
                with _Peak() as peak:
                    started = time.perf_counter()
                    way.write(client, data)
                    written = time.perf_counter() - started
                settle(client, INDEX, len(data.documents))
                if turn >= 0:
                    taken[way.name].append((written, time.perf_counter() - started, peak.bytes))
            finally:
                client.indices.delete(index=INDEX, ignore_unavailable=True)
    report("writing", 1.0)
    rows = []
    for name, runs in taken.items():
        written, merged, memory = np.median(np.array(runs, dtype=np.float64), axis=0).tolist()
        count = len(data.documents)
        rows.append(
            {
                "way": name,
                "documents_per_s": count / written,
                "documents_per_s_merged": count / merged,
                "client_bytes": int(memory),
            }
        )
    return rows


class _SleepingWriter(BulkWriter):
    """Takes the time of a server without using the processor, as if the server had its own cores."""

    def __init__(self, documents_per_s: float) -> None:
        self._documents_per_s = documents_per_s

    def resolve(self, records: Sequence[Document | Deletion]) -> list[Document | Deletion | str]:
        """Return the records, without routing."""
        return list(records)

    def write(
        self, documents: Sequence[SparseDocument | Deletion], *, stopped: threading.Event | None = None
    ) -> WriteResult:
        time.sleep(len(documents) / self._documents_per_s)
        return WriteResult(len(documents))


def encode_and_write(
    client: OpenSearch, data: EncodedSet, documents: int, *, written_per_s: float
) -> list[dict[str, Any]]:
    """Encode documents without and with writing them, and return a row for each.

    Args:
        client: A client.
        data: The set with its encoder.
        documents: Number of documents.
        written_per_s: Documents that a server writes per second, for a simulated server that only waits.
    """
    some = data.documents[:documents]
    started = time.perf_counter()
    data.encoder.encode_document([document.content for document in some])
    alone = time.perf_counter() - started
    client.indices.delete(index=INDEX, ignore_unavailable=True)
    try:
        _features_index(client, data)
        started = time.perf_counter()
        ingest_documents(_id_and_text(some), data.encoder, BulkWriter(client, INDEX), refresh=False)
        both = time.perf_counter() - started
    finally:
        client.indices.delete(index=INDEX, ignore_unavailable=True)
    started = time.perf_counter()
    ingest_documents(_id_and_text(some), data.encoder, _SleepingWriter(written_per_s), refresh=False)
    apart = time.perf_counter() - started
    return [
        {"way": "encoding alone", "documents_per_s": len(some) / alone},
        {"way": "encoding and writing, ksparse", "documents_per_s": len(some) / both},
        {"way": "encoding and writing, a server on cores of its own", "documents_per_s": len(some) / apart},
    ]


class _Peak:
    """Maximum additional memory of this process."""

    def __enter__(self) -> _Peak:
        self._process, self._done = psutil.Process(), threading.Event()
        self._before = self._most = self._process.memory_info().rss
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    @property
    def bytes(self) -> int:
        return self._most - self._before

    def _watch(self) -> None:
        while not self._done.wait(_POLL_S):
            self._most = max(self._most, self._process.memory_info().rss)


def _features_index(client: OpenSearch, data: EncodedSet) -> None:
    client.indices.create(
        index=INDEX, body=index_body(IndexMeta(data.encoder.fingerprint), NewIndex(settings=INDEX_SETTINGS))
    )


def _hnsw_index(client: OpenSearch, data: EncodedSet) -> None:
    LuceneHnsw(INDEX, data.document_embeddings.shape[1]).configure(client)
    client.indices.put_mapping(index=INDEX, body={"properties": {"text": {"type": "text"}}})


def _by_us(client: OpenSearch, data: EncodedSet) -> None:
    with IngestJob(BulkWriter(client, INDEX), refresh=False) as job:
        job.add_vectors(_id_and_text(data.documents), data.document_vectors)


def _id_and_text(documents: Sequence[Document]) -> Iterator[Document]:
    """Ids and texts, which all methods write."""
    return (Document(document.doc_id, document.text) for document in documents)


def _helper(
    helper: Callable[..., Iterator[Any]], actions: Callable[[EncodedSet], Iterator[dict[str, Any]]], **options: object
) -> Write:
    def write(client: OpenSearch, data: EncodedSet) -> None:
        deque(helper(client, actions(data), **options), maxlen=0)

    return write


def _features(data: EncodedSet) -> Iterator[dict[str, Any]]:
    stored = stored_features(data.document_vectors, None)
    for document, features in zip(data.documents, stored, strict=True):
        yield {"_index": INDEX, "_id": document.doc_id, "text": document.text, FEATURES_FIELD: features}


def _embeddings(data: EncodedSet) -> Iterator[dict[str, Any]]:
    for document, numbers in zip(data.documents, to_numbers(data.document_embeddings), strict=True):
        yield {"_index": INDEX, "_id": document.doc_id, "text": document.text, "embedding": numbers}
