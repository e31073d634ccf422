from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from opensearchpy import OpenSearch

from benchmarks import demo
from benchmarks.datasets import EncodedSet, encode_set
from benchmarks.storage import settle
from connector.connection.client import connect
from connector.encoders.text import TextEncoder
from connector.errors import ClusterError
from tests.beir import numbered, write_beir

pytestmark = pytest.mark.opensearch

SENTENCES = (
    "plants eat light with green leaves",
    "cats sleep on warm stones",
    "rivers carry sand to the sea",
    "old bridges cross a wide river",
    "stars burn for years",
    "music has rhythm",
)


@pytest.fixture
def data(encoder: TextEncoder, tmp_path: Path) -> EncodedSet:
    judged = [(f"q{row}", f"d{row}") for row in range(len(SENTENCES))]
    write_beir(tmp_path, numbered(SENTENCES, "d"), numbered(SENTENCES, "q"), test=judged)
    return encode_set(tmp_path, encoder, lambda texts, task: encoder.embed(texts, task=task))


@pytest.fixture
def demo_index(client: OpenSearch) -> Iterator[str]:
    yield demo.DEMO_INDEX
    client.indices.delete(index=demo.DEMO_INDEX, ignore_unavailable=True)


def test_comparison_has_all_systems_and_leaves_no_index(
    client: OpenSearch, opensearch_url: str, data: EncodedSet
) -> None:
    rows = demo.compare_with_hnsw(partial(connect, opensearch_url), data, rounds=1, report=lambda _what, _share: None)
    names = [row["system"] for row in rows]
    assert names[:3] == ["exact dense", "HNSW", "HNSW byte"]
    assert names[3:] == ["k-sparse"] * len(demo.K_QUERIES) + ["k-sparse, 32 a document + 4 bits"]
    # Six documents: the graph misses none of them, and each sentence finds itself.
    assert rows[1]["overlap@10"] == 1.0
    assert [row["ndcg@10"] for row in rows[:2]] == pytest.approx([1.0, 1.0])
    assert all(row["index_bytes"] > 0 for row in rows[1:])
    assert all(row["requests"] == len(SENTENCES) for row in rows[1:])
    assert not client.indices.exists(index="ksparse-bench-*", params={"allow_no_indices": "false"})


def test_questions_are_answered_with_text(client: OpenSearch, data: EncodedSet, demo_index: str) -> None:
    [[first, *_]] = demo.answer_questions(client, data, [SENTENCES[1]])
    assert first.source["text"] == SENTENCES[1]
    assert client.indices.exists(index=demo_index)


def test_settle_refuses_an_index_that_lacks_documents(client: OpenSearch, index: str) -> None:
    client.indices.create(index=index)
    client.index(index=index, body={"text": "one"})
    with pytest.raises(ClusterError, match="has 1 documents, but 2 were written"):
        settle(client, index, documents=2)


def test_result_says_what_it_depends_on(
    client: OpenSearch, data: EncodedSet, opensearch_cluster: object, tmp_path: Path
) -> None:
    import json

    from connector.cluster import Cluster

    assert isinstance(opensearch_cluster, Cluster)
    demo.save_result(tmp_path / "result.json", data, opensearch_cluster, [])
    environment = json.loads((tmp_path / "result.json").read_text())["params"]["environment"]
    assert environment["opensearch"].startswith("3.")
    assert environment["simd"] in (True, False, None)
    assert np.isfinite(environment["cores"])
