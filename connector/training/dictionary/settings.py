"""Settings of a dictionary, stored with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from connector.training.ranges import check_ranges

MIN_DOCUMENTS = 1_000
"""With fewer documents, a dictionary is not better than a fixed head."""


@dataclass(frozen=True, slots=True)
class DictionarySettings:
    """Settings of a dictionary.

    Raises:
        ValueError: A setting is out of range.
    """

    cells: int = 8
    """Cells kept per document."""
    query_cells: int = 16
    """Cells kept per query, each a clause with a short posting list."""
    tokens: int = 24
    """Tokens kept per document; 0 for cells alone."""
    query_tokens: int = 24
    """Tokens kept per query."""
    probes: int = 24
    """Nearest coarse cells whose fine cells are compared with a document."""
    query_probes: int = 48
    """Nearest coarse cells whose fine cells are compared with a query."""
    spread: float = 8.0
    """Weight of the penalty on parallel residuals of a document's cells; 0 keeps the nearest cells."""
    document_lexical_scale: float = 0.14
    """Weight of document tokens. Higher weights improve the ranking by features, but find fewer dense neighbours."""
    query_lexical_scale: float = 0.12
    """Weight of query tokens."""
    validation_queries: int = 1_000
    """Maximum number of test queries."""
    seed: int = 0
    """Seed of the sample, the centroids and the test queries."""

    def __post_init__(self) -> None:
        check_ranges(self, at_least_one=("cells", "query_cells", "probes", "query_probes", "validation_queries"))
        for name in ("tokens", "query_tokens", "spread"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must be at least 0, got {getattr(self, name)}.")
        if bool(self.tokens) != bool(self.query_tokens):
            raise ValueError(
                f"tokens {self.tokens} and query_tokens {self.query_tokens} must both be 0 or both be at least 1."
            )

    def unread(self) -> dict[str, str]:
        """Settings without effect, with the reason."""
        if self.lexical:
            return {}
        return dict.fromkeys(("document_lexical_scale", "query_lexical_scale"), "there are no tokens")

    def head_options(self, num_tokens: int | None) -> dict[str, Any]:
        """The arguments of `build_cells` that these settings determine.

        Args:
            num_tokens: Size of the tokenizer's vocabulary; None for cells alone.
        """
        tokens, query_tokens, lexical = 0, 0, None
        if num_tokens is not None:
            tokens, query_tokens = self.tokens, self.query_tokens
            scales = {"document_scale": self.document_lexical_scale, "query_scale": self.query_lexical_scale}
            lexical = {"num_tokens": num_tokens, **scales}
        return {
            "k": self.cells + tokens,
            "k_query": self.query_cells + query_tokens,
            "cells": self.cells,
            "query_cells": self.query_cells,
            "probes": self.probes,
            "query_probes": self.query_probes,
            "spread": self.spread,
            "lexical_config": lexical,
            "seed": self.seed,
        }

    @property
    def lexical(self) -> bool:
        """Whether tokens are features."""
        return self.tokens > 0
