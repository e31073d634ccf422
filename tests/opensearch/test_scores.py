"""The server's score is the dot product: on random vectors, and as the neural-search plugin computes it."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pytest
from opensearchpy import OpenSearch

from connector.connection.client import connect
from connector.evaluation.exact import exact_sparse_search
from connector.index.meta import IndexMeta
from connector.index.new_index import NewIndex
from connector.index.schema import prepare_index
from connector.index.searcher import Searcher
from connector.index.writer import BulkWriter
from connector.ingest.preparation import to_sparse_documents
from connector.types import Document, EncoderFingerprint, SparseDocument, SparseVectors
from connector.vectors.storage import SMALLEST_WEIGHT, find_weight_exponent, round_to_stored
from connector.vectors.top_k import prune, sparsify

pytestmark = pytest.mark.opensearch

NUM_LATENTS = 200
DOC_IDS = [f"d{number}" for number in range(400)]


class Scored(NamedTuple):
    """Two indices of the same vectors: weights sent as they are, and by our writer, which rounds them."""

    documents: SparseVectors
    queries: SparseVectors
    as_they_are: str
    rounded: str


@pytest.fixture(scope="module")
def scored(opensearch_url: str) -> Iterator[Scored]:
    random = np.random.default_rng(0)
    documents = sparsify(random.lognormal(0, 2, (len(DOC_IDS), NUM_LATENTS)).astype(np.float32), 24)
    queries = sparsify(random.lognormal(0, 1, (20, NUM_LATENTS)).astype(np.float32), 12)
    names = Scored(documents, queries, *(f"test-{uuid.uuid4().hex[:12]}" for _ in range(2)))
    fingerprint = EncoderFingerprint("tiny", "", "ab" * 32, 24, NUM_LATENTS, "mean", 12)
    with connect(opensearch_url) as client:
        raw = [SparseDocument(i, features) for i, features in zip(DOC_IDS, documents.as_mappings(), strict=True)]
        for name in (names.as_they_are, names.rounded):
            prepare_index(client, name, IndexMeta(fingerprint), NewIndex(settings={"number_of_replicas": 0}))
        lines = [line for each in raw for line in ({"index": {"_id": each.doc_id}}, {"features": each.features})]
        assert not client.bulk(index=names.as_they_are, body=lines, params={"refresh": "true"})["errors"]
        writer = BulkWriter(client, names.rounded)
        assert writer.write(raw).indexed == len(DOC_IDS)
        writer.refresh()
        yield names
        for name in (names.as_they_are, names.rounded):
            client.indices.delete(index=name)


def dot_products(documents: SparseVectors, queries: SparseVectors) -> list[dict[str, float]]:
    """In float64, of the documents that share a feature."""
    products = []
    for query in queries.as_mappings():
        scores = {}
        for doc_id, document in zip(DOC_IDS, documents.as_mappings(), strict=True):
            if shared := query.keys() & document.keys():
                scores[doc_id] = sum(query[name] * document[name] for name in shared)
        products.append(scores)
    return products


def search(client: OpenSearch, index: str, queries: SparseVectors) -> list[dict[str, float]]:
    found = Searcher(client, index, source=False).search_many(queries.as_mappings(), top_k=len(DOC_IDS))
    return [{hit.doc_id: hit.score for hit in hits} for hits in found]


def test_the_score_is_the_dot_product_to_9_significant_bits(client: OpenSearch, scored: Scored) -> None:
    """Without our rounding the server cuts bits off: scores are too small, by 2^-8 at most."""
    found = search(client, scored.as_they_are, scored.queries)
    for scores, expected in zip(found, dot_products(scored.documents, scored.queries), strict=True):
        assert scores.keys() == expected.keys()
        errors = np.array([scores[doc_id] / expected[doc_id] - 1 for doc_id in expected])
        assert -(2.0**-8) <= errors.min() <= errors.max() <= 1e-6
        assert errors.mean() < -1e-4, "nothing was cut off: the test proves nothing"


def test_the_score_of_rounded_weights_is_the_dot_product_to_float32(client: OpenSearch, scored: Scored) -> None:
    rounded = scored.documents._replace(weights=round_to_stored(scored.documents.weights))
    found = search(client, scored.rounded, scored.queries)
    for scores, expected in zip(found, dot_products(rounded, scored.queries), strict=True):
        assert scores == pytest.approx(expected, rel=2e-6)


def test_rounding_halves_the_error_and_removes_the_bias(client: OpenSearch, scored: Scored) -> None:
    found = search(client, scored.rounded, scored.queries)
    errors = np.concatenate(
        [
            [scores[doc_id] / expected[doc_id] - 1 for doc_id in expected]
            for scores, expected in zip(found, dot_products(scored.documents, scored.queries), strict=True)
        ]
    )
    assert np.abs(errors).max() <= 2.0**-9 + 1e-6
    assert abs(errors.mean()) < 1e-4


def test_the_ranking_is_that_of_exact_search(client: OpenSearch, scored: Scored) -> None:
    rounded = scored.documents._replace(weights=round_to_stored(scored.documents.weights))
    exact = exact_sparse_search(rounded, scored.queries, DOC_IDS, NUM_LATENTS, 10)
    found = Searcher(client, scored.rounded, source=False).search_many(scored.queries.as_mappings(), top_k=10)
    for ours, truth in zip(found, exact, strict=True):
        assert [hit.doc_id for hit in ours] == [hit.doc_id for hit in truth]


@pytest.mark.parametrize("k_query", [12, 3])
def test_neural_sparse_gives_the_same_ranking_and_scores(client: OpenSearch, scored: Scored, k_query: int) -> None:
    for query in prune(scored.queries, k_query).as_mappings():
        ours = Searcher(client, scored.rounded, source=False).search(query, top_k=50)
        theirs = client.search(
            index=scored.rounded,
            body={"query": {"neural_sparse": {"features": {"query_tokens": query}}}, "size": 50, "_source": False},
        )["hits"]["hits"]
        assert [hit.doc_id for hit in ours] == [hit["_id"] for hit in theirs]
        assert [hit.score for hit in ours] == pytest.approx([hit["_score"] for hit in theirs], rel=2e-6)


def test_scaled_weights_give_the_same_scores_in_fewer_bytes(
    client: OpenSearch, index: str, fingerprint: EncoderFingerprint, scored: Scored
) -> None:
    exponent = find_weight_exponent(scored.documents.weights)
    assert exponent < -100
    settings = {"number_of_shards": 1, "number_of_replicas": 0}
    sizes = []
    for name, power in ((index, exponent), (f"{index}-plain", 0)):
        prepare_index(client, name, IndexMeta(fingerprint, weight_exponent=power), NewIndex(settings=settings))
        writer = BulkWriter(client, name)
        texts = [Document(doc_id, "text") for doc_id in DOC_IDS]
        assert writer.write(to_sparse_documents(texts, scored.documents)).refused == ()
        client.indices.forcemerge(index=name, max_num_segments=1, flush=True)
        writer.refresh()
        stats = client.indices.stats(index=name, metric="segments", params={"include_segment_file_sizes": "true"})
        sizes.append(stats["_all"]["primaries"]["segments"]["file_sizes"]["doc"]["size_in_bytes"])
    try:
        found, plain = (search(client, name, scored.queries) for name in (index, f"{index}-plain"))
        assert found == plain, "a power of two changes no bit of a score"
        assert sizes[0] < 0.9 * sizes[1]
    finally:
        client.indices.delete(index=f"{index}-plain")


def test_nothing_overflows_where_weights_are_scaled(
    client: OpenSearch, index: str, fingerprint: EncoderFingerprint
) -> None:
    prepare_index(client, index, IndexMeta(fingerprint, weight_exponent=-120))
    writer = BulkWriter(client, index)
    assert writer.write([SparseDocument("large", {"3": 200.0}), SparseDocument("small", {"3": 1e-9})]).refused == ()
    writer.refresh()
    found = Searcher(client, index).search({"3": 200.0})
    assert [hit.doc_id for hit in found] == ["large", "small"]
    assert found[0].score == pytest.approx(40_000, rel=2**-8)
    assert found[1].score == pytest.approx(200 * 2.0**-6, rel=2**-8), "raised to the smallest weight"
    with pytest.raises(ValueError, match=r"weight of feature '3' is 300.0; .* above 0 \(1.18e-38 to 256\)"):
        Searcher(client, index).search({"3": 300.0})


@pytest.mark.parametrize("weight", [SMALLEST_WEIGHT, 3.3895313892515355e38])
def test_the_ends_of_the_range_are_stored_and_found(
    client: OpenSearch, index: str, fingerprint: EncoderFingerprint, weight: float
) -> None:
    prepare_index(client, index, IndexMeta(fingerprint))
    writer = BulkWriter(client, index)
    assert writer.write([SparseDocument("d1", {"3": weight})]).refused == ()
    writer.refresh()
    [hit] = Searcher(client, index).search({"3": 1.0})
    assert hit.score == pytest.approx(weight, rel=2**-8)


@pytest.mark.long
def test_the_copy_of_the_features_for_recovery_goes_with_a_merge(
    client: OpenSearch, index: str, fingerprint: EncoderFingerprint
) -> None:
    """Once the node has noted what no copy needs any more, which it does every 30 seconds."""
    prepare_index(
        client, index, IndexMeta(fingerprint), NewIndex(settings={"number_of_replicas": 0, "number_of_shards": 1})
    )
    features = sparsify(np.random.default_rng(0).random((1000, 5000), np.float32), 64).as_mappings()
    writer = BulkWriter(client, index)
    writer.write([SparseDocument(str(number), each, {"text": "x"}) for number, each in enumerate(features)])
    client.indices.flush(index=index)
    time.sleep(35.0)
    writer.write([SparseDocument("another segment", features[0], {"text": "x"})])
    client.indices.forcemerge(index=index, max_num_segments=1, flush=True)
    writer.refresh()
    params = {"include_segment_file_sizes": "true"}
    stats = client.indices.stats(index=index, metric="segments", params=params)["_all"]["primaries"]["segments"]
    # 64,000 features as JSON are over a megabyte; the stored fields hold an id and a letter a document.
    assert stats["file_sizes"]["fdt"]["size_in_bytes"] < 100 * 1000


def test_features_are_not_in_the_source(client: OpenSearch, index: str, fingerprint: EncoderFingerprint) -> None:
    prepare_index(client, index, IndexMeta(fingerprint))
    writer = BulkWriter(client, index)
    writer.write([SparseDocument("d1", {"3": 1.0}, {"text": "x"})])
    writer.refresh()
    [hit] = Searcher(client, index, source=True).search({"3": 1.0})
    assert hit.source == {"text": "x"}


def test_a_partial_update_loses_the_features(client: OpenSearch, index: str, fingerprint: EncoderFingerprint) -> None:
    """The trap that the README names: if a server version mends it, the warning can go."""
    prepare_index(client, index, IndexMeta(fingerprint))
    writer = BulkWriter(client, index)
    writer.write([SparseDocument("d1", {"3": 1.0}, {"text": "before"})])
    client.update(index=index, id="d1", body={"doc": {"text": "after"}}, params={"refresh": "true"})
    assert Searcher(client, index).search({"3": 1.0}) == []
