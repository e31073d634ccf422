"""Indices of an earlier version, without the field for complete metadata."""

from __future__ import annotations

from typing import Any

import pytest
from opensearchpy import OpenSearch

from connector import BulkWriteError, Document, SparseIndex
from connector.encoders.text import TextEncoder
from connector.index.meta import IndexMeta
from connector.index.new_index import NewIndex
from connector.index.schema import index_body

pytestmark = pytest.mark.opensearch


@pytest.fixture
def older(client: OpenSearch, index: str, encoder: TextEncoder) -> SparseIndex:
    calibrated = encoder.calibrate(["cats sleep", "stars burn"])
    body: dict[str, Any] = index_body(
        IndexMeta(calibrated.fingerprint, statistics=calibrated.statistics), NewIndex(settings={"number_of_shards": 1})
    )
    body["mappings"]["properties"] |= {"unindexed": {"type": "keyword"}, "meta_terms": {"type": "keyword"}}
    client.indices.create(index=index, body=body)
    return SparseIndex(index, client=client, encoder=encoder)


def test_an_older_index_keeps_a_field_that_has_our_name_today(older: SparseIndex) -> None:
    mine = {"unindexed": "mine", "meta_terms": ["a", "b"]}
    older.add([Document("1", "cats sleep", metadata={"lang": "en"}, fields=mine), Document("2", "stars burn")])
    older.update([{"_id": "1", "metadata": {"year": 2020}}])
    assert older.get(["1"])["1"] == {"text": "cats sleep", "metadata": {"lang": "en", "year": 2020}, **mine}
    [hit] = older.search("cats", filters={"unindexed": "mine", "meta_terms": "b", "year": 2020})
    assert (hit.id, hit.source["unindexed"]) == ("1", "mine")


def test_an_older_index_refuses_the_long_string_that_it_cannot_store(older: SparseIndex) -> None:
    with pytest.raises(BulkWriteError, match="document '1'.*immense term"):
        older.add([{"_id": "1", "text": "cats", "metadata": {"a": "v" * 40_000}}, {"_id": "2", "text": "stars"}])
    assert set(older.get(["1", "2"])) == {"2"}


def test_a_new_index_reads_a_long_string_as_given(client: OpenSearch, index: str, encoder: TextEncoder) -> None:
    new = SparseIndex(index, client=client, encoder=encoder)
    metadata = {"long": "v" * 40_000, "lang": "en", "deep": [{"é" * 20_000: 1}]}
    new.add([{"_id": "1", "text": "cats sleep", "metadata": metadata}])
    new.update([{"_id": "1", "metadata": {"lang": "de"}}])
    [hit] = new.search("cats", filters={"lang": "de"})
    assert hit.metadata == new.get(["1"])["1"]["metadata"] == metadata | {"lang": "de"}
    assert "unindexed" not in hit.source
    new.update([{"_id": "1", "metadata": {"long": "short", "deep": None}}])
    assert new.search("cats", filters={"long": "short"})[0].metadata == {"long": "short", "lang": "de"}
