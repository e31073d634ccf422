"""Everything that decides what a dictionary is, as one value that is stored beside it."""

from __future__ import annotations

from dataclasses import dataclass

from connector.training.ranges import check_ranges


@dataclass(frozen=True, slots=True)
class DictionarySettings:
    """Settings of a dictionary.

    Raises:
        ValueError: A setting is out of range, or a share is larger than the whole.
    """

    cells: int = 8
    """Cells kept per document."""
    query_cells: int = 16
    """Cells kept per query: each is a clause, and a short posting list."""
    tokens: int = 24
    """Tokens kept per document beside its cells; 0 for cells alone."""
    query_tokens: int = 24
    """Tokens kept per query."""
    probes: int = 24
    """Coarse cells whose fine cells are compared with a text."""
    spread: float = 8.0
    """Weight of the penalty on cells of a document whose residuals are parallel; 0 keeps the nearest cells."""
    document_lexical_scale: float = 0.14
    """Weight of a document's tokens beside its cells. Heavier tokens improve the ranking by features alone and find
    fewer of the dense neighbours."""
    query_lexical_scale: float = 0.12
    """Weight of a query's tokens."""
    validation_queries: int = 1_000
    """Queries that the dictionary is tested on, at most."""
    seed: int = 0
    """Of the sample, the centroids and the test queries."""

    def __post_init__(self) -> None:
        check_ranges(self, at_least_one=("cells", "query_cells", "probes", "validation_queries"))
        for name in ("tokens", "query_tokens", "spread"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must be at least 0, got {getattr(self, name)}.")
        if bool(self.tokens) != bool(self.query_tokens):
            raise ValueError(
                f"tokens {self.tokens} and query_tokens {self.query_tokens} must both be 0 or both be at least 1."
            )

    def unread(self) -> dict[str, str]:
        """The settings that have no effect, and why."""
        if self.lexical:
            return {}
        return dict.fromkeys(("document_lexical_scale", "query_lexical_scale"), "there are no tokens")

    @property
    def lexical(self) -> bool:
        """Whether tokens are features."""
        return self.tokens > 0
