"""BM25 collects, features order: on a real node."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from opensearchpy import OpenSearch

from benchmarks.guided import build_guided_search
from benchmarks.systems.base import to_hits
from connector.errors import SearchError
from connector.index.meta import IndexMeta
from connector.index.new_index import NewIndex
from connector.index.schema import prepare_index
from connector.index.searcher import Searcher
from connector.index.writer import BulkWriter
from connector.types import EncoderFingerprint, Hit, SparseDocument

pytestmark = pytest.mark.opensearch

DOCUMENTS = (
    SparseDocument("twice", {"3": 1.0}, {"text": "green plants, green leaves", "metadata": {"lang": "en"}}),
    SparseDocument("once", {"3": 4.0, "9": 1.0}, {"text": "green stones of the sea", "metadata": {"lang": "de"}}),
    SparseDocument("titled", {"9": 3.0}, {"title": "Green", "text": "rivers", "metadata": {"lang": "en"}}),
    SparseDocument("unlike", {"7": 9.0}, {"text": "green music", "metadata": {"lang": "en"}}),
    SparseDocument("expanded", {"3": 50.0}, {"text": "verdant", "metadata": {"lang": "en"}}),
)
FEATURES = {"3": 2.0, "9": 1.0}


Search = Callable[..., list[Hit]]


@pytest.fixture
def search_guided(client: OpenSearch, searcher: Searcher) -> Search:
    def run(text: str, features: dict[str, float], *, top_k: int = 10, window: int = 100, **options: Any) -> list[Hit]:
        body = build_guided_search(text, features, top_k=top_k, window=window, weight_exponent=-3, **options)
        return to_hits(client.search(index=searcher.index, body=body))

    return run


@pytest.fixture
def searcher(client: OpenSearch, index: str, fingerprint: EncoderFingerprint) -> Searcher:
    prepare_index(client, index, IndexMeta(fingerprint, weight_exponent=-3), NewIndex(settings={"number_of_shards": 1}))
    writer = BulkWriter(client, index)
    assert writer.write(DOCUMENTS).indexed == len(DOCUMENTS)
    writer.refresh()
    return Searcher(client, index)


def test_candidates_share_a_word_and_are_ordered_by_their_dot_product(
    searcher: Searcher, search_guided: Search
) -> None:
    # `expanded` would lead, but has no word of the query.
    hits = search_guided("green leaves", FEATURES)
    assert [(hit.doc_id, hit.score) for hit in hits] == [
        ("once", 9.0), ("titled", 3.0), ("twice", 2.0), ("unlike", 0.0)
    ]  # fmt: skip
    assert searcher.search(FEATURES)[0].doc_id == "expanded"


def test_the_window_bounds_what_features_can_find(search_guided: Search) -> None:
    [first] = search_guided("green leaves", FEATURES, top_k=1, window=1)
    assert first.doc_id == "twice", "the best by BM25 alone"


def test_filters_hold_for_candidates(search_guided: Search) -> None:
    german = {"term": {"metadata.lang": {"value": "de"}}}
    assert [hit.doc_id for hit in search_guided("green", FEATURES, filters=[german])] == ["once"]


def test_what_cannot_be_guided_is_refused() -> None:
    with pytest.raises(ValueError, match=r"between top_k = 10 and 10,000 \(index.max_rescore_window\), got 9"):
        build_guided_search("green", FEATURES, top_k=10, window=9)
    with pytest.raises(ValueError, match="got 10001"):
        build_guided_search("green", FEATURES, top_k=10, window=10_001)
    with pytest.raises(SearchError, match="The query is empty"):
        build_guided_search(" ", FEATURES, top_k=10, window=10)
