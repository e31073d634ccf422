"""Filters that keep few documents: codes score all of these."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from opensearchpy import OpenSearch

from benchmarks.systems.base import write
from connector.connection.client import connect
from connector.encoders.text import TextEncoder
from connector.errors import SearchError
from connector.index.kept import KeptDocuments
from connector.index.reach import Reach
from connector.index.searcher import Searcher
from connector.index.sender import Sender
from connector.limits import MAX_CLAUSES
from connector.query.body import (
    FEATURES_FIELD,
    NO_OPTIONS,
    PRESENCE_FEATURE,
    build_query,
    has_features,
    within_space,
)
from connector.query.rescore import CODE_FIELD, build_rescore, code_mapping, rescore_all
from connector.query.settings import SearchSettings
from connector.search.opened import features_for
from connector.search.retriever import Retriever
from connector.types import Hit
from connector.vectors.codes import RotatedCode
from tests.fault_proxy import fault_proxy
from tests.tenants import QUERY, fill_a_tenth
from tests.unit_vectors import DOCUMENTS, QUERIES

COUNT = 60
CODE = RotatedCode(DOCUMENTS.mean(axis=0), 4)
KEPT = [{"term": {"tag": {"value": "few"}}}]
RESCORE = build_rescore(CODE, QUERIES[0], 5)


@pytest.fixture
def searcher(client: OpenSearch, index: str) -> Searcher:
    """Even documents have the feature `a`, odd ones `b`; every sixth and its successor are kept by the filter."""
    properties = {FEATURES_FIELD: {"type": "rank_features"}, CODE_FIELD: code_mapping(), "tag": {"type": "keyword"}}
    client.indices.create(index=index, body={"mappings": {"properties": properties}})
    sources = (
        {
            FEATURES_FIELD: {"ab"[row % 2]: 1.0, PRESENCE_FEATURE: 1.0},
            CODE_FIELD: base64.b64encode(code.tobytes()).decode(),
            "tag": "few" if row % 6 < 2 else "many",
        }
        for row, code in enumerate(CODE.encode(DOCUMENTS[:COUNT]))
    )
    write(client, index, map(str, range(COUNT)), sources)
    client.indices.refresh(index=index)
    return Searcher(client, index, weight_exponent=0)


def best(rows: list[int]) -> list[str]:
    """Ids in the order of their codes."""
    scores = CODE.score(CODE.encode(DOCUMENTS[rows]), QUERIES[0])
    return [str(rows[place]) for place in np.argsort(-scores)[:10]]


@pytest.mark.opensearch
def test_documents_without_a_feature_are_found_where_a_filter_keeps_few(searcher: Searcher) -> None:
    kept = [row for row in range(COUNT) if row % 6 < 2]
    found = [hit.doc_id for hit in searcher.search({"a": 1.0}, filters=KEPT, rescore=RESCORE)]
    assert found == best(kept) and any(int(doc_id) % 2 for doc_id in found)
    [several] = searcher.search_many([{"a": 1.0}], filters=KEPT, rescores=[RESCORE])
    assert [hit.doc_id for hit in several] == found
    [odd] = [doc_id for doc_id in found if int(doc_id) % 2][:1]
    assert [hit.doc_id for hit in searcher.search({"a": 1.0}, filters=KEPT, rescore=RESCORE, doc_id=odd)] == [odd]


@pytest.mark.opensearch
def test_features_decide_without_codes_or_filters_or_where_many_are_kept(
    searcher: Searcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    def found(**how: Any) -> set[int]:  # noqa: ANN401
        return {int(hit.doc_id) % 2 for hit in searcher.search({"a": 1.0}, **how)}

    assert found(rescore=RESCORE) == found(filters=KEPT) == {0}
    # Asking for one document is no filter: it is not found unless a search finds it.
    assert searcher.search({"a": 1.0}, rescore=RESCORE, doc_id="1") == []
    assert searcher.reach.share(KEPT, NO_OPTIONS) == 1.0
    monkeypatch.setattr("connector.index.reach.MAX_RESCORED", 19)
    assert searcher.reach.share(KEPT, NO_OPTIONS) == 1 / 3
    assert found(filters=KEPT, rescore=RESCORE) == {0}, "20 documents are kept"


@pytest.mark.opensearch
def test_a_small_index_is_scored_as_a_whole(searcher: Searcher, client: OpenSearch) -> None:
    def found(searcher: Searcher, **how: Any) -> list[str]:  # noqa: ANN401
        return [hit.doc_id for hit in searcher.search({"a": 1.0}, **how)]

    small = Searcher(client, searcher.index, weight_exponent=0, scan_limit=COUNT)
    assert found(small, rescore=RESCORE) == best(list(range(COUNT)))
    [several] = small.search_many([{"a": 1.0}], rescores=[RESCORE])
    assert [hit.doc_id for hit in several] == best(list(range(COUNT)))
    assert found(small, rescore=RESCORE, doc_id="1") == ["1"]
    assert len(found(small, top_k=COUNT)) == COUNT / 2, "without codes, features decide"
    large = Searcher(client, searcher.index, weight_exponent=0, scan_limit=COUNT - 1)
    assert not any(int(doc_id) % 2 for doc_id in found(large, rescore=RESCORE))
    # As many features as a query may have clauses leave no room for another one.
    full = {"a": 1.0} | {f"f{number}": 1.0 for number in range(1, MAX_CLAUSES)}
    assert not any(int(hit.doc_id) % 2 for hit in small.search(full, rescore=RESCORE))


@pytest.mark.opensearch
@pytest.mark.parametrize(("limit", "scored"), [(30, True), (19, False)])
def test_an_index_limits_how_many_documents_are_scored(
    searcher: Searcher, client: OpenSearch, limit: int, scored: bool
) -> None:
    client.indices.put_settings(index=searcher.index, body={"index.max_result_window": limit})
    found = [hit.doc_id for hit in searcher.search({"a": 1.0}, filters=KEPT, rescore=RESCORE)]
    assert len(found) == 10
    assert (found == best([row for row in range(COUNT) if row % 6 < 2])) == scored, "20 documents are kept"
    assert (searcher.reach.share(KEPT, NO_OPTIONS) == 1.0) == scored
    small = Searcher(client, searcher.index, weight_exponent=0, scan_limit=COUNT)
    assert len(small.search({"a": 1.0}, rescore=RESCORE)) == 10


@pytest.mark.opensearch
def test_a_window_that_no_search_sets_is_one_that_the_index_permits(
    opensearch_url: str, client: OpenSearch, index: str, encoder: TextEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("connector.search.opened.MAX_RESCORED", 0)  # no scan, as in a large index
    written = fill_a_tenth(client, index, encoder)
    client.indices.put_settings(index=index, body={"index.max_result_window": 30})
    with fault_proxy(opensearch_url) as proxy, connect(proxy.url) as through:
        searches: list[Callable[[Retriever], list[Hit]]] = [
            lambda retriever: retriever.search(QUERY),
            lambda retriever: retriever.search_many([QUERY])[0],
            lambda retriever: retriever.search_hybrid(QUERY),
            lambda retriever: retriever.search_hybrid(QUERY, settings=SearchSettings(window=0)),
        ]
        for search in searches:
            retriever = Retriever(through, index, written)
            assert len(search(retriever)) == 10
            proxy.paths.clear()
            assert len(search(retriever)) == 10
            assert len(proxy.paths) == 1, "what the server has refused once is known"
        with pytest.raises(SearchError, match=r"Rescore window \[100\] is too large"):
            retriever.search(QUERY, settings=SearchSettings(window=100))
    assert Retriever(client, index, written).defaults().window == 30
    client.indices.put_settings(index=index, body={"index.max_rescore_window": 40})
    assert Retriever(client, index, written).defaults().window == 40


def test_a_refused_window_is_tried_again_by_each_search_that_did_not_know_the_limit() -> None:
    reach = Reach(Sender(OpenSearch(), "docs", None), 0)
    refused = SearchError(
        "Index 'docs' rejects the query: Rescore window [600] is too large. It must be less than [500]. This prevents "
        "allocating massive heaps"
    )
    known = reach.known_window
    assert reach.default_window(600) == 600
    assert not reach.learn_window(SearchError("Index 'docs' rejects the query: too many clauses"), known)
    assert reach.learn_window(refused, known) and reach.learn_window(refused, known), "of two that ran at a time"
    assert (reach.default_window(600), reach.default_window(400)) == (500, 400)
    assert not reach.learn_window(refused, reach.known_window), "the search set the window"
    deep = SearchError("Result window is too large, from + size must be less than or equal to: [30] but was [100]")
    assert reach.learn_window(deep, reach.known_window) and reach.default_window(100) == 30


def test_a_filter_is_counted_once_in_a_while() -> None:
    class Counting:
        """Records its calls."""

        def __init__(self) -> None:
            self.asked: list[Any] = []

        def search(self, **request: Any) -> dict[str, Any]:  # noqa: ANN401
            self.asked.append(request)
            return {"hits": {"total": {"value": 7}}}

    client = Counting()
    kept = KeptDocuments(client, "docs")  # type: ignore[arg-type]
    assert [kept.count(KEPT, {}), kept.count(KEPT, {}), kept.count(KEPT, {"routing": "a"})] == [7, 7, 7]
    assert [request["params"] for request in client.asked] == [{}, {"routing": "a"}]
    assert client.asked[0]["body"] == {"size": 0, "track_total_hits": True, "query": {"bool": {"filter": KEPT}}}
    never = KeptDocuments(client, "docs", refresh_s=-1.0)  # type: ignore[arg-type]
    never.count(KEPT, {})
    never.count(KEPT, {})
    assert len(client.asked) == 4
    for number in range(50):
        never.count([{"terms": {"acl": [f"group-{number}"] * 1_000}}], {})
    assert len(never._counts) == 1, "expired counts are dropped"
    assert max(map(len, kept._counts)) <= 16, "a filter may name thousands of values"


@pytest.mark.parametrize(("share", "features"), [(1.0, 20), (0.5, 34), (0.1, 112), (0.0001, 480)])
def test_the_fewer_documents_a_filter_keeps_the_more_features_are_searched(share: float, features: int) -> None:
    assert features_for(20, share) == features


def test_a_query_has_no_more_features_than_clauses() -> None:
    assert features_for(96, 0.001) == 1_024 - 100
    assert features_for(1_000, 0.001) == 1_000


def test_the_window_holds_more_than_were_counted() -> None:
    query = build_query({"a": 1.0}, filters=KEPT)
    changed, rescore = rescore_all(query, RESCORE, 20)
    assert changed["bool"] == query["bool"] | {"minimum_should_match": 0, "filter": [*KEPT, has_features()]}
    assert rescore == RESCORE | {"window_size": 40}
    assert rescore_all(query, RESCORE | {"window_size": 200}, 20)[1]["window_size"] == 200
    assert rescore_all(query, RESCORE, 9_000)[1]["window_size"] == 10_000
    full = within_space(build_query({str(n): 1.0 for n in range(1_022)}, filters=KEPT), "space")
    assert len(rescore_all(full, RESCORE, 20)[0]["bool"]["should"]) == 1_022
    full = within_space(build_query({str(n): 1.0 for n in range(1_023)}, filters=KEPT), "space")
    assert rescore_all(full, RESCORE, 20) == (full, RESCORE), "there is no room for a clause"
