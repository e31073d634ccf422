"""An alias's filter and routing hold in every verb, and no encoder searches what another one wrote; on a real node."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from opensearchpy import OpenSearch
from opensearchpy.exceptions import AuthorizationException

from connector.connection.client import connect
from connector.encoders.text import TextEncoder
from connector.errors import ConnectorError, EncoderMismatchError, IndexMappingError, SearchError
from connector.index.documents import read_documents
from connector.index.frequencies import DocumentFrequencies
from connector.index.guard import StaleSchemaError
from connector.index.kept import KeptDocuments
from connector.index.meta import IndexMeta
from connector.index.schema import existing_schema, index_body
from connector.index.searcher import Searcher
from connector.index.sizes import count_matching
from connector.index.writer import BulkWriter
from connector.ingest.pipeline import ingest_documents
from connector.integrations.store import IndexStore
from connector.limits import MAX_HITS
from connector.query.body import SPACE_FIELD, SearchOptions
from connector.query.pruning import Pruning
from connector.query.settings import SearchSettings
from connector.search.opened import features_for
from connector.search.retriever import Retriever
from connector.search.sparse_index import SparseIndex
from connector.search.tune import tune
from connector.types import Document, Hit, SparseDocument
from tests.fault_proxy import FaultProxy, fault_proxy
from tests.tenants import ALPHA, DOCUMENTS, QUERY, fill, fill_a_tenth, ids, switch
from tests.tiny import WORDS

pytestmark = pytest.mark.opensearch

Verb = Callable[[Retriever], list[Hit]]
VERBS: dict[str, Verb] = {
    "search": lambda retriever: retriever.search(QUERY),
    "explained": lambda retriever: retriever.search(QUERY, explain=True),
    "within a budget": lambda retriever: retriever.search(
        QUERY, settings=SearchSettings(pruning=Pruning("posting_budget", 9.0))
    ),
    "batch": lambda retriever: retriever.search_many([QUERY, QUERY])[1],
    "fused": lambda retriever: retriever.search_hybrid(QUERY),
    "weighted": lambda retriever: retriever.search_hybrid(QUERY, bm25_weight=0.5),
    "pages": lambda retriever: [hit for page in retriever.pages(QUERY, page_size=1) for hit in page],
}
each_verb = pytest.mark.parametrize("verb", VERBS.values(), ids=VERBS.keys())


@pytest.fixture
def other(lexical: TextEncoder) -> TextEncoder:
    """An encoder of the same model, whose features mean the same, but the index cannot know this."""
    return TextEncoder(lexical.model, k=4)


def without_space(client: OpenSearch, index: str, encoder: TextEncoder) -> TextEncoder:
    """An index as 0.1.0 made them, which does not say of which space its features are."""
    sample = [document.content for document in DOCUMENTS]
    calibrated = encoder.calibrate(sample)
    body = index_body(IndexMeta(calibrated.fingerprint, statistics=calibrated.statistics, weight_exponent=3))
    del body["mappings"]["properties"][SPACE_FIELD]
    client.indices.create(index=index, body=body)
    assert ingest_documents(DOCUMENTS, calibrated, BulkWriter(client, index)).indexed == len(DOCUMENTS)
    return calibrated


@each_verb
def test_the_filter_of_an_alias_holds(client: OpenSearch, index: str, lexical: TextEncoder, verb: Verb) -> None:
    fill(client, index, lexical)
    alias = f"{index}-alpha"
    switch(client, alias, index, **ALPHA)
    assert {"a1", "b1"} <= set(ids(verb(Retriever(client, index, lexical))))
    found = verb(Retriever(client, alias, lexical))
    assert found and set(ids(found)) <= {"a1", "a2"}
    assert {hit.index for hit in found} == {index}


@each_verb
def test_the_routing_of_an_alias_holds(client: OpenSearch, index: str, lexical: TextEncoder, verb: Verb) -> None:
    fill(client, index, lexical)
    alias = f"{index}-routed"
    switch(client, alias, index, search_routing="alpha")
    seen = client.search(index=alias, body={"query": {"match_all": {}}})["hits"]["hits"]
    assert sorted(hit["_id"] for hit in seen) == ["a1", "a2"], "the tenants' routings lead to one shard"
    found = verb(Retriever(client, alias, lexical))
    assert found and set(ids(found)) <= {"a1", "a2"}


def test_routing_of_a_search_finds_what_was_written_by_it(client: OpenSearch, index: str, lexical: TextEncoder) -> None:
    fill(client, index, lexical)
    retriever, options = Retriever(client, index, lexical), SearchOptions(routing="alpha")
    for found in (
        retriever.search(QUERY, options=options),
        retriever.search_many([QUERY], options=options)[0],
        retriever.search_hybrid(QUERY, options=options),
        retriever.search_hybrid(QUERY, bm25_weight=0.5, options=options),
        [hit for page in retriever.pages(QUERY, options=options) for hit in page],
        [retriever.explain(QUERY, "a1", options=options)],
    ):
        assert found and set(ids(found)) <= {"a1", "a2"}
    with pytest.raises(SearchError, match="The filters or the routing of the search exclude document 'b1'"):
        retriever.explain(QUERY, "b1", options=options)


def test_an_alias_hides_documents_wherever_they_are_read(client: OpenSearch, index: str, lexical: TextEncoder) -> None:
    calibrated = fill(client, index, lexical)
    alias, everything = f"{index}-alpha", [document.doc_id for document in DOCUMENTS]
    switch(client, alias, index, **ALPHA)
    assert count_matching(client, alias) == 2
    assert set(read_documents(client, alias, everything)) == {"a1", "a2"}
    assert set(SparseIndex(alias, client=client, encoder=lexical).get(everything)) == {"a1", "a2"}
    store = IndexStore(alias, client=client, encoder=lexical)
    assert set(store.get(everything)) == {"a1", "a2"}
    assert {doc_id for doc_id, _ in store.matching([])} == {"a1", "a2"}
    assert set(ids(store.search_words(QUERY))) <= {"a1", "a2"}
    # Only b1 and b2 share this word's feature with a query for it.
    [feature] = calibrated.encode_query([WORDS[4]], k=1).as_mappings()[0]
    assert DocumentFrequencies(client, index).shares([feature])[feature] == 0.25
    assert DocumentFrequencies(client, alias).shares([feature])[feature] == 0.0


def test_documents_are_read_from_all_indices_of_an_alias_as_they_were_last_written(
    client: OpenSearch, index: str, second: str, lexical: TextEncoder
) -> None:
    fill(client, index, lexical, DOCUMENTS[:2])
    fill(client, second, lexical, DOCUMENTS[2:])
    client.indices.put_alias(index=f"{index},{second}", name=f"{index}-both")
    # Not refreshed: a search would not see it.
    client.update(index=index, id="a1", body={"doc": {"title": "new"}}, params={"routing": "alpha"})
    found = read_documents(client, f"{index}-both", ["a1", "b2", "nowhere"])
    assert {doc_id: each.source.get("title") for doc_id, each in found.items()} == {"a1": "new", "b2": None}
    with pytest.raises(IndexMappingError, match="There is no index 'test-nowhere'. Create it with `ksparse"):
        read_documents(client, "test-nowhere", ["1"])


@each_verb
def test_an_alias_that_is_switched_to_another_encoder_is_refused(
    client: OpenSearch, index: str, second: str, lexical: TextEncoder, other: TextEncoder, verb: Verb
) -> None:
    fill(client, index, lexical)
    fill(client, second, other)
    alias = f"{index}-live"
    switch(client, alias, index)
    retriever = Retriever(client, alias, lexical)
    before = verb(retriever)
    switch(client, alias, second)
    with pytest.raises(EncoderMismatchError, match="their features do not match"):
        verb(retriever)
    switch(client, alias, index)
    assert verb(retriever) == before, "a switch back is no loss"


@each_verb
def test_an_index_without_documents_that_another_encoder_is_to_write_is_refused(
    client: OpenSearch, index: str, second: str, lexical: TextEncoder, other: TextEncoder, verb: Verb
) -> None:
    fill(client, index, lexical)
    fill(client, second, other, [])
    alias = f"{index}-live"
    switch(client, alias, index)
    retriever = Retriever(client, alias, lexical)
    switch(client, alias, second)
    with pytest.raises(EncoderMismatchError):
        verb(retriever)


@each_verb
def test_an_index_that_another_encoder_recreated_is_refused(
    client: OpenSearch, index: str, lexical: TextEncoder, other: TextEncoder, verb: Verb
) -> None:
    fill(client, index, lexical)
    retriever = Retriever(client, index, lexical)
    assert verb(retriever)
    client.indices.delete(index=index)
    fill(client, index, other)
    with pytest.raises(EncoderMismatchError):
        verb(retriever)


@each_verb
@pytest.mark.parametrize("options", [{"code_bits": None}, {"code_bits": 2}, {"sample": ["sea " * 3] * 3}])
def test_the_same_encoder_continues_in_another_index(
    client: OpenSearch, index: str, second: str, lexical: TextEncoder, verb: Verb, options: dict[str, Any]
) -> None:
    """Without codes, with other codes, with other statistics: all three are read again."""
    fill(client, index, lexical)
    fill(client, second, lexical, **options)
    alias = f"{index}-live"
    switch(client, alias, index)
    retriever = Retriever(client, alias, lexical)
    assert verb(retriever)
    switch(client, alias, second)
    assert verb(retriever) == verb(Retriever(client, second, lexical))
    assert retriever.schema.names == (second,)


@each_verb
def test_older_indices_are_distinguished_by_their_names(
    client: OpenSearch, index: str, second: str, lexical: TextEncoder, other: TextEncoder, verb: Verb
) -> None:
    without_space(client, index, lexical)
    without_space(client, second, other)
    alias = f"{index}-live"
    switch(client, alias, index)
    retriever = Retriever(client, alias, lexical)
    assert set(ids(verb(retriever))) >= {"b1"}
    switch(client, alias, second)
    with pytest.raises(EncoderMismatchError):
        verb(retriever)


def test_an_index_that_joins_an_alias_is_searched(
    client: OpenSearch, index: str, second: str, lexical: TextEncoder
) -> None:
    fill(client, index, lexical, DOCUMENTS[1:])
    fill(client, second, lexical, DOCUMENTS[:1])
    alias = f"{index}-live"
    switch(client, alias, index)
    retriever = Retriever(client, alias, lexical)
    before = ids(retriever.search(QUERY))
    client.indices.put_alias(index=second, name=alias)
    found = retriever.search(QUERY)
    assert ids(found) == sorted([*before, "b1"])
    assert {hit.index for hit in found} == {index, second}


def test_an_index_of_another_encoder_that_joins_an_alias_adds_no_hits(
    client: OpenSearch,
    index: str,
    second: str,
    lexical: TextEncoder,
    other: TextEncoder,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fill(client, index, lexical, DOCUMENTS[1:])
    fill(client, second, other, DOCUMENTS[:1])
    alias = f"{index}-live"
    switch(client, alias, index)
    retriever = Retriever(client, alias, lexical)
    before = retriever.search(QUERY)
    client.indices.put_alias(index=second, name=alias)
    monkeypatch.setattr("connector.index.guard._RECHECK_S", 1_000.0)
    assert retriever.search(QUERY) == before
    monkeypatch.setattr("connector.index.guard._RECHECK_S", 0.0)  # half a minute later
    message = f"{alias} spans indices of 2 encoders"
    searches: list[Callable[[], object]] = [
        lambda: retriever.search(QUERY),
        lambda: retriever.search_hybrid(QUERY),
        lambda: retriever.search_many([QUERY]),
        lambda: list(retriever.pages(QUERY)),
        lambda: Retriever(client, alias, lexical),
    ]
    for search in searches:
        with pytest.raises(IndexMappingError, match=message):
            search()
    switch(client, alias, index)
    assert retriever.search(QUERY) == before


def test_hits_of_one_id_in_several_indices_are_not_fused(
    client: OpenSearch, index: str, second: str, lexical: TextEncoder
) -> None:
    fill(client, index, lexical, [Document("1", QUERY)])
    fill(client, second, lexical, [Document("1", f"{WORDS[0]} {WORDS[5]}")])
    client.indices.put_alias(index=f"{index},{second}", name=f"{index}-both")
    found = Retriever(client, f"{index}-both", lexical).search_hybrid(QUERY)
    assert [(hit.doc_id, hit.index) for hit in found] == [("1", index), ("1", second)]


@pytest.mark.filterwarnings("ignore:Loading the fielddata on the _id field is deprecated")
def test_pages_hold_equal_documents_of_several_indices_on_older_servers(
    client: OpenSearch, index: str, second: str, lexical: TextEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (index, second):
        fill(client, name, lexical, [Document("1", QUERY), Document("2", QUERY)])
    client.indices.put_alias(index=f"{index},{second}", name=f"{index}-both")
    monkeypatch.setattr("connector.index.point_in_time.version_tuple", lambda _: (3, 2, 0))
    pages = Retriever(client, f"{index}-both", lexical).pages(QUERY, page_size=1)
    found = [(hit.doc_id, hit.index) for page in pages for hit in page]
    assert found == [(doc_id, name) for doc_id in ("1", "2") for name in sorted((index, second))]


@pytest.mark.usefixtures("few_trials")
def test_tuning_an_alias_sees_what_the_alias_shows_and_notices_a_switch(
    client: OpenSearch, index: str, second: str, lexical: TextEncoder, other: TextEncoder
) -> None:
    fill(client, index, lexical)
    fill(client, second, other)
    alias = f"{index}-live"
    switch(client, alias, index, **ALPHA)
    searcher = Retriever(client, alias, lexical, source=False).opened.searcher
    assert set(ids(searcher.scan({"match_all": {}}))) == {"a1", "a2"}
    tuning = tune(client, alias, lexical, [QUERY] * 10, top_k=2)
    assert tuning.reached, "recall counts hidden documents"
    switched = False

    def switch_it(_share: float) -> None:
        nonlocal switched
        if not switched:
            switched = True
            switch(client, alias, second)

    with pytest.raises(StaleSchemaError, match="was replaced while it was searched"):
        tune(client, alias, lexical, [QUERY] * 10, top_k=2, progress=switch_it)


def test_what_an_alias_no_longer_names_is_an_error(client: OpenSearch, index: str, lexical: TextEncoder) -> None:
    fill(client, index, lexical)
    alias = f"{index}-live"
    switch(client, alias, index)
    retriever = Retriever(client, alias, lexical)
    client.indices.delete_alias(index=index, name=alias)
    with pytest.raises(SearchError, match=f"There is no index '{alias}'"):
        retriever.search(QUERY)
    client.indices.put_alias(index=index, name=alias)
    assert retriever.search(QUERY)


def test_an_alias_that_is_switched_to_a_foreign_index_is_an_error(
    client: OpenSearch, index: str, second: str, lexical: TextEncoder
) -> None:
    fill(client, index, lexical)
    alias = f"{index}-live"
    switch(client, alias, index)
    retriever = Retriever(client, alias, lexical)
    client.index(index=second, id="1", body={"text": QUERY}, params={"refresh": "true"})
    switch(client, alias, second)
    for verb in (VERBS["search"], VERBS["fused"], VERBS["pages"]):
        with pytest.raises(IndexMappingError, match=f"Index '{second}' was not created by ksparse"):
            verb(retriever)


def test_patterns_lists_and_hidden_aliases_are_searched_and_remote_names_refused(
    client: OpenSearch, index: str, second: str, lexical: TextEncoder
) -> None:
    fill(client, index, lexical, DOCUMENTS[:2])
    fill(client, second, lexical, DOCUMENTS[2:])
    client.indices.put_alias(index=index, name=f"{index}-hidden", body={"is_hidden": True, **ALPHA})
    everything = {"a1", "b1", "b2", "a2"}
    assert set(ids(Retriever(client, f"{index},{second}", lexical).search(QUERY))) == everything
    assert set(ids(Retriever(client, f"{index[:-1]}*", lexical).search(QUERY))) == {"a1", "b1"}
    assert ids(Retriever(client, f"{index}-hidden", lexical).search(QUERY)) == ["a1"]
    assert set(read_documents(client, f"{index},{second}", ["a1", "b2"])) == {"a1", "b2"}
    with pytest.raises(ConnectorError, match="There is no index 'elsewhere:docs'"):
        Retriever(client, "elsewhere:docs", lexical)


def test_a_search_with_hits_is_one_request_and_one_without_reads_the_schema(
    opensearch_url: str, client: OpenSearch, index: str, lexical: TextEncoder
) -> None:
    fill(client, index, lexical)
    proxy: FaultProxy
    with fault_proxy(opensearch_url) as proxy, connect(proxy.url) as through:
        retriever = Retriever(through, index, lexical)
        proxy.paths.clear()
        retriever.search(QUERY)
        retriever.search_many([QUERY] * 3)
        retriever.search_hybrid(QUERY)
        # Once a minute, the documents of an index without a dictionary are counted, and its largest window is read.
        first, limit, *paths = [path.partition("?")[0] for path in proxy.paths]
        assert (first, limit) == (f"/{index}/_search", f"/{index}/_settings")
        assert paths == [f"/{index}/_search", f"/{index}/_msearch", f"/{index}/_msearch"]
        proxy.paths.clear()
        assert retriever.search(QUERY, filters=[{"term": {"metadata.tenant": "gamma"}}]) == []
        # The documents of a filter are counted when it is first seen; at last, whether any document has its key.
        expected = [f"/{index}/_search", f"/{index}/_search", f"/{index}/_mapping", f"/{index}/_msearch"]
        assert [path.partition("?")[0] for path in proxy.paths] == expected


def by_one_feature(retriever: Retriever, window: int | None = None, **how: Any) -> list[tuple[str, Any]]:  # noqa: ANN401
    """Hits with their scores; the strongest feature of the query is in three of the six documents of alpha."""
    hits = retriever.search(QUERY, settings=SearchSettings(1, window), **how)
    return [(hit.doc_id, pytest.approx(hit.score, rel=1e-5)) for hit in hits]


def test_a_search_that_reaches_few_documents_finds_them_however_the_others_are_hidden(
    client: OpenSearch, index: str, encoder: TextEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("connector.search.opened.MAX_RESCORED", 0)  # no scan without filters, as in a large index
    written = fill_a_tenth(client, index, encoder)
    switch(client, f"{index}-alpha", index, **ALPHA)
    switch(client, f"{index}-routed", index, search_routing="alpha")
    whole = Retriever(client, index, written)
    expected = by_one_feature(whole, filters=[ALPHA["filter"]])
    assert len(expected) == 6
    assert len(by_one_feature(Retriever(client, f"{index}-alpha", written), window=0)) == 3
    assert by_one_feature(Retriever(client, f"{index}-alpha", written)) == expected
    assert by_one_feature(Retriever(client, f"{index}-alp*", written)) == expected
    routed = count_matching(client, f"{index}-routed")
    assert 6 <= routed < 60
    by_routing = by_one_feature(whole, options=SearchOptions(routing="alpha"))
    assert len(by_routing) == min(10, routed)
    assert by_one_feature(Retriever(client, f"{index}-routed", written)) == by_routing
    monkeypatch.setattr(KeptDocuments, "total", lambda *_: None)  # a user who may not search the index by its name
    assert by_one_feature(Retriever(client, f"{index}-alpha", written)) == expected


def test_the_fewer_documents_an_alias_shows_the_more_features_are_searched(
    client: OpenSearch, index: str, second: str, encoder: TextEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("connector.search.opened.MAX_RESCORED", "connector.index.reach.MAX_RESCORED"):
        monkeypatch.setattr(name, 0)  # no scan, as in a large index
    written = fill_a_tenth(client, index, encoder)
    switch(client, f"{index}-alpha", index, **ALPHA)
    switch(client, f"{index}-all", index)
    half = [{"ids": {"values": ["0", "10", "20", "1"]}}]

    def features(name: str, *settings: Any) -> int | None:  # noqa: ANN401
        return Retriever(client, name, written).opened.resolve(SearchSettings(), 10, *settings).k_query

    candidates = features(index)
    assert candidates == features(f"{index}-all") == written.k_candidates == 2
    assert features(f"{index}-alpha") == features_for(2, 0.1)
    assert features(f"{index}-alpha", half) == features_for(2, 3 / 60) > features_for(2, 0.1)
    assert features(f"{index}-all", half) == features_for(2, 4 / 60)
    monkeypatch.setattr(KeptDocuments, "total", lambda *_: None)
    assert features(f"{index}-alpha", half) == features_for(2, 3 / 6), "of the documents that are counted at all"


def test_searches_of_a_large_index_send_one_request_and_those_of_its_alias_count_once_a_minute(
    opensearch_url: str, client: OpenSearch, index: str, encoder: TextEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("connector.search.opened.MAX_RESCORED", 0)  # no scan, as in a large index
    written = fill_a_tenth(client, index, encoder)
    alias = f"{index}-all"
    switch(client, alias, index)
    proxy: FaultProxy
    with fault_proxy(opensearch_url) as proxy, connect(proxy.url) as through:

        def paths(retriever: Retriever) -> list[str]:
            proxy.paths.clear()
            assert retriever.search(QUERY)
            return [path.partition("?")[0] for path in proxy.paths]

        assert paths(Retriever(through, index, written)) == [f"/{index}/_search"]
        by_alias = Retriever(through, alias, written)
        assert paths(by_alias) == [f"/{index}/_search", f"/{alias}/_search", f"/{alias}/_search"]
        assert paths(by_alias) == [f"/{alias}/_search"]


def test_as_many_features_as_a_query_takes_are_searched_in_their_space(
    client: OpenSearch, index: str, lexical: TextEncoder
) -> None:
    fill(client, index, lexical)
    searcher = Retriever(client, index, lexical).opened.searcher
    features = {str(number): 1.0 for number in range(1024)}
    assert len(searcher.search(features)) == len(Searcher(client, index).search(features)) == len(DOCUMENTS)


def test_a_schema_of_several_indices_knows_the_fields_of_all(
    client: OpenSearch, index: str, second: str, lexical: TextEncoder
) -> None:
    fill(client, index, lexical, fields={"year": "integer"})
    fill(client, second, lexical, fields={"lang": "keyword"})
    client.indices.put_alias(index=f"{index},{second}", name=f"{index}-both")
    assert existing_schema(client, f"{index}-both").fields == {"year": "integer", "lang": "keyword"}
    third = f"{index},{second}"
    client.indices.delete(index=second)
    fill(client, second, lexical, code_bits=2)
    with pytest.raises(IndexMappingError, match="spans indices with different codes"):
        existing_schema(client, third)


def test_a_request_of_more_documents_than_a_search_returns_replaces_no_hidden_one(
    client: OpenSearch, index: str, lexical: TextEncoder
) -> None:
    fill(client, index, lexical, code_bits=None)

    def documents(tenant: str) -> list[SparseDocument]:
        return [
            SparseDocument(f"d{number}", {"7": 1.0}, {"text": tenant, "metadata": {"tenant": tenant}})
            for number in range(MAX_HITS + 500)
        ]

    assert BulkWriter(client, index).write(documents("beta")).indexed == MAX_HITS + 500
    client.indices.put_alias(index=index, name=f"{index}-alpha", body=ALPHA)
    writer = BulkWriter(client, f"{index}-alpha", chunk_size=2 * MAX_HITS, max_chunk_bytes=10**8)
    result = writer.write(documents("alpha"))
    assert (result.indexed, len(result.refused)) == (0, MAX_HITS + 500)


def test_what_an_alias_hides_is_not_overwritten_by_a_user_who_may_not_read_aliases(
    client: OpenSearch, index: str, lexical: TextEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    calibrated = fill(client, index, lexical)
    alias = f"{index}-alpha"
    client.indices.put_alias(index=index, name=alias, body=ALPHA)

    def refuse(**_: object) -> None:
        raise AuthorizationException(403, "security_exception", {"error": {"reason": "no permissions"}})

    monkeypatch.setattr(client.indices, "get_alias", refuse)
    documents = [
        Document("b1", WORDS[8], metadata={"tenant": "alpha"}, routing="beta"),
        Document("a1", WORDS[8], metadata={"tenant": "alpha"}, routing="alpha"),
    ]
    result = ingest_documents(documents, calibrated, BulkWriter(client, alias))
    assert (result.indexed, result.dead_lettered) == (1, 1)
    assert "belongs to a document that the alias hides" in result.reasons[0]
    client.indices.refresh(index=index)
    assert client.get(index=index, id="b1", params={"routing": "beta"})["_source"]["text"] == QUERY


def test_a_deletion_by_id_from_several_indices_is_refused_and_not_counted_as_missing(
    client: OpenSearch, index: str, second: str, lexical: TextEncoder
) -> None:
    fill(client, index, lexical, DOCUMENTS[:2])
    fill(client, second, lexical, DOCUMENTS[2:])
    for name in (index, second):
        client.indices.put_alias(index=name, name=f"{index}-both", body={"is_write_index": name == second})
    spans = f"{index}-both spans 2 indices, but a document is deleted by id in one; name the one that has it"
    both = SparseIndex(f"{index}-both", encoder=lexical, client=client)
    for delete in (both.delete, IndexStore(f"{index}-both", encoder=lexical, client=client).delete):
        with pytest.raises(IndexMappingError, match=spans):
            delete(["a1"])
    assert both.delete([]) == 0
    assert both.delete(filters={"tenant": "alpha"}) == 2
