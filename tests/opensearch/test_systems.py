"""Every system that is compared, on a real node: each document's text finds it first."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Literal

import numpy as np
import pytest
from opensearchpy import OpenSearch

from benchmarks.compare import Plan, compare
from benchmarks.datasets import EncodedSet, encode_set
from benchmarks.storage import build
from benchmarks.systems.base import System
from benchmarks.systems.bm25 import BM25, Hybrid
from benchmarks.systems.lucene_hnsw import LuceneHnsw, largest_value, to_bytes
from benchmarks.systems.neural_sparse import NeuralSparse
from benchmarks.systems.rank_features import RankFeatures
from benchmarks.systems.rescored import Rescored
from benchmarks.systems.seismic import Seismic
from connector.connection.client import connect
from connector.encoders.text import TextEncoder
from connector.errors import ClusterError, ConnectorError
from connector.evaluation.exact import exact_sparse_search
from connector.types import EncoderFingerprint
from tests.beir import numbered, write_beir
from tests.tiny import DIM, WORDS, K

pytestmark = pytest.mark.opensearch

COUNT = 40


@pytest.fixture(scope="module")
def data(encoder: TextEncoder, tmp_path_factory: pytest.TempPathFactory) -> EncodedSet:
    folder = tmp_path_factory.mktemp("set")
    random = np.random.default_rng(0)
    texts = [" ".join(random.choice(WORDS, 6, replace=False)) for _ in range(COUNT)]
    documents = numbered(texts, "d")
    write_beir(folder, documents, documents, test=[(name, name) for name in documents])
    return encode_set(folder, encoder, lambda texts, task: encoder.embed(texts, task=task), k_query=K)


FINGERPRINT = EncoderFingerprint("tiny", "", "ab" * 32, 8, 64, "mean", 12, {})
SYSTEMS: dict[str, Callable[[str], System]] = {
    "hnsw": lambda index: LuceneHnsw(index, DIM),
    "hnsw ef": lambda index: LuceneHnsw(index, DIM, ef_search=40),
    "hnsw byte": lambda index: LuceneHnsw(index, DIM, data_type="byte"),
    "bm25": BM25,
    "features": lambda index: RankFeatures(index, FINGERPRINT, K),
    "features, two phases": lambda index: RankFeatures(index, FINGERPRINT, 3, window=COUNT),
    "neural_sparse": lambda index: NeuralSparse(RankFeatures(index, FINGERPRINT, K)),
    "neural_sparse, two phases": lambda index: NeuralSparse(RankFeatures(index, FINGERPRINT, K), two_phase=True),
    "seismic": lambda index: Seismic(index, top_n=K),
    "rescored, 4 bits": lambda index: Rescored(index, "4 bits", K),
    "rescored, knn byte": lambda index: Rescored(index, "knn byte", K),
    "hybrid": lambda index: Hybrid(index, 0.01, K),
}


def fill(client: OpenSearch, system: System, data: EncodedSet) -> None:
    system.configure(client)
    system.upload(client, data)
    client.indices.refresh(index=system.index)
    assert client.count(index=system.index)["count"] == COUNT


@pytest.mark.parametrize("name", SYSTEMS)
def test_each_text_finds_its_document(client: OpenSearch, index: str, data: EncodedSet, name: str) -> None:
    system = SYSTEMS[name](index)
    fill(client, system, data)
    requests = system.prepare(data)
    assert len(requests) == COUNT
    found = [system.search(client, request) for request in requests]
    firsts = [hits[0].doc_id for hits in found]
    right = sum(first == query.query_id for first, query in zip(firsts, data.judged.queries, strict=True))
    # Cosines of an untrained model, and products of its features, which have no unit length.
    assert right >= 0.6 * COUNT, name
    assert all(len(hits) == 10 for hits in found) or name in ("features", "seismic", "neural_sparse, two phases")


def test_the_second_phase_adds_what_the_first_left_out(client: OpenSearch, index: str, data: EncodedSet) -> None:
    one, two = RankFeatures(index, FINGERPRINT, K), RankFeatures(index, FINGERPRINT, 2, window=COUNT)
    fill(client, one, data)
    whole = one.search(client, one.prepare(data)[0])
    rescored = two.search(client, two.prepare(data)[0])
    scores = {hit.doc_id: hit.score for hit in whole}
    assert rescored[0].doc_id == whole[0].doc_id
    assert rescored[0].score == pytest.approx(scores[rescored[0].doc_id], rel=1e-5)


def test_all_search_methods_of_an_index_agree(client: OpenSearch, index: str, data: EncodedSet) -> None:
    storage = RankFeatures(index, FINGERPRINT, K)
    fill(client, storage, data)
    truth = exact_sparse_search(data.document_vectors, data.query_vectors, data.doc_ids, 64, 10)
    for system in (storage, NeuralSparse(storage)):
        for request, expected in zip(system.prepare(data), truth, strict=True):
            found = system.search(client, request)
            assert [hit.score for hit in found] == pytest.approx([hit.score for hit in expected], rel=2**-7)


def test_bm25_scores_add_to_those_of_features(client: OpenSearch, index: str, data: EncodedSet) -> None:
    heavy, light = Hybrid(index, 1_000.0, K), Hybrid(index, 1e-6, K)
    fill(client, heavy, data)
    by_words = heavy.search(client, heavy.prepare(data)[0])
    by_features = light.search(client, light.prepare(data)[0])
    assert by_words[0].score > 500 > by_features[0].score


@pytest.mark.parametrize("kind", ["4 bits", "knn byte"])
def test_codes_put_all_candidates_into_the_dense_order(
    client: OpenSearch, index: str, data: EncodedSet, kind: Literal["4 bits", "knn byte"]
) -> None:
    system = Rescored(index, kind, K, window=COUNT)
    fill(client, system, data)
    dense = data.query_embeddings @ data.document_embeddings.T
    agree = 0
    for row, request in enumerate(system.prepare(data)):
        found = [data.doc_ids.index(hit.doc_id) for hit in system.search(client, request)]
        agree += found[0] == int(dense[row].argmax())
        assert np.diff(dense[row, found]).max() < 0.1, "in order, but for what a code loses"
    assert agree >= 0.9 * COUNT


def test_documents_may_keep_fewer_features(client: OpenSearch, index: str, data: EncodedSet) -> None:
    system = RankFeatures(index, FINGERPRINT, K, k_doc=1)
    fill(client, system, data)
    request = system.prepare(data)[0]
    scores = {hit.doc_id: hit.score for hit in system.search(client, request)}
    strongest = float(data.document_vectors.weights[0, 0])
    assert scores["d0"] == pytest.approx(strongest**2, rel=2**-7)


def test_bytes_span_the_documents() -> None:
    documents = np.array([[0.5, -0.25], [0.1, 0.0]], np.float32)
    assert to_bytes(documents, largest=largest_value(documents)).tolist() == [[127, -64], [25, 0]]
    assert to_bytes(np.array([[9.0, -9.0]], np.float32), largest=largest_value(documents)).tolist() == [[127, -127]]


def test_a_comparison_measures_everything(client: OpenSearch, opensearch_url: str, data: EncodedSet) -> None:
    systems: list[System] = [LuceneHnsw("test-compare-hnsw", DIM), BM25("test-compare-bm25")]
    systems += [RankFeatures("test-compare-features", FINGERPRINT, k) for k in (2, K)]
    systems += [NeuralSparse(RankFeatures("test-compare-features", FINGERPRINT, K)), Seismic("test-compare-seismic", 4)]
    plan = Plan(rounds=2, clients=(1, 2), seconds=0.3, deep=True)
    rows = compare(partial(connect, opensearch_url), data, systems, plan, report=lambda _what, _share: None)
    assert [row["system"] for row in rows[1:]] == [system.name for system in systems]
    for row in rows[1:]:
        assert sum(row["files"].values()) <= row["index_bytes"] and len(row["files"]) > 1
        assert row["p50_ms"] <= row["p90_ms"] <= row["p99_ms"]
        assert row["p50_ratio"] == row["p50_ms"] / rows[1]["p50_ms"]
        low, high = row["p50_interval"]
        assert (low, high) == (1.0, 1.0) if row is rows[1] else 0 < low < high
        assert set(row["requests_per_s"]) == {"1", "2"} and min(row["requests_per_s"].values()) > 0
        assert row["recall@100"] >= row["ndcg@10"] - 1e-9
    few, many = (row["postings_per_document"] for row in rows[3:5])
    assert 0 < few < many == rows[5]["postings_per_document"]
    assert not client.indices.exists(index="test-compare-*", params={"allow_no_indices": "false"})


def test_what_was_not_stored_is_not_timed(client: OpenSearch, index: str, data: EncodedSet) -> None:
    class Forgetful(RankFeatures):
        """Stores other weights than it was given."""

        def upload(self, client: OpenSearch, data: EncodedSet) -> None:
            wrong = data.document_vectors._replace(weights=data.document_vectors.weights * np.float32(1.5))
            super().upload(client, replace(data, document_vectors=wrong))

    with pytest.raises(
        ClusterError, match=r"document 'd0' scores \S+ for itself instead of \S+; its times would not be valid"
    ):
        build(client, Forgetful(index, FINGERPRINT, K), data)


def test_a_setting_that_changes_nothing_is_an_error(opensearch_url: str, index: str, data: EncodedSet) -> None:
    systems = [LuceneHnsw(index, DIM, ef_search=ef) for ef in (200, 400)]
    with pytest.raises(ConnectorError, match="HNSW returns the same hits with ef_search=200, ef_search=400"):
        compare(
            partial(connect, opensearch_url),
            data,
            systems,
            Plan(rounds=1, knobs_from=10),
            report=lambda _what, _share: None,
        )


def test_seismic_takes_features_of_any_number(data: EncodedSet, client: OpenSearch, index: str) -> None:
    """The plugin fails on numbers from 32,768 on; ours reach 46,906."""
    far = replace(
        data,
        document_vectors=data.document_vectors._replace(features=data.document_vectors.features + 40_000),
        query_vectors=data.query_vectors._replace(features=data.query_vectors.features + 40_000),
    )
    found = []
    for each in (data, far):
        system = Seismic(index, 8)
        build(client, system, each)
        found.append([system.search(client, request)[0].doc_id for request in system.prepare(each)])
    # Clusters are sampled again, so weak hits may differ.
    assert found[0] == found[1] and found[0][3] == "d3"
