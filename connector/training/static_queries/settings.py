"""Everything that decides what `ksparse train queries` yields, as one value that is stored beside its result."""

from __future__ import annotations

from dataclasses import dataclass

from connector.training.ranges import check_ranges

FEWEST_QUERIES = 100


@dataclass(frozen=True, slots=True)
class StaticSettings:
    """Settings of a run.

    Raises:
        ValueError: A setting is out of range.
    """

    steps: int = 3_000
    """Updates of the weights."""
    batch_size: int = 512
    """Queries of a step, of one corpus, and half as many of its documents."""
    learning_rate: float = 2e-3
    """Of Adam, falling linearly to 0."""
    temperature: float = 0.05
    """Scores are divided by it before the softmax whose divergence from the teacher's is a term of the loss."""
    document_weight: float = 0.3
    """Weight of the documents' part of the loss: they teach tokens that no training query has."""
    ranking_weight: float = 0.3
    """Weight of the divergence."""
    validation_queries: int = 1_000
    """Training queries that are held out for validation, at most a tenth of all."""
    validation_documents: int = 20_000
    """Documents that they are searched in."""
    validations: int = 20
    """Times that the held-out queries are searched, evenly spread."""
    patience: int | None = 4
    """Validations without a gain after which the run stops."""
    max_seconds: float | None = None
    """Train no longer than this; the learning rate then falls with the time."""
    seed: int = 0
    """Of the batches and the held-out queries."""

    def unread(self) -> dict[str, str]:
        """The settings that a run does not read: none."""
        return {}

    def __post_init__(self) -> None:
        counts = ("steps", "batch_size", "validation_queries", "validation_documents", "validations")
        check_ranges(self, at_least_one=counts, above_zero=("learning_rate", "temperature"))
