"""What a server answers of a part of an index is not taken for the whole: shards away, time limits, lost features."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest
from click.testing import CliRunner
from opensearchpy import OpenSearch
from opensearchpy.exceptions import NotFoundError

from connector.cli.main import cli
from connector.encoders.text import TextEncoder
from connector.errors import BulkWriteError, BusyError, ClusterError, IndexMappingError, SearchError
from connector.index.hits import read_hits
from connector.index.new_index import NewIndex
from connector.index.sizes import all_of
from connector.index.writer import BulkWriter
from connector.query.settings import SearchSettings
from connector.search.reencode import compare_indices
from connector.search.retriever import Retriever
from connector.search.sparse_index import SparseIndex
from connector.types import Deletion
from tests.never import never
from tests.opensearch.shards import shard_away

pytestmark = pytest.mark.opensearch

DOCUMENTS = [{"_id": str(row), "text": f"cats sleep on warm stones {row}"} for row in range(12)]
IDS = [each["_id"] for each in DOCUMENTS]


@pytest.fixture
def docs(client: OpenSearch, index: str, encoder: TextEncoder) -> SparseIndex:
    settings = {"number_of_shards": 2, "number_of_replicas": 0}
    made = SparseIndex(index, encoder=encoder, client=client, new=NewIndex(settings=settings))
    made.add(DOCUMENTS)
    return made


@pytest.fixture
def partial(client: OpenSearch, docs: SparseIndex) -> Iterator[SparseIndex]:
    """Twelve documents, some of which are on a shard that is away."""
    assert docs.search("cats sleep")
    with shard_away(client, docs.index):
        yield docs


def test_documents_of_a_shard_that_is_away_are_not_missing(client: OpenSearch, partial: SparseIndex) -> None:
    with pytest.raises(BusyError, match=r"cannot answer now \(503\)"):
        partial.get(IDS)
    lookup = BulkWriter(client, partial.index, retry_deadline_s=0.5).lookup
    with pytest.raises(BulkWriteError, match="did not answer a request about index"):
        lookup.find(dict.fromkeys(IDS))
    with pytest.raises(BulkWriteError, match="did not answer a request about index"):
        lookup._search(IDS, source=False, refresh=False)
    with pytest.raises(BulkWriteError, match="did not answer a request about index"):
        lookup.resolve([Deletion("1")])


def test_a_search_says_that_a_shard_is_away(partial: SparseIndex, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "ksparse.index"):
        assert 0 < len(partial.search("cats sleep", top_k=20)) < len(DOCUMENTS)
    said = f"1 of 2 shards of {partial.index} did not answer; documents are missing: no copy is at hand"
    assert said in caplog.messages


def test_reading_all_documents_ends_if_a_shard_is_away(client: OpenSearch, partial: SparseIndex) -> None:
    seen = {hit["_id"] for hit in client.search(index=partial.index, body={"size": 100})["hits"]["hits"]}
    lost = sorted(set(IDS) - seen)
    assert seen and lost
    for clauses in ((), [{"ids": {"values": lost}}]):  # a page without hits is none of an index without hits
        with pytest.raises(ClusterError, match=f"Reading '{partial.index}' was interrupted: only 1 shards out of 2"):
            list(read_hits(client, partial.index, all_of(clauses)))
    with pytest.raises(BusyError, match=r"cannot answer now \(503\)"):
        list(partial.pages("cats sleep"))


def test_a_document_of_a_shard_that_is_away_is_not_explained_as_missing(
    client: OpenSearch, partial: SparseIndex
) -> None:
    seen = {hit["_id"] for hit in client.search(index=partial.index, body={"size": 100})["hits"]["hits"]}
    lost = min(set(IDS) - seen)
    with pytest.raises(BusyError, match=f"The search in '{partial.index}' failed: .*missing shards.*Try again"):
        partial.explain("cats sleep", lost)


def test_a_missing_document_is_explained_without_naming_the_index_in_headers(
    docs: SparseIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server may not permit them to (`rest.action.multi.allow_explicit_index`)."""
    sent: list[dict[str, Any]] = []
    msearch = docs.client.msearch

    def noted(*, body: list[dict[str, Any]], **request: Any) -> Any:  # noqa: ANN401
        sent.extend(body[::2])
        return msearch(body=body, **request)

    monkeypatch.setattr(docs.client, "msearch", noted)
    with pytest.raises(SearchError, match=f"^Index '{docs.index}' has no document 'nowhere'.$"):
        docs.explain("cats sleep", "nowhere")
    assert sent and not any("index" in header for header in sent)


def test_words_that_match_nothing_are_no_sign_of_another_index(
    docs: SparseIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert docs.search("cats sleep", hybrid=True)
    monkeypatch.setattr("connector.index.guard.read_spaces", never("read again"))
    monkeypatch.setattr("connector.index.searcher.build_words_query", lambda *_, **__: {"match_none": {}})
    assert docs.search("cats sleep", hybrid=True)


def test_hits_of_a_search_that_ran_out_of_time_are_no_answer(
    docs: SparseIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    search = docs.client.search
    monkeypatch.setattr(docs.client, "search", lambda **asked: search(**asked) | {"timed_out": True})
    with pytest.raises(BusyError, match=r"reached the server's time limit \(search.default_search_timeout\)"):
        docs.search("cats sleep")


def copied(client: OpenSearch, docs: SparseIndex, to: str) -> None:
    """A copy as people make one: the mapping, then `_reindex`."""
    mappings = client.indices.get_mapping(index=docs.index)[docs.index]["mappings"]
    client.indices.create(index=to, body={"mappings": mappings})
    client.reindex(body={"source": {"index": docs.index}, "dest": {"index": to}}, params={"refresh": "true"})


def test_a_copy_by_the_server_says_that_it_has_no_features(
    client: OpenSearch, docs: SparseIndex, second: str, encoder: TextEncoder
) -> None:
    copied(client, docs, second)
    copy = SparseIndex(second, encoder=encoder, client=client)
    lost = f"None of the 12 documents of index '{second}' has features: the server's `_reindex`.*`ksparse reencode`"
    with pytest.raises(IndexMappingError, match=lost):
        copy.search("cats sleep")
    with pytest.raises(IndexMappingError, match=lost):
        list(copy.pages("cats sleep"))
    with pytest.raises(IndexMappingError, match=lost):
        copy.search("cats sleep", hybrid=True)
    with pytest.raises(IndexMappingError, match=lost):
        copy.retriever.search_many(["cats sleep", "stars"])
    compared = compare_indices(client, Retriever(client, second, encoder), Retriever(client, docs.index, encoder))
    assert (compared.found, compared.new_documents) == (0.0, 12), "re-encoding it is possible"
    copy.add(DOCUMENTS[:1])
    assert [hit.id for hit in copy.search("cats sleep")] == ["0"]


def test_an_index_that_gave_hits_is_not_asked_for_its_features(
    docs: SparseIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert docs.search("cats sleep")
    asked: list[dict[str, Any]] = []
    search = docs.client.search

    def noted(**request: Any) -> Any:  # noqa: ANN401
        asked.append(request["body"])
        return search(**request)

    monkeypatch.setattr(docs.client, "search", noted)
    assert docs.search("cats sleep", filters={"lang": "none"}) == []
    assert len(asked) == 2 and not any("aggs" in body for body in asked)


@pytest.mark.usefixtures("workplace")
def test_a_document_without_features_is_explained_and_counted(client: OpenSearch, docs: SparseIndex) -> None:
    client.update(index=docs.index, id="3", body={"doc": {"title": "Cats"}}, params={"refresh": "true"})
    with pytest.raises(SearchError, match=f"Document '3' of index '{docs.index}' has no features: the server's"):
        docs.retriever.explain("cats sleep", "3")
    result = CliRunner().invoke(cli, ["doctor", "--index", docs.index, "--recall", "0.1"])
    assert "Searches do not find 1 documents without features: the server's" in result.stdout, result.output


def test_a_deletion_by_filter_finds_what_no_search_has_seen_yet(
    client: OpenSearch, index: str, encoder: TextEncoder
) -> None:
    docs = SparseIndex(index, encoder=encoder, client=client, new=NewIndex(settings={"refresh_interval": "-1"}))
    docs.add(DOCUMENTS, refresh=False)
    assert docs.delete(filters={}, everything=True) == len(DOCUMENTS)


def test_a_deletion_whose_task_is_gone_is_one_line(docs: SparseIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(**_: object) -> None:
        raise NotFoundError(404, "resource_not_found_exception", {"error": {"reason": "task isn't running"}})

    monkeypatch.setattr(docs.client.tasks, "get", gone)
    with pytest.raises(ClusterError, match=f"no longer knows how its task .* ended, which deleted from '{docs.index}'"):
        docs.delete(filters={"_id": "1"})


def test_documents_are_found_by_id_in_an_index_with_small_result_windows(
    client: OpenSearch, index: str, encoder: TextEncoder
) -> None:
    docs = SparseIndex(index, encoder=encoder, client=client, new=NewIndex(settings={"max_result_window": 501}))
    docs.add(DOCUMENTS)
    assert set(docs.get([*IDS, *map(str, range(100, 700))])) == set(IDS)
    client.indices.put_alias(index=index, name=f"{index}-all", body={"filter": {"match_all": {}}})
    alias = SparseIndex(f"{index}-all", encoder=encoder, client=client)
    assert alias.update([{"_id": "1", "title": "Cats"}]).indexed == 1
    assert alias.delete(["1", "nope"]) == 1


def test_a_closed_index_is_named_and_does_not_keep_an_alias_from_being_written(
    client: OpenSearch, docs: SparseIndex, second: str, encoder: TextEncoder
) -> None:
    SparseIndex(second, encoder=encoder, client=client).add(DOCUMENTS)
    for name in (docs.index, second):
        client.indices.put_alias(index=name, name=f"{docs.index}-all", body={"is_write_index": name == second})
    alias = SparseIndex(f"{docs.index}-all", encoder=encoder, client=client)
    client.indices.close(index=docs.index)
    closed = f"index '{docs.index}' is closed; open it, or take it out of its aliases"
    with pytest.raises(SearchError, match=closed):
        alias.search("cats sleep")
    with pytest.raises(IndexMappingError, match=closed):
        alias.get(["1"])
    assert alias.add([{"_id": "new", "text": "cats"}]).indexed == 1


def test_a_block_of_reading_is_not_taken_for_a_shard_that_is_away(client: OpenSearch, docs: SparseIndex) -> None:
    client.indices.put_settings(index=docs.index, body={"index.blocks.read": True})
    with pytest.raises(ClusterError, match=r"does not permit this \(403\): index .* blocked by") as caught:
        docs.get(["1"])
    assert not isinstance(caught.value, BusyError)


def test_a_cluster_that_permits_no_scripts_is_searched_without_a_window(client: OpenSearch, docs: SparseIndex) -> None:
    setting = "search.allow_expensive_queries"
    client.cluster.put_settings(body={"transient": {setting: False}})
    try:
        for hybrid in (False, True):
            with pytest.raises(SearchError, match=rf"{setting}.*or search with window=0 \(--window 0\)"):
                docs.search("cats sleep", hybrid=hybrid)
        assert docs.search("cats sleep", settings=SearchSettings(window=0))
        with pytest.raises(SearchError, match=rf"{setting}.*search without that filter") as refused:
            docs.search("cats sleep", filters={"nobody": None}, settings=SearchSettings(window=0))
        assert "window" not in str(refused.value)
    finally:
        client.cluster.put_settings(body={"transient": {setting: None}})


def test_a_node_that_compiles_no_script_now_is_busy(client: OpenSearch, docs: SparseIndex) -> None:
    setting = "script.context.score.max_compilations_rate"
    client.cluster.put_settings(body={"transient": {setting: "0/10m"}})
    try:
        for hybrid in (False, True):
            with pytest.raises(BusyError, match=rf"\[{setting}\].* raise that limit, or search with window=0"):
                docs.search("cats sleep", hybrid=hybrid)
    finally:
        client.cluster.put_settings(body={"transient": {setting: None}})
    assert docs.search("cats sleep")
