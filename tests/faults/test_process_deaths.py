"""Fault test 8: the ingesting process is killed, again and again."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from opensearchpy import OpenSearch

from connector.types import MalformedRecord
from tests.faults.conftest import FaultFree, Figures
from tests.faults.contents import read_contents
from tests.faults.corpora import NUM_LATENTS, numbered
from tests.faults.counted import records
from tests.patience import process, wait_until

pytestmark = [pytest.mark.opensearch, pytest.mark.faults]

COUNT = 20_000
KILLS = 20
QUEUE = (4 + 1) * 256
"""`max_in_flight` batches wait for the server while one more is encoded."""


def start(url: str, index: str, folder: Path) -> AbstractContextManager[subprocess.Popen[bytes]]:
    """Ingest in a process of its own."""
    return process([sys.executable, "-m", "tests.faults.counted", url, index, str(COUNT), str(folder)])


def counted(folder: Path) -> list[int]:
    """The documents of each batch that was encoded so far."""
    path = folder / "counts"
    return [int(line) for line in path.read_text().splitlines()] if path.exists() else []


def read_so_far(folder: Path) -> int:
    """Records that the checkpoint accounts for."""
    path = folder / "run.json"
    return int(json.loads(path.read_text())["watermark"]["read"]) if path.exists() else 0


def kill(started: subprocess.Popen[bytes], folder: Path, *, batches: int, delay_s: float) -> None:
    """SIGKILL a process some time after it has begun to encode some batches more than are counted."""
    wanted = len(counted(folder)) + batches
    wait_until(lambda: len(counted(folder)) >= wanted or started.poll() is not None)
    assert started.poll() is None, "it came to an end"
    time.sleep(delay_s)
    started.kill()


def test_08_a_process_killed_at_20_random_points_and_resumed_makes_the_same_index(
    opensearch_url: str,
    client: OpenSearch,
    hashed_index: str,
    fault_free: FaultFree,
    figures: Figures,
    tmp_path: Path,
) -> None:
    rng = random.Random(8)
    malformed = [place for place, each in enumerate(records(COUNT)) if isinstance(each, MalformedRecord)]
    again: list[int] = []
    for _ in range(KILLS):
        read, encoded = read_so_far(tmp_path), sum(counted(tmp_path))
        with start(opensearch_url, hashed_index, tmp_path) as started:
            kill(started, tmp_path, batches=rng.randint(1, 6), delay_s=0.1 * rng.random())
        kept = read_so_far(tmp_path) - read
        kept -= sum(read <= place < read + kept for place in malformed)
        again.append(sum(counted(tmp_path)) - encoded - kept)
    left = read_so_far(tmp_path)
    with start(opensearch_url, hashed_index, tmp_path) as started:
        assert started.wait() == 0
    figures(documents=COUNT, kills=KILLS, encoded_again=sum(again), most_encoded_again=max(again), queues_hold=QUEUE)
    figures(read_before_the_last=left)
    assert max(again) <= QUEUE
    assert sum(counted(tmp_path)) == COUNT + sum(again)
    letters = [json.loads(line)["location"] for line in (tmp_path / "dead.jsonl").read_text().splitlines()]
    assert letters == [f"record {place}" for place in range(0, COUNT, 100)], "each once, in order"
    assert read_contents(client, hashed_index, NUM_LATENTS) == fault_free(numbered(COUNT))
