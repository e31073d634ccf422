"""Settings of `ksparse train queries`, stored with the result."""

from __future__ import annotations

from dataclasses import dataclass

from connector.training.ranges import check_ranges

MIN_QUERIES = 100


@dataclass(frozen=True, slots=True)
class StaticSettings:
    """Settings of a static query encoder.

    Raises:
        ValueError: A setting is out of range.
    """

    steps: int = 3_000
    """Number of steps."""
    batch_size: int = 512
    """Queries per step, from one corpus, with half as many documents."""
    learning_rate: float = 2e-3
    """Learning rate of Adam, which falls linearly to 0 after a short warm-up."""
    temperature: float = 0.05
    """Temperature of the KL divergence between the rankings of encoder and teacher."""
    document_weight: float = 0.3
    """Weight of the loss on documents, which cover tokens that no training query has."""
    ranking_weight: float = 0.3
    """Weight of the KL divergence."""
    validation_queries: int = 1_000
    """Queries held out for validation, at most a tenth."""
    validation_documents: int = 20_000
    """Documents searched in validation."""
    validations: int = 20
    """Number of validations, evenly spaced."""
    patience: int | None = 4
    """Validations without improvement before the run stops."""
    max_seconds: float | None = None
    """Maximum duration; the learning rate then depends on the time."""
    seed: int = 0
    """Seed of the batches and the held-out queries."""

    def unread(self) -> dict[str, str]:
        """Settings without effect: none."""
        return {}

    def __post_init__(self) -> None:
        counts = ("steps", "batch_size", "validation_queries", "validation_documents", "validations")
        check_ranges(self, at_least_one=counts, above_zero=("learning_rate", "temperature"))
