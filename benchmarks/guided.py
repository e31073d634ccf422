"""Guided search: BM25 collects candidates, the learned query orders them. A pure function to a search body.

It serves the purpose of guided traversal (2GTI, Qiao et al. 2023) on a server that cannot skip in one field by the
bounds of another, and it is not the same. 2GTI walks through the postings of learned weights and skips by bounds that
mix BM25's with learned ones, so a document may be found by an expanded word alone. Here a document that shares no word
with the query is not a candidate, and expanded words only reorder; learned postings are read for the candidates alone.
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
    """Build a search body that scores the first `window` hits of BM25 by their features alone.

    Args:
        text: Of the query, matched in `title` and `text`.
        features: From feature name to weight in the query.
        top_k: Hits asked for, at most `window`: what lies behind it keeps its BM25 score.
        window: Candidates of each shard, up to 10,000 (the server's `index.max_rescore_window`).
        filters: Query clauses that a document must match; they don't change its score.
        source: Names of the fields to return, or whether to return any.
        weight_exponent: As in `build_query`.

    Raises:
        SearchError: The text is empty or blank.
        ValueError: The window is smaller than `top_k` or too large, or a feature cannot be searched.
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
