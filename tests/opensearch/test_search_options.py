"""Search options on a real node."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from opensearchpy import OpenSearch

from connector.encoders.text import TextEncoder
from connector.errors import SearchError
from connector.index.new_index import NewIndex
from connector.index.searcher import Searcher
from connector.index.writer import BulkWriter
from connector.ingest.pipeline import ingest_documents
from connector.ingest.prepare import prepare_encoder
from connector.query.body import SearchOptions
from connector.query.hybrid import build_words_query, fuse
from connector.query.settings import SearchSettings
from connector.search.async_retriever import AsyncRetriever
from connector.search.retriever import Retriever
from connector.types import Document, Hit
from tests.tiny import WORDS

pytestmark = pytest.mark.opensearch

COUNT = 45


@pytest.fixture
def retriever(client: OpenSearch, index: str, lexical: TextEncoder) -> Retriever:
    """45 documents on three shards; many score the same."""
    texts = [f"{WORDS[row % 3]} {WORDS[3 + row % 2]}" for row in range(COUNT)]
    settings = {"number_of_shards": 3, "number_of_replicas": 0}
    calibrated = prepare_encoder(client, index, lexical, sample=texts, new=NewIndex(code_bits=4, settings=settings))
    documents = [Document(f"{row:02}", text, title=f"No. {row}") for row, text in enumerate(texts)]
    assert ingest_documents(documents, calibrated, BulkWriter(client, index)).indexed == COUNT
    return Retriever(client, index, lexical)


def test_pages_hold_every_document_once_while_others_are_written(
    retriever: Retriever, client: OpenSearch, index: str
) -> None:
    whole = retriever.search(WORDS[0], top_k=COUNT, settings=SearchSettings(window=0))
    pages = retriever.pages(WORDS[0], page_size=7)
    found = next(pages)
    client.delete(index=index, id=whole[-1].doc_id, params={"refresh": "true"})
    for page in pages:
        assert 0 < len(page) <= 7
        found += page
    assert sorted(hit.doc_id for hit in found) == sorted(hit.doc_id for hit in whole)
    scores = [hit.score for hit in found]
    assert scores == sorted(scores, reverse=True) and len(set(scores)) < len(scores)
    assert found[0].source["title"].startswith("No. ")


def test_pages_that_the_server_no_longer_holds_are_an_error(retriever: Retriever, client: OpenSearch) -> None:
    pages = retriever.pages(WORDS[0], page_size=1)
    next(pages)
    client.delete_all_pits()
    with pytest.raises(SearchError, match="The server no longer has the pages of .*Search again"):
        list(pages)


@pytest.mark.parametrize("size", [0, 10_001, 2.5])
def test_an_impossible_page_size_is_named(retriever: Retriever, size: Any) -> None:  # noqa: ANN401
    with pytest.raises(ValueError, match=rf"page_size must be .*, got {size}"):
        list(retriever.pages(WORDS[0], page_size=size))


def test_a_point_in_time_does_not_outlive_its_pages(retriever: Retriever, client: OpenSearch) -> None:
    pages = retriever.pages(WORDS[0], page_size=1)
    next(pages)
    assert len(client.get_all_pits()["pits"]) == 1
    pages.close()  # type: ignore[attr-defined]
    assert client.get_all_pits()["pits"] == []


ASKED = f"{WORDS[0]} {WORDS[3]} 7"

VERBS: dict[str, Callable[[Retriever, SearchOptions], list[Hit]]] = {
    "features": lambda retriever, options: retriever.search(
        ASKED, top_k=COUNT, settings=SearchSettings(window=0), options=options
    ),
    "codes": lambda retriever, options: retriever.search(ASKED, top_k=COUNT, options=options),
    "some rescored": lambda retriever, options: retriever.search(
        ASKED, top_k=COUNT, settings=SearchSettings(window=3), options=options
    ),
    "explained": lambda retriever, options: retriever.search(ASKED, top_k=COUNT, explain=True, options=options),
    "batch": lambda retriever, options: retriever.search_many([WORDS[1], ASKED], top_k=COUNT, options=options)[1],
    "fused": lambda retriever, options: retriever.search_hybrid(ASKED, top_k=COUNT, options=options),
    "weighted": lambda retriever, options: retriever.search_hybrid(
        ASKED, bm25_weight=0.1, top_k=COUNT, options=options
    ),
    "pages": lambda retriever, options: [
        hit for page in retriever.pages(ASKED, page_size=4, options=options) for hit in page
    ],
}


@pytest.mark.parametrize("verb", VERBS.values(), ids=VERBS.keys())
def test_a_least_score_is_one_of_the_scores_that_hits_report(
    retriever: Retriever, verb: Callable[[Retriever, SearchOptions], list[Hit]]
) -> None:
    same_copies = SearchOptions(preference="me")
    whole = verb(retriever, same_copies)
    scores = sorted({hit.score for hit in whole})
    assert len(scores) > 1
    for limit in (scores[0], scores[len(scores) // 2], scores[-1]):
        found = verb(retriever, replace(same_copies, min_score=limit))
        assert found == [hit for hit in whole if hit.score >= limit] and found
    assert verb(retriever, replace(same_copies, min_score=scores[-1] * 1.01)) == []


def test_scores_that_a_least_score_is_compared_with_differ_by_the_way_of_searching(retriever: Retriever) -> None:
    """A threshold of one way is none of another: above 1 with codes, at most 1 where scores are fused."""
    options = SearchOptions(min_score=1.0)
    assert len(VERBS["codes"](retriever, options)) == len(VERBS["codes"](retriever, SearchOptions()))
    assert VERBS["fused"](retriever, SearchOptions(min_score=1.000001)) == []
    assert 0.5 <= VERBS["fused"](retriever, SearchOptions())[0].score <= 1


def test_fields_and_highlights_are_those_requested(retriever: Retriever) -> None:
    asked = SearchOptions(
        source=["title"], highlight={"fields": {"text": {}}, "highlight_query": {"match": {"text": WORDS[0]}}}
    )
    filters = [{"match": {"text": WORDS[0]}}]
    [hit] = retriever.search(WORDS[0], top_k=1, filters=filters, options=asked)
    assert set(hit.source) == {"title"}
    assert f"<em>{WORDS[0]}</em>" in hit.highlight["text"][0]
    [[same]] = retriever.search_many([WORDS[0]], top_k=1, filters=filters, options=asked)
    assert same.highlight == hit.highlight
    [without] = retriever.search(WORDS[0], top_k=1, filters=filters, options=replace(asked, source=[]))
    assert (without.source, without.highlight) == ({}, hit.highlight)


def test_routing_asks_one_shard(retriever: Retriever) -> None:
    options = {routing: SearchOptions(routing=routing, preference="me") for routing in ("a", "b", "c", "d", "e")}
    parts = {
        frozenset(
            hit.doc_id
            for hit in retriever.search(WORDS[0], top_k=COUNT, settings=SearchSettings(window=0), options=asked)
        )
        for asked in options.values()
    }
    assert 1 < len(parts) <= 3 and all(len(part) < COUNT for part in parts)
    [many] = retriever.search_many([WORDS[0]], top_k=COUNT, settings=SearchSettings(window=0), options=options["a"])
    assert frozenset(hit.doc_id for hit in many) in parts


def test_words_and_features_in_one_query(retriever: Retriever) -> None:
    alone = {
        hit.doc_id: hit.score for hit in retriever.search(WORDS[0], top_k=COUNT, settings=SearchSettings(window=0))
    }
    mixed = retriever.search_hybrid(WORDS[0], bm25_weight=0.5, top_k=COUNT)
    for hit in mixed:
        has_word = WORDS[0] in hit.source["text"]
        assert hit.score > alone[hit.doc_id] if has_word else hit.score == pytest.approx(alone[hit.doc_id])
    numbered = retriever.search_hybrid(f"{WORDS[0]} 7", bm25_weight=10.0, top_k=1)
    assert numbered[0].doc_id == "07", "a word of the title that no feature stands for"


def test_rankings_are_fused_by_score(retriever: Retriever, client: OpenSearch, index: str) -> None:
    text = f"{WORDS[0]} 7"
    reply = client.search(index=index, body={"size": 20, "query": build_words_query(text)})
    words = [Hit(hit["_id"], hit["_score"], index=index) for hit in reply["hits"]["hits"]]
    expected = fuse([retriever.search(text, top_k=20, settings=SearchSettings(window=20)), words], top_k=5)
    fused = retriever.search_hybrid(text, top_k=5, settings=SearchSettings(window=20, rank_window_size=20))
    assert [(hit.doc_id, hit.score) for hit in fused] == [(hit.doc_id, hit.score) for hit in expected]
    assert words[0].doc_id == "07" and fused[0].source["title"]


def test_the_depth_of_a_fusion_is_not_the_number_of_hits_rescored(
    retriever: Retriever, client: OpenSearch, index: str
) -> None:
    def rankings(depth: int, window: int) -> list[list[Hit]]:
        reply = client.search(index=index, body={"size": depth, "query": build_words_query(ASKED)})
        words = [Hit(hit["_id"], hit["_score"], index=index) for hit in reply["hits"]["hits"]]
        return [retriever.search(ASKED, top_k=depth, settings=SearchSettings(window=window)), words]

    def fused(**settings: Any) -> list[tuple[str, float]]:
        hits = retriever.search_hybrid(ASKED, top_k=5, settings=SearchSettings(**settings))
        return [(hit.doc_id, hit.score) for hit in hits]

    for depth, window in ((5, 40), (40, 5), (40, 40)):
        expected = [(hit.doc_id, hit.score) for hit in fuse(rankings(depth, window), top_k=5)]
        assert fused(rank_window_size=depth, window=window) == expected
    assert fused(window=40) == fused(rank_window_size=40, window=40), "by default at most as many as are rescored"
    with pytest.raises(ValueError, match="rank_window_size must be between top_k = 5 and 10,000, got 4"):
        fused(rank_window_size=4)
    with pytest.raises(ValueError, match="alpha must be between 0 .* and 1 .*, got 1.5"):
        retriever.search_hybrid(ASKED, alpha=1.5)
    for settings in (SearchSettings(window=9), SearchSettings(rank_window_size=9)):
        with pytest.raises(ValueError, match="in one query; leave alpha, window and rank_window_size out"):
            retriever.search_hybrid(ASKED, bm25_weight=0.1, settings=settings)


def test_all_hits_of_a_deep_fusion_are_rescored(retriever: Retriever, monkeypatch: pytest.MonkeyPatch) -> None:
    windows: list[int] = []
    fused = Searcher.search_hybrid

    def recorded(searcher: Searcher, *query: Any, **options: Any) -> list[Hit]:
        windows.append(options["rescore"]["window_size"])
        return fused(searcher, *query, **options)

    monkeypatch.setattr(Searcher, "search_hybrid", recorded)
    for settings in (SearchSettings(), SearchSettings(rank_window_size=250), SearchSettings(None, 50, None, 250)):
        assert retriever.search_hybrid(ASKED, settings=settings)
    assert windows == [100, 250, 50]


def test_the_same_methods_can_be_awaited(retriever: Retriever) -> None:
    searching = AsyncRetriever(retriever)

    async def all_at_once() -> list[list[str]]:
        found = await asyncio.gather(*(searching.search(word, top_k=5) for word in WORDS[:6]))
        return [[hit.doc_id for hit in hits] for hits in found]

    assert asyncio.run(all_at_once()) == [[hit.doc_id for hit in retriever.search(word, top_k=5)] for word in WORDS[:6]]
    with pytest.raises(SearchError, match="The query is empty"):
        asyncio.run(searching.search(" "))
    assert AsyncRetriever.search.__doc__ == Retriever.search.__doc__
