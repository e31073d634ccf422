"""Search settings: passed to searches, stored in indices and found by tuning."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from connector.query.pruning import Pruning

DEFAULT_WINDOW = 100
"""Rescoring window if neither the search nor the index sets one."""


@dataclass(frozen=True, slots=True)
class SearchSettings:
    """The trade-off of quality and latency; None uses the default of the index or of the encoder.

    Attributes:
        k_query: Number of query features.
        window: Hits per shard to rescore by codes; 0 disables rescoring.
        pruning: Rule for dropping query features.
        rank_window_size: Hits of each ranking that a hybrid search fuses; not stored in an index.

    Raises:
        ValueError: A number is not whole, or too small.
    """

    k_query: int | None = None
    window: int | None = None
    pruning: Pruning | None = None
    rank_window_size: int | None = None

    def __post_init__(self) -> None:
        for name, least in (("k_query", 1), ("window", 0), ("rank_window_size", 1)):
            number = getattr(self, name)
            if number is None:
                continue
            if isinstance(number, bool) or not hasattr(number, "__index__") or number < least:
                raise ValueError(f"{name} must be a whole number of at least {least}, got {number!r}.")

    @property
    def posting_budget(self) -> float | None:
        """The posting budget, if `pruning` is one."""
        budget = self.pruning is not None and self.pruning.prune_type == "posting_budget"
        return self.pruning.prune_ratio if budget and self.pruning is not None else None

    @property
    def features_alone(self) -> Self:
        """The settings for a search without rescoring, to which stored settings do not apply."""
        return type(self)(self.k_query, 0, self.pruning or Pruning())

    def to_json(self) -> dict[str, Any]:
        """The settings as stored in an index.

        Raises:
            ValueError: The pruning is not a posting budget.
        """
        if self.pruning is not None and self.posting_budget is None:
            raise ValueError(f"an index stores a posting budget as its pruning, not {self.pruning}.")
        window = DEFAULT_WINDOW if self.window is None else self.window
        return {"k_query": self.k_query, "window": window, "posting_budget": self.posting_budget}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        """Read what `to_json` of any version wrote; unknown keys are ignored."""
        budget = stored.get("posting_budget")
        pruning = None if budget is None else Pruning("posting_budget", budget)
        return cls(stored.get("k_query"), stored.get("window"), pruning)


DEFAULT_SETTINGS = SearchSettings()
