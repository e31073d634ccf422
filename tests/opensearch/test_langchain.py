"""LangChain's own suite on our store, and what it does not ask for."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_tests.integration_tests import VectorStoreIntegrationTests
from opensearchpy import OpenSearch

from connector.encoders.autoencoder import KSparseAutoEncoder
from connector.encoders.base_model import DEFAULT_BASE_MODEL, find_base_model, load_base_model
from connector.encoders.load import join
from connector.encoders.text import TextEncoder
from connector.errors import BulkWriteError
from connector.integrations.langchain import KSparseVectorStore, to_clauses

pytestmark = pytest.mark.opensearch


@pytest.fixture(scope="module")
def dense_features() -> TextEncoder:
    """A head of so few latents that any two texts share some: the suite wants hits for texts of nothing in common."""
    torch.manual_seed(0)
    head = KSparseAutoEncoder(384, 64, 64, base_model=DEFAULT_BASE_MODEL).eval()
    return TextEncoder(join(load_base_model(find_base_model(DEFAULT_BASE_MODEL), "cpu"), head))


@pytest.fixture
def store(client: OpenSearch, index: str, dense_features: TextEncoder) -> KSparseVectorStore:
    return KSparseVectorStore(index, encoder=dense_features, client=client)


class TestKSparseVectorStore(VectorStoreIntegrationTests):
    @pytest.fixture
    def vectorstore(self, store: KSparseVectorStore) -> Iterator[KSparseVectorStore]:
        yield store


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


def test_a_deletion_with_a_filter_is_refused_and_deletes_nothing(store: KSparseVectorStore) -> None:
    store.add_texts(["cats sleep", "stars burn"], ids=["1", "2"])
    with pytest.raises(TypeError, match="delete takes ids, and not filter; nothing was deleted"):
        store.delete(filter={"lang": "en"})
    assert len(store.get_by_ids(["1", "2"])) == 2


def test_another_store_finds_what_is_there(store: KSparseVectorStore, client: OpenSearch) -> None:
    store.add_texts(["plants eat light"], ids=["1"])
    again = KSparseVectorStore(store.store.index, encoder=store.store.encoder, client=client)
    assert again.similarity_search("plants", k=1)[0].id == "1"
    assert again.get_by_ids(["2", "1"])[0].page_content == "plants eat light"


def test_what_is_refused_is_named(store: KSparseVectorStore) -> None:
    with pytest.raises(BulkWriteError, match="1 of 2 documents were refused, document 2: has an empty"):
        store.add_documents([Document(page_content="cats", id="good"), Document(page_content=" ", id="bad")])
    assert [document.id for document in store.get_by_ids(["good", "bad"])] == ["good"]
    with pytest.raises(ValueError, match="1 documents need as many ids, got 2"):
        store.add_documents([Document(page_content="cats")], ids=["1", "2"])


def test_texts_make_a_store(client: OpenSearch, index: str, dense_features: TextEncoder) -> None:
    store = KSparseVectorStore.from_texts(["plants eat light"], index=index, encoder=dense_features, client=client)
    assert len(store.similarity_search("plants")) == 1
    with pytest.raises(ValueError, match="this store encodes texts itself"):
        KSparseVectorStore.from_texts(["plants"], DeterministicFakeEmbedding(size=6), index=index, client=client)


def test_clauses_stay_as_they_are() -> None:
    assert to_clauses({"term": {"a": 1}}, ()) == [{"term": {"a": 1}}]
    assert to_clauses({"year": 2021, "open": True}, ("year",)) == [
        {"term": {"year": {"value": "2021"}}},
        {"term": {"metadata.open": {"value": "true"}}},
    ]
    assert to_clauses(None, ()) == []
