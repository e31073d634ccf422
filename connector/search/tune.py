"""Find the fastest search settings that reach a target recall against a scan of all codes."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from logging import getLogger
from typing import TYPE_CHECKING

import numpy as np
from opensearchpy import OpenSearch

from connector.errors import ClusterError, SearchError
from connector.query.body import NO_OPTIONS
from connector.query.pruning import Pruning, prune_query
from connector.query.rescore import build_rescore, build_scan
from connector.query.settings import SearchSettings
from connector.search.retriever import Retriever
from connector.types import Hit

if TYPE_CHECKING:
    from connector.encoders.text import TextEncoder

_log = getLogger("ksparse.search")

K_QUERIES = (4, 8, 12, 16, 24, 32, 48)
BUDGETS = (0.02, 0.04, 0.06, 0.08, 0.12, 0.2)
"""Posting budgets in postings per document; applied to the 32 strongest query features."""

CELLS = (8, 16, 32, 64, 96)
"""Query features tried for a dictionary, whose posting lists are too short for a budget to matter."""

WINDOWS = (100, 200, 500, 1_000)
"""Rescoring windows tried; narrower ones than ten times `top_k` would not be used by searches."""

_K_WITHIN_BUDGET = 32
_ROUNDS = 2
_MIN_QUERIES = 10


@dataclass(frozen=True, slots=True)
class Trial:
    """One measured setting.

    Attributes:
        setting: Query features or posting budget, and rescoring window.
        recall: Recall against the top hits of a scan of all codes.
        p50_ms: Median latency of a request, without encoding.
        p99_ms: 99th percentile of the latency.
    """

    setting: SearchSettings
    recall: float
    p50_ms: float
    p99_ms: float


@dataclass(frozen=True, slots=True)
class Tuning:
    """All trials, and the fastest that reaches the target, or the one with the highest recall if none does."""

    trials: tuple[Trial, ...]
    best: Trial
    reached: bool


class UnsavedTuningError(ClusterError):
    """Settings were measured, and could not be stored in the index.

    Attributes:
        tuning: The measurements.
    """

    def __init__(self, tuning: Tuning, reason: Exception) -> None:
        super().__init__(
            f"The best settings, {tuning.best.setting}, could not be stored in the index: {reason} Pass them to "
            "searches, or store them later (`tuning` of this error contains all measurements)."
        )
        self.tuning = tuning


def tune(
    client: OpenSearch,
    index: str,
    encoder: TextEncoder,
    queries: Sequence[str],
    *,
    recall: float = 0.9,
    top_k: int = 10,
    progress: Callable[[float], None] | None = None,
) -> Tuning:
    """Run the queries with every setting in turns and compare the hits with a scan of all codes.

    Features choose the candidates also in an index that is so small that codes score all of it in searches, where all
    settings find the same: the best one applies once the index has grown.

    Args:
        client: A connected client.
        index: An index with codes.
        encoder: The encoder of the index.
        queries: Typical queries: at least 10, preferably 100.
        recall: Target recall against the scan's first `top_k` hits.
        top_k: Number of hits compared.
        progress: Called with the completed fraction.

    Raises:
        SearchError: The index has no codes.
        ValueError: There are too few queries, or `recall` is not in (0, 1].
    """
    check_queries(queries)
    if not 0 < recall <= 1:
        raise ValueError(f"recall must be above 0 and at most 1, got {recall:g}.")
    retriever = Retriever(client, index, encoder, source=False)
    code = retriever.encoder.code
    if code is None:
        raise SearchError(f"Index {index!r} stores no codes to compare with; re-encode it into an index with codes.")
    searcher = retriever.opened.searcher
    if searcher.reach.scored((), NO_OPTIONS) is not None:
        _log.warning(
            "Index %r is so small that searches score all documents by their codes; a setting found here applies once "
            "the index has grown.",
            index,
        )
    searcher.reach.by_features = True
    settings = _settings(retriever.encoder, top_k, searcher.reach.largest_window())
    # For each k, as in searches: with fixed shares of cells and tokens, the first k of more features would differ.
    features: dict[int | None, list[dict[str, float]]] = {}
    for k in {setting.k_query: None for setting in settings}:
        vectors, embeddings = retriever.encoder.encode_query_for_rescoring(queries, k=k)
        features[k] = vectors.as_mappings()
    pruned = [row for setting in settings if setting.pruning is not None for row in features[setting.k_query]]
    shares = retriever.opened.frequencies.shares(name for row in pruned for name in row)
    asked = [row for row in range(len(queries)) if all(each[row] for each in features.values())]
    steps = len(asked) * (_ROUNDS + 1)
    found: dict[SearchSettings, list[float]] = {setting: [] for setting in settings}
    times: dict[SearchSettings, list[float]] = {setting: [] for setting in settings}
    for turn in range(_ROUNDS + 1):
        for place, row in enumerate(asked):
            truth = set() if turn else _ids(searcher.scan(build_scan(code, embeddings[row]), top_k=top_k))
            for setting in settings:
                rescore = build_rescore(code, embeddings[row], setting.window or top_k)
                searched = features[setting.k_query][row]
                if setting.pruning is not None:
                    searched = prune_query(searched, setting.pruning, shares=shares)
                begun = time.perf_counter()
                hits = searcher.search(searched, top_k=top_k, rescore=rescore)
                taken = 1000 * (time.perf_counter() - begun)
                if turn:
                    times[setting].append(taken)
                else:
                    found[setting].append(len(truth & _ids(hits)) / max(1, len(truth)))
            if progress is not None:
                progress((turn * len(asked) + place + 1) / steps)
    trials = tuple(
        Trial(setting, float(np.mean(found[setting])), *np.percentile(times[setting], [50, 99]).tolist())
        for setting in settings
    )
    enough = [trial for trial in trials if trial.recall >= recall]
    best = min(enough, key=lambda trial: trial.p50_ms) if enough else max(trials, key=lambda trial: trial.recall)
    return Tuning(trials, best, bool(enough))


def _settings(encoder: TextEncoder, top_k: int, largest_window: int) -> list[SearchSettings]:
    windows = sorted({min(max(window, 10 * top_k), largest_window) for window in WINDOWS})
    if encoder.has_dictionary:
        return [SearchSettings(*each) for each in product(CELLS, windows)]
    settings = [SearchSettings(*each) for each in product(K_QUERIES, windows)]
    return settings + [
        SearchSettings(_K_WITHIN_BUDGET, window, Pruning("posting_budget", budget))
        for budget, window in product(BUDGETS, windows)
    ]


def check_queries(queries: Sequence[str]) -> None:
    """Check that there are enough queries for tuning.

    Raises:
        ValueError: There are too few.
    """
    if len(queries) < _MIN_QUERIES:
        raise ValueError(f"tuning needs at least {_MIN_QUERIES} queries, preferably 100; got {len(queries)}.")


def _ids(hits: Sequence[Hit]) -> set[str]:
    return {hit.doc_id for hit in hits}
