"""LlamaIndex's nodes, filters and indices on our store and a real node."""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import numpy as np
import pytest
from llama_index.core import Document, MockEmbedding, StorageContext, VectorStoreIndex
from llama_index.core.ingestion import IngestionPipeline
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.schema import BaseNode, ImageNode, IndexNode, NodeRelationship, RelatedNodeInfo, TextNode
from llama_index.core.vector_stores.types import (
    FilterCondition,
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryMode,
)
from opensearchpy import OpenSearch

from connector.corpus.values import plain
from connector.encoders.text import TextEncoder
from connector.errors import BulkWriteError, ClusterError
from connector.index.new_index import NewIndex
from connector.integrations.llamaindex import KSparseVectorStore
from connector.integrations.llamaindex_filters import to_clause
from connector.integrations.store import IndexStore
from connector.query.body import SearchOptions
from connector.query.settings import SearchSettings
from connector.search.sparse_index import SparseIndex
from connector.types import Document as OurDocument

pytestmark = pytest.mark.opensearch

Value = int | float | str | list[str] | list[int] | None


@pytest.fixture
def store(client: OpenSearch, index: str, encoder: TextEncoder) -> KSparseVectorStore:
    return KSparseVectorStore(index, encoder=encoder, client=client, new=NewIndex(code_bits=None))


def node(node_id: str, text: str, ref_doc_id: str | None = None, **metadata: Any) -> TextNode:
    """A node whose text alone is encoded: the tiny encoder reads twelve tokens."""
    source = {NodeRelationship.SOURCE: RelatedNodeInfo(node_id=ref_doc_id)} if ref_doc_id else {}
    return TextNode(
        id_=node_id, text=text, metadata=metadata, relationships=source, excluded_embed_metadata_keys=list(metadata)
    )


def ids_of(nodes: Iterable[BaseNode]) -> set[str]:
    return {each.node_id for each in nodes}


PLANTS = node("plants", "plants eat light", "leaves", lang="en", year=2021, price=10, tags=["green", "old"])
CATS = node("cats", "cats sleep on warm stones", "stones", lang="en", year=2022, price=9.99, tags=["old"])
RIVERS = node("rivers", "rivers carry sand", "stones", lang="De*", year=2023, tags=[], note="")
STARS = node("stars", "stars burn for years", added="2024-02-01", note=None)

PLANTS.metadata |= {"when": "2024-02-01T00:30:00+02:00", "big": 2**53, "a.b": 1, "": "empty key", "mixed": 2021}
CATS.metadata |= {"when": "2024-02-01T12:00:00", "big": 2**53 + 1, "city": "Zürich (ZH)"}
RIVERS.metadata |= {"long": "x" * 40_000}
STARS.metadata |= {"when": "2024-02-01", "mixed": "soon"} | {f"key{number}": number for number in range(1_500)}
for each in (PLANTS, CATS, RIVERS, STARS):
    each.excluded_embed_metadata_keys = list(each.metadata)


def only(key: str, operator: FilterOperator, value: Value = None) -> MetadataFilters:
    return MetadataFilters(filters=[MetadataFilter(key=key, operator=operator, value=value)])


@pytest.mark.parametrize(
    ("key", "operator", "value", "expected"),
    [
        ("lang", FilterOperator.EQ, "en", "plants cats"),
        ("year", FilterOperator.EQ, 2022, "cats"),
        ("price", FilterOperator.EQ, 9.99, "cats"),
        ("lang", FilterOperator.NE, "en", "rivers stars"),
        ("year", FilterOperator.GT, 2021, "cats rivers"),
        ("year", FilterOperator.GTE, 2021.5, "cats rivers"),
        ("price", FilterOperator.GT, 9.5, "plants cats"),
        ("price", FilterOperator.LT, 9.995, "cats"),
        ("year", FilterOperator.LTE, 2022, "plants cats"),
        ("added", FilterOperator.GTE, "2024-01-31", "stars"),
        ("added", FilterOperator.GT, "2024-02-01", ""),
        ("year", FilterOperator.IN, [2021, 2023], "plants rivers"),
        ("lang", FilterOperator.NIN, ["en", "fr"], "rivers stars"),
        ("tags", FilterOperator.ANY, ["green", "new"], "plants"),
        ("tags", FilterOperator.ALL, ["green", "old"], "plants"),
        ("tags", FilterOperator.CONTAINS, "old", "plants cats"),
        ("lang", FilterOperator.TEXT_MATCH, "e", "plants cats rivers"),
        ("lang", FilterOperator.TEXT_MATCH, "E", ""),
        ("lang", FilterOperator.TEXT_MATCH, "*", "rivers"),
        ("lang", FilterOperator.TEXT_MATCH_INSENSITIVE, "dE", "rivers"),
        ("tags", FilterOperator.IS_EMPTY, None, "rivers stars"),
        ("note", FilterOperator.IS_EMPTY, None, "plants cats rivers stars"),
        ("year", FilterOperator.IS_EMPTY, None, "stars"),
        ("ref_doc_id", FilterOperator.EQ, "stones", "cats rivers"),
        ("lang", FilterOperator.IN, [], ""),
        ("lang", FilterOperator.ANY, [], ""),
        ("lang", FilterOperator.NIN, [], "plants cats rivers stars"),
        ("lang", FilterOperator.ALL, [], ""),
        ("lang", FilterOperator.IN, ["en", "De*"], "plants cats rivers"),
        ("note", FilterOperator.EQ, "", "rivers"),
        ("year", FilterOperator.EQ, "2021", ""),
        ("year", FilterOperator.EQ, 2021.0, "plants"),
        ("when", FilterOperator.GT, "2024-01-31T22:29:59Z", "plants cats stars"),
        ("when", FilterOperator.GT, "2024-01-31T22:30:00+00:00", "cats stars"),
        ("when", FilterOperator.GTE, "2024-02-01", "cats stars"),
        ("when", FilterOperator.LT, "2024-02-01", "plants"),
        ("when", FilterOperator.EQ, "2024-01-31T17:30:00-05:00", "plants"),
        ("when", FilterOperator.NE, "2024-02-01T00:00:00Z", "plants cats rivers"),
        ("when", FilterOperator.IN, ["2024-02-01T12:00:00", "2024-02-01T00:00:00.000Z"], "cats stars"),
        ("big", FilterOperator.EQ, 2**53 + 1, "cats"),
        ("big", FilterOperator.GT, 2**53, "cats"),
        ("a.b", FilterOperator.EQ, 1, "plants"),
        ("", FilterOperator.EQ, "empty key", "plants"),
        ("long", FilterOperator.EQ, "x" * 40_000, "rivers"),
        ("city", FilterOperator.TEXT_MATCH_INSENSITIVE, "zÜrich (", "cats"),
        ("long", FilterOperator.TEXT_MATCH_INSENSITIVE, "X" * 246, ""),  # the longest
        ("mixed", FilterOperator.EQ, "soon", "stars"),
        ("mixed", FilterOperator.GT, 2000, "plants"),
        ("key1499", FilterOperator.EQ, 1499, "stars"),
    ],
)
def test_every_operator_keeps_what_it_says(
    nodes: KSparseVectorStore, key: str, operator: FilterOperator, value: Value, expected: str
) -> None:
    assert ids_of(nodes.get_nodes(filters=only(key, operator, value))) == set(expected.split())


@pytest.fixture(scope="module")
def nodes(client: OpenSearch, encoder: TextEncoder) -> Iterator[KSparseVectorStore]:
    """A store of four nodes that tests only read."""
    name = f"test-{uuid4().hex[:12]}"
    client.indices.delete(index=name, ignore_unavailable=True)
    store = KSparseVectorStore(name, encoder=encoder, client=client, new=NewIndex(code_bits=None))
    assert store.add([PLANTS, CATS, RIVERS, STARS]) == ["plants", "cats", "rivers", "stars"]
    yield store
    client.indices.delete(index=name)


NONE_OF_NONE = MetadataFilters(filters=[], condition=FilterCondition.OR)


def test_conditions_are_nested(nodes: KSparseVectorStore) -> None:
    english = MetadataFilter(key="lang", value="en")
    late = MetadataFilter(key="year", value=2021, operator=FilterOperator.GT)
    either = MetadataFilters(filters=[english, late], condition=FilterCondition.OR)
    neither = MetadataFilters(filters=[english, late], condition=FilterCondition.NOT)
    old = MetadataFilter(key="tags", value="old", operator=FilterOperator.CONTAINS)
    for filters, expected in (
        (MetadataFilters(filters=[english, late]), {"cats"}),
        (either, {"plants", "cats", "rivers"}),
        (neither, {"stars"}),
        (MetadataFilters(filters=[either, old]), {"plants", "cats"}),
        (
            MetadataFilters(filters=[neither, MetadataFilters(filters=[english, old])], condition=FilterCondition.OR),
            {"plants", "cats", "stars"},
        ),
        (MetadataFilters(filters=[]), {"plants", "cats", "rivers", "stars"}),
        (NONE_OF_NONE, set[str]()),
        (MetadataFilters(filters=[NONE_OF_NONE, english], condition=FilterCondition.OR), {"plants", "cats"}),
        (MetadataFilters(filters=[NONE_OF_NONE, english]), set[str]()),
        (MetadataFilters(filters=[english, MetadataFilters(filters=[])]), {"plants", "cats"}),
        (MetadataFilters(filters=[NONE_OF_NONE], condition=FilterCondition.NOT), {"plants", "cats", "rivers", "stars"}),
    ):
        assert ids_of(nodes.get_nodes(filters=filters)) == expected


@pytest.mark.parametrize(
    ("operator", "value", "message"),
    [
        (FilterOperator.IN, "en", "'in' takes a list, got 'en' for 'lang'"),
        (FilterOperator.GT, "en", "'>' compares numbers and ISO dates, got 'en'"),
        (FilterOperator.EQ, None, "'==' takes a string or a number, got None for 'lang'"),
        (FilterOperator.EQ, ["en"], r"'==' takes a string or a number, got \['en'\] for 'lang'"),
        (FilterOperator.TEXT_MATCH, 3, "'text_match' takes a string, got 3 for 'lang'"),
    ],
)
def test_a_value_that_does_not_fit_is_named(operator: FilterOperator, value: Value, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        to_clause(only("lang", operator, value))


def test_a_node_comes_back_as_it_was(store: KSparseVectorStore) -> None:
    text = TextNode(
        text="plants eat light",
        metadata={"a": 1, "b": [1.5, 2], "c": None, "doc_id": "mine", "nested": {"deep": True}},
        excluded_embed_metadata_keys=["b"],
        excluded_llm_metadata_keys=["a"],
        relationships={
            NodeRelationship.SOURCE: RelatedNodeInfo(node_id="leaves", metadata={"a": 1}),
            NodeRelationship.NEXT: RelatedNodeInfo(node_id="next"),
        },
        start_char_idx=3,
        end_char_idx=19,
        text_template="{content}",
    )
    image = ImageNode(text="cats sleep", image_url="file:///cats.png")
    index = IndexNode(text="rivers carry sand", index_id="rivers")
    store.add([text, image, index])
    found = {each.node_id: each for each in store.get_nodes()}
    assert found == {each.node_id: each for each in (text, image, index)}


def test_metadata_is_encoded_unless_it_is_excluded(
    store: KSparseVectorStore, encoder: TextEncoder, client: OpenSearch
) -> None:
    told = TextNode(id_="told", text="rivers", metadata={"about": "cats", "path": "music"})
    told.excluded_embed_metadata_keys = ["path"]
    store.add([told])
    [hit] = client.search(index=store._store.index, body={})["hits"]["hits"]
    assert (hit["_source"]["title"], hit["_source"]["text"]) == ("about: cats", "rivers")
    found = store.query(VectorStoreQuery(query_str="cats", mode=VectorStoreQueryMode.TEXT_SEARCH))
    assert found.ids == ["told"]
    assert store.query(VectorStoreQuery(query_str="music", mode=VectorStoreQueryMode.TEXT_SEARCH)).ids == []


@pytest.mark.parametrize("mode", ["default", "sparse", "hybrid", "text_search"])
def test_every_mode_finds_the_nearest_node(nodes: KSparseVectorStore, mode: str) -> None:
    asked = VectorStoreQuery(query_str=CATS.text, similarity_top_k=1, mode=VectorStoreQueryMode(mode))
    found = nodes.query(asked)
    assert found.nodes == [CATS] and found.ids == ["cats"]
    assert found.similarities is not None and found.similarities[0] > 0


def test_a_query_is_kept_to_filters_nodes_and_documents(nodes: KSparseVectorStore) -> None:
    text = "plants cats rivers stars"
    everything = nodes.query(VectorStoreQuery(query_str=text, similarity_top_k=4, node_ids=[]))
    assert set(everything.ids or ()) == {"plants", "cats", "rivers", "stars"}
    assert everything.similarities == sorted(everything.similarities or (), reverse=True)
    for mode in ("default", "hybrid", "text_search", "mmr"):
        for options, expected in (
            ({"filters": only("lang", FilterOperator.EQ, "en")}, {"plants", "cats"}),
            ({"node_ids": ["rivers", "stars"]}, {"rivers", "stars"}),
            ({"doc_ids": ["stones", "leaves"]}, {"plants", "cats", "rivers"}),
            ({"doc_ids": ["stones"], "node_ids": ["cats", "plants"]}, {"cats"}),
            ({"doc_ids": []}, set()),
            ({"filters": only("lang", FilterOperator.IN, [])}, set()),
        ):
            asked = VectorStoreQuery(query_str=text, similarity_top_k=4, mode=VectorStoreQueryMode(mode), **options)
            assert set(nodes.query(asked).ids or ()) == expected, mode


@pytest.mark.parametrize("mode", ["default", "hybrid", "text_search", "mmr"])
def test_a_query_of_filters_alone_finds_what_matches(nodes: KSparseVectorStore, mode: str) -> None:
    english = only("lang", FilterOperator.EQ, "en")
    expected = ids_of(nodes.get_nodes(filters=english))
    query = VectorStoreQuery(query_str=" ", similarity_top_k=10, mode=VectorStoreQueryMode(mode), filters=english)
    found = nodes.query(query)
    assert set(found.ids or []) == ids_of(found.nodes or []) == expected
    assert found.similarities == [1.0] * len(expected)
    assert len(nodes.query(replace(query, similarity_top_k=1)).ids or []) == 1
    for nothing in (None, MetadataFilters(filters=[])):
        with pytest.raises(ValueError, match="The query is empty"):
            nodes.query(replace(query, filters=nothing))


def test_options_of_a_search_are_passed_on(nodes: KSparseVectorStore) -> None:
    hybrid = VectorStoreQuery(query_str="cats sleep", similarity_top_k=1, mode=VectorStoreQueryMode.HYBRID)
    plain = nodes.query(VectorStoreQuery(query_str="cats sleep")).similarities
    fused = nodes.query(hybrid).similarities
    summed = nodes.query(hybrid, bm25_weight=1.0).similarities
    assert fused and plain and summed
    assert fused[0] == 1 and plain[0] < summed[0], "the first of both rankings; BM25 adds to the dot product"
    hybrid.hybrid_top_k = 2
    assert len(nodes.query(hybrid).ids or ()) == 2


@pytest.mark.parametrize("mode", ["default", "sparse", "hybrid", "text_search", "mmr"])
def test_a_hybrid_search_is_chosen_by_the_mode_alone(nodes: KSparseVectorStore, mode: str) -> None:
    index = VectorStoreIndex.from_vector_store(nodes, embed_model=MockEmbedding(embed_dim=1))
    retriever = index.as_retriever(vector_store_query_mode=mode, vector_store_kwargs={"hybrid": True})
    with pytest.raises(TypeError, match="no option 'hybrid', got True; .* by vector_store_query_mode=\"hybrid\""):
        retriever.retrieve("cats sleep")


def test_alpha_is_the_weight_of_features(nodes: KSparseVectorStore) -> None:
    asked = VectorStoreQuery(query_str="plants cats rivers", mode=VectorStoreQueryMode.HYBRID)
    alone = nodes.query(replace(asked, mode=VectorStoreQueryMode.DEFAULT)).ids
    words = nodes.query(replace(asked, mode=VectorStoreQueryMode.TEXT_SEARCH)).ids
    assert alone and words and alone[0] == (nodes.query(replace(asked, alpha=1.0)).ids or [])[0]
    assert words[0] == (nodes.query(replace(asked, alpha=0.0)).ids or [])[0]
    assert nodes.query(replace(asked, alpha=0.5)) == nodes.query(asked) != nodes.query(replace(asked, alpha=0.9))
    with pytest.raises(ValueError, match="alpha must be between 0 .* and 1 .*, got 2"):
        nodes.query(replace(asked, alpha=2))


def test_sparse_top_k_is_heeded(nodes: KSparseVectorStore) -> None:
    sparse = VectorStoreQuery(query_str="plants cats rivers", mode=VectorStoreQueryMode.SPARSE, sparse_top_k=3)
    assert len(nodes.query(sparse).ids or ()) == 3
    hybrid = VectorStoreQuery(query_str="plants cats rivers", mode=VectorStoreQueryMode.HYBRID, similarity_top_k=2)
    asked: list[tuple[dict[str, Any], int]] = [({}, 2), ({"settings": SearchSettings(rank_window_size=100)}, 3)]
    for options, first in asked:
        hybrid.sparse_top_k = first
        deep = nodes.query(hybrid, **options)
        hybrid.sparse_top_k = 2
        assert deep == nodes.query(hybrid, **options)
    assert nodes.query(hybrid, bm25_weight=0.1).ids


def test_only_whole_documents_become_nodes(nodes: KSparseVectorStore) -> None:
    for mode in (VectorStoreQueryMode.DEFAULT, VectorStoreQueryMode.MMR):
        with pytest.raises(ValueError, match="returns whole documents; leave source out"):
            nodes.query(VectorStoreQuery(query_str="cats", mode=mode), options=SearchOptions(source=["title"]))
    assert nodes.query(VectorStoreQuery(query_str="cats"), options=SearchOptions(min_score=1e6)).ids == []


@pytest.mark.parametrize(
    ("query", "message"),
    [
        (VectorStoreQuery(query_embedding=[0.5]), "set query_str"),
        (VectorStoreQuery(query_str="cats", mode=VectorStoreQueryMode.SVM), "'svm' must be one of default, sparse"),
    ],
)
def test_what_cannot_be_asked_is_named(store: KSparseVectorStore, query: VectorStoreQuery, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        store.query(query)


def test_nodes_are_deleted_by_document_id_and_filter(store: KSparseVectorStore) -> None:
    store.delete("stones")
    store.delete_nodes(["cats"])
    store.clear()
    assert store.get_nodes() == [] and store.query(VectorStoreQuery(query_str="cats")).ids == []
    store.add([PLANTS, CATS, RIVERS, STARS])
    store.delete_nodes()
    store.delete_nodes([])
    store.delete_nodes([], only("lang", FilterOperator.EQ, "en"))
    store.delete_nodes(["nobody", "stars"], only("lang", FilterOperator.EQ, "en"))
    assert ids_of(store.get_nodes()) == {"plants", "cats", "rivers", "stars"}
    for everything in (
        MetadataFilters(filters=[]),
        only("lang", FilterOperator.NIN, []),
        only("lang", FilterOperator.NIN, ["xx"]),
        only("lang", FilterOperator.NE, "xx"),
        only("note", FilterOperator.IS_EMPTY),
        MetadataFilters(filters=[MetadataFilter(key="lang", value="xx")], condition=FilterCondition.NOT),
    ):
        with pytest.raises(ValueError, match="this filter matches every document"):
            store.delete_nodes(filters=everything)
    store.delete_nodes(filters=only("lang", FilterOperator.IN, []))
    store.delete_nodes(filters=only("lang", FilterOperator.ANY, []))
    store.delete_nodes(filters=only("lang", FilterOperator.ALL, []))
    store.delete_nodes(filters=NONE_OF_NONE)
    assert ids_of(store.get_nodes()) == {"plants", "cats", "rivers", "stars"}
    store.delete_nodes(["cats", "stars"], only("lang", FilterOperator.EQ, "en"))
    assert ids_of(store.get_nodes()) == {"plants", "rivers", "stars"}
    store.delete("stones")
    store.delete_nodes(["stars", "nobody"])
    assert store.get_nodes() == [PLANTS]
    store.add([CATS])
    store.delete_nodes(filters=only("lang", FilterOperator.EQ, "en"))  # a value that all documents have is meant
    assert store.get_nodes() == []
    store.clear()
    assert store.get_nodes() == []


SPLITTER = SentenceSplitter(
    chunk_size=14,
    chunk_overlap=0,
    # Its usual cuts need data of nltk, which refuses to read them where an installer has hard-linked them.
    chunking_tokenizer_fn=lambda text: re.findall(r"[^.]+\.\s*", text),
)


class CountingEmbedding(MockEmbedding):
    """Counts the texts of documents and of queries that LlamaIndex has it embed."""

    texts: int = 0
    queries: int = 0

    def _get_text_embedding(self, text: str) -> list[float]:
        self.texts += 1
        return self._get_vector()

    def _get_query_embedding(self, query: str) -> list[float]:
        self.queries += 1
        return self._get_vector()


def test_an_index_is_filled_searched_and_emptied(store: KSparseVectorStore) -> None:
    documents = [
        Document(id_="a", text="Plants eat light. Cats sleep on warm stones.", metadata={"year": 2021}),
        Document(id_="b", text="Rivers carry sand to the sea. Old bridges cross wide rivers.", metadata={"year": 2022}),
    ]
    for document in documents:
        document.excluded_embed_metadata_keys = ["year"]
    embedding = CountingEmbedding(embed_dim=1)
    index = VectorStoreIndex.from_documents(
        documents,
        storage_context=StorageContext.from_defaults(vector_store=store),
        embed_model=embedding,
        transformations=[SPLITTER],
    )
    stored = store.get_nodes()
    assert len(stored) == 4 and all(each.embedding is None for each in stored)
    assert {each.ref_doc_id for each in stored} == {"a", "b"}
    [best] = index.as_retriever(similarity_top_k=1).retrieve("cats sleep on warm stones")
    assert best.text == "Cats sleep on warm stones." and best.score is not None and best.score > 0
    assert best.node.prev_node is not None and best.metadata == {"year": 2021}
    assert (embedding.texts, embedding.queries) == (4, 0), "nodes are embedded in vain, queries are not"

    index.insert(Document(id_="c", text="Music has rhythm."))
    late = only("year", FilterOperator.GT, 2021)
    found = index.as_retriever(similarity_top_k=9, filters=late).retrieve("cats rivers music plants")
    assert {each.node.ref_doc_id for each in found} == {"b"}
    index.delete_ref_doc("b")
    assert {each.ref_doc_id for each in store.get_nodes()} == {"a", "c"}

    again = VectorStoreIndex.from_vector_store(store, embed_model=MockEmbedding(embed_dim=1))
    assert again.as_retriever(similarity_top_k=1).retrieve("music has rhythm")[0].text == "Music has rhythm."


async def test_everything_can_be_awaited(store: KSparseVectorStore) -> None:
    assert await store.async_add([PLANTS, CATS, RIVERS]) == ["plants", "cats", "rivers"]
    index = VectorStoreIndex.from_vector_store(store, embed_model=MockEmbedding(embed_dim=1))
    [best] = await index.as_retriever(similarity_top_k=1).aretrieve(CATS.text)
    assert best.node == CATS
    await index.ainsert_nodes([STARS])
    await store.adelete("leaves")
    assert ids_of(await store.aget_nodes(["plants", "cats", "stars"])) == {"cats", "stars"}
    await store.adelete_nodes(filters=only("lang", FilterOperator.EQ, "en"))
    assert ids_of(await store.aget_nodes()) == {"rivers", "stars"}
    await store.aclear()
    assert await store.aget_nodes() == []


def test_a_pipeline_hands_over_what_it_embedded(store: KSparseVectorStore) -> None:
    document = Document(text="Plants eat light.")
    IngestionPipeline(transformations=[SPLITTER], vector_store=store).run(documents=[document])
    assert store.get_nodes() == [], "a pipeline without an embedding gives its store nothing"
    embedding = MockEmbedding(embed_dim=1)
    IngestionPipeline(transformations=[SPLITTER, embedding], vector_store=store).run(documents=[document])
    assert [each.get_content() for each in store.get_nodes()] == ["Plants eat light."]


def test_embeddings_that_are_paid_for_in_vain_cause_a_warning(store: KSparseVectorStore) -> None:
    with pytest.warns(UserWarning, match="embeddings of nodes are not stored.*MockEmbedding"):
        store.add([TextNode(text="cats", embedding=[0.1, 0.2])])


def test_nodes_of_an_iterator_are_all_written(store: KSparseVectorStore) -> None:
    assert store.add(each for each in (PLANTS, CATS)) == ["plants", "cats"]  # type: ignore[arg-type]
    assert ids_of(store.get_nodes()) == {"plants", "cats"}
    with pytest.raises(ValueError, match="nodes must be a list of nodes, got a single one"):
        store.add(RIVERS)  # type: ignore[arg-type]


def test_a_store_is_not_pickled_without_its_connection(store: KSparseVectorStore) -> None:
    with pytest.raises(TypeError, match="holds a connection and cannot be pickled; create another"):
        pickle.dumps(store)


def test_one_that_is_refused_is_named_and_none_is_written(store: KSparseVectorStore) -> None:
    refused = r"1 of 2 documents were refused, document 2: has an empty .* None was written\."
    with pytest.raises(ValueError, match=refused) as caught:
        store.add([PLANTS, TextNode(text=" ")])
    assert isinstance(caught.value, BulkWriteError)
    assert store.get_nodes() == []
    store.add([PLANTS])
    with pytest.raises(ValueError, match="The query is empty"):
        store.query(VectorStoreQuery(query_str=" "))


def test_python_s_values_are_kept_and_found(store: KSparseVectorStore) -> None:
    values: dict[str, Any] = {
        "when": datetime(2024, 2, 1, 12, tzinfo=UTC),
        "uuid": UUID(int=7),
        "price": Decimal("9.99"),
        "count": np.int64(3),
        "path": Path("a/b"),
        "raw": b"\x89P",
    }
    source = {NodeRelationship.SOURCE: RelatedNodeInfo(node_id="leaves", metadata=values)}
    store.add([TextNode(text="plants eat light", metadata=values, relationships=source), node("1", "cats", **values)])
    nodes = store.get_nodes()
    stored = plain(values) | {"price": 9.99}
    assert len(nodes) == 2 and all(each.metadata == stored for each in nodes)
    for name, value in stored.items():
        assert len(store.get_nodes(filters=only(name, FilterOperator.EQ, value))) == 2, name
    assert len(store.get_nodes(filters=only("count", FilterOperator.GTE, 3))) == 2
    assert len(store.get_nodes(filters=only("price", FilterOperator.GT, 9))) == 2
    assert store.get_nodes(filters=only("when", FilterOperator.GT, "2024-02-01T13:00:00+01:00")) == []


def test_of_several_nodes_with_one_id_the_last_is_written(store: KSparseVectorStore) -> None:
    assert store.add([node("1", "cats sleep"), PLANTS, node("1", "rivers carry sand")]) == ["1", "plants", "1"]
    [found] = store.get_nodes(["1"])
    assert found.get_content() == "rivers carry sand"


def test_integers_are_ids_in_all_verbs(store: KSparseVectorStore) -> None:
    store.add([node("1", "cats sleep", "7"), node("2", "plants eat light", "8")])
    one: Any = [1]
    seven: Any = 7
    assert ids_of(store.get_nodes(one)) == {"1"}
    assert store.query(VectorStoreQuery(query_str="cats plants", node_ids=one, similarity_top_k=2)).ids == ["1"]
    assert store.query(VectorStoreQuery(query_str="cats plants", doc_ids=[seven], similarity_top_k=2)).ids == ["1"]
    store.delete(seven)
    assert ids_of(store.get_nodes()) == {"2"}
    two: Any = [2]
    store.delete_nodes(two)
    assert store.get_nodes() == []


def test_marginal_relevance_leaves_copies_out(store: KSparseVectorStore) -> None:
    store.add([node("1", "cats sleep on warm stones"), node("2", "cats sleep on warm stones"), node("3", "cats cross")])
    query = VectorStoreQuery(query_str="cats sleep on warm stones", similarity_top_k=2)
    assert set(store.query(query).ids or ()) == {"1", "2"}
    query.mode = VectorStoreQueryMode.MMR
    assert "3" in (store.query(query, mmr_threshold=0.1).ids or ())
    assert set(store.query(query, mmr_threshold=1.0, mmr_prefetch_k=3).ids or ()) == {"1", "2"}
    with pytest.raises(ValueError, match="mmr_prefetch_k and mmr_prefetch_factor are both set"):
        store.query(query, mmr_prefetch_k=3, mmr_prefetch_factor=4)


def test_unknown_options_are_errors(store: KSparseVectorStore, index: str, client: OpenSearch) -> None:
    query = VectorStoreQuery(query_str="cats")
    calls: list[tuple[Callable[[], object], str]] = [
        (lambda: KSparseVectorStore(index, verify_cert=False), "no option 'verify_cert'; did you mean 'verify_certs'"),
        (lambda: KSparseVectorStore(index, index_name="b"), "got 'index_name' and 'index'"),
        (lambda: KSparseVectorStore(index, dim=384), "KSparseVectorStore has no option 'dim'"),
        (lambda: store.add([PLANTS], refersh=True), r"add\(\) has no option 'refersh'"),
        (lambda: store.delete("a", filters=None), r"delete\(\) has no option 'filters'"),
        (lambda: store.delete_nodes(["a"], filter=None), r"delete_nodes\(\) has no option 'filter'"),
        (lambda: store.query(query, setings=3), r"query\(\) has no option 'setings'; did you mean 'settings'"),
        (lambda: store.query(query, mmr_threshold=0.5), "no option 'mmr_threshold'"),
    ]
    for call, message in calls:
        with pytest.raises(TypeError, match=message):
            call()
    with pytest.raises(ValueError, match="a client is already connected; leave out url"):
        KSparseVectorStore(index, client=client, endpoint="http://a.example:1")
    assert not client.indices.exists(index=index)


def test_an_index_of_ksparse_is_searched_as_well(store: KSparseVectorStore, index: str, client: OpenSearch) -> None:
    ours = IndexStore(index, encoder=store._store._index.encoder, client=client)
    ours.write([OurDocument("1", "cats sleep", title="Cats", metadata={"lang": "en", "year": 2021})])
    found = store.query(VectorStoreQuery(query_str="cats", filters=only("year", FilterOperator.EQ, 2021)))
    assert found.nodes == [TextNode(id_="1", text="cats sleep", metadata={"title": "Cats", "lang": "en", "year": 2021})]
    assert store.get_nodes(filters=only("lang", FilterOperator.NE, "en")) == []
    with pytest.raises(ValueError, match="'>' cannot compare 'year': the index has metadata as strings"):
        store.get_nodes(filters=only("year", FilterOperator.GT, 2020))
    with pytest.raises(BulkWriteError, match="has metadata in other fields, without llamaindex, meta, because another"):
        store.add([CATS])


MUNICH = {"lang": "en", "city": "München (Bayern)"}


def test_declared_fields_of_an_index_of_ksparse_have_their_types(
    index: str, encoder: TextEncoder, client: OpenSearch
) -> None:
    new = NewIndex(code_bits=None, fields={"year": "integer", "kind": "keyword"})
    ours = SparseIndex(index, encoder=encoder, client=client, new=new)
    ours.add(
        [
            {"_id": "1", "text": "cats sleep", "metadata": MUNICH, "year": 2021, "kind": "Pet É"},
            {"_id": "2", "text": "plants eat light", "metadata": {"year": 1999}, "year": 2022, "kind": ""},
            {"_id": "3", "text": "rivers carry sand"},
        ]
    )
    store = KSparseVectorStore(index, client=client)
    found: list[tuple[str, FilterOperator, Value, str]] = [
        ("year", FilterOperator.EQ, 2021, "1"),
        ("year", FilterOperator.NE, 2021, "23"),
        ("year", FilterOperator.GT, 2021, "2"),
        ("year", FilterOperator.NIN, [2021, 2022], "3"),
        ("year", FilterOperator.IS_EMPTY, None, "3"),
        ("kind", FilterOperator.IS_EMPTY, None, "23"),
        ("kind", FilterOperator.TEXT_MATCH_INSENSITIVE, "pe", "1"),
        ("kind", FilterOperator.TEXT_MATCH_INSENSITIVE, "t é", "1"),
        ("kind", FilterOperator.TEXT_MATCH_INSENSITIVE, "t è", ""),
        ("city", FilterOperator.TEXT_MATCH_INSENSITIVE, "MÜNCHEN (", "1"),
        ("city", FilterOperator.TEXT_MATCH_INSENSITIVE, "ünch", "1"),
        ("city", FilterOperator.TEXT_MATCH_INSENSITIVE, "münchen.*", ""),
        ("city", FilterOperator.TEXT_MATCH_INSENSITIVE, "(b", "1"),
        ("city", FilterOperator.TEXT_MATCH, "MÜNCHEN", ""),
        ("lang", FilterOperator.IS_EMPTY, None, "23"),
    ]
    for key, operator, value, ids in found:
        assert ids_of(store.get_nodes(filters=only(key, operator, value))) == set(ids), (key, operator)
    assert {each.node_id: each.metadata for each in store.get_nodes()} == {
        "1": {"year": 2021, "kind": "Pet É", "lang": "en", "city": "München (Bayern)"},
        "2": {"year": 2022, "kind": ""},
        "3": {},
    }
    store.delete_nodes(filters=only("year", FilterOperator.NE, 2021))
    assert ids_of(store.get_nodes()) == {"1"}


def test_llamaindex_knows_what_the_store_does_itself(head_folder: Path, client: OpenSearch, index: str) -> None:
    store = KSparseVectorStore(index, encoder=str(head_folder), client=client)
    assert store.client is client and store.class_name() == "KSparseVectorStore"
    assert store.stores_text and not store.is_embedding_query


def test_reading_nodes_that_the_server_no_longer_holds_is_an_error(
    index: str, encoder: TextEncoder, client: OpenSearch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It does hold them for hours, since the reader of a page may be slow."""
    store = IndexStore(index, encoder=encoder, client=client, new=NewIndex(code_bits=None))
    store.write([OurDocument(str(row), "cats sleep") for row in range(5)])
    monkeypatch.setattr("connector.index.hits._PAGE", 2)
    search, asked = client.search, list[str]()

    def noted(**request: Any) -> Any:  # noqa: ANN401
        asked.append(request["scroll"])
        return search(**request)

    monkeypatch.setattr(client, "search", noted)
    reading = store.matching([])
    next(reading)
    assert asked == ["2h"]
    client.clear_scroll(scroll_id="_all")
    with pytest.raises(ClusterError, match=f"Reading '{index}' was interrupted: .*Run it again"):
        list(reading)


def test_documents_whose_ids_are_the_same_date_are_different(store: KSparseVectorStore) -> None:
    ids = ("2024-01-01", "2024-01-01T00:00:00", "2024-01-01T00:00:00+00:00")
    store.add([node(str(row), "cats sleep", ref_doc_id) for row, ref_doc_id in enumerate(ids)])
    found = store.query(VectorStoreQuery(query_str="cats sleep", doc_ids=[ids[1]]))
    assert found.ids == ["1"]
    store.delete(ids[0])
    assert ids_of(store.get_nodes()) == {"1", "2"}


def test_documents_without_text_are_nodes_without_text(
    store: KSparseVectorStore, index: str, encoder: TextEncoder, client: OpenSearch
) -> None:
    SparseIndex(index, encoder=encoder, client=client, new=NewIndex(code_bits=None)).prepare()
    client.index(index=index, id="1", body={"metadata": None}, refresh=True)
    client.index(index=index, id="2", body={"text": None, "title": None}, refresh=True)
    assert {each.node_id: each.get_content() for each in store.get_nodes()} == {"1": "", "2": ""}
