from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from opensearchpy import OpenSearch

from connector.connection.client import connect
from connector.errors import ClusterError, SearchError
from connector.index.meta import IndexMeta
from connector.index.new_index import NewIndex
from connector.index.schema import prepare_index
from connector.index.searcher import Searcher
from connector.index.writer import BulkWriter
from connector.query.body import parse_filter
from connector.types import EncoderFingerprint, Hit, SparseDocument
from tests.fault_proxy import FaultProxy, fault_proxy

pytestmark = pytest.mark.opensearch

DOCUMENTS = (
    SparseDocument(
        "d1",
        {"3": 1.0, "9": 0.5},
        {"title": "One", "text": "first", "year": 1999, "metadata": {"lang": "en", "author": {"name": "Li"}}},
    ),
    SparseDocument("d2", {"3": 0.5}, {"text": "second", "year": 2001, "metadata": {"lang": "de", "tags": ["a", "b"]}}),
    SparseDocument("d3", {"9": 2.0}, {"text": "third", "metadata": {"lang": None, "none": [], "n": 1.5, "yes": True}}),
    SparseDocument("d4", {"7": 1.0}, {"text": "fourth", "metadata": {"lang": "en", "empty": {}, "deep": [{"x": [1]}]}}),
)


@pytest.fixture(scope="module")
def shared_index(opensearch_url: str) -> Iterator[str]:
    """One index for all searches here, since nothing changes it."""
    name = f"test-{uuid.uuid4().hex[:12]}"
    fingerprint = EncoderFingerprint("tiny", "", "ab" * 32, 8, 64, "mean", 12)
    with connect(opensearch_url) as client:
        prepare_index(client, name, IndexMeta(fingerprint), NewIndex(fields={"year": "integer"}))
        writer = BulkWriter(client, name)
        result = writer.write(DOCUMENTS)
        writer.refresh()
        assert (result.indexed, result.refused) == (4, ()), "metadata of some kind is refused"
        yield name
        client.indices.delete(index=name)


@pytest.fixture
def searcher(client: OpenSearch, shared_index: str) -> Searcher:
    return Searcher(client, shared_index)


def found(hits: list[Hit]) -> list[tuple[str, float]]:
    return [(hit.doc_id, hit.score) for hit in hits]


def test_hits_are_ordered_by_their_dot_product(searcher: Searcher) -> None:
    # d1: 1 * 2 + 0.5 * 4 = 4; d2: 0.5 * 2 = 1; d3: 2 * 4 = 8; d4 shares nothing.
    assert found(searcher.search({"3": 2.0, "9": 4.0})) == [("d3", 8.0), ("d1", 4.0), ("d2", 1.0)]


def test_top_k_cuts_the_hits(searcher: Searcher) -> None:
    assert found(searcher.search({"3": 2.0, "9": 4.0}, top_k=2)) == [("d3", 8.0), ("d1", 4.0)]


def test_a_feature_that_no_document_has_finds_nothing(searcher: Searcher) -> None:
    assert searcher.search({"63": 1.0}) == []


def test_a_hit_carries_the_fields_that_were_requested(client: OpenSearch, shared_index: str) -> None:
    def source(asked: Any) -> object:  # noqa: ANN401
        [hit] = Searcher(client, shared_index, source=asked).search({"3": 1.0}, top_k=1)
        return hit.source

    assert source(("title", "year")) == {"title": "One", "year": 1999}
    assert source(True) == DOCUMENTS[0].source, "features in _source, or a field lost"
    assert source(False) == {}
    [hit] = Searcher(client, shared_index).search({"3": 1.0}, top_k=1)
    assert hit.source == DOCUMENTS[0].source and hit.index == shared_index


def test_metadata_comes_back_as_it_was_given(client: OpenSearch, shared_index: str) -> None:
    for document in DOCUMENTS:
        assert client.get(index=shared_index, id=document.doc_id)["_source"] == document.source


@pytest.mark.parametrize(
    ("expression", "doc_ids"),
    [
        ("lang=en", ["d1", "d4"]),
        ("lang=de", ["d2"]),
        ("lang=xx", []),
        ("author.name=Li", ["d1"]),
        ("author.name=li", []),
        ("tags=b", ["d2"]),
        ("n=1.5", ["d3"]),
        ("yes=true", ["d3"]),
        ("year=1999", ["d1"]),
        ("year=2000", []),
    ],
)
def test_a_filter_keeps_matching_documents(searcher: Searcher, expression: str, doc_ids: list[str]) -> None:
    hits = searcher.search({"3": 1.0, "7": 1.0, "9": 1.0}, filters=[parse_filter(expression, fields=("year",))])
    assert sorted(hit.doc_id for hit in hits) == doc_ids


def test_a_filter_does_not_change_the_scores(searcher: Searcher) -> None:
    query = {"3": 2.0, "9": 4.0}
    assert found(searcher.search(query, filters=[{"range": {"year": {"lt": 2000}}}])) == [("d1", 4.0)]


def test_all_filters_must_match(searcher: Searcher) -> None:
    filters = [parse_filter("lang=en"), {"exists": {"field": "year"}}]
    assert [hit.doc_id for hit in searcher.search({"3": 1.0, "7": 1.0}, filters=filters)] == ["d1"]


def test_a_batch_finds_what_single_searches_find(searcher: Searcher) -> None:
    queries = [{"3": 2.0, "9": 4.0}, {"7": 1.0}, {"63": 1.0}, {"9": 0.1}]
    for filters in ([], [parse_filter("lang=en")]):
        batch = searcher.search_many(queries, top_k=2, filters=filters)
        assert batch == [searcher.search(query, top_k=2, filters=filters) for query in queries]


def test_a_query_without_features_has_no_hits_and_keeps_its_place(searcher: Searcher) -> None:
    batch = searcher.search_many([{}, {"7": 1.0}, {}])
    assert [found(hits) for hits in batch] == [[], [("d4", 1.0)], []]
    assert searcher.search_many([{}, {}]) == [[], []]
    assert searcher.search_many([]) == []


def test_a_batch_is_one_request(opensearch_url: str, shared_index: str) -> None:
    proxy: FaultProxy
    with fault_proxy(opensearch_url) as proxy, connect(proxy.url) as client:
        Searcher(client, shared_index, weight_exponent=0).search_many([{"3": 1.0}, {"9": 1.0}, {}])
        assert proxy.paths == [f"/{shared_index}/_msearch"]
        Searcher(client, shared_index).search_many([{}])
        assert len(proxy.paths) == 1


def test_a_single_search_without_features_is_refused(searcher: Searcher) -> None:
    with pytest.raises(ValueError, match="has no features"):
        searcher.search({})


@pytest.mark.parametrize("top_k", [0, 10_001])
def test_top_k_out_of_range_is_refused(searcher: Searcher, top_k: int) -> None:
    for search in (
        lambda: searcher.search({"3": 1.0}, top_k=top_k),
        lambda: searcher.search_many([{"3": 1.0}], top_k=top_k),
    ):
        with pytest.raises(ValueError, match=f"between 1 and 10,000 .*, got {top_k}"):
            search()


def test_the_largest_top_k_is_taken(searcher: Searcher) -> None:
    assert len(searcher.search({"3": 1.0}, top_k=10_000)) == 2


def test_1024_features_are_searched(searcher: Searcher) -> None:
    features = {str(number): 1.0 for number in range(1024)}
    assert found(searcher.search(features, top_k=1)) == [("d3", 2.0)]


def test_a_filter_takes_the_place_of_a_feature(searcher: Searcher) -> None:
    features = {str(number): 1.0 for number in range(1023)}
    assert len(searcher.search(features, filters=[parse_filter("lang=en")])) == 2
    with pytest.raises(ValueError, match="1024 features and 1 filters, but a bool query allows 1024 clauses"):
        searcher.search(features | {"1023": 1.0}, filters=[parse_filter("lang=en")])


def test_a_missing_index_is_named_with_the_next_step(client: OpenSearch, index: str) -> None:
    with pytest.raises(
        SearchError, match=f"no index '{index}'. Create it with `ksparse ingest CORPUS --index {index}`"
    ):
        Searcher(client, index).search({"3": 1.0})
    with pytest.raises(SearchError, match=rf"no such index \[{index}\]"):
        Searcher(client, index).search_many([{"3": 1.0}])


def test_a_query_that_the_server_refuses_is_a_search_error(searcher: Searcher) -> None:
    with pytest.raises(SearchError, match=r"rejects the query: unknown query \[author\]\. .* is named a\.b"):
        searcher.search({"3": 1.0}, filters=[{"author": {"user": "kim"}}])
    with pytest.raises(SearchError, match='rejects the query: .*For input string: "abc"'):
        searcher.search({"3": 1.0}, filters=[{"term": {"year": "abc"}}])


def test_a_batch_says_why_a_query_was_refused(searcher: Searcher) -> None:
    with pytest.raises(SearchError, match='For input string: "abc"'):
        searcher.search_many([{"3": 1.0}], filters=[{"term": {"year": "abc"}}])


def test_a_server_that_is_unreachable_is_a_cluster_error() -> None:
    with connect("http://127.0.0.1:1") as nobody:
        for search in (Searcher(nobody, "x").search, lambda query: Searcher(nobody, "x").search_many([query])):
            with pytest.raises(ClusterError, match="No OpenSearch answers"):
                search({"3": 1.0})
