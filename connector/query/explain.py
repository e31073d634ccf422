"""Explain a score by the contribution of each query feature."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from connector.types import Contribution, Explanation


def explain_score(
    score: float,
    matches: Mapping[str, float],
    query: Mapping[str, float],
    label: Callable[[str], str] = lambda _feature: "",
) -> Explanation:
    """Split a score into the contributions of the features.

    Args:
        score: Score of the hit.
        matches: Contribution of each feature, as computed by the server; other named clauses (of filters) are ignored.
        query: Query weight of each feature.
        label: Returns the label of a feature.
    """
    added_by = {feature: added for feature, added in matches.items() if feature in query}
    total = sum(added_by.values())
    parts = [
        Contribution(feature, label(feature), query[feature], added / query[feature], added, added / total)
        for feature, added in sorted(added_by.items(), key=lambda match: -match[1])
    ]
    return Explanation(score, total, tuple(parts))
