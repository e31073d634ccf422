"""The index by its name, on a real node with the tiny encoder."""

from __future__ import annotations

import asyncio
import copy
import inspect
import pickle
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from opensearchpy import OpenSearch
from opensearchpy.exceptions import AuthorizationException, NotFoundError, TransportError

from connector import AsyncSparseIndex, Document, NewIndex, Pruning, SearchSettings, SparseIndex
from connector.cli.main import cli
from connector.encoders.text import TextEncoder
from connector.errors import BulkWriteError, ClusterError, EncoderMismatchError, IndexMappingError, SearchError
from connector.index.hits import read_hits
from connector.query.body import parse_filter
from connector.query.filters import Filters
from connector.search.retriever import Retriever
from tests.tiny import build_head

pytestmark = pytest.mark.opensearch

DOCUMENTS = [
    Document("1", "plants eat light with green leaves", metadata={"lang": "en", "year": 2020, "new": True}),
    Document("2", "cats sleep on warm stones", metadata={"lang": "en", "year": 2021, "new": False}),
    Document("3", "rivers carry sand to the sea", metadata={"lang": "de", "year": 2020, "new": False}),
]


@pytest.fixture
def docs(client: OpenSearch, index: str, encoder: TextEncoder) -> Iterator[SparseIndex]:
    made = SparseIndex(index, client=client, encoder=encoder)
    made.add(DOCUMENTS)
    yield made


def found(docs: SparseIndex, **options: object) -> set[str]:
    return {hit.id for hit in docs.search("plants eat light cats sleep rivers carry sand", **options)}  # type: ignore[arg-type]


def test_a_document_is_found_by_its_own_words_with_text_and_metadata(docs: SparseIndex) -> None:
    [hit] = docs.search(DOCUMENTS[1].text, top_k=1)
    assert (hit.id, hit.text, hit.title) == ("2", DOCUMENTS[1].text, "")
    assert hit.metadata == {"lang": "en", "year": 2021, "new": False}


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        (None, {"1", "2", "3"}),
        ({}, {"1", "2", "3"}),
        ({"lang": "en"}, {"1", "2"}),
        ({"lang": ["en", "de"]}, {"1", "2", "3"}),
        ({"lang": []}, set()),
        ({"lang": None}, set()),
        ({"$or": [{"lang": "de"}, {"new": True}]}, {"1", "3"}),
        ({"year": 2020}, {"1", "3"}),
        ({"year": 2020.0, "lang": "en"}, {"1"}),
        ({"new": True}, {"1"}),
        ([{"term": {"metadata.lang": "de"}}], {"3"}),
    ],
)
def test_filters_keep_what_they_name(docs: SparseIndex, filters: object, expected: set[str]) -> None:
    assert found(docs, filters=filters) == expected
    assert docs.count(filters) == len(expected)  # type: ignore[arg-type]


@pytest.mark.parametrize("filters", ["lang=en", {"lang": {"$near": 3}}, {"year": {"$gt": 2020}}])
def test_filters_that_mean_nothing_are_refused(docs: SparseIndex, filters: object) -> None:
    with pytest.raises(ValueError, match="filter|unknown|strings"):
        docs.search("cats", filters=filters)  # type: ignore[arg-type]


def test_a_clause_that_the_server_does_not_know_is_its_to_refuse(docs: SparseIndex) -> None:
    for call in (lambda: docs.search("cats", filters={"lang": {"gte": 3}}), lambda: docs.count({"lang": {"gte": 3}})):
        with pytest.raises(SearchError, match=r"rejects .*\[lang\]"):
            call()


def test_dictionaries_are_added_and_refused_ones_are_named_after_the_others_are_written(docs: SparseIndex) -> None:
    with pytest.raises(BulkWriteError, match=r"1 of 2 documents were refused, the first: .*text"):
        docs.add([{"_id": "4", "text": ""}, {"_id": "5", "text": "old bridges cross wide rivers"}])
    assert docs.count() == 4
    result = docs.add([{"_id": "4", "text": ""}], raise_on_error=False)
    assert (result.read, result.dead_lettered) == (1, 1)


def test_threads_share_an_index_from_the_first_document_on(
    client: OpenSearch, index: str, encoder: TextEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of them creates the index, and one opens it."""
    made = SparseIndex(index, client=client, encoder=encoder)
    opened: list[str] = []
    create = Retriever.__init__

    def counting(retriever: Retriever, *args: Any, **options: Any) -> None:
        opened.append("once")
        create(retriever, *args, **options)

    monkeypatch.setattr(Retriever, "__init__", counting)
    words = ("cats sleep", "stars burn", "rivers carry sand", "plants eat light", "music has rhythm", "old bridges")

    def work(number: int) -> list[str]:
        made.add([{"_id": f"{number}-{row}", "text": f"{words[number]} {row}"} for row in range(20)])
        return [hit.id for _ in range(5) for hit in made.search(words[number], top_k=1)]

    with ThreadPoolExecutor(len(words)) as pool:
        found = list(pool.map(work, range(len(words))))
    assert made.count() == 20 * len(words)
    assert all(doc_id.startswith(f"{number}-") for number, ids in enumerate(found) for doc_id in ids)
    assert opened == ["once"]


@pytest.mark.parametrize("empty", [True, False])
async def test_a_new_index_is_not_created_without_documents(
    client: OpenSearch, index: str, encoder: TextEncoder, empty: bool
) -> None:
    """It would never be calibrated."""
    made = SparseIndex(index, client=client, encoder=encoder)
    given: list[dict[str, Any]] = [] if empty else [{"_id": "1", "text": ""}]

    async def arriving() -> AsyncIterator[dict[str, Any]]:
        for each in given:
            yield each

    for result in (made.add(given, raise_on_error=False), await made.add_async(arriving(), raise_on_error=False)):
        assert (result.read, result.dead_lettered) == (len(given), len(given))
    assert not made.exists()
    made.add(DOCUMENTS)
    assert made.retriever.schema.statistics is not None and made.count() == 3


async def test_documents_that_arrive_are_checked_as_one_list(
    client: OpenSearch, index: str, encoder: TextEncoder
) -> None:
    made = SparseIndex(index, client=client, encoder=encoder)
    made.add(DOCUMENTS[:1])
    ticks = 0

    async def arriving() -> AsyncIterator[Any]:
        for each in (
            {"_id": "2", "text": "cats sleep"},
            {"_id": 3, "text": "stars burn"},
            {"_id": "2", "text": "sand"},
        ):
            yield each
        yield {"text": "no id"}
        yield None

    async def ticking() -> None:
        nonlocal ticks
        while True:
            ticks += 1
            await asyncio.sleep(0.001)

    clock = asyncio.create_task(ticking())
    result = await made.add_async(arriving(), raise_on_error=False)
    clock.cancel()
    assert (result.read, result.indexed, result.dead_lettered) == (5, 2, 3)
    assert [reason.partition(":")[0] for reason in result.reasons] == ["document 3", "document 4", "document 5"]
    assert made.get(["2"])["2"]["text"] == "cats sleep", "as in add, the first of an id is written"
    assert ticks > 3, "the loop is free meanwhile"
    with pytest.raises(ValueError, match="asynchronous iterable; pass it to `SparseIndex.add_async`"):
        made.add(arriving())  # type: ignore[arg-type]


def test_an_index_that_is_missing_is_named(client: OpenSearch, index: str, encoder: TextEncoder) -> None:
    made = SparseIndex(index, client=client, encoder=encoder)
    calls: list[Callable[[], object]] = [
        lambda: made.delete(["1"]),
        lambda: made.delete([]),
        lambda: made.delete(filters={"lang": "en"}),
        lambda: made.update([{"_id": "1", "text": "cats"}]),
        lambda: made.get(["1"]),
        lambda: made.explain("cats", "1"),
        made.count,
        made.job,
    ]
    for call in calls:
        with pytest.raises(IndexMappingError, match=f"There is no index '{index}'"):
            call()
    with pytest.raises(IndexMappingError, match=f"Create it with `ksparse ingest CORPUS --index {index}`"):
        made.delete([])
    assert not made.exists()


def test_a_change_that_is_none_is_named_after_the_others_are_made(docs: SparseIndex) -> None:
    changes: list[dict[str, Any]] = [{"text": "no id"}, {"_id": "1", "metadata": {"lang": "fr"}}, {"_id": "2"}]
    with pytest.raises(BulkWriteError, match="2 of 3 documents were refused, the first: change 1: '_id' is None"):
        docs.update(changes)
    assert docs.get(["1"])["1"]["metadata"]["lang"] == "fr"


def test_only_a_document_with_an_id_is_explained(docs: SparseIndex) -> None:
    assert docs.explain(DOCUMENTS[0].text, 1).id == "1"  # type: ignore[arg-type]
    for nothing in (None, "", " ", 1.5):
        with pytest.raises(ValueError, match="is not an id"):
            docs.explain(DOCUMENTS[0].text, nothing)  # type: ignore[arg-type]


def test_update_changes_only_what_it_names(docs: SparseIndex) -> None:
    assert docs.update([{"_id": "1", "metadata": {"lang": "fr"}}]).indexed == 1
    assert docs.get(["1", "9"]) == {
        "1": {"text": DOCUMENTS[0].text, "metadata": {"lang": "fr", "year": 2020, "new": True}}
    }
    [hit] = docs.search(DOCUMENTS[0].text, top_k=1)
    assert (hit.id, hit.metadata["lang"]) == ("1", "fr")
    with pytest.raises(BulkWriteError, match="1 of 1 documents were refused"):
        docs.update([{"_id": "9", "text": "not there"}])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda docs: docs.search("cats", top_k="3"), "top_k must be a whole number, got '3'"),
        (lambda docs: docs.search("cats", top_k=True), "top_k must be a whole number, got True"),
        (lambda docs: docs.search("cats", top_k=2.0), "top_k must be a whole number, got 2.0"),
        (lambda docs: docs.search(None), "a query must be a string, got None"),
        (lambda docs: docs.search(["cats"]), r"a query must be a string, got \['cats'\]"),
        (lambda docs: docs.search(7, hybrid=True), "a query must be a string, got 7"),
        (lambda docs: docs.add("cats"), "documents must be a list of documents, got a single str"),
        (lambda docs: docs.add({"_id": "9", "text": "cats"}), "got a single dict; put it in a list"),
        (lambda docs: docs.add(Document("9", "cats")), "got a single Document; put it in a list"),
        (lambda docs: docs.update({"_id": "1", "text": "cats"}), "a change must be a mapping with '_id', got '_id'"),
    ],
)
def test_values_of_another_kind_are_named(docs: SparseIndex, call: Callable[[Any], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call(docs)
    assert docs.count() == 3


def test_delete_by_ids_and_by_filters(docs: SparseIndex) -> None:
    assert docs.delete(["2"]) == 1
    assert docs.delete(filters={"lang": "de"}) == 1
    assert found(docs) == {"1"}
    with pytest.raises(ValueError, match="by ids or by filters"):
        docs.delete(["1"], filters={"lang": "en"})
    with pytest.raises(ValueError, match="this filter matches every document"):
        docs.delete(filters={})
    assert docs.count() == 1
    assert docs.delete(filters={}, everything=True) == 1


@pytest.mark.usefixtures("workplace")
def test_a_deletion_that_is_blocked_is_said_at_once(
    docs: SparseIndex, opensearch_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENSEARCH_URL", opensearch_url)
    docs.client.indices.put_settings(index=docs.index, body={"index.blocks.read_only": True})
    with pytest.raises(ClusterError, match=rf"Index '{docs.index}' cannot be written to: .*read-only.* Lift the block"):
        docs.delete(["1"])
    result = CliRunner().invoke(cli, ["delete", "--index", docs.index, "--id", "1"])
    assert result.exit_code == 1 and "cannot be written to" in result.stderr, result.output
    docs.client.indices.put_settings(index=docs.index, body={"index.blocks.read_only": None})
    docs.client.indices.put_settings(index=docs.index, body={"index.blocks.read_only_allow_delete": True})
    assert docs.count() == 3
    docs.client.indices.put_settings(index=docs.index, body={"index.blocks.read_only_allow_delete": None})
    assert docs.delete(["1", "nosuch"]) == 1 and docs.count() == 2, "the question leaves nothing behind"


def test_a_server_that_keeps_no_search_open_long_enough_says_so(docs: SparseIndex) -> None:
    short = {"search.max_keep_alive": "30s", "search.default_keep_alive": "30s"}
    docs.client.cluster.put_settings(body={"persistent": short})
    try:
        with pytest.raises(ClusterError, match=r"failed: Keep alive for request .*search.max_keep_alive"):
            docs.delete(filters={"lang": "de"})
        with pytest.raises(ClusterError, match=r"cannot be read: Keep alive for request .*search.max_keep_alive"):
            list(read_hits(docs.client, docs.index, {"query": {"match_all": {}}}))
    finally:
        docs.client.cluster.put_settings(body={"persistent": dict.fromkeys(short)})
    assert docs.delete(filters={"lang": "de"}) == 1


def test_a_deletion_by_filter_that_happens_to_match_all_needs_the_explicit_word(docs: SparseIndex) -> None:
    docs.client.indices.put_alias(
        index=docs.index, name=f"{docs.index}-en", body={"filter": {"term": {"metadata.lang": "en"}}}
    )
    english = SparseIndex(f"{docs.index}-en", client=docs.client)
    old: Filters = {"year": {"$ne": 2021}}  # two of three documents, one of the two that the alias shows
    refused: list[tuple[SparseIndex, Filters]] = [
        (docs, {"lang": {"$exists": True}}),
        (docs, {"year": {"$nin": [1999, None]}}),
        (english, {"lang": {"$exists": True}}),
        (english, {"lang": {"$ne": "de"}}),
    ]
    for index, filters in refused:
        with pytest.raises(
            ValueError, match=rf"matches every document \({index.count()} of '{index.index}'\); .*everything=True"
        ):
            index.delete(filters=filters)
    assert docs.count() == 3
    assert docs.delete(filters={"lang": {"$ne": "de"}, "$not": old}) == 1
    assert english.delete(filters={"lang": {"$exists": True}}) == 1  # one document is not several
    assert found(docs) == {"3"}


def test_settings_hybrid_pages_and_explanations_take_the_same_search(docs: SparseIndex) -> None:
    query = DOCUMENTS[2].text
    alone = SearchSettings(window=0, k_query=2, pruning=Pruning("top_k", 1))
    explained = docs.search(query, settings=alone, explain=True)[0].explain()
    assert len(explained.contributions) == 1
    assert explained.score == pytest.approx(explained.feature_score)
    assert docs.explain(query, "3").explain().rescored, "a new index keeps codes"
    assert docs.search(query, hybrid=True, top_k=1)[0].id == "3"
    assert docs.search(query, hybrid=True, bm25_weight=0.5, top_k=1)[0].id == "3"
    assert [hit.id for page in docs.pages(query, page_size=1) for hit in page][0] == "3"
    # With all weight on one ranking, that of the other does not matter; the best of each has 1.
    assert docs.search(f"{query} cats", hybrid=True, alpha=1.0, top_k=1)[0].score == 1
    features, mixed, words = (
        {hit.id: hit.score for hit in docs.search(f"{query} cats", hybrid=True, alpha=alpha)} for alpha in (1, 0.25, 0)
    )
    for doc_id, score in mixed.items():
        assert score == pytest.approx(0.25 * features.get(doc_id, 0) + 0.75 * words.get(doc_id, 0))
    for option in ("alpha", "bm25_weight"):
        with pytest.raises(ValueError, match=f"{option} needs hybrid"):
            docs.search(query, **{option: 0.5})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="leave alpha"):
        docs.search(query, hybrid=True, alpha=0.5, bm25_weight=0.5)
    with pytest.raises(ValueError, match="cannot be explained"):
        docs.search(query, hybrid=True, explain=True)


def test_a_new_index_is_as_requested(client: OpenSearch, index: str, encoder: TextEncoder) -> None:
    new = NewIndex(code_bits=None, fields={"year": "integer"}, settings={"number_of_shards": 2})
    made = SparseIndex(index, client=client, encoder=encoder, new=new)
    assert not made.exists()
    with pytest.raises(IndexMappingError, match=index):
        made.search("cats")
    made.add([{"_id": "1", "text": "cats sleep", "year": 1999}, {"_id": "2", "text": "cats sleep", "year": 2001}])
    assert [hit.id for hit in made.search("cats sleep", filters={"year": [1999, 2000]})] == ["1"]
    assert made.retriever.encoder.code is None
    assert client.indices.get_settings(index=index)[index]["settings"]["index"]["number_of_shards"] == "2"


async def test_the_asynchronous_twin_does_the_same(docs: SparseIndex) -> None:
    twin = AsyncSparseIndex(docs)
    assert (await twin.search(DOCUMENTS[1].text, top_k=1))[0].id == "2"

    async def arriving() -> AsyncIterator[Document]:
        yield Document("6", "music has rhythm")

    assert (await twin.add(arriving())).indexed == 1
    assert (await twin.add([{"_id": "7", "text": "music has pauses"}])).indexed == 1
    assert await twin.count() == 5
    public = {name for name, _ in inspect.getmembers(SparseIndex, inspect.isfunction) if name[0] != "_"}
    assert public - set(vars(AsyncSparseIndex)) == {"add_async", "job"}


async def test_the_asynchronous_twin_reads_pages_and_is_closed(client: OpenSearch, docs: SparseIndex) -> None:
    expected = [hit.id for page in docs.pages("cats music plants", page_size=1) for hit in page]
    assert len(expected) > 1
    async with AsyncSparseIndex(docs) as twin:
        assert [hit.id async for page in twin.pages("cats music plants", page_size=1) for hit in page] == expected
        pages = twin.pages("cats music plants", page_size=1)
        assert [hit.id for hit in await anext(pages)] == expected[:1]
        await pages.aclose()
        assert client.get_all_pits()["pits"] == [], "abandoned pages release theirs"
        with pytest.raises(SearchError, match="empty"):
            await anext(twin.pages(" "))


async def test_pages_that_a_loop_left_are_released_before_the_client_is_closed(
    client: OpenSearch, docs: SparseIndex, encoder: TextEncoder, opensearch_url: str
) -> None:
    with pytest.raises(RuntimeError, match="inside"):
        async with AsyncSparseIndex(SparseIndex(docs.index, encoder=encoder, url=opensearch_url)) as twin:
            kept = twin.pages("cats music plants", page_size=1)
            await anext(kept)
            async for _ in twin.pages("cats music plants", page_size=1):
                break
            raise RuntimeError("inside")
    assert client.get_all_pits()["pits"] == []
    with pytest.raises(ValueError, match="an AsyncSparseIndex wraps a SparseIndex, got 'docs'"):
        AsyncSparseIndex("docs")  # type: ignore[arg-type]


@pytest.mark.parametrize("arriving", [False, True])
async def test_an_addition_that_is_cancelled_sends_nothing_more(
    docs: SparseIndex, encoder: TextEncoder, opensearch_url: str, arriving: bool
) -> None:
    given = 0

    def many() -> Iterator[Document]:
        nonlocal given
        for given in range(100_000):
            yield Document(f"new-{given}", f"cats sleep {given}")

    async def many_arrive() -> AsyncIterator[Document]:
        for document in many():
            yield document

    async with AsyncSparseIndex(SparseIndex(docs.index, encoder=encoder, url=opensearch_url)) as twin:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(twin.add(many_arrive() if arriving else many()), timeout=2.0)
    await asyncio.sleep(2.0)  # the batch that was being encoded
    before = given
    await asyncio.sleep(1.0)
    assert 0 < given == before


async def test_an_update_that_is_cancelled_reads_no_further_changes(
    docs: SparseIndex, encoder: TextEncoder, opensearch_url: str
) -> None:
    given = 0

    def many() -> Iterator[dict[str, str]]:
        nonlocal given
        for given in range(100_000):
            yield {"_id": f"new-{given}", "text": f"cats sleep {given}"}

    async with AsyncSparseIndex(SparseIndex(docs.index, encoder=encoder, url=opensearch_url)) as twin:
        assert (await twin.update([{"_id": "1", "text": "stones sleep"}])).indexed == 1
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(twin.update(many(), upsert=True), timeout=2.0)
        await asyncio.sleep(2.0)  # the batch that was being written
        before = given
        await asyncio.sleep(1.0)
    assert 0 < given == before


def test_an_index_that_another_encoder_recreated_is_opened_again(
    client: OpenSearch, index: str, encoder: TextEncoder, dense_folder: Path, tmp_path: Path
) -> None:
    """Unless the encoder was given: a program need not be restarted when its index gets another one."""
    build_head(str(dense_folder), seed=5).save(str(tmp_path))
    SparseIndex(index, client=client, encoder=encoder).add(DOCUMENTS)
    given = SparseIndex(index, client=client, encoder=encoder)
    searching, updating, adding = (SparseIndex(index, client=client) for _ in range(3))
    for each in (searching, given):
        assert each.search(DOCUMENTS[1].text, top_k=1)[0].id == "2"
    updating.update([{"_id": "1", "title": "Plants"}])
    adding.add(DOCUMENTS[:1])
    client.indices.delete(index=index)
    SparseIndex(index, client=client, encoder=str(tmp_path)).add(DOCUMENTS)
    updating.update([{"_id": "1", "title": "Plants"}])
    adding.add([Document("4", "stars burn for years")])
    for each in (searching, updating, adding):
        assert each.search(DOCUMENTS[1].text, top_k=1)[0].id == "2"
    for call in (lambda: given.search("cats"), lambda: given.add(DOCUMENTS), lambda: given.update([{"_id": "1"}])):
        with pytest.raises(EncoderMismatchError, match="their features do not match"):
            call()
    assert searching.count() == 4


def test_options_leave_what_the_environment_says_of_its_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """A timeout made the password of the environment disappear."""
    for name, value in (("URL", "https://a.example:1"), ("USERNAME", "me"), ("PASSWORD", "s3cret")):
        monkeypatch.setenv(f"OPENSEARCH_{name}", value)
    environment = "Basic bWU6czNjcmV0"
    expected: list[tuple[dict[str, Any], str | None]] = [
        ({}, environment),
        ({"timeout_s": 5.0}, environment),
        ({"verify_certs": False}, environment),
        ({"proxy": ""}, environment),
        ({"api_key": "abc"}, "ApiKey abc"),
        ({"username": "you", "password": "other"}, "Basic eW91Om90aGVy"),
        ({"url": "https://b.example:2", "timeout_s": 5.0}, None),
    ]
    for options, header in expected:
        with SparseIndex("docs", **options) as made:
            assert made.client.transport.get_connection().headers.get("authorization") == header, options


def test_an_index_is_neither_copied_nor_pickled(docs: SparseIndex) -> None:
    for call in (copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match="a SparseIndex holds a connection and cannot be copied or pickled"):
            call(docs)


def test_an_encoder_may_be_a_path_but_no_model(client: OpenSearch, index: str, head_folder: Path) -> None:
    made = SparseIndex(index, client=client, encoder=head_folder)
    made.add(DOCUMENTS)
    assert made.search(DOCUMENTS[0].text, top_k=1)[0].id == "1"
    model: Any = made.retriever.encoder.model
    with pytest.raises(ValueError, match="an encoder must be a TextEncoder, .* got SparseEncoder; put a SparseEncoder"):
        SparseIndex(index, client=client, encoder=model)


def test_a_client_and_an_address_contradict_each_other(client: OpenSearch) -> None:
    with pytest.raises(ValueError, match="leave out url, username"):
        SparseIndex("docs", client=client, url="http://localhost:9200", username="me")


def test_ids_are_a_list_of_strings_or_integers(index: str, client: OpenSearch, encoder: TextEncoder) -> None:
    store = SparseIndex(index, client=client, encoder=encoder)
    store.add([{"_id": 1, "text": "cats sleep"}, {"_id": "2", "text": "stars burn"}])
    single: Any = "12"
    for verb in (store.delete, store.get):
        with pytest.raises(ValueError, match=r"ids must be a list of ids, got '12'; pass \['12'\]"):
            verb(single)
    assert set(store.get([1, 2])) == {"1", "2"}
    assert store.delete([1]) == 1
    assert set(store.get(["1", "2"])) == {"2"}


def test_filters_in_a_list_know_the_declared_fields(index: str, client: OpenSearch, encoder: TextEncoder) -> None:
    store = SparseIndex(index, client=client, encoder=encoder, new=NewIndex(fields={"year": "integer"}))
    store.add([{"_id": "1", "text": "cats sleep", "year": 2020}, {"_id": "2", "text": "stars burn", "year": 1999}])
    assert [hit.id for hit in store.search("cats", filters=[{"year": {"$gt": 2000}}, {"year": [2020, 1999]}])] == ["1"]
    assert [hit.id for hit in store.search("cats", filters={"_id": ["1", "9"]})] == ["1"]
    assert store.delete(filters=[{"$or": []}]) == 0
    with pytest.raises(ValueError, match="this filter matches every document"):
        store.delete(filters=[{"$not": {"year": []}}])
    assert store.count() == 2


def test_values_of_declared_fields_are_checked_by_their_types(
    index: str, client: OpenSearch, encoder: TextEncoder
) -> None:
    properties = {"size": {"type": "long"}, "on": {"type": "boolean"}}
    new = NewIndex(fields={"year": "integer"}, mappings={"properties": properties})
    good = {"_id": "1", "text": "cats sleep", "year": 2020.0, "size": 7, "on": "TRUE"}
    refused = "field '{}' is an integer in the index, got 1.5; round it, or declare it as double"
    with SparseIndex(index, client=client, encoder=encoder, new=new) as docs:
        for name in ("year", "size"):
            with pytest.raises(BulkWriteError, match=refused.format(name)):
                docs.add([{"_id": "2", "text": "stars burn", name: 1.5}, good])
        assert docs.get(["1", "2"])["1"]["on"] is True
    with SparseIndex(index, client=client, encoder=encoder) as docs:
        for call in (docs.add, docs.update):
            with pytest.raises(BulkWriteError, match=refused.format("year")):
                call([{"_id": "1", "text": "cats sleep", "year": [1.5]}])
        assert docs.update([{"_id": "1", "on": "False"}]).indexed == 1
        assert docs.get(["1"])["1"]["on"] is False


def test_whole_values_of_declared_text_are_compared_or_the_filter_is_refused(
    index: str, client: OpenSearch, encoder: TextEncoder
) -> None:
    """A term clause on analysed text matches single words in lower case: `Ada Lovelace` never, `ada` too often."""
    exact = {"type": "text", "fields": {"exact": {"type": "keyword"}}}
    new = NewIndex(fields={"bare": "text"}, mappings={"properties": {"author": exact}})
    store = SparseIndex(index, client=client, encoder=encoder, new=new)
    for doc_id, name in (("1", "Ada Lovelace"), ("2", "Ada"), ("3", "ada")):
        store.add([{"_id": doc_id, "text": "cats sleep", "author": name, "bare": name}])
    assert found(store, filters={"author": "Ada Lovelace"}) == {"1"}
    assert found(store, filters={"author": ["Ada", "x"]}) == {"2"}
    assert found(store, filters={"author": {"$ne": "Ada"}}) == {"1", "3"}
    assert found(store, filters={"bare": {"$exists": True}}) == {"1", "2", "3"}
    assert found(store, filters=[{"match_phrase": {"bare": "lovelace"}}]) == {"1"}
    calls: list[Callable[[Filters], object]] = [
        lambda filters: store.search("cats", filters=filters),
        store.count,
        lambda filters: store.delete(filters=filters),
    ]
    for call in calls:
        with pytest.raises(ValueError, match="the field 'bare' has the type 'text', .*pass a query clause"):
            call({"bare": "ada"})
    assert store.delete(filters={"author": "ada"}) == 1
    assert set(store.get(["1", "2", "3"])) == {"1", "2"}


def test_a_value_that_a_field_does_not_index_is_refused_in_filters(
    index: str, client: OpenSearch, encoder: TextEncoder
) -> None:
    """The server finds no document for it, and with a negation every one."""
    keyword = {"type": "keyword", "ignore_above": 5}
    properties = {"tag": keyword, "author": {"type": "text", "fields": {"keyword": keyword}}}
    store = SparseIndex(index, client=client, encoder=encoder, new=NewIndex(mappings={"properties": properties}))
    store.add([{"_id": name, "text": "cats sleep", "author": name, "tag": name} for name in ("Grace", "Grace H")])
    for name in ("author", "tag"):
        assert store.count({name: "Grace"}) == 1
        refused: list[Filters] = [{name: "Grace H"}, {name: {"$ne": "Grace H"}}, {name: ["Grace", "Grace H"]}]
        for filters in refused:
            with pytest.raises(ValueError, match=r"does not index values above 5 characters .* one of 7: 'Grace H'"):
                store.search("cats", filters=filters)
    long = "x" * 33_000
    store.add([{"_id": "1", "text": "cats sleep", "metadata": {"note": long}}])
    for filters in ({"note": long}, {"note": {"$ne": long}}):
        with pytest.raises(ValueError, match=r"'metadata.note' is indexed up to 32,702 bytes .* 33,000 characters: 'x"):
            store.count(filters)
    assert store.schema is not None
    with pytest.raises(ValueError, match="'author.keyword' does not index values above 5 characters"):
        parse_filter("author=Grace H", fields=store.schema.filterable)


def test_a_filter_that_no_document_can_match_says_so(docs: SparseIndex, caplog: pytest.LogCaptureFixture) -> None:
    docs.add([{"_id": "4", "title": "Cats", "text": "cats sleep"}])
    retriever = docs.retriever
    calls: list[Callable[[Filters], object]] = [
        lambda filters: docs.search("cats", filters=filters),
        lambda filters: docs.search("cats", filters=filters, hybrid=True),
        lambda filters: docs.search("cats", filters=filters, hybrid=True, bm25_weight=0.01),
        lambda filters: list(docs.pages("cats", filters=filters)),
        lambda filters: retriever.search_many(["cats"], filters=docs._clauses(filters)),
        docs.count,
        lambda filters: docs.delete(filters=filters),
    ]
    unknown: list[Filters] = [{"langg": "en"}, {"$or": [{"lang": "fr"}, {"langg": ["en", "de"]}]}]
    for call in calls:
        for filters in unknown:
            caplog.clear()
            assert not call(filters) or call is calls[4]
            assert [record.getMessage() for record in caplog.records] == [
                f"No document of index '{docs.index}' has the metadata key 'langg', which a filter names."
            ]
        with pytest.raises(SearchError, match="the field 'title' is indexed by words.*match_phrase"):
            call({"title": "Cats"})
    caplog.clear()
    assert docs.count({"id": "4"}) == 0 and "The id of a document is `_id`." in caplog.text
    caplog.clear()
    assert docs.search("cats", filters={"term": {"lang": "en"}}) == []
    [said] = [record.getMessage() for record in caplog.records]
    assert said.endswith("has the field 'lang', which a filter names. A key of the metadata is 'metadata.lang'.")
    caplog.clear()
    docs.add([{"_id": "5", "text": "dogs bark", "metadata": {"title": "Dogs"}}])
    assert not any(call({"title": "Cats"}) for call in calls if call is not calls[4])
    assert found(docs, filters={"title": "Dogs"}) <= {"5"} and docs.count({"title": "Dogs"}) == 1
    assert docs.count({"lang": "fr"}) == 0 and not caplog.records


@pytest.mark.parametrize("denied", [AuthorizationException(403, "security_exception", {}), NotFoundError(404, "", {})])
def test_a_search_without_hits_needs_no_further_permission(
    docs: SparseIndex, monkeypatch: pytest.MonkeyPatch, denied: TransportError
) -> None:
    def deny(**_: object) -> None:
        raise denied

    monkeypatch.setattr(docs.client, "msearch", deny)
    assert docs.search("cats", filters={"langg": "en"}) == [] and docs.count({"langg": "en"}) == 0


def join_two(name: str, client: OpenSearch, encoder: TextEncoder, field: str, kinds: Sequence[str], value: str) -> None:
    """Put two indices, whose field has different types, behind an alias; each has one document."""
    for number, kind in enumerate(kinds):
        new = NewIndex(code_bits=None, dictionary=False, calibrate=False, fields={field: kind})
        one = SparseIndex(f"{name}-{number}", client=client, encoder=encoder, new=new)
        one.add([{"_id": str(number), "text": "cats sleep", field: value}])
        client.indices.put_alias(index=f"{name}-{number}", name=name)


def test_text_in_one_index_of_an_alias_is_text(index: str, client: OpenSearch, encoder: TextEncoder) -> None:
    try:
        join_two(index, client, encoder, "author", ("keyword", "text"), "Ada")
        both = SparseIndex(index, client=client, encoder=encoder)
        assert {hit.id for hit in both.search("cats sleep")} == {"0", "1"}
        with pytest.raises(ValueError, match="the field 'author' has the type 'text'"):
            both.search("cats", filters={"author": "Ada"})
    finally:
        client.indices.delete(index=f"{index}-*")


def test_a_query_that_a_part_of_an_alias_rejects_is_an_error(
    index: str, client: OpenSearch, encoder: TextEncoder
) -> None:
    """The server answers with the hits of the other shards."""
    try:
        join_two(index, client, encoder, "year", ("keyword", "integer"), "2020")
        both = SparseIndex(index, client=client, encoder=encoder)
        assert {hit.id for hit in both.search("cats sleep", filters={"year": "2020"})} == {"0", "1"}
        part = rf"A part of index '{index}' \({index}-1\) rejects the query: .*soon"
        calls: list[Callable[[Filters], object]] = [
            lambda filters: both.search("cats sleep", filters=filters),
            lambda filters: both.search("cats sleep", filters=filters, hybrid=True),
            lambda filters: list(both.pages("cats sleep", filters=filters)),
            both.count,
            lambda filters: both.delete(filters=filters),
        ]
        for call in calls:
            with pytest.raises(SearchError, match=part):
                call({"year": "soon"})
    finally:
        client.indices.delete(index=f"{index}-*")


@pytest.fixture
def unrefreshed(client: OpenSearch, index: str, encoder: TextEncoder) -> SparseIndex:
    """Three documents; searches see no later change until a refresh is requested."""
    new = NewIndex(settings={"refresh_interval": "-1", "number_of_shards": 1})
    made = SparseIndex(index, client=client, encoder=encoder, new=new)
    made.add(DOCUMENTS)
    return made


def test_a_deletion_by_filter_deletes_what_others_change_meanwhile(
    unrefreshed: SparseIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = unrefreshed.client
    delete_by_query, changes = client.delete_by_query, [("1", "en"), ("2", "fr")]

    def late(**request: Any) -> Any:  # noqa: ANN401
        while changes:
            doc_id, lang = changes.pop()
            client.update(index=unrefreshed.index, id=doc_id, body={"doc": {"metadata": {"lang": lang, "n": 1}}})
        return delete_by_query(**request)

    monkeypatch.setattr(client, "delete_by_query", late)
    assert unrefreshed.delete(filters={"lang": "en"}) == 1
    assert set(unrefreshed.get(["1", "2", "3"])) == {"2", "3"}, "the second no longer matches"


def test_a_deletion_by_filter_that_others_keep_from_a_document_says_so(
    unrefreshed: SparseIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = unrefreshed.client
    delete_by_query = client.delete_by_query

    def late(**request: Any) -> Any:  # noqa: ANN401
        client.update(index=unrefreshed.index, id="1", body={"doc": {"title": str(uuid.uuid4())}})
        return delete_by_query(**request)

    monkeypatch.setattr(client, "delete_by_query", late)
    kept = "1 matching documents of .* were kept, because other writers changed them .*; 1 were deleted"
    with pytest.raises(BulkWriteError, match=kept):
        unrefreshed.delete(filters={"lang": "en"})
    assert set(unrefreshed.get(["1", "2", "3"])) == {"1", "3"}


def test_a_key_that_holds_an_object_is_not_missing(client: OpenSearch, index: str, encoder: TextEncoder) -> None:
    docs = SparseIndex(index, client=client, encoder=encoder, new=NewIndex(fields={"facts": "flat_object"}))
    written: dict[str, dict[str, Any]] = {
        "object": {"author": {"name": "Ada", "born": {"year": 1815}}},
        "name": {"author": "Anon"},
        "list": {"author": [{"name": "Ada"}]},
        "empty": {"author": {}},
        "none": {},
        "other": {"a*b": {"c": 1}, "authors": {"name": "Ada"}},
    }
    docs.add([Document(doc_id, "cats", metadata=each, fields={"facts": each}) for doc_id, each in written.items()])
    having = {"object", "name", "list"}
    for key in ("author", "facts.author"):
        assert found(docs, filters={key: {"$exists": True}}) == having
        assert found(docs, filters={key: None}) == {"empty", "none", "other"}
        assert found(docs, filters={key: ["Anon", None]}) == {"name", "empty", "none", "other"}
    assert found(docs, filters={"author.born": {"$exists": True}}) == {"object"}
    assert found(docs, filters={"a*b": {"$exists": True}}) == {"other"}
    assert found(docs, filters={"a*r": {"$exists": True}}) == set(), "a star in a key is a star"
    assert docs.delete(filters={"author": None}) == 3
    assert set(docs.get(written)) == having


def test_a_field_that_is_declared_later_is_filtered(docs: SparseIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("connector.search.sparse_index._RECHECK_S", 0.0)
    assert docs.search("cats", filters={"floor": 3}) == []
    docs.client.indices.put_mapping(index=docs.index, body={"properties": {"floor": {"type": "integer"}}})
    docs.add([{"_id": "9", "text": "cats sleep", "floor": 3}])
    assert [hit.id for hit in docs.search("cats", filters={"floor": {"$gte": 3}})] == ["9"]
