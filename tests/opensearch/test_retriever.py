from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from opensearchpy import OpenSearch

from connector.connection.client import connect
from connector.encoders.load import join
from connector.encoders.text import TextEncoder
from connector.errors import BusyError, EncoderMismatchError, IndexMappingError, SearchError
from connector.index.meta import IndexMeta
from connector.index.new_index import NewIndex
from connector.index.schema import prepare_index
from connector.index.writer import BulkWriter
from connector.ingest.pipeline import ingest_documents
from connector.query.settings import SearchSettings
from connector.search.async_retriever import AsyncRetriever
from connector.search.retriever import Retriever
from connector.search.sparse_index import SparseIndex
from connector.types import Document, SparseVectors
from tests.fault_proxy import fault_proxy, status
from tests.tiny import MAX_TOKENS, build_dense, build_head, build_splade

pytestmark = pytest.mark.opensearch

TEXTS = {
    "plants": "plants eat light with green leaves",
    "cats": "cats sleep on warm stones",
    "rivers": "rivers carry sand to the sea",
}


@pytest.fixture
def retriever(client: OpenSearch, index: str, encoder: TextEncoder) -> Iterator[Retriever]:
    prepare_index(client, index, IndexMeta(encoder.fingerprint), NewIndex(fields={"year": "integer"}))
    documents = [
        Document(doc_id, text, metadata={"of": doc_id}, fields={"year": 1999}) for doc_id, text in TEXTS.items()
    ]
    ingest_documents(documents, encoder, BulkWriter(client, index))
    yield Retriever(client, index, encoder)


def test_a_text_finds_itself_first(retriever: Retriever) -> None:
    for doc_id, text in TEXTS.items():
        assert retriever.search(text, top_k=1)[0].doc_id == doc_id


def test_the_schema_of_the_index_is_at_hand(retriever: Retriever) -> None:
    assert retriever.schema.fields == {"year": "integer"}


def test_many_queries_find_what_each_finds(retriever: Retriever) -> None:
    batch = retriever.search_many(iter(TEXTS.values()), top_k=2, queries_per_request=2)
    single = [retriever.search(text, top_k=2) for text in TEXTS.values()]
    with pytest.raises(ValueError, match=r"queries must be a list of queries, got 'cats'; pass \['cats'\]"):
        retriever.search_many("cats")
    with pytest.raises(ValueError, match="queries_per_request must be at least 1, got -1"):
        retriever.search_many(["cats"], queries_per_request=-1)
    assert [[hit.doc_id for hit in hits] for hits in batch] == [[hit.doc_id for hit in hits] for hits in single]


def test_fewer_features_of_a_query_can_be_kept(retriever: Retriever, encoder: TextEncoder) -> None:
    [(_, strongest)] = encoder.encode_query([TEXTS["cats"]], k=1).as_mappings()[0].items()
    scores = {hit.doc_id: hit.score for hit in retriever.search(TEXTS["cats"], settings=SearchSettings(k_query=1))}
    # The document holds the same feature at the same weight.
    assert scores["cats"] == pytest.approx(strongest**2, rel=2**-8)


def test_filters_apply(retriever: Retriever) -> None:
    of_cats = [{"term": {"metadata.of": "cats"}}]
    assert [hit.doc_id for hit in retriever.search(TEXTS["plants"], filters=of_cats)] in ([], ["cats"])
    assert [hit.doc_id for hit in retriever.search(TEXTS["cats"], filters=of_cats)] == ["cats"]
    assert retriever.search_many([TEXTS["cats"]], filters=[{"term": {"year": 2000}}]) == [[]]


@pytest.mark.parametrize("query", ["", "  "])
def test_an_empty_query_is_refused(retriever: Retriever, query: str) -> None:
    with pytest.raises(SearchError, match="The query is empty"):
        retriever.search(query)


async def test_an_empty_query_of_many_is_refused(retriever: Retriever) -> None:
    with pytest.raises(SearchError, match="The query is empty"):
        retriever.search_many([TEXTS["cats"], " "])
    with pytest.raises(SearchError, match="The query is empty"):
        retriever.search_hybrid("")
    with pytest.raises(SearchError, match="The query is empty"):
        await AsyncRetriever(retriever).search_many([""])
    with pytest.raises(ValueError, match="a query must be a string, got None"):
        retriever.search_many([None])  # type: ignore[list-item]
    assert retriever.search_many([]) == await AsyncRetriever(retriever).search_many(iter(())) == []
    with pytest.raises(ValueError, match="top_k must be between 1"):
        retriever.search_many([], top_k=0)


def test_an_overlong_query_is_refused_with_both_lengths(retriever: Retriever) -> None:
    longest = " ".join(["cats"] * (MAX_TOKENS - 2))
    retriever.search(longest)
    with pytest.raises(
        SearchError, match=f"has {MAX_TOKENS + 1} tokens, but the encoder reads .*{MAX_TOKENS}; shorten it"
    ):
        retriever.search(f"{longest} cats")


def test_the_prompt_of_a_query_counts(client: OpenSearch, index: str, transformer_folder: Path) -> None:
    dense = build_dense(transformer_folder, prompts={"query": "query : "})
    prompted = TextEncoder(join(dense, build_head()))
    prepare_index(client, index, IndexMeta(prompted.fingerprint))
    retriever = Retriever(client, index, prompted)
    longest = " ".join(["cats"] * (MAX_TOKENS - 4))
    retriever.search(longest)
    said = f"has {MAX_TOKENS + 1} tokens with its prompt, but the encoder reads at most {MAX_TOKENS}; shorten it"
    with pytest.raises(SearchError, match=said):
        retriever.search(f"{longest} cats")


def test_an_overlong_query_of_many_is_cut(retriever: Retriever) -> None:
    longest = " ".join(["cats"] * (MAX_TOKENS - 2))
    cut, whole = retriever.search_many([longest, f"{longest} cats sea"])
    assert [hit.doc_id for hit in cut] == [hit.doc_id for hit in whole]


def test_another_encoder_is_refused_before_any_search(
    retriever: Retriever, client: OpenSearch, index: str, encoder: TextEncoder, opensearch_url: str
) -> None:
    other = TextEncoder(encoder.model, k=4)
    with fault_proxy(opensearch_url) as proxy, connect(proxy.url) as through:
        with pytest.raises(EncoderMismatchError, match="their features do not match") as caught:
            Retriever(through, index, other)
        assert proxy.paths == [f"/{index}/_mapping"]
    assert encoder.fingerprint.digest in str(caught.value)
    assert other.fingerprint.digest in str(caught.value)


def test_a_missing_index_is_refused(client: OpenSearch, index: str, encoder: TextEncoder) -> None:
    with pytest.raises(IndexMappingError, match=f"There is no index '{index}'"):
        Retriever(client, index, encoder)


def test_copies_of_the_same_weights_search_the_index(
    retriever: Retriever, client: OpenSearch, index: str, encoder: TextEncoder
) -> None:
    copy = TextEncoder(encoder.model, base_model="under another name")
    assert copy.fingerprint == replace(encoder.fingerprint, base_model="under another name")
    assert Retriever(client, index, copy).search(TEXTS["cats"])[0].doc_id == "cats"


def test_a_splade_indexes_and_searches(
    client: OpenSearch, index: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    splade = TextEncoder(build_splade(tmp_path_factory.mktemp("splade") / "transformer"))
    prepare_index(client, index, IndexMeta(splade.fingerprint))
    documents = [Document(doc_id, text) for doc_id, text in TEXTS.items()]
    assert ingest_documents(documents, splade, BulkWriter(client, index)).indexed == 3
    [vector] = splade.encode_query([TEXTS["cats"]]).as_mappings()
    hits = {hit.doc_id: hit.score for hit in Retriever(client, index, splade).search(TEXTS["cats"])}
    assert hits["cats"] == pytest.approx(sum(weight**2 for weight in vector.values()), rel=2**-8)


def test_a_query_that_is_asked_again_is_not_encoded_again(
    client: OpenSearch, retriever: Retriever, encoder: TextEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded: list[str] = []
    original = TextEncoder.encode_query

    def encode_query(self: TextEncoder, texts: Sequence[str], **options: Any) -> SparseVectors:  # noqa: ANN401
        encoded.extend(texts)
        return original(self, texts, **options)

    monkeypatch.setattr(TextEncoder, "encode_query", encode_query)
    first = retriever.search(TEXTS["cats"])
    assert retriever.search(TEXTS["cats"]) == first
    assert encoded == [TEXTS["cats"]]
    retriever.search(TEXTS["cats"], settings=SearchSettings(k_query=1))
    assert len(encoded) == 2, "other features are another encoding"
    forgetful = Retriever(client, retriever.schema.index, encoder, cached_queries=0)
    assert forgetful.search(TEXTS["cats"]) == forgetful.search(TEXTS["cats"]) == first
    assert len(encoded) == 4


def test_hits_that_have_arrived_are_returned_even_if_the_schema_cannot_be_read_again(
    opensearch_url: str,
    retriever: Retriever,
    encoder: TextEncoder,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    index, text = retriever.schema.index, TEXTS["cats"]
    with fault_proxy(opensearch_url) as proxy, connect(proxy.url) as client:
        searched = SparseIndex(index, client=client, encoder=encoder)
        expected = searched.search(text, filters={"of": "cats"})
        proxy.reads = lambda _method, path: status(503) if "/_mapping" in path else None
        proxy.paths.clear()
        monkeypatch.setattr("connector.index.guard.monotonic", lambda: time.monotonic() + 31)
        searched._recheck_s = 0.0  # a minute later
        for _ in range(2):
            assert searched.search(text, filters={"of": "cats"}) == expected
        assert [hit.doc_id for hit in expected] == ["cats"]
        # One to translate the filter, one after the hits, and none by the second search.
        assert proxy.paths.count(f"/{index}/_mapping") == 2
        assert f"The schema of index {index!r} cannot be read again" in caplog.text
        with pytest.raises(BusyError, match=r"cannot answer now \(503\)"):
            searched.search(text, filters={"of": "nobody"})
