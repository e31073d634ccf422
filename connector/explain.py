"""Why a document was found: what each feature of the query added to its score. Imports nothing of ours."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Contribution:
    """What one feature added to a score.

    Attributes:
        feature: Its name in the index.
        label: What it stands for, in words; empty where nobody named it.
        query_weight: In the query.
        document_weight: In the document, as the server keeps it.
        score: Their product, as the server computed it.
        share: Of the sum over all features.
    """

    feature: str
    label: str
    query_weight: float
    document_weight: float
    score: float
    share: float


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a document was found.

    Attributes:
        score: The hit's: the dot product of the features, or what the codes of the index made of it.
        feature_score: The sum over the features: equals `score`, to the precision of a float, unless hits are rescored.
        contributions: Of the features that query and document share, strongest first.
    """

    score: float
    feature_score: float
    contributions: tuple[Contribution, ...]

    @property
    def rescored(self) -> bool:
        """Whether another score than that of the features ordered the hit."""
        return abs(self.score - self.feature_score) > 1e-4 * abs(self.feature_score)


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
