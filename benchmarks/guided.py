"""Guided search: BM25 collects candidates, and the learned query rescores them. A pure function.

It replaces guided traversal (2GTI, Qiao et al. 2023) on a server that cannot skip in one field by the bounds of
another, but is different. 2GTI traverses the postings of learned weights and skips by bounds that combine BM25 weights
with learned ones, so a document can be found by an expansion term alone. Here, a document that shares no word with the
query is not a candidate, and expansion terms only affect the ranking; learned postings are read only for candidates.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from connector.limits import MAX_HITS
from connector.query.body import build_query, build_search
from connector.query.hybrid import build_words_query


def build_guided_search(
    text: str,
    features: Mapping[str, float],
    *,
    top_k: int,
    window: int,
    filters: Sequence[Mapping[str, Any]] = (),
    source: Sequence[str] | bool = True,
    weight_exponent: int = 0,
) -> dict[str, Any]:
    """Build a search body that rescores the first `window` hits of BM25 by features alone.

    Args:
        text: The query text, matched in `title` and `text`.
        features: Query weight of each feature.
        top_k: Number of hits, at most `window`, since later hits keep their BM25 score.
        window: Candidates per shard, up to 10,000 (the server's `index.max_rescore_window`).
        filters: Query clauses that a document must match; they do not change scores.
        source: Names of the fields to return, or whether to return any.
        weight_exponent: As in `build_query`.

    Raises:
        SearchError: The text is empty or blank.
        ValueError: The window is smaller than `top_k` or too large, or a feature is invalid.
    """
    guide = build_words_query(text, filters=filters)
    if not top_k <= window <= MAX_HITS:
        raise ValueError(
            f"the window must be between top_k = {top_k} and {MAX_HITS:,} (index.max_rescore_window), got {window}."
        )
    learned = build_query(features, weight_exponent=weight_exponent)
    rescore = {
        "window_size": window,
        "query": {"rescore_query": learned, "query_weight": 0, "rescore_query_weight": 1},
    }
    return build_search(guide, top_k=top_k, source=source, rescore=rescore)
