"""Fault tests 1 to 3: nodes that are killed, restarted and frozen."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from connector.cluster import Cluster, embedded_cluster, wait_until_ready
from connector.cluster.node import Node
from connector.connection.client import connect
from connector.query.body import without_features
from connector.types import Document
from tests.faults.conftest import FaultFree, Figures
from tests.faults.contents import read_contents
from tests.faults.corpora import NUM_LATENTS, numbered
from tests.faults.jobs import ingest, made_index
from tests.faults.recorder import Recorder, recorded

pytestmark = [pytest.mark.opensearch, pytest.mark.faults]

AWAY_S = 30.0
FROZEN_S = 60.0
IN_THE_MIDDLE_S = 0.005
"""A bulk of 256 documents takes ten times as long."""
ARRIVED_S = 0.2
"""After this time, an answer that was sent has been received."""


@pytest.fixture(scope="module")
def one_node() -> Iterator[Cluster]:
    with embedded_cluster(heap="512m", quick_start=True) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def three_nodes() -> Iterator[Cluster]:
    with embedded_cluster(nodes=3, heap="512m", timeout_s=300.0, quick_start=True) as cluster:
        yield cluster


def pause_in_a_bulk(node: Node, recorder: Recorder) -> float:
    """SIGSTOP the node while a bulk is under way; return when.

    The bulk may have been answered just before: then the node goes on, and the next bulk is waited for.
    """
    while True:
        recorder.wait_until_under_way()
        time.sleep(IN_THE_MIDDLE_S)
        paused = time.monotonic()
        node.pause()
        time.sleep(ARRIVED_S)
        if recorder.under_way_since(paused):
            return paused
        node.resume()


def kill_three_times(cluster: Cluster, recorder: Recorder) -> list[float]:
    """SIGKILL the node while a bulk is under way, and start it again later; return when it was killed."""
    [node] = cluster.nodes
    killed = []
    for _ in range(3):
        recorder.wait_for(5 + recorder.outcomes()["200"])
        killed.append(pause_in_a_bulk(node, recorder))
        node.kill()
        time.sleep(AWAY_S)
        node.start()
        wait_until_ready(cluster, nodes=1, timeout_s=120.0, check_alive=node.check_alive)
    return killed


def test_01_the_only_node_killed_in_the_middle_of_a_bulk_three_times_loses_and_doubles_nothing(
    one_node: Cluster, fault_free: FaultFree, figures: Figures
) -> None:
    documents = numbered(20_000)
    recorder = Recorder()
    with (
        ThreadPoolExecutor(1) as pool,
        recorded(one_node.url, recorder) as through,
        connect(one_node.url) as client,
        made_index(client, "killed") as index,
    ):
        killer = pool.submit(kill_three_times, one_node, recorder)
        result = ingest(through, index, documents)
        killed = killer.result()
        found = read_contents(client, index, NUM_LATENTS)
    interrupted = [recorder.interrupted(at) for at in killed]
    figures(documents=len(documents), requests_cut=interrupted, doubled=found.documents - found.distinct)
    figures(**recorder.figures())
    assert min(interrupted) >= 1, "each time a bulk was cut"
    assert result.indexed == len(documents)
    assert found == fault_free(documents)


def restart_one_by_one(cluster: Cluster, recorder: Recorder) -> list[float]:
    """Stop and start each node in turn, and wait for all copies to be there; return how long each took."""
    recorder.wait_for(5)
    took = []
    for node in cluster.nodes:
        begun = time.monotonic()
        node.stop()
        node.start()
        # Asked itself: the others may not have noticed yet that it is gone.
        wait_until_ready(Cluster(node.url), nodes=3, timeout_s=240.0, check_alive=node.check_alive)
        took.append(round(time.monotonic() - begun, 1))
    return took


def as_long_as(work: Future[list[float]], kept: list[Document]) -> Iterator[Document]:
    """Documents, some hundreds a second until some work is over, then 1,000 more; `kept` gets all of them."""
    rest = 1_000
    while rest:
        if work.done():
            rest -= 1
        elif len(kept) % 50 == 0:
            time.sleep(0.1)
        kept += numbered(1, begin=len(kept))
        yield kept[-1]


def test_02_a_rolling_restart_of_three_nodes_with_one_replica_loses_nothing(
    three_nodes: Cluster, fault_free: FaultFree, figures: Figures
) -> None:
    documents: list[Document] = []
    recorder = Recorder()
    with (
        ThreadPoolExecutor(1) as pool,
        recorded(three_nodes.url, recorder) as through,
        connect(three_nodes.url) as client,
        made_index(client, "rolling", number_of_shards=3, number_of_replicas=1) as index,
    ):
        wait_until_ready(three_nodes, nodes=3, timeout_s=60.0)
        restarts = pool.submit(restart_one_by_one, three_nodes, recorder)
        result = ingest(through, index, as_long_as(restarts, documents))
        wait_until_ready(three_nodes, nodes=3, timeout_s=60.0)
        lost = [
            client.count(index=index, body={"query": without_features()}, params={"preference": copy})["count"]
            for copy in ("_primary", "_replica")
        ]
        copies = [read_contents(client, index, NUM_LATENTS, preference=copy) for copy in ("_primary", "_replica")]
    figures(documents=len(documents), restarts_s=restarts.result(), without_features=lost, **recorder.figures())
    assert lost == [0, 0], "documents of primaries and replicas that a restart took the features from"
    assert result.indexed == len(documents)
    expected = fault_free(documents)
    assert copies == [expected, expected], "primaries and replicas"


def freeze(cluster: Cluster, recorder: Recorder) -> float:
    """SIGSTOP the node while a bulk is under way, and SIGCONT it later; return when it was stopped."""
    [node] = cluster.nodes
    recorder.wait_for(5)
    stopped = pause_in_a_bulk(node, recorder)
    time.sleep(FROZEN_S)
    node.resume()
    return stopped


def test_03_a_node_frozen_for_longer_than_the_read_timeout_loses_and_doubles_nothing(
    one_node: Cluster, fault_free: FaultFree, figures: Figures
) -> None:
    documents = numbered(20_000)
    recorder = Recorder()
    with (
        ThreadPoolExecutor(1) as pool,
        recorded(one_node.url, recorder, timeout_s=30.0) as through,
        connect(one_node.url) as client,
        made_index(client, "frozen") as index,
    ):
        freezer = pool.submit(freeze, one_node, recorder)
        result = ingest(through, index, documents)
        stopped = freezer.result()
        found = read_contents(client, index, NUM_LATENTS)
    interrupted = recorder.interrupted(stopped)
    figures(documents=len(documents), requests_cut=interrupted, doubled=found.documents - found.distinct)
    figures(**recorder.figures())
    assert recorder.outcomes()["timeout"] >= interrupted >= 1
    assert result.indexed == len(documents)
    assert found == fault_free(documents)
