"""Fault tests 4 and 5: replies that never come, and a server that is busy."""

from __future__ import annotations

import random
import threading

import pytest
from opensearchpy import OpenSearch

from tests.fault_proxy import Forward, Reply, busy_where, fault_proxy, passed, reset_after, status
from tests.faults.conftest import FaultFree, Figures
from tests.faults.contents import read_contents
from tests.faults.corpora import NUM_LATENTS, numbered
from tests.faults.jobs import ingest
from tests.faults.recorder import Recorder, recorded

pytestmark = [pytest.mark.opensearch, pytest.mark.faults]

RESETS = 50


def test_04_a_connection_reset_after_the_work_is_done_50_times_doubles_nothing(
    opensearch_url: str, client: OpenSearch, hashed_index: str, fault_free: FaultFree, figures: Figures
) -> None:
    documents = numbered(10_000)
    recorder = Recorder()
    with fault_proxy(opensearch_url) as proxy, recorded(proxy.url, recorder) as through:
        proxy.faults.extend([passed, reset_after] * RESETS)
        result = ingest(through, hashed_index, documents, write_size=100)
    found = read_contents(client, hashed_index, NUM_LATENTS)
    figures(documents=len(documents), resets=RESETS, doubled=found.documents - found.distinct, **recorder.figures())
    assert recorder.outcomes() == {"200": 100, "no connection": RESETS}
    assert result.indexed == len(documents)
    assert found == fault_free(documents)
    hits = client.search(index=hashed_index, body={"size": len(documents), "version": True, "_source": False})["hits"]
    assert sum(hit["_version"] - 1 for hit in hits["hits"]) == 100 * RESETS, "all that was cut was really applied"


class Busy:
    """Refuses a share of the items, and now and then a whole request, and counts what it refuses."""

    def __init__(self, *, items: float, requests: float, seed: int) -> None:
        self._items, self._requests = items, requests
        self._rng = random.Random(seed)
        self._lock = threading.Lock()
        self.refused_items = 0
        self.refused_requests = 0
        self.items_of_refused_requests = 0

    def __call__(self, body: bytes, forward: Forward) -> Reply:
        with self._lock:
            whole = self._rng.random() < self._requests
            if whole:
                self.refused_requests += 1
                self.items_of_refused_requests += body.count(b"\n") // 2
        return status(429)(body, forward) if whole else busy_where(self._choose)(body, forward)

    def _choose(self, _doc_id: str) -> bool:
        with self._lock:
            chosen = self._rng.random() < self._items
            self.refused_items += chosen
        return chosen


def test_05_only_what_was_refused_with_429_is_sent_again(
    opensearch_url: str, client: OpenSearch, hashed_index: str, fault_free: FaultFree, figures: Figures
) -> None:
    documents = numbered(10_000)
    recorder, busy = Recorder(), Busy(items=0.3, requests=0.2, seed=5)
    with fault_proxy(opensearch_url) as proxy, recorded(proxy.url, recorder) as through:
        proxy.always = busy
        result = ingest(through, hashed_index, documents, initial_backoff=0.05, max_backoff=0.5)
    found = read_contents(client, hashed_index, NUM_LATENTS)
    figures(
        documents=len(documents),
        items_refused=busy.refused_items,
        requests_refused=busy.refused_requests,
        items_of_refused_requests=busy.items_of_refused_requests,
        **recorder.figures(),
    )
    assert 0.25 < busy.refused_items / (recorder.figures()["documents_sent"] - busy.items_of_refused_requests) < 0.35
    assert busy.refused_requests > 10
    assert recorder.figures()["documents_sent_again"] == busy.refused_items + busy.items_of_refused_requests
    assert result.indexed == len(documents)
    assert found == fault_free(documents)
