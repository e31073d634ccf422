"""Write at a fixed rate with requests prepared before timing."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from opensearchpy import OpenSearch

from benchmarks.datasets import EncodedSet
from benchmarks.scenarios.live import is_merging
from benchmarks.systems.base import Writable
from connector.errors import BulkWriteError

BATCH = 100
"""Documents per request, half of them new and half of them updates."""

_MAX_PREPARED = 10_000
"""Maximum number of documents that are added and deleted; half as many updates are prepared. It limits memory."""

_POLL_S = 0.02

_SAMPLE_S = 0.2

Connect = Callable[[], OpenSearch]


class WriteStream:
    """An endless sequence of bulk requests that change an index.

    A third of the documents, at most 10,000, are initially missing. They are added in sequence; when half of them
    exist, each addition also deletes the oldest, so that the index keeps its size and all can be added again.

    Args:
        data: The encoded set.
        system: The system whose documents are written.

    Attributes:
        index: Name of the index.
        first: Rows of the documents that always exist.
        sample: Fields of one of these.
    """

    def __init__(self, data: EncodedSet, system: Writable) -> None:
        drawn = np.random.default_rng(0).permutation(len(data.documents))
        come, self.first = np.split(drawn, [min(len(drawn) // 3, _MAX_PREPARED)])
        self.index = system.index
        self._ids = data.doc_ids
        self._come: list[int] = come.tolist()
        self._updated: list[int] = self.first[: _MAX_PREPARED // 2].tolist()
        [self.sample] = system.sources(data, self._updated[:1])
        rows = self._come + self._updated
        lines = (json.dumps(source, separators=(",", ":")) for source in system.sources(data, rows))
        self._lines = {row: self._action("index", row) + line + "\n" for row, line in zip(rows, lines, strict=True)}
        self._lock = threading.Lock()
        self._done = 0

    def take(self) -> str:
        """Return the lines of the next `_bulk` request. Thread-safe."""
        half = BATCH // 2
        with self._lock:
            start = self._done
            self._done += half
        again = [self._updated[place % len(self._updated)] for place in range(start, start + half)]
        lines = [self._lines[row] for row in self._places(start, start + half) + again]
        gone = self._places(start - self._kept, start - self._kept + half)
        return "".join(lines + [self._action("delete", row) for row in gone])

    @property
    def rows(self) -> NDArray[np.int64]:
        """Rows of the documents that exist after all requests taken so far."""
        added = self._places(self._done - self._kept, self._done)
        return np.concatenate([self.first, np.array(added, dtype=np.int64)])

    @property
    def _kept(self) -> int:
        return len(self._come) // 2

    def _places(self, start: int, end: int) -> list[int]:
        return [self._come[place % len(self._come)] for place in range(max(0, start), max(0, end))]

    def _action(self, name: str, row: int) -> str:
        return json.dumps({name: {"_id": self._ids[row]}}) + "\n"


@dataclass(slots=True)
class Written:
    """Result of concurrent writes.

    Attributes:
        documents: Number of added and updated documents.
        seconds: Duration.
        found_s: Times from sending a document until a search found it, for additional sample documents.
        merges: Whether merges of the index were running, five times per second, with the times of the samples.
    """

    documents: int = 0
    seconds: float = 0.0
    found_s: list[float] = field(default_factory=list)
    merges: list[tuple[float, bool]] = field(default_factory=list)

    def merging_at(self, times: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Return whether merges were running, by the last sample before each time.

        Args:
            times: (n,), times of `time.perf_counter`.
        """
        sampled, merging = np.array([at for at, _ in self.merges]), np.array([each for _, each in self.merges])
        return np.asarray(merging[np.maximum(np.searchsorted(sampled, times, side="right") - 1, 0)], dtype=np.bool_)


@contextmanager
def writing(connect: Connect, stream: WriteStream, per_s: float | None, *, writers: int) -> Iterator[Written]:
    """Write in other threads until the block ends; the result is complete afterwards.

    Args:
        connect: Creates a client.
        stream: The requests.
        per_s: Documents added and updated per second; 0 for none, None for as many as possible.
        writers: Number of threads, each with a connection.

    Raises:
        BulkWriteError: A document was refused.
    """
    written, over = Written(), threading.Event()
    started = time.perf_counter()
    turns = iter(range(1 << 62))
    lock = threading.Lock()

    def write() -> None:
        with connect() as client:
            while not over.is_set():
                with lock:
                    turn = next(turns)
                if per_s and over.wait(max(0.0, started + turn * BATCH / per_s - time.perf_counter())):
                    return
                _send(client, stream)
                with lock:
                    written.documents += BATCH

    threads = 0 if per_s == 0 else writers
    with ThreadPoolExecutor(threads + 2) as pool:
        tasks = [pool.submit(write) for _ in range(threads)]
        tasks.append(pool.submit(_watch, connect, stream, over, written.found_s))
        tasks.append(pool.submit(_sample_merges, connect, stream.index, over, written.merges))
        try:
            yield written
        finally:
            over.set()
        for task in tasks:
            task.result()
    written.seconds = time.perf_counter() - started


def _send(client: OpenSearch, stream: WriteStream) -> None:
    reply = client.bulk(body=stream.take(), index=stream.index, params={"filter_path": "errors,items.*.error"})
    if reply["errors"]:
        [(_, refused)] = next(item for item in reply["items"] if item).items()
        raise BulkWriteError(f"{stream.index} refused a document, so the rate cannot be measured: {refused['error']}.")


def _watch(connect: Connect, stream: WriteStream, over: threading.Event, found_s: list[float]) -> None:
    """Repeatedly write a sample document, search until it is found, and delete it."""
    with connect() as client:
        number = 0
        while not over.is_set():
            number += 1
            name = f"watched-{number}"
            query = {"size": 1, "_source": False, "query": {"ids": {"values": [name]}}}
            sent = time.perf_counter()
            client.index(index=stream.index, id=name, body=stream.sample)
            while not over.wait(_POLL_S):
                if client.search(index=stream.index, body=query)["hits"]["hits"]:
                    found_s.append(time.perf_counter() - sent)
                    break
            client.delete(index=stream.index, id=name)


def _sample_merges(connect: Connect, index: str, over: threading.Event, samples: list[tuple[float, bool]]) -> None:
    with connect() as client:
        while True:
            samples.append((time.perf_counter(), is_merging(client, index)))
            if over.wait(_SAMPLE_S):
                break
