"""Haystack's own mixins on our store, its components, and what they do not ask for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import numpy as np
import pytest
from haystack import Document, Pipeline
from haystack.components.retrievers import FilterRetriever
from haystack.components.writers import DocumentWriter
from haystack.dataclasses import ByteStream
from haystack.document_stores.errors import DocumentStoreError, DuplicateDocumentError
from haystack.document_stores.types import DocumentStore, DuplicatePolicy
from haystack.errors import FilterError
from haystack.testing.document_store import (
    CountDocumentsByFilterTest,
    DeleteAllTest,
    DeleteByFilterTest,
    DocumentStoreBaseTests,
)
from haystack.testing.document_store_async import (
    AsyncDocumentStore,
    CountDocumentsAsyncTest,
    CountDocumentsByFilterAsyncTest,
    DeleteAllAsyncTest,
    DeleteByFilterAsyncTest,
    DeleteDocumentsAsyncTest,
    FilterDocumentsAsyncTest,
    WriteDocumentsAsyncTest,
)
from haystack.utils import Secret
from haystack.utils.filters import document_matches_filter
from opensearchpy import OpenSearch

from connector.connection.client import address_of
from connector.corpus.values import plain
from connector.errors import ConnectorError
from connector.index.new_index import NewIndex
from connector.index.schema import existing_schema
from connector.integrations.haystack import (
    KSparseDocumentEmbedder,
    KSparseDocumentStore,
    KSparseRetriever,
    KSparseStoreError,
)
from connector.integrations.haystack_filters import to_clause
from connector.integrations.langchain import KSparseVectorStore
from connector.integrations.store import StoreWriteError
from connector.search.sparse_index import SparseIndex
from tests.fault_proxy import TLS_FOLDER
from tests.tiny import build_head

pytestmark = pytest.mark.opensearch


@pytest.fixture
def document_store(client: OpenSearch, index: str, head_folder: Path) -> Iterator[KSparseDocumentStore]:
    yield KSparseDocumentStore(index=index, encoder=str(head_folder), client=client, code_bits=None)


class TestKSparseDocumentStore(
    DocumentStoreBaseTests,
    DeleteAllTest,
    DeleteByFilterTest,
    CountDocumentsByFilterTest,
    CountDocumentsAsyncTest,
    CountDocumentsByFilterAsyncTest,
    DeleteAllAsyncTest,
    DeleteByFilterAsyncTest,
    DeleteDocumentsAsyncTest,
    FilterDocumentsAsyncTest,
    WriteDocumentsAsyncTest,
):
    @pytest.fixture
    def document_store(self, client: OpenSearch, index: str, head_folder: Path) -> KSparseDocumentStore:
        return KSparseDocumentStore(index=index, encoder=str(head_folder), client=client, code_bits=None)

    @staticmethod
    def assert_documents_are_equal(received: list[Document], expected: list[Document]) -> None:
        """Documents that are filtered come in no order."""

        def by_id(document: Document) -> str:
            return document.id

        assert sorted(received, key=by_id) == sorted(expected, key=by_id)

    def test_write_documents(self, document_store: DocumentStore) -> None:
        """By default, existing documents are an error."""
        documents = [Document(content="test doc")]
        assert document_store.write_documents(documents) == 1
        with pytest.raises(DuplicateDocumentError, match="choose DuplicatePolicy.OVERWRITE or SKIP"):
            document_store.write_documents(documents, DuplicatePolicy.FAIL)

    async def test_write_documents_async(self, document_store: AsyncDocumentStore) -> None:
        documents = [Document(content="test doc")]
        assert await document_store.write_documents_async(documents) == 1
        with pytest.raises(DuplicateDocumentError, match="choose DuplicatePolicy.OVERWRITE or SKIP"):
            await document_store.write_documents_async(documents)


DOCUMENTS = [
    Document(id="1", content="plants eat light", meta={"lang": "en", "year": 2021}),
    Document(id="2", content="cats sleep on warm stones", meta={"lang": "en", "year": 2022}),
    Document(id="3", content="rivers carry sand", meta={"lang": "de", "year": 2023, "tags": ["a", "b"]}),
]


def test_a_filter_on_a_metadata_key_that_no_document_has_says_so(
    document_store: KSparseDocumentStore, caplog: pytest.LogCaptureFixture
) -> None:
    def asked(field: str, operator: str, value: object) -> list[str]:
        caplog.clear()
        condition = {"field": f"meta.{field}", "operator": operator, "value": value}
        assert document_store.filter_documents(condition) == []
        assert KSparseRetriever(document_store=document_store).run("cats", filters=condition)["documents"] == []
        return [record.getMessage() for record in caplog.records if record.name.startswith("ksparse")]

    assert asked("yaer", "==", 2020) == [], "an empty index has no keys"
    document_store.write_documents([Document(id="1", content="cats sleep", meta={"year": 2020, "of": {"who": "me"}})])
    message = f"No document of index '{document_store.store.index}' has the metadata key %r, which a filter names."
    for operator, value in (("==", 2020), ("in", [2020, "x"]), (">", 1999), ("<=", "2020-01-01")):
        assert asked("yaer", operator, value) == [message % "yaer"] * 2
    assert asked("of.whom", "==", "me") == [message % "of.whom"] * 2
    assert asked("year", "==", 1999) == asked("year", ">", 2020) == asked("of.who", "==", "you") == []


def test_a_pipeline_finds_documents(document_store: KSparseDocumentStore, opensearch_url: str) -> None:
    document_store.write_documents(DOCUMENTS)
    pipeline = Pipeline()
    pipeline.add_component("retriever", KSparseRetriever(document_store=document_store, top_k=2))
    found = pipeline.run({"retriever": {"query": DOCUMENTS[1].content}})["retriever"]["documents"]
    assert found[0].id == "2" and found[0].score > 0 and found[0].meta == DOCUMENTS[1].meta
    newer = {"field": "meta.year", "operator": ">", "value": 2021}
    found = pipeline.run({"retriever": {"query": DOCUMENTS[0].content, "filters": newer, "top_k": 3}})
    assert "1" not in {document.id for document in found["retriever"]["documents"]}


async def test_an_asynchronous_pipeline_writes_and_finds(document_store: KSparseDocumentStore) -> None:
    pipeline = Pipeline()
    pipeline.add_component("writer", DocumentWriter(document_store))
    assert await pipeline.run_async({"writer": {"documents": DOCUMENTS}}) == {"writer": {"documents_written": 3}}
    pipeline = Pipeline()
    pipeline.add_component("retriever", KSparseRetriever(document_store=document_store, top_k=1))
    pipeline.add_component("filter", FilterRetriever(document_store))
    found = await pipeline.run_async({"retriever": {"query": DOCUMENTS[1].content}, "filter": {}})
    assert [document.id for document in found["retriever"]["documents"]] == ["2"]
    assert len(found["filter"]["documents"]) == 3


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


def test_an_index_with_codes_refuses_embeddings_that_have_none(
    client: OpenSearch, index: str, head_folder: Path
) -> None:
    """They would rank below all other documents."""
    store = KSparseDocumentStore(index=index, encoder=str(head_folder), client=client)
    store.write_documents(DOCUMENTS[:1])
    embedded = KSparseDocumentEmbedder(encoder=str(head_folder)).run(documents=DOCUMENTS[1:])["documents"]
    with pytest.raises(KSparseStoreError, match="has codes, .* sparse embeddings have none. .* None was written"):
        store.write_documents(embedded)
    assert store.count_documents() == 1


def test_embeddings_by_another_encoder_are_refused(
    document_store: KSparseDocumentStore, dense_folder: Path, tmp_path: Path
) -> None:
    """Their features have other meanings."""
    build_head(str(dense_folder), seed=5).save(str(tmp_path))
    embedded = KSparseDocumentEmbedder(encoder=str(tmp_path)).run(documents=DOCUMENTS)["documents"]
    with pytest.raises(KSparseStoreError, match="of document '1' is not by the encoder of the index, .* None was writ"):
        document_store.write_documents(embedded)
    assert document_store.count_documents() == 0


def test_refused_embeddings_leave_no_index(
    client: OpenSearch, index: str, head_folder: Path, dense_folder: Path, tmp_path: Path
) -> None:
    build_head(str(dense_folder), seed=5).save(str(tmp_path))
    other, own = (KSparseDocumentEmbedder(encoder=str(folder)) for folder in (tmp_path, head_folder))
    store = KSparseDocumentStore(index=index, encoder=str(head_folder), client=client)
    with pytest.raises(KSparseStoreError, match="is not by the encoder of the index"):
        store.write_documents(other.run(documents=DOCUMENTS)["documents"])
    coded = KSparseDocumentStore(index=index, encoder=str(head_folder), client=client, code_bits=4)
    with pytest.raises(KSparseStoreError, match="would have codes, .* or into a new index without code_bits"):
        coded.write_documents(own.run(documents=DOCUMENTS)["documents"])
    assert not client.indices.exists(index=index)
    store.write_documents(own.run(documents=DOCUMENTS)["documents"])
    assert existing_schema(client, index).code is None
    client.indices.delete(index=index)
    store.write_documents(DOCUMENTS)
    assert existing_schema(client, index).code is not None, "as without the embeddings of earlier calls"


def test_one_that_cannot_be_encoded_is_named_and_none_is_written(document_store: KSparseDocumentStore) -> None:
    refused = r"1 of 2 documents were refused, document 2: has an empty .* None was written\."
    with pytest.raises(KSparseStoreError, match=refused) as caught:
        document_store.write_documents([DOCUMENTS[0], Document(id="x", meta={"a": 1})])
    assert isinstance(caught.value, DocumentStoreError) and isinstance(caught.value, ConnectorError)
    assert document_store.count_documents() == 0


def test_an_index_of_another_kind_of_store_is_refused(
    document_store: KSparseDocumentStore, client: OpenSearch, index: str, second: str, head_folder: Path
) -> None:
    document_store.write_documents([Document(id="1", content="cats sleep", meta={"lang": "en"})])
    words = KSparseVectorStore(index, encoder=str(head_folder), client=client)
    with pytest.raises(StoreWriteError, match=f"Index '{index}' has metadata in other fields, .*another kind of store"):
        words.add_texts(["dogs bark"], [{"lang": "de"}], ids=["2"])
    assert document_store.count_documents() == 1
    SparseIndex(second, client=client, encoder=str(head_folder)).add([{"_id": "1", "text": "cats sleep"}])
    other = KSparseDocumentStore(index=second, client=client, encoder=str(head_folder))
    with pytest.raises(KSparseStoreError, match=f"Index '{second}' has metadata in other fields, without meta, "):
        other.write_documents([Document(id="2", content="dogs bark", meta={"lang": "de"})])
    assert other.count_documents() == 1


def test_components_are_written_and_read_again_without_secrets(
    index: str, head_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STORE_USER", "me")
    monkeypatch.setenv("STORE_PASSWORD", "s3cret")
    monkeypatch.setenv("STORE_TOKEN", "t0ken")
    store = KSparseDocumentStore(
        index=index,
        encoder=str(head_folder),
        username=Secret.from_env_var("STORE_USER", strict=False),
        password=Secret.from_env_var("STORE_PASSWORD"),
        code_bits=4,
    )
    data = KSparseRetriever(document_store=store, top_k=7).to_dict()
    assert "s3cret" not in str(data)
    for _ in range(2):  # which leaves the data as it is
        again = KSparseRetriever.from_dict(data)
        assert again.top_k == 7 and again.document_store.to_dict() == store.to_dict()
    pipeline = Pipeline()
    pipeline.add_component("retriever", again)
    pipeline.add_component("writer", DocumentWriter(store))
    loaded = Pipeline.loads(pipeline.dumps(), allowed_modules=["connector.integrations.haystack"])
    assert loaded.to_dict() == pipeline.to_dict()
    token = Secret.from_env_var("STORE_TOKEN")
    by_token = KSparseDocumentStore(index=index, username=None, password=None, bearer_token=token, timeout_s=5.0)
    assert "t0ken" not in str(by_token.to_dict())
    assert KSparseDocumentStore.from_dict(by_token.to_dict()).to_dict() == by_token.to_dict()
    monkeypatch.setenv("STORE_PROXY", "http://me:s3cret@a.example:1")
    proxy = Secret.from_env_var("STORE_PROXY")
    by_proxy = KSparseDocumentStore(index=index, url="http://b.example", proxy=proxy, headers={"x-opaque-id": "me"})
    assert "s3cret" not in str(by_proxy.to_dict())
    assert KSparseDocumentStore.from_dict(by_proxy.to_dict()).to_dict() == by_proxy.to_dict()
    monkeypatch.setenv("STORE_AUTH", "me:s3cret")
    auth = Secret.from_env_var("STORE_AUTH")
    by_auth = KSparseDocumentStore(index=index, url="http://b.example", http_auth=auth)
    assert "s3cret" not in str(by_auth.to_dict())
    with monkeypatch.context() as older:  # Haystack 2 leaves secrets as they are
        create = "connector.integrations.haystack.default_from_dict"
        older.setattr(create, lambda cls, data: cls(**data["init_parameters"]))
        read = KSparseDocumentStore.from_dict(by_auth.to_dict())
    assert read.to_dict() == by_auth.to_dict()
    assert read.store.client.transport.get_connection().headers["authorization"] == "Basic bWU6czNjcmV0"
    authority = TLS_FOLDER / "ca.pem"
    by_path = KSparseDocumentStore(index=index, url="https://b.example", ca_certs=authority)
    assert by_path.to_dict()["init_parameters"]["ca_certs"] == str(authority), "YAML has no paths"
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


def matching(document_store: KSparseDocumentStore, filters: Mapping[str, object]) -> set[str]:
    return {document.id for document in document_store.filter_documents(dict(filters))}


VALUES: list[object] = [
    None,
    0,
    1,
    True,
    -2.5,
    2**53,
    2**53 + 1,
    "",
    "en",
    "2024-02-01",
    "2024-02-01T00:30:00",
    "2024-02-01T00:30:00+02:00",
    "2024-01-31T22:30:00Z",
    "2024-01-31t22:30:00z",
    "2024-01-31T24:00:00",
    "2024-01-31T23:30:00.5-01:00",
    [],
    ["en"],
    ["en", 1],
    {},
    {"deep": {"er": 1}},
    {"deep": {"er": "2024-02-01"}},
]


def with_values() -> list[Document]:
    documents = [Document(id=str(row), content="cats", meta={"x": value}) for row, value in enumerate(VALUES)]
    return [*documents, Document(id="without", content="cats")]


@pytest.fixture(scope="module")
def filled(client: OpenSearch, head_folder: Path) -> Iterator[KSparseDocumentStore]:
    """A store with a document for each value, that tests only read."""
    index = f"test-{uuid4().hex[:12]}"
    client.indices.delete(index=index, ignore_unavailable=True)
    store = KSparseDocumentStore(index=index, encoder=str(head_folder), client=client)
    store.write_documents(with_values())
    yield store
    client.indices.delete(index=index)


def expected(filters: dict[str, object]) -> set[str]:
    """Hits of Haystack's own store for the same documents."""
    found = set()
    for document in with_values():
        try:
            if document_matches_filter(filters, document):
                found.add(document.id)
        except (FilterError, TypeError):
            pass  # of values that do not compare, which an index leaves out
    return found


LISTS = {str(row) for row, value in enumerate(VALUES) if isinstance(value, list)}
"""One value of a list is enough here: `meta.tags == "a"` finds what has the tags a and b."""


@pytest.mark.parametrize("value", VALUES, ids=str)
def test_values_are_equal_as_haystack_has_it(filled: KSparseDocumentStore, value: object) -> None:
    for operator, wanted in (("==", value), ("in", [value, "nothing"])):
        filters = {"field": "meta.x", "operator": operator, "value": wanted}
        assert matching(filled, filters) - LISTS == expected(filters) - LISTS
        opposite = filters | {"operator": {"==": "!=", "in": "not in"}[operator]}
        assert matching(filled, opposite) - LISTS == expected(opposite) - LISTS
    if isinstance(value, list | dict):
        filters = {"field": "meta.x", "operator": "==", "value": value}
        assert matching(filled, filters) == expected(filters), "the whole of it"


@pytest.mark.parametrize("operator", [">", ">=", "<", "<="])
@pytest.mark.parametrize("value", [None, 0, 1.0, 2**53, "2024-02-01", "2024-01-31T22:30:00+00:00", "2024-01-31 22:30"])
def test_values_compare_as_haystack_has_it(filled: KSparseDocumentStore, operator: str, value: object) -> None:
    filters = {"field": "meta.x", "operator": operator, "value": value}
    # Haystack reads 24:00 for equality, but not for order.
    ignored = LISTS | {str(VALUES.index("2024-01-31T24:00:00"))}
    assert matching(filled, filters) - ignored == expected(filters) - ignored
    deep = {"field": "meta.x.deep.er", "operator": operator, "value": value}
    assert matching(filled, deep) == expected(deep)


@pytest.mark.parametrize(
    "filters",
    [
        {"operator": "AND", "conditions": []},
        {"operator": "OR", "conditions": []},
        {"operator": "NOT", "conditions": []},
        {"operator": "NOT", "conditions": [{"operator": "OR", "conditions": []}]},
        {"operator": "OR", "conditions": [{"operator": "AND", "conditions": []}]},
        {"field": "meta.x", "operator": "in", "value": []},
        {"field": "meta.x", "operator": "not in", "value": []},
        {"field": "x", "operator": "==", "value": "en"},
        {"field": "meta.y", "operator": "==", "value": None},
        {"field": "id", "operator": "in", "value": ["3", "without"]},
        {"field": "id", "operator": "in", "value": []},
        {"field": "content", "operator": "==", "value": "cats"},
    ],
    ids=str,
)
def test_filters_that_say_nothing_find_what_haystack_has_them_find(
    filled: KSparseDocumentStore, filters: dict[str, object]
) -> None:
    assert matching(filled, filters) - LISTS == expected(filters) - LISTS
    assert filled.count_documents_by_filter(filters) == len(matching(filled, filters))


def test_python_s_values_are_kept_and_found(document_store: KSparseDocumentStore) -> None:
    values: dict[str, object] = {
        "when": datetime(2024, 2, 1, 12, tzinfo=timezone(timedelta(hours=2))),
        "uuid": UUID(int=7),
        "price": Decimal("9.99"),
        "count": np.int64(3),
        "ratio": np.float32(0.5),
        "path": Path("a/b"),
        "kind": DuplicatePolicy.SKIP,
        "raw": b"\x89P",
    }
    document_store.write_documents([Document(id="1", content="cats", meta=values)])
    [found] = document_store.filter_documents()
    assert found.meta == plain(values) | {"price": 9.99}
    for name, value in values.items():
        assert matching(document_store, {"field": f"meta.{name}", "operator": "==", "value": value}) == {"1"}, name
    earlier = {"field": "meta.when", "operator": ">=", "value": datetime(2024, 2, 1, 10, tzinfo=UTC)}
    assert matching(document_store, earlier) == {"1"}
    assert matching(document_store, earlier | {"operator": ">"}) == set()


@pytest.mark.parametrize(
    "filters",
    [
        {},
        {"operator": "AND", "conditions": []},
        {"field": "meta.lang", "operator": "not in", "value": []},
        {"operator": "NOT", "conditions": [{"operator": "OR", "conditions": []}]},
        {"field": "meta.nobody", "operator": "==", "value": None},
        {"field": "meta.lang", "operator": "!=", "value": "xx"},
        {"field": "meta.lang", "operator": "not in", "value": ["xx"]},
        {"operator": "NOT", "conditions": [{"field": "meta.lang", "operator": "==", "value": "xx"}]},
        {"field": "meta.lang", "operator": "!=", "value": None},
    ],
    ids=str,
)
def test_a_deletion_by_what_matches_everything_is_refused(
    document_store: KSparseDocumentStore, filters: dict[str, object]
) -> None:
    document_store.write_documents(DOCUMENTS)
    with pytest.raises(FilterError, match="this filter matches every document"):
        document_store.delete_by_filter(filters)
    assert document_store.delete_by_filter({"field": "meta.lang", "operator": "in", "value": []}) == 0
    assert document_store.count_documents() == 3
    named = [{"field": "meta.lang", "operator": "==", "value": value} for value in ("en", "de")]
    assert document_store.delete_by_filter({"operator": "OR", "conditions": named}) == 3


def test_an_id_that_comes_twice_is_written_by_policy(document_store: KSparseDocumentStore) -> None:
    twice = [Document(id="1", content="cats sleep"), Document(id="1", content="plants eat light")]
    with pytest.raises(DuplicateDocumentError, match="document '1' exists in index"):
        document_store.write_documents(twice)
    assert document_store.count_documents() == 0
    assert document_store.write_documents(twice, DuplicatePolicy.SKIP) == 1
    assert document_store.filter_documents()[0].content == "cats sleep"
    assert document_store.write_documents(twice, DuplicatePolicy.OVERWRITE) == 2
    assert document_store.filter_documents()[0].content == "plants eat light"


def test_what_is_no_policy_or_list_of_ids_is_refused(document_store: KSparseDocumentStore) -> None:
    document_store.write_documents(DOCUMENTS)
    with pytest.raises(ValueError, match="policy must be a DuplicatePolicy, got 'overwrite'"):
        document_store.write_documents(DOCUMENTS, "overwrite")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="ids must be a list of ids, got '123'"):
        document_store.delete_documents("123")  # type: ignore[arg-type]
    assert document_store.count_documents() == 3


def test_decimals_compare_with_numbers(document_store: KSparseDocumentStore) -> None:
    document_store.write_documents([Document(id="1", content="cats", meta={"price": 9.99})])
    above = {"field": "meta.price", "operator": ">", "value": Decimal("9.5")}
    assert matching(document_store, above) == {"1"}
    assert matching(document_store, above | {"operator": "<"}) == set()
    prices = [Document(id=price, content="cats", meta={"price": Decimal(price)}) for price in ("9.99", "10.00")]
    document_store.delete_all_documents()
    document_store.write_documents(prices)
    found: list[tuple[str, object, set[str]]] = [
        (">", 5, {"9.99", "10.00"}),
        (">", 9.99, {"10.00"}),
        ("<=", Decimal("9.99"), {"9.99"}),
        ("==", Decimal("9.99"), {"9.99"}),
        ("==", 9.99, {"9.99"}),
        ("in", [Decimal("10"), Decimal("9.9")], {"10.00"}),
    ]
    for operator, value, ids in found:
        asked = {"field": "meta.price", "operator": operator, "value": value}
        assert matching(document_store, asked) == ids, asked


def test_integer_ids_work_in_all_verbs(document_store: KSparseDocumentStore) -> None:
    one: Any = 1
    document_store.write_documents([Document(id=one, content="cats sleep")])
    with pytest.raises(DuplicateDocumentError):
        document_store.write_documents([Document(id=one, content="cats sleep")])
    assert document_store.write_documents([Document(id=one, content="cats")], DuplicatePolicy.SKIP) == 0
    assert matching(document_store, {"field": "id", "operator": "==", "value": 1}) == {"1"}
    document_store.delete_documents([one])
    assert document_store.count_documents() == 0


def test_errors_of_the_server_are_haystack_s(document_store: KSparseDocumentStore, client: OpenSearch) -> None:
    store = KSparseDocumentStore(index="docs", url="http://127.0.0.1:1", timeout_s=2.0)
    calls: list[Callable[[], object]] = [
        store.count_documents,
        store.filter_documents,
        lambda: store.write_documents(DOCUMENTS),
        lambda: store.delete_documents(["1"]),
        store.delete_all_documents,
        lambda: store.delete_by_filter({"field": "meta.a", "operator": "==", "value": 1}),
        lambda: KSparseRetriever(document_store=store).run("cats"),
    ]
    for call in calls:
        with pytest.raises(DocumentStoreError, match="No OpenSearch answers at http://127.0.0.1:1"):
            call()
    document_store.write_documents(DOCUMENTS)
    with pytest.raises(DocumentStoreError, match="The query is empty"):
        KSparseRetriever(document_store=document_store).run(" ")
    with pytest.raises(ValueError, match="top_k must be between 1 and 10,000"):
        KSparseRetriever(document_store=document_store).run("cats", top_k=0)
    client.indices.close(index=document_store.store.index)
    with pytest.raises(DocumentStoreError, match="closed"):
        document_store.count_documents()


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"indx": "a"}, TypeError, "KSparseDocumentStore has no option 'indx'; did you mean 'index'"),
        ({"verify_cert": False}, TypeError, "did you mean 'verify_certs'"),
        (
            {"index": "a", "index_name": "b"},
            TypeError,
            "got 'index_name' and 'index', which are the same option; leave one out",
        ),
        ({"hosts": "http://a", "url": "http://b"}, TypeError, "got 'hosts' and 'url'"),
        ({"embedding_dim": 384}, TypeError, "no option 'embedding_dim'"),
        ({"api_key": "s3cret"}, TypeError, "'api_key' must be a Secret"),
        ({"username": "me", "password": Secret.from_token("t0ken")}, TypeError, "'username' must be a Secret"),
        ({"password": "s3cret"}, TypeError, "'password' must be a Secret"),
        ({"hosts": "localhost:9200"}, DocumentStoreError, "not a URL such as http"),
        ({"index": "a,b"}, DocumentStoreError, "it must not contain ','"),
        ({"hosts": {"host": "a", "port": 9200}}, DocumentStoreError, "of type dict, not a URL such as http"),
        ({"hosts": [{"host": "a", "password": "s3cret"}]}, DocumentStoreError, "of type dict, not a URL such as http"),
        ({"hosts": "http://a", "use_ssl": False}, ValueError, "use_ssl belongs in the URL"),
        ({"create_index": True}, TypeError, "no option 'create_index'"),
        ({"new": NewIndex(fields={"year": "integer"})}, TypeError, "no option 'new'.*; use code_bits and settings"),
        # What to_dict would write.
        ({"http_auth": "me:s3cret"}, TypeError, "'http_auth' must be two Secrets"),
        ({"http_auth": ["s3cret"]}, TypeError, "'http_auth' must be two Secrets"),
        ({"url": "http://me:s3cret@a.example"}, TypeError, "'url' must hold no password; pass username and password"),
        ({"hosts": ["http://a", "http://me:s3cret@b"]}, TypeError, "'url' must hold no password"),
        ({"url": "http://a", "proxy": "http://me:s3cret@b"}, TypeError, "a 'proxy' with a password must be a Secret"),
        ({"headers": {"Authorization": "Bearer s3cret"}}, TypeError, "no header 'Authorization'; pass api_key or bea"),
        ({"headers": {"x-api-key": "s3cret"}}, TypeError, "no header 'x-api-key'"),
    ],
)
def test_unknown_options_are_errors(options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message) as caught:
        KSparseDocumentStore(**options)
    assert "s3cret" not in str(caught.value)


def test_options_have_the_names_of_haystack_s_own_store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENSEARCH_URL", raising=False)
    user, password = Secret.from_token("me"), Secret.from_token("s3cret")
    store = KSparseDocumentStore(hosts=["http://a.example:1"], index_name="docs", http_auth=(user, password))
    assert (store.store.index, address_of(store.store.client)) == ("docs", "http://a.example:1")
    assert address_of(KSparseDocumentStore().store.client) == "http://localhost:9200"
    monkeypatch.setenv("OPENSEARCH_URL", "http://b.example:2")
    assert address_of(KSparseDocumentStore().store.client) == "http://b.example:2"
    monkeypatch.setenv("OPENSEARCH_USERNAME", "me")
    monkeypatch.setenv("OPENSEARCH_PASSWORD", "s3cret")
    given: list[dict[str, Any]] = [{}, {"timeout_s": 5.0}, {"verify_certs": False}]
    for options in given:
        connection = KSparseDocumentStore(**options).store.client.transport.get_connection()
        assert connection.headers["authorization"] == "Basic bWU6czNjcmV0"
    with pytest.raises(ValueError, match="a client is already connected; leave out url"):
        KSparseDocumentStore(client=store.store.client, url="http://a.example:1")


def test_an_index_of_ksparse_is_searched_as_well(
    document_store: KSparseDocumentStore, client: OpenSearch, head_folder: Path
) -> None:
    new = NewIndex(code_bits=None, fields={"year": "integer", "day": "date"})
    ours = SparseIndex(document_store.store.index, encoder=str(head_folder), client=client, new=new)
    ours.add(
        [
            {"_id": "1", "title": "Cats", "text": "cats sleep", "metadata": {"lang": "en"}, "year": 2021},
            {"_id": "2", "text": "plants eat light", "year": 2022, "day": "2024-01-02"},
        ]
    )
    found: list[tuple[str, str, object, set[str]]] = [
        ("year", "==", 2021.0, {"1"}),
        ("year", "!=", 2021, {"2"}),
        ("year", "not in", [2021, 2022], set()),
        ("year", ">", 2021, {"2"}),
        ("year", ">=", None, set()),
        ("day", "<=", "2024-01-02", {"2"}),
        ("day", "==", None, {"1"}),
        ("lang", "==", "en", {"1"}),
    ]
    for name, operator, value, ids in found:
        assert matching(document_store, {"field": f"meta.{name}", "operator": operator, "value": value}) == ids
    with pytest.raises(FilterError, match="'>' cannot compare 'lang': the index has metadata as strings"):
        document_store.filter_documents({"field": "meta.lang", "operator": ">", "value": 1})
    [cats] = KSparseRetriever(document_store=document_store).run("cats sleep", top_k=1)["documents"]
    assert (cats.content, cats.meta) == ("cats sleep", {"title": "Cats", "year": 2021, "lang": "en"})
    assert document_store.delete_by_filter({"field": "meta.year", "operator": "!=", "value": 2021}) == 1
    assert [document.id for document in document_store.filter_documents()] == ["1"]


def test_content_is_compared_as_a_whole(document_store: KSparseDocumentStore) -> None:
    texts = ["cats", "Cats", "cats sleep", "plants eat light", "?!"]
    document_store.write_documents([Document(id=str(row), content=text) for row, text in enumerate(texts)])
    asked: list[tuple[str, object, set[str]]] = [
        ("==", "cats", {"0"}),
        ("!=", "cats", {"1", "2", "3", "4"}),
        ("==", "?!", {"4"}),
        ("in", ["cats sleep", "plants", "Cats", None], {"1", "2"}),
        ("not in", ["cats sleep", "plants"], {"0", "1", "3", "4"}),
        ("==", None, set()),
        ("==", 7, set()),
    ]
    for operator, value, found in asked:
        assert matching(document_store, {"field": "content", "operator": operator, "value": value}) == found
    one = {"field": "content", "operator": "==", "value": "cats"}
    either = {"operator": "OR", "conditions": [one, {"field": "id", "operator": "==", "value": "3"}]}
    assert matching(document_store, either) == {"0", "3"}
    assert document_store.delete_by_filter(one) == 1
    assert document_store.count_documents() == 4


def test_an_index_that_was_deleted_is_an_empty_store(document_store: KSparseDocumentStore, client: OpenSearch) -> None:
    document_store.write_documents(DOCUMENTS)
    retriever = KSparseRetriever(document_store=document_store)
    assert retriever.run("cats")["documents"]
    calls: list[Callable[[], object]] = [
        document_store.filter_documents,
        document_store.count_documents,
        lambda: document_store.delete_documents(["1"]),
        document_store.delete_all_documents,
        lambda: document_store.delete_by_filter({"field": "meta.lang", "operator": "==", "value": "en"}),
        lambda: retriever.run("cats")["documents"],
        lambda: document_store.write_documents(DOCUMENTS[:1], DuplicatePolicy.SKIP) - 1,
    ]
    for call in calls:
        client.indices.delete(index=document_store.store.index, ignore_unavailable=True)
        assert not call()
        document_store.write_documents(DOCUMENTS, DuplicatePolicy.OVERWRITE)
        assert retriever.run("cats")["documents"]  # reads the schema again
