"""Fault tests 6 and 7: documents that a server with a small `http.max_content_length` cannot take, and mixed bulks."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from connector.cluster import Cluster, embedded_cluster
from connector.connection.client import connect
from connector.types import Document
from tests.fault_proxy import Forward, Reply, busy_where, fault_proxy
from tests.faults.conftest import FaultFree, Figures
from tests.faults.contents import read_contents
from tests.faults.corpora import NUM_LATENTS, numbered
from tests.faults.jobs import ingest, made_index
from tests.faults.recorder import Recorder, recorded

pytestmark = [pytest.mark.opensearch, pytest.mark.faults]

LIMIT = 1024 * 1024


@pytest.fixture(scope="module")
def small_node() -> Iterator[Cluster]:
    with embedded_cluster(heap="512m", quick_start=True, settings={"http.max_content_length": "1mb"}) as cluster:
        yield cluster


def test_06_one_bulk_of_1000_ends_as_965_indexed_15_dead_lettered_and_20_superseded(
    small_node: Cluster, fault_free: FaultFree, figures: Figures, tmp_path: Path
) -> None:
    rng = random.Random(6)
    documents = numbered(1_000)
    places = rng.sample(range(1_000), 10 + 5 + 20 + 100)
    unmapped, oversize, stale, busy = places[:10], places[10:15], places[15:35], {f"d{n}" for n in places[35:]}
    for place in unmapped:
        documents[place] = replace(documents[place], fields={"colour": "red"})
    for place in oversize:
        documents[place] = replace(documents[place], text="long " * (LIMIT // 5))
    newer = [replace(documents[place], text=f"newer {place}", version=5) for place in stale]
    for place in stale:
        documents[place] = replace(documents[place], version=4)

    def hold_back(body: bytes, forward: Forward) -> Reply:
        return busy_where(once)(body, forward)

    def once(doc_id: str) -> bool:
        held = doc_id in busy
        busy.discard(doc_id)
        return held

    recorder = Recorder()
    with (
        fault_proxy(small_node.url) as proxy,
        recorded(proxy.url, recorder) as through,
        connect(small_node.url) as client,
        made_index(client, "mixed") as index,
    ):
        ingest(client, index, newer)
        proxy.always = hold_back
        result = ingest(through, index, documents, folder=tmp_path, write_size=1_000)
        found = read_contents(client, index, NUM_LATENTS)
    assert len(recorder.requests[0].ids) == 1_000, "one bulk"
    figures(documents=1_000, indexed=result.indexed, dead_lettered=result.dead_lettered, superseded=result.superseded)
    figures(**recorder.figures())
    assert not busy, "100 were refused for the moment"
    assert (result.indexed, result.dead_lettered, result.superseded) == (965, 15, 20)
    letters = [json.loads(line) for line in (tmp_path / "dead.jsonl").read_text().splitlines()]
    assert {(each["_id"], each["status"]) for each in letters} == {
        *((f"d{place}", 400) for place in unmapped),
        *((f"d{place}", 413) for place in oversize),
    }
    good = [each for place, each in enumerate(documents) if place not in places[:35]]
    assert found == fault_free([*good, *newer])


@pytest.mark.parametrize(("count", "oversize"), [(1, 1), (7, 1), (64, 1), (1_000, 1), (1_000, 3)])
def test_07_only_documents_above_the_limit_are_dead_lettered_and_halving_finds_them_in_few_requests(
    small_node: Cluster, fault_free: FaultFree, figures: Figures, tmp_path: Path, count: int, oversize: int
) -> None:
    documents = numbered(count)
    too_long = random.Random(count).sample(range(count), oversize)
    for place in too_long:
        documents[place] = replace(documents[place], text="long " * (LIMIT // 5))
    found, extra = _ingest_counted(small_node, documents, tmp_path, dead_letters={f"d{each}" for each in too_long})
    most = oversize * (2 * math.log2(count) + 1)
    figures(documents=count, oversize=oversize, extra_requests=extra, most_promised=round(most, 1))
    assert extra <= most
    assert found == fault_free([each for place, each in enumerate(documents) if place not in too_long])


def test_07_documents_just_below_the_limit_are_all_indexed(
    small_node: Cluster, fault_free: FaultFree, figures: Figures, tmp_path: Path
) -> None:
    # Each goes alone, and what stands around the text of a bulk's line stays below 500 bytes.
    documents = [replace(each, text=each.text + "x" * (LIMIT - 500)) for each in numbered(10)]
    found, extra = _ingest_counted(small_node, documents, tmp_path, dead_letters=set())
    figures(documents=10, extra_requests=extra)
    assert found == fault_free(documents)


def _ingest_counted(
    cluster: Cluster, documents: list[Document], folder: Path, *, dead_letters: set[str]
) -> tuple[object, int]:
    """Ingest in one chunk; return what the index holds, and how many requests more than one it took."""
    recorder = Recorder()
    with (
        recorded(cluster.url, recorder) as through,
        connect(cluster.url) as client,
        made_index(client, "limited") as index,
    ):
        result = ingest(
            through, index, documents, folder=folder, write_size=len(documents), max_chunk_bytes=100 * LIMIT
        )
        found = read_contents(client, index, NUM_LATENTS)
    assert (result.indexed, result.dead_lettered) == (len(documents) - len(dead_letters), len(dead_letters))
    path = folder / "dead.jsonl"
    letters = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    assert {(each["_id"], each["type"]) for each in letters} == {(name, "content_too_long") for name in dead_letters}
    return found, len(recorder.requests) - 1
