from __future__ import annotations

import pytest

from connector.errors import SearchError
from connector.query.body import SearchOptions, build_search
from connector.query.hybrid import build_hybrid_query, build_words_query, fuse
from connector.types import Hit


def ranking(*doc_ids: str) -> list[Hit]:
    return [Hit(doc_id, 10.0 - rank, {"from": doc_ids[0]}) for rank, doc_id in enumerate(doc_ids)]


def test_a_fused_score_is_the_mean_of_normalized_scores() -> None:
    fused = fuse([ranking("a", "b", "c"), ranking("d", "c", "a")], top_k=4)
    assert [hit.doc_id for hit in fused] == ["a", "d", "c", "b"]
    assert [hit.score for hit in fused] == pytest.approx([(1 + 0.001) / 2, 1 / 2, (0.001 + 0.5) / 2, 0.5 / 2])
    assert fused[0].source == {"from": "a"}, "the first ranking's hit"


def test_gaps_between_scores_count_and_their_scale_does_not() -> None:
    close, wide = ([Hit("a", 1.5), Hit("b", second), Hit("c", 1.0)] for second in (1.49, 1.01))
    others = [Hit("b", 900.0), Hit("c", 450.0), Hit("a", 100.0)]
    assert fuse([close, others], top_k=1)[0].doc_id == "b"
    assert [hit.doc_id for hit in fuse([wide, others], top_k=2)] == ["b", "a"]
    assert fuse([wide, others], top_k=1, weights=(0.9, 0.1))[0].doc_id == "a"


def test_a_ranking_without_differences_or_hits_can_be_fused() -> None:
    [hit, other] = fuse([[Hit("a", 2.0), Hit("b", 2.0)], []], top_k=5)
    assert (hit.doc_id, hit.score, other.score) == ("a", 0.5, 0.5)
    assert fuse([[], []], top_k=5) == []


def test_hits_that_were_not_rescored_do_not_squeeze_the_scores_of_the_others() -> None:
    rescored, below = [Hit("a", 1.6), Hit("b", 1.5), Hit("c", 1.4)], [Hit("d", 0.0), Hit("e", 0.0)]
    fused = fuse([[*rescored, *below], []], top_k=5, weights=(1.0, 0.0))
    assert [hit.doc_id for hit in fused] == ["a", "b", "c", "d", "e"]
    assert [hit.score for hit in fused] == pytest.approx([1.0, 0.5, 0.001, 0.001, 0.001])
    one = fuse([[*rescored[:1], *below], []], top_k=3, weights=(1.0, 0.0))
    assert [hit.score for hit in one] == [1.0, 0.001, 0.001]


def test_fusion_needs_a_number_above_zero() -> None:
    with pytest.raises(ValueError, match="top_k must be at least 1, got 0"):
        fuse([ranking("a")], top_k=0)


def test_copies_of_an_id_with_different_routings_are_different_documents() -> None:
    alpha, beta = Hit("a", 1.0, routing="alpha"), Hit("a", 0.5, routing="beta")
    fused = fuse([[alpha, Hit("b", 0.9), beta], [Hit("b", 9.0), beta]], top_k=3)
    assert [(hit.doc_id, hit.routing) for hit in fused] == [("b", None), ("a", "alpha"), ("a", "beta")]
    assert [hit.score for hit in fused] == pytest.approx([0.9, 0.5, 0.001])


def test_a_fused_hit_keeps_the_highlight_of_either_ranking() -> None:
    words = {"text": ["<em>cats</em>"]}
    fused = fuse([[Hit("a", 2.0), Hit("b", 1.0)], [Hit("b", 9.0, highlight=words), Hit("c", 8.0)]], top_k=3)
    assert {hit.doc_id: hit.highlight for hit in fused} == {"a": {}, "b": words, "c": {}}


def test_words_are_added_to_features_with_their_weight() -> None:
    query = build_hybrid_query("warm cats", {"3": 0.5}, weight=0.01, filters=[{"term": {"a": 1}}])["bool"]
    assert [next(iter(clause)) for clause in query["should"]] == ["rank_feature", "match", "match"]
    assert query["should"][1] == {"match": {"title": {"query": "warm cats", "boost": 0.01}}}
    assert query["filter"] == [{"term": {"a": 1}}] and query["minimum_should_match"] == 1


def test_words_need_a_text_and_a_weight() -> None:
    with pytest.raises(SearchError, match="The query is empty"):
        build_words_query(" ")
    with pytest.raises(ValueError, match="weight of BM25 must be above 0, got 0"):
        build_hybrid_query("warm cats", {"3": 0.5}, weight=0.0)


def test_options_are_asked_for_only_where_they_are_given() -> None:
    query: dict[str, object] = {"match_all": {}}
    assert build_search(query, top_k=1, source=False) == build_search(
        query, top_k=1, options=SearchOptions(source=False)
    )
    asked = SearchOptions(min_score=0.5, highlight={"fields": {"text": {}}}, routing="r", preference="p")
    body = build_search(query, top_k=1, options=asked)
    assert body["highlight"] == {"fields": {"text": {}}}
    assert "min_score" not in body, "the server would compare the score of the first phase"
    assert asked.params == {"routing": "r", "preference": "p"} and SearchOptions().params == {}


def test_hits_are_kept_by_the_score_that_they_report() -> None:
    hits = [Hit("a", 0.75), Hit("b", 0.5), Hit("c", 0.25)]
    assert SearchOptions().keep(hits) == hits
    assert SearchOptions(min_score=0.5).keep(hits) == hits[:2]
    with pytest.raises(ValueError, match="min_score must be a number, got nan"):
        SearchOptions(min_score=float("nan"))
