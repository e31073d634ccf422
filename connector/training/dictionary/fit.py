"""Build a dictionary from embeddings, and test it on queries."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from connector.encoders.dictionary import TwoLevelDictionary
from connector.training.data import TrainingData
from connector.training.dictionary.build import build_dictionary
from connector.training.dictionary.settings import DictionarySettings
from connector.training.loop import Progress
from connector.training.validation import ValidationResult, hold_out
from connector.vectors.statistics import CorpusStatistics


@dataclass(frozen=True, slots=True)
class FittedDictionary:
    """A dictionary and its test result.

    Attributes:
        head: The dictionary.
        result: Result on test queries; None without queries.
        build_s: Seconds for building, without embedding and tests.
    """

    head: TwoLevelDictionary
    result: ValidationResult | None
    build_s: float


def fit_dictionary(
    data: TrainingData,
    settings: DictionarySettings,
    *,
    base_model: str = "",
    special_ids: Sequence[int] = (),
    documents: int | None = None,
    progress: Progress | None = None,
) -> FittedDictionary:
    """Build a dictionary from documents and test it on their queries.

    Args:
        data: Embeddings of the dense model, with token counts for tokens as features. Queries are only for the test.
        settings: Settings of the dictionary.
        base_model: Name of the dense model.
        special_ids: Special tokens of the dense model's tokenizer.
        documents: Number of documents of the corpus, if `data` is a sample.
        progress: Called with the current task and its completed fraction.

    Raises:
        ValueError: There are fewer than 1,000 documents, or too few for the number of cells.
    """
    report = progress or (lambda _task, _share: None)
    statistics = data.statistics(special_ids)
    counts = data.document_tokens if settings.lexical else None
    average = CorpusStatistics.average(statistics) if len(statistics) > 1 else statistics[0]
    started = time.monotonic()
    head = build_dictionary(
        data.documents,
        documents=documents,
        **settings.head_options(None if counts is None else counts.shape[1]),
        statistics=average,
        base_model=base_model,
        progress=lambda share: report("building the dictionary", share),
    )
    build_s = time.monotonic() - started
    result = None
    if len(data.queries):
        _, validation = hold_out(data, statistics, settings.validation_queries, settings.seed, share=1.0)
        result = validation.run(head.eval())
        head.use_statistics(average)
    return FittedDictionary(head, result, build_s)
