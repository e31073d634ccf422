"""Drop query features that are not worth their postings. Pure functions; named as in the neural-search plugin."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

PruneType = Literal["none", "top_k", "max_ratio", "alpha_mass", "abs_value", "posting_budget"]
PRUNE_TYPES: tuple[PruneType, ...] = get_args(PruneType)

_SHARES = ("max_ratio", "alpha_mass")


@dataclass(frozen=True, slots=True)
class Pruning:
    """A rule for dropping query features.

    Attributes:
        prune_type: As in neural-search: `top_k` keeps the strongest features, `max_ratio` those with at least a
            fraction of the maximum weight, `alpha_mass` the fewest that hold a fraction of the total weight,
            `abs_value` those with at least some weight. `posting_budget` keeps the strongest whose postings fit the
            budget.
        prune_ratio: The count, fraction, weight or budget. A budget is in postings per document: with 0.12 a query
            reads at most 12 postings per 100 documents, unless its strongest feature alone has more.

    Raises:
        ValueError: The type is unknown, or the ratio is out of range.
    """

    prune_type: PruneType = "none"
    prune_ratio: float = 0.0

    def __post_init__(self) -> None:
        if self.prune_type not in PRUNE_TYPES:
            raise ValueError(f"prune_type must be one of {', '.join(PRUNE_TYPES)}, got {self.prune_type!r}.")
        if self.prune_type == "top_k" and not (self.prune_ratio >= 1 and float(self.prune_ratio).is_integer()):
            raise ValueError(f"top_k keeps a whole number of features, at least 1, got {self.prune_ratio}.")
        if self.prune_type in _SHARES and not 0 < self.prune_ratio <= 1:
            raise ValueError(f"{self.prune_type} needs a fraction above 0 and at most 1, got {self.prune_ratio}.")
        if self.prune_type in ("abs_value", "posting_budget") and not self.prune_ratio > 0:
            raise ValueError(f"{self.prune_type} needs a prune_ratio above 0, got {self.prune_ratio}.")

    def __str__(self) -> str:
        return self.prune_type if self.prune_type == "none" else f"{self.prune_type} {self.prune_ratio:g}"


def prune_query(
    features: Mapping[str, float], pruning: Pruning, *, shares: Mapping[str, float] | None = None
) -> dict[str, float]:
    """Drop features of a query; the strongest one is always kept.

    Args:
        features: Weight of each feature name.
        pruning: The rule.
        shares: Fraction of the documents that have each feature, for `posting_budget`; missing features have no
            postings.

    Returns:
        The kept features, strongest first.

    Raises:
        ValueError: `posting_budget` is used without shares.
    """
    ordered = sorted(features.items(), key=lambda each: -each[1])
    if not ordered:
        return {}
    ratio, strongest = pruning.prune_ratio, ordered[0][1]
    match pruning.prune_type:
        case "none":
            kept = ordered
        case "top_k":
            kept = ordered[: int(ratio)]
        case "max_ratio":
            kept = [each for each in ordered if each[1] >= ratio * strongest]
        case "abs_value":
            kept = [each for each in ordered if each[1] >= ratio]
        case "alpha_mass":
            kept = _mass(ordered, ratio)
        case "posting_budget":
            if shares is None:
                raise ValueError("posting_budget needs the document frequencies of the features (shares).")
            kept = _within(ordered, ratio, shares)
    return dict(kept or ordered[:1])


def _mass(ordered: list[tuple[str, float]], share: float) -> list[tuple[str, float]]:
    enough = share * sum(weight for _, weight in ordered)
    kept: list[tuple[str, float]] = []
    mass = 0.0
    for name, weight in ordered:
        kept.append((name, weight))
        mass += weight
        if mass >= enough:
            break
    return kept


def _within(ordered: list[tuple[str, float]], budget: float, shares: Mapping[str, float]) -> list[tuple[str, float]]:
    """Keep features greedily, strongest first; one that does not fit is skipped, and cheaper ones may follow."""
    kept: list[tuple[str, float]] = []
    spent = 0.0
    for name, weight in ordered:
        cost = shares.get(name, 0.0)
        if not kept or spent + cost <= budget:
            kept.append((name, weight))
            spent += cost
    return kept
