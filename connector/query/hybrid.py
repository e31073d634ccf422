"""Hybrid search: BM25 and features in one weighted query, or two rankings fused by their scores. Pure functions."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from connector.query.body import build_query, check_text, within_space
from connector.query.clauses import copied
from connector.types import Hit

TEXT_FIELDS = ("title", "text")

_LOWEST = 0.001
"""The normalized score of a ranking's last hit."""


def words_clauses(text: str, *, boost: float = 1.0) -> list[dict[str, Any]]:
    """Build the clauses whose sum is BM25 over title and text.

    Raises:
        SearchError: The text is empty or blank.
        ValueError: `boost` is not above 0.
    """
    check_text(text)
    if not boost > 0:
        raise ValueError(f"the weight of BM25 must be above 0, got {boost}.")
    return [{"match": {field: {"query": text, "boost": boost}}} for field in TEXT_FIELDS]


def build_words_query(text: str, *, filters: Sequence[Mapping[str, Any]] = ()) -> dict[str, Any]:
    """Build a query whose score is BM25 over title and text.

    Args:
        text: The query text.
        filters: Query clauses that a document must match; they do not change its score.

    Raises:
        SearchError: The text is empty or blank.
    """
    query: dict[str, Any] = {"should": words_clauses(text), "minimum_should_match": 1}
    if filters:
        query["filter"] = copied(filters)
    return {"bool": query}


def build_hybrid_query(
    text: str,
    features: Mapping[str, float],
    *,
    weight: float,
    filters: Sequence[Mapping[str, Any]] = (),
    weight_exponent: int = 0,
    space: str | None = None,
) -> dict[str, Any]:
    """Build one query whose score is the dot product of features plus `weight` times BM25.

    Args:
        text: The query text, matched in `title` and `text`.
        features: Query weight of each feature name.
        weight: Weight of BM25, above 0. BM25 scores are 5 to 30; dot products of unit embeddings are below 1.
        filters: Query clauses that a document must match; they do not change its score.
        weight_exponent: As in `build_query`.
        space: As in `build_query`.

    Raises:
        SearchError: The text is empty or blank.
        ValueError: `weight` is not above 0, or a feature is invalid.
    """
    query = build_query(features, filters=filters, weight_exponent=weight_exponent)
    query["bool"]["should"] += words_clauses(text, boost=weight)
    return within_space(query, space)


def fuse(rankings: Sequence[Sequence[Hit]], *, top_k: int, weights: Sequence[float] | None = None) -> list[Hit]:
    """Fuse rankings by score: the scores of each are normalized to 0 to 1, and a document's score is their mean.

    As OpenSearch's normalization processor does by default (`min_max`, `arithmetic_mean`): the last hit of a ranking
    has 0.001, a document that a ranking lacks 0, and equal scores are 1. Hits that were not rescored, whose score is 0,
    have 0.001, too, and do not count as the last.

    Args:
        rankings: Hits, best first.
        top_k: Number of hits to return.
        weights: Weight of each ranking in the mean; None weights them equally.

    Returns:
        Hits with fused scores; a document in several rankings keeps the hit of the first, with the first highlight
        that is not empty: features highlight nothing.

    Raises:
        ValueError: `top_k` is below 1.
    """
    if top_k < 1:
        raise ValueError(f"top_k must be at least 1, got {top_k}.")
    weights = [1.0] * len(rankings) if weights is None else weights
    scores: dict[tuple[str, str, str | None], float] = defaultdict(float)
    hits: dict[tuple[str, str, str | None], Hit] = {}
    highlights: dict[tuple[str, str, str | None], Mapping[str, Sequence[str]]] = {}
    for ranking, weight in zip(rankings, weights, strict=True):
        share = weight / sum(weights)
        for hit, score in zip(ranking, _normalized([hit.score for hit in ranking]), strict=True):
            place = hit.place
            scores[place] += share * score
            hits.setdefault(place, hit)
            if hit.highlight:
                highlights.setdefault(place, hit.highlight)
    # Python's sort is stable: equal scores stay in the order of the first ranking.
    best = sorted(scores, key=lambda place: -scores[place])[:top_k]
    return [replace(hits[place], score=scores[place], highlight=highlights.get(place, {})) for place in best]


def _normalized(scores: Sequence[float]) -> list[float]:
    scored = [score for score in scores if score] or scores  # a hit below the rescoring window has none
    lowest, highest = min(scored, default=0.0), max(scored, default=0.0)
    if lowest == highest:
        return [1.0 if score == highest else _LOWEST for score in scores]
    return [max((score - lowest) / (highest - lowest), _LOWEST) for score in scores]
