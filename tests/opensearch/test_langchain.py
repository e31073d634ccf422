"""LangChain's own suite on our store, and what it does not ask for."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import numpy as np
import pytest
import torch
from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_core.indexing import InMemoryRecordManager
from langchain_core.indexing import index as index_documents
from langchain_tests.integration_tests import VectorStoreIntegrationTests
from opensearchpy import OpenSearch

from connector.connection.client import address_of, connect
from connector.encoders.autoencoder import KSparseAutoEncoder
from connector.encoders.base_model import DEFAULT_BASE_MODEL, find_base_model, load_base_model
from connector.encoders.load import join
from connector.encoders.text import TextEncoder
from connector.errors import BulkWriteError, IndexMappingError
from connector.index.new_index import NewIndex
from connector.integrations.langchain import KSparseVectorStore
from connector.integrations.store import RefusedDocumentsError, StoreWriteError
from connector.query.body import SearchOptions
from connector.query.filters import Filters
from connector.query.settings import SearchSettings
from connector.search.sparse_index import SparseIndex
from connector.vectors.codes import Bits
from tests.fault_proxy import fault_proxy
from tests.tiny import DIM, build_dense

pytestmark = pytest.mark.opensearch


@pytest.fixture(scope="module")
def real_features() -> TextEncoder:
    """With the real dense model, because LangChain's suite requires "foo" and "bar" to be distinguished."""
    torch.manual_seed(0)
    head = KSparseAutoEncoder(384, 64, 64, base_model=DEFAULT_BASE_MODEL).eval()
    return TextEncoder(join(load_base_model(find_base_model(DEFAULT_BASE_MODEL), "cpu"), head))


@pytest.fixture(scope="module")
def dense_features(dense_folder: Path) -> TextEncoder:
    """A head of so few latents that any two texts share some: the suite wants hits for texts of nothing in common."""
    torch.manual_seed(0)
    head = KSparseAutoEncoder(DIM, 64, 64, base_model=str(dense_folder)).eval()
    return TextEncoder(join(build_dense(dense_folder.parent / "transformer"), head))


@pytest.fixture
def store(client: OpenSearch, index: str, dense_features: TextEncoder) -> KSparseVectorStore:
    return KSparseVectorStore(index, encoder=dense_features, client=client, new=NewIndex(code_bits=None))


class TestKSparseVectorStore(VectorStoreIntegrationTests):
    @pytest.fixture
    def vectorstore(self, client: OpenSearch, index: str, real_features: TextEncoder) -> Iterator[KSparseVectorStore]:
        yield KSparseVectorStore(index, encoder=real_features, client=client, new=NewIndex(code_bits=None))


def test_a_store_is_searched_by_a_retriever(store: KSparseVectorStore) -> None:
    texts = ["plants eat light", "cats sleep on warm stones", "rivers carry sand"]
    metadatas = [{"lang": "en", "year": 2021}, {"lang": "en", "year": 2022}, {"lang": "de", "year": 2021}]
    ids = store.add_texts(texts, metadatas)
    assert len(set(ids)) == 3
    [best] = store.as_retriever(search_kwargs={"k": 1}).invoke("cats sleep on warm stones")
    assert (best.page_content, best.metadata, best.id) == (texts[1], metadatas[1], ids[1])
    for filters, expected in (
        ({"lang": "en"}, {0, 1}),
        ({"lang": "en", "year": 2021}, {0}),
        ([{"ids": {"values": [ids[2]]}}, {"year": 2021}], {2}),
    ):
        found = store.similarity_search("plants", k=3, filter=filters)
        assert {ids.index(document.id or "") for document in found} == expected


def test_scores_can_be_limited(store: KSparseVectorStore) -> None:
    store.add_texts(["plants eat light", "cats sleep", "rivers carry sand"])
    scored = store.similarity_search_with_score("plants eat light", k=3)
    assert [score for _, score in scored] == sorted((score for _, score in scored), reverse=True)
    limit = scored[1][1]
    assert len(store.similarity_search_with_score("plants eat light", k=3, score_threshold=limit)) == 2
    relevant = store.similarity_search_with_relevance_scores("plants eat light", k=3)
    assert all(0 < relevance < 1 for _, relevance in relevant)
    few = store.similarity_search_with_relevance_scores("plants eat light", k=3, score_threshold=relevant[0][1])
    assert few == relevant[:1]


def test_words_can_be_asked_beside_meaning(store: KSparseVectorStore) -> None:
    store.add_texts(["plants eat light", "cats sleep", "the number 4711"])
    assert store.similarity_search("4711", k=1, hybrid=True)[0].page_content == "the number 4711"


def test_more_documents_than_a_request_holds(store: KSparseVectorStore) -> None:
    documents = [Document(page_content=f"cats sleep {row}", id=str(row)) for row in range(1_200)]
    assert store.add_documents(documents) == [document.id for document in documents]
    assert len(store.similarity_search("cats", k=1_200)) == 1_200
    store.delete()
    assert store.similarity_search("cats") == []


def test_a_deletion_by_what_it_does_not_know_deletes_nothing(store: KSparseVectorStore) -> None:
    store.add_texts(["cats sleep", "stars burn"], ids=["1", "2"])
    with pytest.raises(TypeError, match="no option 'filters'; did you mean 'filter'"):
        store.delete(filters={"lang": "en"})
    with pytest.raises(ValueError, match="matches every document"):
        store.delete(filter={})
    store.delete(filter={"lang": "xx"})
    assert len(store.get_by_ids(["1", "2"])) == 2


def test_another_store_finds_what_is_there(store: KSparseVectorStore, client: OpenSearch) -> None:
    store.add_texts(["plants eat light"], ids=["1"])
    again = KSparseVectorStore(store.store.index, encoder=store.store._index.encoder, client=client)
    assert again.similarity_search("plants", k=1)[0].id == "1"
    assert again.get_by_ids(["2", "1"])[0].page_content == "plants eat light"


def test_one_that_is_refused_is_named_and_none_is_written(store: KSparseVectorStore) -> None:
    refused = r"1 of 2 documents were refused, document 2: has an empty .* None was written\."
    documents = [Document(page_content="cats", id="good"), Document(page_content=" ")]
    for _ in range(2):
        with pytest.raises(ValueError, match=refused) as caught:
            store.add_documents(documents)
        assert isinstance(caught.value, BulkWriteError)
    assert isinstance(caught.value, StoreWriteError) and caught.value.ids[0] == "good" and len(caught.value.ids) == 2
    assert store.store.count() == 0
    with pytest.raises(ValueError, match="1 documents need the same number of ids, got 2"):
        store.add_documents([Document(page_content="cats")], ids=["1", "2"])
    for ids in (["1"], []):
        with pytest.raises(ValueError, match="2 documents need the same number of ids"):
            store.add_texts(["cats", "plants"], ids=ids)
    with pytest.raises(ValueError, match="2 texts need the same number of metadatas, got 1"):
        store.add_texts(["cats", "plants"], [{}])
    assert store.store.count() == 0


def test_what_the_server_refuses_hands_the_ids_back(store: KSparseVectorStore, client: OpenSearch) -> None:
    store.add_texts(["rivers"], ids=["0"])
    pipeline = f"{store.store.index}-pipeline"
    refuse = {"fail": {"if": "ctx.text == 'cats'", "message": "no cats"}}
    client.ingest.put_pipeline(id=pipeline, body={"processors": [refuse]})
    client.indices.put_settings(index=store.store.index, body={"index.default_pipeline": pipeline})
    try:
        with pytest.raises(
            RefusedDocumentsError, match=r"1 of 2 documents were refused, .*no cats.* others were"
        ) as caught:
            store.add_texts(["plants", "cats"])
    finally:
        client.indices.put_settings(index=store.store.index, body={"index.default_pipeline": None})
        client.ingest.delete_pipeline(id=pipeline)
    store.add_texts(["plants", "cats"], ids=[*caught.value.ids])
    assert store.store.count() == 3, "no copy of what was written at first"


def test_texts_of_an_iterator_are_all_written(store: KSparseVectorStore) -> None:
    assert len(store.add_texts(text for text in ["plants", "cats"])) == 2
    assert store.store.count() == 2


def test_of_several_documents_with_one_id_the_last_is_written(store: KSparseVectorStore) -> None:
    assert store.add_texts(["cats", "plants", "rivers"], ids=["1", "2", "1"]) == ["1", "2", "1"]
    assert [document.page_content for document in store.get_by_ids(["1", "2"])] == ["rivers", "plants"]


def test_integers_and_uuids_are_ids_in_all_verbs(store: KSparseVectorStore) -> None:
    ids: list[Any] = [0, np.int64(1), UUID(int=2)]
    named = ["0", "1", str(UUID(int=2))]
    assert store.add_texts(["cats", "plants", "rivers"], ids=ids) == named
    assert store.add_documents([Document(page_content="stars")], ids=ids[:1]) == ["0"]
    assert [document.id for document in store.get_by_ids(ids)] == named
    store.delete(ids[:2])
    assert [document.id for document in store.get_by_ids(ids)] == named[2:]
    bad: list[Any] = [1.5]
    for verb in (store.delete, store.get_by_ids, lambda given: store.add_texts(["cats"], ids=given)):
        with pytest.raises(ValueError, match="1.5 is not an id"):
            verb(bad)


def test_a_single_string_is_not_a_list(store: KSparseVectorStore) -> None:
    store.add_texts(["cats", "plants"], ids=["1", "2"])
    single: Any = "12"
    for verb in (store.delete, store.get_by_ids):
        with pytest.raises(ValueError, match="ids must be a list of ids, got '12'"):
            verb(single)
    with pytest.raises(ValueError, match="texts must be a list of strings, got a single string"):
        store.add_texts(single)
    assert store.store.count() == 2


def test_texts_make_a_store(client: OpenSearch, index: str, dense_features: TextEncoder) -> None:
    store = KSparseVectorStore.from_texts(["plants eat light"], index=index, encoder=dense_features, client=client)
    assert len(store.similarity_search("plants")) == 1
    with pytest.raises(ValueError, match="this store encodes texts itself"):
        KSparseVectorStore.from_texts(["plants"], DeterministicFakeEmbedding(size=6), index=index, client=client)


async def test_documents_make_a_store_without_an_embedding(
    client: OpenSearch, index: str, dense_features: TextEncoder
) -> None:
    options: dict[str, Any] = {"index": index, "encoder": dense_features, "client": client}
    documents = [Document(page_content="plants eat light", id="1"), Document(page_content="cats sleep")]
    store = KSparseVectorStore.from_documents(documents, **options)
    assert store.get_by_ids(["1"]) == documents[:1] and store.store.count() == 2
    await KSparseVectorStore.afrom_documents([Document(page_content="stars burn", id="3")], **options)
    await KSparseVectorStore.afrom_texts(["rivers carry sand"], metadatas=[{"lang": "en"}], ids=["4"], **options)
    assert [document.id for document in store.get_by_ids(["3", "4", "9"])] == ["3", "4"]
    assert store.add_documents(document for document in documents)[0] == "1"  # type: ignore[arg-type]
    assert store.store.count() == 5
    with pytest.raises(ValueError, match="documents must be a list of documents, got a single one"):
        store.add_documents(documents[0])  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="this store encodes texts itself"):
        KSparseVectorStore.from_documents(documents, DeterministicFakeEmbedding(size=6), **options)


async def test_where_codes_rescore_relevance_is_the_cosine(
    client: OpenSearch, index: str, dense_features: TextEncoder
) -> None:
    store = KSparseVectorStore(index, encoder=dense_features, client=client)
    texts = ["plants eat light", "cats sleep on warm stones", "stars burn for years"]
    store.add_texts(texts)
    found = store.similarity_search_with_relevance_scores(texts[0], k=3)
    assert await store.asimilarity_search_with_relevance_scores(texts[0], k=3) == found
    query, *documents = dense_features.embed([texts[0], *(document.page_content for document, _ in found)])
    for (_, relevance), embedding in zip(found, documents, strict=True):
        assert relevance == pytest.approx(max(0.0, float(query @ embedding)), abs=0.15)
    assert found[0][1] > 0.95
    [close] = [document for document, relevance in found if relevance > 0.9]
    retriever = store.as_retriever(search_type="similarity_score_threshold", search_kwargs={"score_threshold": 0.9})
    assert retriever.invoke(texts[0]) == [close]
    hybrid = store.similarity_search_with_relevance_scores(texts[0], hybrid=True)
    assert hybrid == store.similarity_search_with_score(texts[0], hybrid=True) and hybrid[0][1] == 1.0
    others: list[dict[str, Any]] = [
        {"settings": SearchSettings(window=0)},
        {"hybrid": True, "bm25_weight": 0.01, "settings": SearchSettings(window=0)},
    ]
    for options in others:
        scored = store.similarity_search_with_score(texts[0], **options)
        relevant = store.similarity_search_with_relevance_scores(texts[0], **options)
        assert [each for _, each in relevant] == [score / (1 + score) for _, score in scored]


def test_errors_with_ids_can_be_sent_to_another_process() -> None:
    error = pickle.loads(pickle.dumps(RefusedDocumentsError("2 documents were refused.", ["1", "2"])))  # noqa: S301
    assert (str(error), error.ids) == ("2 documents were refused.", ("1", "2"))


FILTERED = [
    {"lang": "en", "year": 2021, "tags": ["a", "b"]},
    {"lang": "en", "year": 2022.0, "day": date(2024, 1, 2)},
    {"lang": "de", "open": True, "author": {"name": "Ann"}},
    {"raw": b"\x89P", "uuid": UUID(int=7), "price": Decimal("9.99")},
]


@pytest.fixture(scope="module")
def filled(client: OpenSearch, dense_features: TextEncoder) -> Iterator[KSparseVectorStore]:
    """A store that tests only read."""
    index = f"test-{uuid4().hex[:12]}"
    client.indices.delete(index=index, ignore_unavailable=True)
    store = KSparseVectorStore(index, encoder=dense_features, client=client)
    store.add_texts(["cats sleep"] * len(FILTERED), FILTERED, ids=[str(row) for row in range(len(FILTERED))])
    yield store
    client.indices.delete(index=index)


@pytest.mark.parametrize(
    ("filter", "found"),
    [
        (None, "0123"),
        ({}, "0123"),
        ({"lang": ["en", "fr"]}, "01"),
        ({"lang": []}, ""),
        ({"lang": None}, "3"),
        ({"lang": {"$in": []}}, ""),
        ({"lang": {"$nin": [None]}}, "012"),
        ({"lang": {"$exists": False}}, "3"),
        ({"$not": {"lang": []}}, "0123"),
        ({"$not": {"$or": []}}, "0123"),
        ({"$not": {}}, ""),
        ({"$and": [{"$or": []}, {"lang": "en"}]}, ""),
        ({"$or": [{"$or": []}, {"lang": "de"}]}, "2"),
        ({"ids": {"values": []}}, ""),
        ({"terms": {"metadata.lang": []}}, ""),
        ({"_id": ["1", 3]}, "13"),
        pytest.param({"lang": {"en", "fr"}}, "01", id="a set"),
        ({"year": np.array([2021, 2022])}, "01"),
        ({"lang": [None, "de"]}, "23"),
        ({"year": 2022}, "1"),
        ({"year": 2021.0}, "0"),
        ({"year": [np.int64(2021), 2022]}, "01"),
        ({"open": True}, "2"),
        ({"day": date(2024, 1, 2)}, "1"),
        ({"tags": "b"}, "0"),
        ({"author.name": "Ann"}, "2"),
        ({"raw": b"\x89P", "uuid": UUID(int=7), "price": Decimal("9.99")}, "3"),
        ({"lang": {"$ne": "en"}}, "23"),
        ({"lang": {"$nin": []}}, "0123"),
        ({"$or": [{"lang": "de"}, {"year": 2021}]}, "02"),
        ({"$not": {"lang": "en"}}, "23"),
        ({"$or": []}, ""),
        ({"match_all": {}}, "0123"),
        ({"match_none": {}}, ""),
        ({"constant_score": {"filter": {"term": {"metadata.lang": "de"}}}}, "2"),
        ({"terms_set": {"metadata.tags": {"terms": ["a", "z"], "minimum_should_match_script": {"source": "1"}}}}, "0"),
        ({"simple_query_string": {"query": "cats", "fields": ["text"]}}, "0123"),
        ({"script": {"script": "false"}}, ""),
        ({"wildcard": {"metadata.lang": {"value": "d*"}}}, "2"),
        ([{"term": {"metadata.lang": "en"}}, {"year": 2021}], "0"),
    ],
    ids=str,
)
def test_filters_find_what_they_say(filled: KSparseVectorStore, filter: Filters, found: str) -> None:
    for search in (filled.similarity_search, filled.max_marginal_relevance_search):
        documents = search("cats sleep", k=4, filter=filter)
        assert "".join(sorted(document.id or "" for document in documents)) == found


@pytest.mark.parametrize(
    ("filter", "message"),
    [
        ("lang=en", "a filter must be a mapping"),
        (["lang=en"], "a filter in a list must be a mapping"),
        (lambda document: True, "a filter must be a mapping"),
        ({"lang": {"$regex": "e"}}, r"the operator '\$regex' for 'metadata.lang' is unknown"),
        ({"year": {"$gt": 2020}}, "metadata is indexed as strings"),
        ({"trem": {"metadata.lang": "en"}}, r"rejects .*\[trem\]"),
        ({"lang": {"gte": "en"}}, r"rejects .*\[lang\]"),
        ({"range": {"metadata.lang": {"bigger": 3}}}, "rejects .*bigger"),
    ],
)
def test_what_is_no_filter_is_an_error(filled: KSparseVectorStore, filter: Any, message: str) -> None:  # noqa: ANN401
    for call in (lambda: filled.similarity_search("cats", filter=filter), lambda: filled.delete(filter=filter)):
        with pytest.raises(ValueError, match=message):
            call()
    assert filled.store.count() == 4


def test_metadata_of_declared_fields_is_typed(client: OpenSearch, index: str, dense_features: TextEncoder) -> None:
    new = NewIndex(code_bits=None, fields={"year": "integer", "when": "date"})
    store = KSparseVectorStore(index, encoder=dense_features, client=client, new=new)
    metadatas: list[dict[str, Any]] = [
        {"year": 1999, "when": "2024-01-31T23:30:00-05:00", "lang": "en"},
        {"year": 2020.0, "when": date(2024, 2, 2)},
        {"when": None},
    ]
    store.add_texts(["cats sleep"] * 3, metadatas, ids=["1", "2", "3"])
    again = KSparseVectorStore(index, encoder=dense_features, client=client)  # knows the fields from the index
    again.add_texts(["cats sleep"], [{"year": 2021, "when": "2024-02-01"}], ids=["4"])
    for each in (KSparseVectorStore(f"{index}-2", encoder=dense_features, client=client, new=new), store, again):
        with pytest.raises(StoreWriteError, match="'year' is an integer in the index, got 1.5; .* None was written"):
            each.add_texts(["cats sleep"], [{"year": 1.5}])
    found: list[tuple[Filters, str]] = [
        ({"year": {"$gt": 1999}}, "24"),
        ({"year": {"$gte": 1000, "$lt": 2021}}, "12"),
        ({"year": 2020}, "2"),
        ({"year": [1999, 2021]}, "14"),
        ({"year": None}, "3"),
        ({"range": {"year": {"gt": 2020}}}, "4"),
        ({"when": {"$gte": "2024-02-01T04:00:00Z"}}, "12"),  # instants
        ({"when": {"$lt": datetime(2024, 2, 2, tzinfo=UTC)}}, "14"),
        ({"lang": "en", "year": {"$lte": 1999}}, "1"),
    ]
    for filter, ids in found:
        for each in (store, again):
            documents = each.similarity_search("cats sleep", k=4, filter=filter)
            assert "".join(sorted(document.id or "" for document in documents)) == ids, filter
    assert again.get_by_ids(["1"])[0].metadata == metadatas[0]
    with pytest.raises(RefusedDocumentsError, match="'soon'"):
        again.add_texts(["cats"], [{"year": "soon"}])
    SparseIndex(index, client=client, encoder=dense_features).add([{"_id": "5", "text": "plants eat", "year": 3000}])
    [other] = again.similarity_search("plants", filter={"year": {"$gt": 2999}})
    assert other.metadata == {"year": 3000}  # as it was found by


def test_an_update_changes_what_a_filter_finds_and_what_is_returned(
    client: OpenSearch, index: str, dense_features: TextEncoder
) -> None:
    new = NewIndex(code_bits=None, fields={"year": "integer"})
    store = KSparseVectorStore(index, encoder=dense_features, client=client, new=new)
    store.add_texts(["cats sleep"], [{"year": 1999, "lang": "en"}], ids=["1"])
    ours = SparseIndex(index, client=client, encoder=dense_features)
    # As earlier versions stored it.
    ours.add([{"_id": "2", "text": "plants eat", "year": 1999, "metadata": {"year": 1999, "lang": "en"}}])
    assert [document.metadata for document in store.get_by_ids(["1", "2"])] == [{"year": 1999, "lang": "en"}] * 2
    ours.update([{"_id": doc_id, "year": 2025} for doc_id in "12"])
    found = store.similarity_search("cats sleep", filter={"year": {"$gt": 2020}})
    assert {document.id: document.metadata for document in found} == dict.fromkeys("12", {"year": 2025, "lang": "en"})
    assert store.similarity_search("cats sleep", filter={"year": 1999}) == []


def test_documents_are_deleted_by_a_filter_that_says_something(store: KSparseVectorStore) -> None:
    store.add_texts(["cats", "plants", "rivers"], [{"lang": "en"}, {"lang": "en"}, {"lang": "de"}])
    everything: list[Filters] = [
        {},
        [],
        [{}],
        {"match_all": {}},
        {"bool": {}},
        {"lang": {"$nin": []}},
        {"$and": []},
        {"$not": {"$or": []}},
        {"$or": [{}, {"lang": "en"}]},
        {"_id": {"$exists": True}},
        {"prefix": {"_index": ""}},
        {"wrapper": {"query": "eyJtYXRjaF9hbGwiOnt9fQ=="}},
        {"lang": {"$exists": True}},
        {"lang": {"$ne": "xx"}},
        {"lang": {"$nin": ["xx", None]}},
        {"$not": {"lang": "xx"}},
        {"$or": [{"lang": {"$ne": "en"}}, {"lang": "en"}]},
        {"exists": {"field": "text"}},
        {"range": {"metadata.lang": {}}},
        {"wildcard": {"metadata.lang": "*"}},
        {"regexp": {"metadata.lang": "[a-z]+"}},
        {"terms": {"_index": [store.store.index]}},
        {"script": {"script": "true"}},
        {"bool": {"must_not": {"term": {"metadata.lang": "xx"}}}},
        {"bool": {"must": {"exists": {"field": "text"}}, "should": {"term": {"metadata.lang": "en"}}}},
    ]
    for filter in everything:
        with pytest.raises(ValueError, match="this filter matches every document"):
            store.delete(filter=filter)
    store.delete(filter={"lang": []})
    store.delete([])
    assert store.store.count() == 3
    with pytest.raises(ValueError, match="by ids or by a filter, not both"):
        store.delete(["1"], filter={"lang": "en"})
    store.delete(filter={"lang": "en"})
    assert store.store.count() == 1
    store.add_texts(["plants"], [{"lang": "de"}])
    store.delete(filter={"lang": ["de", "fr"]})  # values that all documents have are meant
    assert store.store.count() == 0


@pytest.mark.parametrize("code_bits", [None, 4])
async def test_marginal_relevance_leaves_copies_out(
    client: OpenSearch, index: str, dense_features: TextEncoder, code_bits: Bits | None
) -> None:
    store = KSparseVectorStore(index, encoder=dense_features, client=client, new=NewIndex(code_bits=code_bits))
    assert store.max_marginal_relevance_search("cats") == []
    texts = [
        "cats sleep on warm stones",
        "cats sleep on warm stones",
        "cats sleep on stones",
        "old bridges cross rivers",
    ]
    store.add_texts(texts, ids=["1", "2", "3", "4"])
    alike = [document.id for document in store.similarity_search(texts[0], k=2)]
    assert set(alike) == {"1", "2"}
    diverse = store.max_marginal_relevance_search(texts[0], k=2, fetch_k=4, lambda_mult=0.3)
    assert {document.id for document in diverse} in ({"1", "4"}, {"2", "4"})
    nearest = store.max_marginal_relevance_search(texts[0], k=2, fetch_k=4, lambda_mult=1.0)
    assert {document.id for document in nearest} == {"1", "2"}
    assert await store.amax_marginal_relevance_search(texts[0], k=2, fetch_k=4, lambda_mult=0.3) == diverse
    retriever = store.as_retriever(search_type="mmr", search_kwargs={"k": 2, "fetch_k": 4, "lambda_mult": 0.3})
    assert retriever.invoke(texts[0]) == diverse and await retriever.ainvoke(texts[0]) == diverse
    with pytest.raises(ValueError, match="the weight of relevance must be 0 to 1, got 2"):
        store.max_marginal_relevance_search(texts[0], lambda_mult=2)


async def test_relevance_can_be_awaited_and_vectors_say_why_not(store: KSparseVectorStore) -> None:
    store.add_texts(["plants eat light", "cats sleep"])
    relevant = store.similarity_search_with_relevance_scores("plants eat light")
    assert await store.asimilarity_search_with_relevance_scores("plants eat light") == relevant
    options = {"score_threshold": relevant[0][1]}
    retriever = store.as_retriever(search_type="similarity_score_threshold", search_kwargs=options)
    assert await retriever.ainvoke("plants eat light") == [relevant[0][0]] == retriever.invoke("plants eat light")
    for call in (store.similarity_search_by_vector, store.max_marginal_relevance_search_by_vector):
        with pytest.raises(NotImplementedError, match="cannot search by a dense embedding; use"):
            call([0.5])
    for twin in (store.asimilarity_search_by_vector, store.amax_marginal_relevance_search_by_vector):
        with pytest.raises(NotImplementedError, match="cannot search by a dense embedding; use"):
            await twin([0.5])


def test_long_strings_and_many_keys_are_kept(store: KSparseVectorStore, client: OpenSearch) -> None:
    metadata = {
        "long": "x" * 40_000,
        "short": "y",
        "list": ["z" * 33_000, "kept", {"deep": "é" * 20_000, "n": 1}],
        "k" * 33_000: "long key",
        "": "empty key",
        "a.b": 1,
        "a": 2,
    } | {f"key{number}": number for number in range(2_000)}
    store.add_texts(["cats", "plants"], [metadata, {"short": "y"}], ids=["1", "2"])
    assert store.get_by_ids(["1"])[0].metadata == metadata
    for filter, found in (({"short": "y"}, {"1", "2"}), ({"list": "kept"}, {"1"}), ({"key1999": 1999}, {"1"})):
        documents = store.similarity_search("cats", filter=filter)
        assert {document.id for document in documents} == found
        assert all(document.metadata == metadata for document in documents if document.id == "1")
    [other] = [hit for hit in client.search(index=store.store.index)["hits"]["hits"] if hit["_id"] == "2"]
    assert other["_source"] == {"text": "plants", "metadata": {"short": "y"}}, "others are as they were"
    ours = SparseIndex(store.store.index, client=client, encoder=store.store._index.encoder)
    for names, first, second in (
        (["metadata.long"], {"long": metadata["long"]}, None),
        (["metadata.short"], {"short": "y"}, {"short": "y"}),
        (["metadata.l*"], {"long": metadata["long"], "list": metadata["list"]}, None),
        (["metadata"], metadata, {"short": "y"}),
        (["*a.short"], {"short": "y"}, {"short": "y"}),
        (["text"], None, None),
        ([], None, None),
    ):
        hits = {hit.id: hit.source for hit in ours.search("cats", options=SearchOptions(source=names))}
        texts = {"1": {"text": "cats"}, "2": {"text": "plants"}} if names == ["text"] else {"1": {}, "2": {}}
        for doc_id, kept in (("1", first), ("2", second)):
            assert hits[doc_id] == texts[doc_id] | ({} if kept is None else {"metadata": kept}), (names, doc_id)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"index": "a", "verify_cert": False}, "KSparseVectorStore has no option 'verify_cert'; .* 'verify_certs'"),
        ({"index": "a", "opensearch_urls": "http://x"}, "did you mean 'opensearch_url'"),
        ({"index": "a", "mappings": {}}, "no option 'mappings'"),
        ({"index": "a", "engine": "nmslib"}, "no option 'engine'"),
        ({"index": "a", "index_name": "b"}, "got 'index_name' and 'index', which are the same option; leave one out"),
        ({"index": "a", "url": "http://a", "opensearch_url": "http://b"}, "got 'opensearch_url' and 'url'"),
        ({}, "KSparseVectorStore needs an index name"),
    ],
)
def test_unknown_options_of_a_store_are_errors(options: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        KSparseVectorStore(**options)


def test_options_have_the_names_of_langchain_s_own_store(client: OpenSearch, monkeypatch: pytest.MonkeyPatch) -> None:
    store = KSparseVectorStore(opensearch_url="http://a.example:1", index_name="docs", http_auth=("me", "s3cret"))
    assert (store.store.index, address_of(store.store.client)) == ("docs", "http://a.example:1")
    monkeypatch.setenv("OPENSEARCH_URL", "http://b.example:2")
    assert address_of(KSparseVectorStore("docs").store.client) == "http://b.example:2"
    monkeypatch.delenv("OPENSEARCH_URL")
    assert address_of(KSparseVectorStore("docs").store.client) == "http://localhost:9200"
    with pytest.raises(ValueError, match="a client is already connected; leave out url"):
        KSparseVectorStore("docs", client=client, opensearch_url="http://a.example:1")
    with pytest.raises(ValueError, match="this store encodes texts itself"):
        KSparseVectorStore("docs", embedding_function=DeterministicFakeEmbedding(size=6))
    with pytest.raises(IndexMappingError, match="it must not contain '/'|it must not contain ':'"):
        KSparseVectorStore("http://localhost:9200")


def test_unknown_options_of_methods_are_errors(store: KSparseVectorStore) -> None:
    calls: list[tuple[Callable[[], object], str]] = [
        (lambda: store.add_texts(["cats"], id=["1"]), r"add_documents\(\) has no option 'id'; did you mean 'ids'"),
        (lambda: store.add_documents([], batchsize=500), r"no option 'batchsize'; did you mean 'batch_size'"),
        (lambda: store.delete(filters={"a": "b"}), "no option 'filters'; did you mean 'filter'"),
        (lambda: store.similarity_search("cats", fliter={}), "no option 'fliter'; did you mean 'filter'"),
        (lambda: store.similarity_search("cats", fetch_k=9), "no option 'fetch_k'"),
        (lambda: store.similarity_search("cats", hybrid=True, explain=True), "no option 'explain'"),
        (lambda: store.max_marginal_relevance_search("cats", lambda_mul=0.1), "did you mean 'lambda_mult'"),
        (lambda: store.as_retriever(k=3), r"as_retriever\(\) has no option 'k'"),
        (lambda: KSparseVectorStore.from_texts(["cats"], indexname="a"), "no option 'indexname'; did you mean 'index"),
    ]
    for call, message in calls:
        with pytest.raises(TypeError, match=message):
            call()
    assert not store.store.exists()


def test_langchain_s_indexing_finds_what_it_needs(store: KSparseVectorStore) -> None:
    records = InMemoryRecordManager(namespace="test")
    records.create_schema()
    documents = [Document(page_content=text, metadata={"source": "a"}) for text in ("cats", "plants")]
    first = index_documents(documents, records, store, cleanup="full", source_id_key="source", key_encoder="sha256")
    assert (first["num_added"], first["num_deleted"]) == (2, 0)
    again = index_documents(documents[:1], records, store, cleanup="full", source_id_key="source", key_encoder="sha256")
    assert (again["num_skipped"], again["num_deleted"]) == (1, 1)
    assert store.store.count() == 1


def test_declared_fields_are_read_once_per_call(
    opensearch_url: str, client: OpenSearch, index: str, dense_features: TextEncoder
) -> None:
    with fault_proxy(opensearch_url) as proxy, connect(proxy.url) as through:
        new = NewIndex(code_bits=None, fields={"year": "integer"})
        store = KSparseVectorStore(index, encoder=dense_features, client=through, new=new)
        store.add_texts(["cats sleep"])
        proxy.paths.clear()
        store.add_texts(["dogs run"], [{"year": 2020}])
        mappings = [path for path in proxy.paths if path.partition("?")[0].endswith("/_mapping")]
        # For the declared fields, for the encoder, and for the write target.
        assert len(mappings) == 3, proxy.paths
    assert client.search(index=index, q="year:2020")["hits"]["total"]["value"] == 1


def test_only_whole_documents_are_returned(filled: KSparseVectorStore) -> None:
    for search in (filled.similarity_search, filled.max_marginal_relevance_search):
        with pytest.raises(ValueError, match="returns whole documents; leave source out"):
            search("cats", options=SearchOptions(source=False))


def test_titles_of_an_index_of_ksparse_are_metadata(store: KSparseVectorStore, client: OpenSearch) -> None:
    ours = SparseIndex(store.store.index, client=client, encoder=store.store._index.encoder)
    ours.add([{"_id": "1", "title": "Cats", "text": "", "metadata": {"lang": "en"}}])
    [document] = store.similarity_search("cats")
    assert document == Document(id="1", page_content="", metadata={"title": "Cats", "lang": "en"})


def test_marginal_relevance_distinguishes_one_id_in_several_indices(
    client: OpenSearch, index: str, second: str, dense_features: TextEncoder
) -> None:
    new = NewIndex(code_bits=4, calibrate=False, dictionary=False)
    for name, texts in ((index, ["cats sleep", "cats sleep"]), (second, ["plants eat light"])):
        store = KSparseVectorStore(name, encoder=dense_features, client=client, new=new)
        store.add_texts(texts, ids=["1", "2"][: len(texts)])
    client.indices.put_alias(index=f"{index},{second}", name=f"{index}-both")
    both = KSparseVectorStore(f"{index}-both", encoder=dense_features, client=client)
    found = both.max_marginal_relevance_search("cats sleep", k=2, lambda_mult=0.0)
    assert {document.page_content for document in found} == {"cats sleep", "plants eat light"}
