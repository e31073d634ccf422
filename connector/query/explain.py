"""Why a document was found: what each feature of the query added to its score."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from connector.types import Contribution, Explanation


def explain_score(
    score: float,
    matches: Mapping[str, float],
    query: Mapping[str, float],
    label: Callable[[str], str] = lambda _feature: "",
) -> Explanation:
    """Split a score into what each feature added.

    Args:
        score: The hit's.
        matches: From feature to what it added, as the server counted.
        query: From feature to weight in the query, those of `matches` among them.
        label: From feature to words.
    """
    total = sum(matches.values())
    parts = [
        Contribution(feature, label(feature), query[feature], added / query[feature], added, added / total)
        for feature, added in sorted(matches.items(), key=lambda match: -match[1])
    ]
    return Explanation(score, total, tuple(parts))
