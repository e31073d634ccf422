"""How a query is searched: one value for what a search asks for, what an index stores and what tuning finds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from connector.query.pruning import Pruning

DEFAULT_WINDOW = 100
"""Hits rescored by codes where neither the search nor the index sets a window."""


@dataclass(frozen=True, slots=True)
class SearchSettings:
    """How a search trades quality for latency; None leaves a setting to the index, or to the encoder.

    Attributes:
        k_query: Features kept of the query.
        window: Hits of each shard that are rescored by codes; 0 ranks by features alone.
        pruning: Which features of the query are dropped.
        rank_window_size: Hits of each ranking that a hybrid search fuses by rank; an index does not store it.
    """

    k_query: int | None = None
    window: int | None = None
    pruning: Pruning | None = None
    rank_window_size: int | None = None

    @property
    def posting_budget(self) -> float | None:
        """The posting budget, where `pruning` is one."""
        budget = self.pruning is not None and self.pruning.prune_type == "posting_budget"
        return self.pruning.prune_ratio if budget and self.pruning is not None else None

    @property
    def features_alone(self) -> Self:
        """The same without codes, which stored settings do not apply to."""
        return type(self)(self.k_query, 0, self.pruning or Pruning())

    def to_json(self) -> dict[str, Any]:
        """What an index stores of it.

        Raises:
            ValueError: The pruning is not a posting budget.
        """
        if self.pruning is not None and self.posting_budget is None:
            raise ValueError(f"an index stores a posting budget as its pruning, not {self.pruning}.")
        window = DEFAULT_WINDOW if self.window is None else self.window
        return {"k_query": self.k_query, "window": window, "posting_budget": self.posting_budget}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote, by this version or another; unknown keys are ignored."""
        budget = stored.get("posting_budget")
        pruning = None if budget is None else Pruning("posting_budget", budget)
        return cls(stored.get("k_query"), stored.get("window"), pruning)


DEFAULT_SETTINGS = SearchSettings()
