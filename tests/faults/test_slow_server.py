"""Fault test 10: a server that takes 5 s for a bulk."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import psutil
import pytest
from opensearchpy import OpenSearch

from connector.types import Document
from tests.fault_proxy import Forward, Reply, fault_proxy
from tests.faults.conftest import FaultFree, Figures
from tests.faults.contents import read_contents
from tests.faults.corpora import NUM_LATENTS, numbered
from tests.faults.jobs import ingest
from tests.faults.recorder import Recorder, recorded

pytestmark = [pytest.mark.opensearch, pytest.mark.faults]

BULK_S = 5.0
LENGTH = 20_000
"""Characters of a text: a batch of 256 holds 5 MB."""


class SlowServer:
    """Answers 5 s after a request came, and looks at the memory of this process, which the writer shares."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._under_way = 0
        self.under_way: list[int] = []
        self.resident_bytes: list[int] = []

    def __call__(self, body: bytes, forward: Forward) -> Reply:
        with self._lock:
            self._under_way += 1
        begun = time.monotonic()
        reply = forward(body)
        # Half-way, since requests that began together end together.
        time.sleep(max(0.0, begun + BULK_S / 2 - time.monotonic()))
        with self._lock:
            self.under_way.append(self._under_way)
            self.resident_bytes.append(psutil.Process().memory_info().rss)
        time.sleep(max(0.0, begun + BULK_S - time.monotonic()))
        with self._lock:
            self._under_way -= 1
        return reply


def made_one_by_one(count: int, recorder: Recorder, ahead: list[int]) -> Iterator[Document]:
    """Documents that take no memory until they are read; `ahead` gets how many are not answered yet at each of them."""
    for number in range(count):
        ahead.append(number + 1 - 256 * len(recorder.requests))
        yield from numbered(1, begin=number, length=LENGTH)


def test_10_a_slow_server_sees_as_many_requests_as_the_limit_and_the_memory_stays_flat(
    opensearch_url: str, client: OpenSearch, hashed_index: str, fault_free: FaultFree, figures: Figures
) -> None:
    documents = numbered(6_144)
    recorder, slow = Recorder(), SlowServer()
    ahead: list[int] = []
    with fault_proxy(opensearch_url) as proxy, recorded(proxy.url, recorder) as through:
        proxy.always, proxy.keep = slow, False
        result = ingest(through, hashed_index, made_one_by_one(len(documents), recorder, ahead), max_in_flight=4)
    # The first eight fill the queues.
    start, most = max(slow.resident_bytes[:8]), max(slow.resident_bytes[8:])
    figures(
        documents=len(documents),
        bytes_of_text=len(documents) * LENGTH,
        most_read_ahead=max(ahead),
        resident_start_bytes=start,
        resident_most_bytes=most,
        **recorder.figures(),
    )
    assert result.indexed == len(documents)
    assert max(slow.under_way) == recorder.most_under_way == 4
    # The first find the others still being encoded, the last find nothing left.
    assert slow.under_way[4:-4] == [4] * (len(slow.under_way) - 8), "never fewer in between"
    assert max(ahead) <= (4 + 2) * 256, "four batches wait, one is encoded and one is filled"
    assert most - start < 32 * 1024 * 1024
    found = read_contents(client, hashed_index, NUM_LATENTS)
    assert found == fault_free(numbered(len(documents), length=LENGTH))
