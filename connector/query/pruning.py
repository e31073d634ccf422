"""Which of a query's features are worth their postings. Pure functions; names as the neural-search plugin has them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

PruneType = Literal["none", "top_k", "max_ratio", "alpha_mass", "abs_value", "posting_budget"]
PRUNE_TYPES: tuple[PruneType, ...] = get_args(PruneType)

_SHARES = ("max_ratio", "alpha_mass")


@dataclass(frozen=True, slots=True)
class Pruning:
    """A rule by which features of a query are left out.

    Attributes:
        prune_type: `top_k` keeps the strongest, `max_ratio` those of at least a share of the strongest one's weight,
            `alpha_mass` the fewest that have a share of all weight, `abs_value` those of at least some weight: all as
            in neural-search. `posting_budget` keeps the strongest whose postings fit into a budget.
        prune_ratio: The number, share, weight or budget. A budget is given in multiples of the number of documents:
            with 0.12 a query reads at most 12 postings for 100 documents, unless its strongest feature alone has more.

    Raises:
        ValueError: The type is unknown, or the ratio is out of its range.
    """

    prune_type: PruneType = "none"
    prune_ratio: float = 0.0

    def __post_init__(self) -> None:
        if self.prune_type not in PRUNE_TYPES:
            raise ValueError(f"prune_type must be one of {', '.join(PRUNE_TYPES)}, got {self.prune_type!r}.")
        if self.prune_type == "top_k" and (self.prune_ratio < 1 or self.prune_ratio != int(self.prune_ratio)):
            raise ValueError(f"top_k keeps a whole number of features, at least 1, got {self.prune_ratio}.")
        if self.prune_type in _SHARES and not 0 < self.prune_ratio <= 1:
            raise ValueError(f"{self.prune_type} needs a share above 0 and up to 1, got {self.prune_ratio}.")
        if self.prune_type in ("abs_value", "posting_budget") and not self.prune_ratio > 0:
            raise ValueError(f"{self.prune_type} needs a prune_ratio above 0, got {self.prune_ratio}.")

    def __str__(self) -> str:
        return self.prune_type if self.prune_type == "none" else f"{self.prune_type} {self.prune_ratio:g}"


def prune_query(
    features: Mapping[str, float], pruning: Pruning, *, shares: Mapping[str, float] | None = None
) -> dict[str, float]:
    """Leave features of a query out; the strongest one always stays.

    Args:
        features: From name to weight.
        pruning: The rule.
        shares: The share of the documents that has each feature, for `posting_budget`; a feature that is missing
            has no postings.

    Returns:
        What is kept, strongest first.

    Raises:
        ValueError: A budget is given without shares.
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
                raise ValueError("a posting budget needs the share of the documents that each feature is found in.")
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
    """Strongest first; one that no longer fits is passed over, and weaker ones that cost less may follow."""
    kept: list[tuple[str, float]] = []
    spent = 0.0
    for name, weight in ordered:
        cost = shares.get(name, 0.0)
        if not kept or spent + cost <= budget:
            kept.append((name, weight))
            spent += cost
    return kept
