"""A miniature of the suite `rivals`, and the systems that only it has."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from opensearchpy import OpenSearch

from benchmarks.datasets import EncodedSet, encode_set
from benchmarks.scenarios.rivals import NATIVE, why_not_run
from benchmarks.systems.base import System
from benchmarks.systems.bm25 import BM25
from benchmarks.systems.fused import Fused
from benchmarks.systems.lucene_hnsw import LuceneHnsw
from benchmarks.systems.neural_hybrid import NeuralHybrid
from benchmarks.systems.rescored import Rescored
from connector.encoders.text import TextEncoder
from connector.query.hybrid import fuse
from connector.types import Hit
from tests.tiny import DIM
from tests.unjudged import COUNT, read_groups, run, write_unjudged

pytestmark = pytest.mark.opensearch


@pytest.fixture(scope="module")
def data(encoder: TextEncoder, tmp_path_factory: pytest.TempPathFactory) -> EncodedSet:
    folder = write_unjudged(tmp_path_factory.mktemp("unjudged"))
    return encode_set(folder, encoder, lambda texts, task: encoder.embed(texts, task=task), k_query=4)


def answers(client: OpenSearch, system: System, data: EncodedSet) -> list[list[Hit]]:
    """Fill a system's index, and ask all queries."""
    client.indices.delete(index=system.index, ignore_unavailable=True)
    try:
        system.configure(client)
        system.upload(client, data)
        client.indices.refresh(index=system.index)
        return [system.search(client, request) for request in system.prepare(data)]
    finally:
        client.indices.delete(index=system.index, ignore_unavailable=True)


def test_rivals_are_compared_twice(workplace: Path, head_folder: Path) -> None:
    dataset = write_unjudged(workplace / "unjudged")
    options = ("--encoder", str(head_folder), "--rounds", "1", "--cache", "cache", "--output", "rivals.json")
    run("rivals", str(dataset), *options)
    groups = read_groups(workplace / "rivals.json")
    vectors = groups["vectors"]
    graphs = ["HNSW", "HNSW byte", "HNSW 7 bits"]
    assert {row["system"] for row in vectors} - set(NATIVE) == {
        "exact dense", *graphs, "own dictionary + 4 bits", "SEISMIC",
    }  # fmt: skip
    by_name = {f"{row['system']} {row['knob']}": row for row in vectors}
    seven = by_name["HNSW 7 bits default"]
    assert seven["overlap@10"] > 0.9
    assert seven["files"]["veq"] > COUNT * DIM, "a byte a dimension, beside the floats"
    words = {row["system"]: row for row in groups["words and vectors"]}
    fused, today = words["BM25 + own dictionary + 4 bits"], words["BM25 + HNSW, hybrid query"]
    assert fused["ndcg@10"] > 0.3 and today["ndcg@10"] > 0.3
    assert today["index_bytes"] > words["HNSW"]["index_bytes"] + words["BM25"]["index_bytes"] / 2
    reported = run("report", "rivals.json").stdout
    assert "| system | 90%: p50, bytes |" in reported
    costs = reported.partition("| system | bytes per document | of HNSW | p50 | p99 |\n")[2].splitlines()
    assert costs[1].startswith("| HNSW default | ") and any("hybrid query by rank" in line for line in costs)
    for row in groups.get("not run", ()):
        assert re.search(f"^Not run: .*{re.escape(row['system'])}.*, since ", reported, re.MULTILINE)
    for name in ("vectors", "words-and-vectors"):
        assert (workplace / f"rivals-{name}.png").read_bytes().startswith(b"\x89PNG")


def test_the_plugin_joins_ranks(client: OpenSearch, index: str, data: EncodedSet) -> None:
    hybrid = NeuralHybrid(index, DIM, candidates=40)
    words = answers(client, BM25(index, top_k=40), data)
    neighbours = answers(client, LuceneHnsw(index, DIM, top_k=40), data)
    for found, *rankings in zip(answers(client, hybrid, data), words, neighbours, strict=True):
        ranks = [{doc_id: rank for rank, doc_id in enumerate(ids(hits), start=1)} for hits in rankings]
        scores = [sum(1 / (60 + rank[doc_id]) for rank in ranks if doc_id in rank) for doc_id in set().union(*ranks)]
        assert [hit.score for hit in found] == pytest.approx(sorted(scores, reverse=True)[:10], rel=1e-5)


@pytest.mark.parametrize("weight", [0.5, 0.3])
def test_the_plugin_and_the_client_join_scores_alike(
    client: OpenSearch, index: str, data: EncodedSet, weight: float
) -> None:
    hybrid = NeuralHybrid(index, DIM, candidates=40, weight=weight)
    words = answers(client, BM25(index, top_k=40), data)
    neighbours = answers(client, LuceneHnsw(index, DIM, top_k=40), data)
    for found, *rankings in zip(answers(client, hybrid, data), words, neighbours, strict=True):
        expected = [hit.score for hit in fuse(rankings, top_k=10, weights=(1 - weight, weight))]
        # The plugin subtracts float32 scores that are nearly equal.
        assert [hit.score for hit in found] == pytest.approx(expected, rel=1e-4)


def test_weights_move_the_hybrid_from_words_to_neighbours(client: OpenSearch, index: str, data: EncodedSet) -> None:
    [words, mixed, neighbours] = (
        answers(client, NeuralHybrid(index, DIM, weight=weight), data) for weight in (0.0, 0.5, 1.0)
    )
    alone = answers(client, LuceneHnsw(index, DIM), data)
    same = [len({*ids(own)} & {*ids(dense)}) for own, dense in zip(neighbours, alone, strict=True)]
    assert sum(same) > 0.9 * 10 * len(alone)
    assert ids(words[0]) != ids(mixed[0]) != ids(neighbours[0])


def test_ours_joins_what_codes_and_words_find(client: OpenSearch, index: str, data: EncodedSet) -> None:
    storage = Rescored(index, "4 bits", 4, 50)
    ours = Fused(storage, index, candidates=30)
    both = answers(client, ours, data)
    words = answers(client, BM25(index, top_k=30), data)
    coded = answers(client, replace(storage, top_k=30), data)
    for found, *rankings in zip(both, coded, words, strict=True):
        assert ids(found) == ids(fuse(rankings, top_k=10))


def test_the_engine_of_new_vector_fields_is_a_rival() -> None:
    """Of which OpenSearch's documentation gives the mapping; it runs where the native library is."""
    assert {"HNSW Faiss", "HNSW Faiss, fp16"} <= set(NATIVE)
    [plain, half] = (
        LuceneHnsw("faiss", 4, variant=name).body()["mappings"]["properties"]["embedding"]["method"]
        for name in ("HNSW Faiss", "HNSW Faiss, fp16")
    )
    graph = {"m": 16, "ef_construction": 100}
    assert plain == {"name": "hnsw", "engine": "faiss", "space_type": "innerproduct", "parameters": graph}
    assert half["parameters"] == graph | {"encoder": {"name": "sq", "parameters": {"type": "fp16"}}}


def test_what_is_not_run_has_a_reason() -> None:
    assert why_not_run(True) == []
    assert {row["system"] for row in why_not_run(False)} == set(NATIVE)
    assert "lacks its native library" in why_not_run(False)[0]["reason"]
    assert "--native" in why_not_run(None)[0]["reason"]


def ids(hits: list[Hit]) -> list[str]:
    return [hit.doc_id for hit in hits]
