"""Fault test 11: what ends a run in the middle, or only delays it."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from opensearchpy import OpenSearch

from connector.errors import BulkWriteError
from tests.fault_proxy import (
    Fault,
    fault_proxy,
    half_json,
    passed,
    status,
    truncated,
    without_last_item,
)
from tests.faults.conftest import FaultFree, Figures
from tests.faults.contents import read_contents
from tests.faults.corpora import NUM_LATENTS, numbered
from tests.faults.jobs import ingest, made_index
from tests.faults.recorder import Recorder, recorded

pytestmark = [pytest.mark.opensearch, pytest.mark.faults]

DELETIONS = 10


def test_11_credentials_refused_in_the_middle_stop_at_once_and_a_resumed_run_ends_the_same(
    opensearch_url: str,
    client: OpenSearch,
    hashed_index: str,
    fault_free: FaultFree,
    figures: Figures,
    tmp_path: Path,
) -> None:
    documents = numbered(5_000)
    recorder, again = Recorder(), Recorder()
    with fault_proxy(opensearch_url) as proxy:
        proxy.faults.extend([passed] * 20)
        proxy.always = status(401, "who are you")
        with (
            recorded(proxy.url, recorder) as through,
            pytest.raises(BulkWriteError, match=r"refused a write to .* \(401\): who are you"),
        ):
            ingest(through, hashed_index, documents, folder=tmp_path, write_size=100)
        mark = json.loads((tmp_path / "run.json").read_text())["watermark"]
        proxy.always = None
        with recorded(proxy.url, again) as through:
            result = ingest(through, hashed_index, documents, folder=tmp_path, write_size=100, resume=True)
    figures(documents=len(documents), read_before=mark["read"], sent_after=again.figures()["documents_sent"])
    assert recorder.outcomes()["200"] == 20
    assert recorder.outcomes()["401"] <= 4 + 1, "no more than the batches that wait for the server"
    assert mark["read"] == mark["indexed"] <= 2_000
    assert again.figures()["documents_sent"] == len(documents) - mark["read"]
    assert (result.read, result.indexed) == (5_000, 5_000)
    assert read_contents(client, hashed_index, NUM_LATENTS) == fault_free(documents)


def test_11_an_index_deleted_in_the_middle_stops_the_run_and_no_document_is_called_bad(
    opensearch_url: str, client: OpenSearch, fault_free: FaultFree, figures: Figures, tmp_path: Path
) -> None:
    """A bulk that arrives just after the deletion makes the index anew; no request can forbid the server to."""
    documents = numbered(10_000)
    came_back = 0
    for deletion in range(DELETIONS):
        index = f"deleted-{deletion}"
        folder = tmp_path / index
        folder.mkdir()
        recorder = Recorder()
        with made_index(client, index), recorded(opensearch_url, recorder) as through, ThreadPoolExecutor(1) as pool:
            running = pool.submit(ingest, through, index, documents, folder=folder, write_size=20)
            recorder.wait_for(5 + deletion)
            client.indices.delete(index=index)
            with pytest.raises(BulkWriteError, match=f"Index '{index}' was deleted"):
                running.result()
            assert not (folder / "dead.jsonl").exists()
            if client.indices.exists(index=index):
                came_back += 1
            else:
                client.indices.create(index=index)  # to be deleted at the end
    figures(deletions=DELETIONS, came_back=came_back)
    with made_index(client, "anew") as index:
        ingest(client, index, documents)
        assert read_contents(client, index, NUM_LATENTS) == fault_free(documents)


def test_11_a_write_block_that_is_lifted_costs_nothing(
    opensearch_url: str, client: OpenSearch, hashed_index: str, fault_free: FaultFree, figures: Figures
) -> None:
    documents = numbered(10_000)
    recorder = Recorder()

    def block_and_lift() -> None:
        recorder.wait_for(10)
        client.indices.put_settings(index=hashed_index, body={"index.blocks.write": True})
        threading.Event().wait(5.0)
        client.indices.put_settings(index=hashed_index, body={"index.blocks.write": None})

    with recorded(opensearch_url, recorder) as through, ThreadPoolExecutor(1) as pool:
        blocker = pool.submit(block_and_lift)
        result = ingest(through, hashed_index, documents, write_size=100)
        blocker.result()
    figures(documents=len(documents), **recorder.figures())
    assert recorder.figures()["documents_sent_again"] > 0, "the block was met"
    assert result.indexed == len(documents)
    assert read_contents(client, hashed_index, NUM_LATENTS) == fault_free(documents)


@pytest.mark.parametrize("fault", [truncated, half_json, without_last_item])
def test_11_a_reply_that_is_cut_is_asked_for_again(
    opensearch_url: str,
    client: OpenSearch,
    hashed_index: str,
    fault_free: FaultFree,
    figures: Figures,
    fault: Fault,
) -> None:
    documents = numbered(5_000)
    recorder = Recorder()
    with fault_proxy(opensearch_url) as proxy, recorded(proxy.url, recorder) as through:
        proxy.faults.extend([passed, passed, fault] * 10)
        result = ingest(through, hashed_index, documents, write_size=100)
    figures(documents=len(documents), **recorder.figures())
    assert len(recorder.requests) == 50 + 10
    assert recorder.figures()["documents_sent_again"] == 1_000
    assert result.indexed == len(documents)
    assert read_contents(client, hashed_index, NUM_LATENTS) == fault_free(documents)
