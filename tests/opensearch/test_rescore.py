"""Codes that are scored by a script, on a real node."""

from __future__ import annotations

import base64

import numpy as np
import pytest
from opensearchpy import OpenSearch

from benchmarks.systems.base import write
from connector.query.rescore import CODE_FIELD, build_rescore, code_mapping
from connector.vectors.codes import Bits, Group, RotatedCode
from tests.unit_vectors import DOCUMENTS, QUERIES

pytestmark = pytest.mark.opensearch

COUNT = 60


MIXED = (Group(32, 8), Group(32, 6), Group(32, 4), Group(16, 2), Group(8, 1))


@pytest.mark.parametrize(("bits", "groups"), [(1, ()), (2, ()), (4, ()), (8, ()), (3, MIXED)])
def test_the_server_scores_as_we_do(client: OpenSearch, index: str, bits: Bits, groups: tuple[Group, ...]) -> None:
    components = np.eye(DOCUMENTS.shape[1], dtype=np.float32)
    code = RotatedCode(DOCUMENTS.mean(axis=0), bits, groups=groups, components=components)
    properties = {CODE_FIELD: code_mapping(), "n": {"type": "integer"}}
    client.indices.create(
        index=index, body={"settings": {"number_of_shards": 1}, "mappings": {"properties": properties}}
    )
    codes = code.encode(DOCUMENTS[:COUNT])
    sources = ({CODE_FIELD: base64.b64encode(each.tobytes()).decode(), "n": row} for row, each in enumerate(codes))
    write(client, index, map(str, range(COUNT)), sources)
    client.index(index=index, id="without", body={"n": -1}, refresh=True)
    for query in QUERIES[:5]:
        body = {
            "query": {"range": {"n": {"gte": -1}}},
            "rescore": build_rescore(code, query, 100),
            "size": 100,
        }
        found = {hit["_id"]: hit["_score"] for hit in client.search(index=index, body=body)["hits"]["hits"]}
        assert found.pop("without") == 0
        expected = 1 + code.mean @ query + code.score(codes, query)
        np.testing.assert_allclose([found[str(row)] for row in range(COUNT)], expected, atol=2e-3)


def test_negative_products_keep_their_order(client: OpenSearch, index: str) -> None:
    """As with embeddings that are not normalized: 1 plus their product may be far below 0."""
    documents = DOCUMENTS[:COUNT] * np.linspace(1, 9, COUNT, dtype=np.float32)[:, np.newaxis]
    code = RotatedCode(documents.mean(axis=0), 8, norm=9.0)
    properties = {CODE_FIELD: code_mapping()}
    client.indices.create(
        index=index, body={"settings": {"number_of_shards": 1}, "mappings": {"properties": properties}}
    )
    codes = code.encode(documents)
    sources = ({CODE_FIELD: base64.b64encode(each.tobytes()).decode()} for each in codes)
    write(client, index, map(str, range(COUNT)), sources)
    client.index(index=index, id="without", body={}, refresh=True)
    for query in -20 * QUERIES[:4]:
        body = {"query": {"match_all": {}}, "rescore": build_rescore(code, query, 100), "size": 100}
        hits = client.search(index=index, body=body)["hits"]["hits"]
        products = documents @ query
        assert (products < -1).sum() > 10
        last = hits.pop()
        assert (last["_id"], last["_score"]) == ("without", 0)
        found = products[[int(hit["_id"]) for hit in hits]]
        np.testing.assert_allclose(found, np.sort(products)[::-1], atol=0.02 * np.abs(products).max())
        scores = [hit["_score"] for hit in hits]
        assert len(set(scores)) == COUNT and min(scores) > 0
        assert [score > 1e-6 for score in scores] == sorted((score > 1e-6 for score in scores), reverse=True)


def test_what_cannot_be_rescored_is_refused() -> None:
    code = RotatedCode(DOCUMENTS.mean(axis=0), 4)
    with pytest.raises(ValueError, match="the window must be at least 1, got 0"):
        build_rescore(code, QUERIES[0], 0)
    with pytest.raises(ValueError, match=r"must have shape \(128,\), got \(5,\)"):
        build_rescore(code, QUERIES[0][:5], 10)
