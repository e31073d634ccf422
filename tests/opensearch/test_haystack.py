"""Haystack's own mixins on our store, its components, and what they do not ask for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from haystack import Document, Pipeline
from haystack.dataclasses import ByteStream
from haystack.document_stores.errors import DuplicateDocumentError
from haystack.document_stores.types import DocumentStore, DuplicatePolicy
from haystack.errors import FilterError
from haystack.testing.document_store import DeleteAllTest, DocumentStoreBaseTests
from haystack.utils import Secret
from opensearchpy import OpenSearch

from connector.errors import BulkWriteError
from connector.integrations.haystack import KSparseDocumentEmbedder, KSparseDocumentStore, KSparseRetriever
from connector.integrations.haystack_filters import to_clause

pytestmark = pytest.mark.opensearch


@pytest.fixture
def document_store(client: OpenSearch, index: str, head_folder: Path) -> Iterator[KSparseDocumentStore]:
    yield KSparseDocumentStore(index=index, encoder=str(head_folder), client=client)


class TestKSparseDocumentStore(DocumentStoreBaseTests, DeleteAllTest):
    @pytest.fixture
    def document_store(self, client: OpenSearch, index: str, head_folder: Path) -> KSparseDocumentStore:
        return KSparseDocumentStore(index=index, encoder=str(head_folder), client=client)

    @staticmethod
    def assert_documents_are_equal(received: list[Document], expected: list[Document]) -> None:
        """Documents that are filtered come in no order."""

        def by_id(document: Document) -> str:
            return document.id

        assert sorted(received, key=by_id) == sorted(expected, key=by_id)

    def test_write_documents(self, document_store: DocumentStore) -> None:
        """By default, what is there already is an error."""
        documents = [Document(content="test doc")]
        assert document_store.write_documents(documents) == 1
        with pytest.raises(DuplicateDocumentError, match="choose DuplicatePolicy.OVERWRITE or SKIP"):
            document_store.write_documents(documents, DuplicatePolicy.FAIL)


DOCUMENTS = [
    Document(id="1", content="plants eat light", meta={"lang": "en", "year": 2021}),
    Document(id="2", content="cats sleep on warm stones", meta={"lang": "en", "year": 2022}),
    Document(id="3", content="rivers carry sand", meta={"lang": "de", "year": 2023, "tags": ["a", "b"]}),
]


def test_a_pipeline_finds_documents(document_store: KSparseDocumentStore, opensearch_url: str) -> None:
    document_store.write_documents(DOCUMENTS)
    pipeline = Pipeline()
    pipeline.add_component("retriever", KSparseRetriever(document_store=document_store, top_k=2))
    found = pipeline.run({"retriever": {"query": DOCUMENTS[1].content}})["retriever"]["documents"]
    assert found[0].id == "2" and found[0].score > 0 and found[0].meta == DOCUMENTS[1].meta
    newer = {"field": "meta.year", "operator": ">", "value": 2021}
    found = pipeline.run({"retriever": {"query": DOCUMENTS[0].content, "filters": newer, "top_k": 3}})
    assert "1" not in {document.id for document in found["retriever"]["documents"]}


def test_filters_of_the_component_and_of_the_call_are_merged(document_store: KSparseDocumentStore) -> None:
    document_store.write_documents(DOCUMENTS)
    english = {"field": "meta.lang", "operator": "==", "value": "en"}
    retriever = KSparseRetriever(document_store=document_store, filters=english, filter_policy="merge")
    late = {"field": "meta.year", "operator": ">=", "value": 2022}
    query = "plants cats rivers"
    assert {document.id for document in retriever.run(query)["documents"]} == {"1", "2"}
    assert {document.id for document in retriever.run(query, filters=late)["documents"]} == {"2"}
    with pytest.raises(FilterError, match="takes a list, got 'en'"):
        retriever.run(query, filters={"field": "meta.lang", "operator": "in", "value": "en"})


def test_words_can_be_asked_beside_meaning(document_store: KSparseDocumentStore) -> None:
    document_store.write_documents([*DOCUMENTS, Document(id="4", content="the number 4711")])
    retriever = KSparseRetriever(document_store=document_store, hybrid=True)
    assert retriever.run("4711", top_k=1)["documents"][0].id == "4"


def test_everything_of_a_document_comes_back(document_store: KSparseDocumentStore) -> None:
    document = Document(content="plants", meta={"a": {"b": [1, 2]}}, blob=ByteStream(b"\x00\xff"), embedding=[0.5, 1.0])
    document_store.write_documents([document])
    assert document_store.filter_documents() == [document]


def test_an_embedder_takes_the_place_of_the_store_s_encoding(
    document_store: KSparseDocumentStore, head_folder: Path
) -> None:
    sample = [document.content or "" for document in DOCUMENTS]
    embedder = KSparseDocumentEmbedder(encoder=str(head_folder), sample=sample)
    embedded = embedder.run(documents=DOCUMENTS)["documents"]
    assert all(document.sparse_embedding.indices for document in embedded)
    document_store.write_documents(embedded)
    retriever = KSparseRetriever(document_store=document_store)
    found = retriever.run(sample[2])["documents"]
    assert "3" in {document.id for document in found}
    document_store.write_documents(DOCUMENTS, DuplicatePolicy.OVERWRITE)
    assert retriever.run(sample[2])["documents"] == found, "the store makes the same of them"
    with pytest.raises(ValueError, match="1 of 2 documents have a sparse embedding"):
        document_store.write_documents([embedded[0], DOCUMENTS[1]], DuplicatePolicy.OVERWRITE)


def test_what_cannot_be_encoded_is_named(document_store: KSparseDocumentStore) -> None:
    with pytest.raises(BulkWriteError, match="1 of 2 documents were refused, document 2: has an empty"):
        document_store.write_documents([DOCUMENTS[0], Document(id="x", meta={"a": 1})])
    assert document_store.count_documents() == 1


def test_components_are_written_and_read_again_without_secrets(
    index: str, head_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STORE_USER", "me")
    monkeypatch.setenv("STORE_PASSWORD", "s3cret")
    store = KSparseDocumentStore(
        index=index,
        encoder=str(head_folder),
        username=Secret.from_env_var("STORE_USER", strict=False),
        password=Secret.from_env_var("STORE_PASSWORD"),
        rescore=4,
    )
    data = KSparseRetriever(document_store=store, top_k=7).to_dict()
    assert "s3cret" not in str(data)
    again = KSparseRetriever.from_dict(data)
    assert again.top_k == 7 and again.document_store.to_dict() == store.to_dict()
    embedder = KSparseDocumentEmbedder(encoder="mine", sample=["a"])
    assert KSparseDocumentEmbedder.from_dict(embedder.to_dict()).to_dict() == embedder.to_dict()
    with pytest.raises(ValueError, match="document_store must be a KSparseDocumentStore"):
        KSparseRetriever(document_store="docs")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("filters", "message"),
    [
        ({"operator": "AND"}, "lacks 'conditions'"),
        ({"field": "meta.a", "value": 1}, "lacks 'operator'"),
        ({"field": "meta.a", "operator": "=", "value": 1}, "operator '=' is unknown"),
        ({"operator": "XOR", "conditions": []}, "operator 'XOR' is unknown"),
        ({"field": "meta.a", "operator": ">", "value": "x"}, "compares numbers and ISO dates"),
        (["lang=en"], "must be a dictionary"),
    ],
)
def test_what_is_no_filter_is_named(filters: Mapping[str, object], message: str) -> None:
    with pytest.raises(FilterError, match=message):
        to_clause(filters)
