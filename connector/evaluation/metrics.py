"""Compute metrics of a run with ir-measures."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

import ir_measures

from connector.evaluation.qrels import with_relevant, without_relevant
from connector.types import Hit

_log = logging.getLogger("ksparse.evaluation")

_MEASURES = {
    "ndcg@10": ir_measures.nDCG @ 10,
    "mrr@10": ir_measures.RR @ 10,
    "recall@100": ir_measures.R @ 100,
}

METRICS = tuple(_MEASURES)
"""Names of the metrics of `evaluate_run`, in order."""


def evaluate_run(run: Mapping[str, Sequence[Hit]], qrels: Mapping[str, Mapping[str, int]]) -> dict[str, float]:
    """Compute NDCG@10, MRR@10 and Recall@100 over all judged queries.

    Args:
        run: Hits by query id, best first. Only the order counts, because trec_eval would break ties of scores by
            document id. A judged query that is missing or has no hits counts as 0.
        qrels: Relevance by query id and document id; documents are relevant from 1. Queries without a relevant document
            are ignored, with a warning.

    Returns:
        `ndcg@10`, `mrr@10` and `recall@100`, each between 0 and 1.

    Raises:
        ValueError: No judgement is above 0, a query of the run has no judgements, or a document occurs twice among the
            hits of a query.
    """
    judgements, scored = _to_ir_measures(run, qrels)
    values = ir_measures.calc_aggregate(list(_MEASURES.values()), judgements, scored)
    return {name: float(values[measure]) for name, measure in _MEASURES.items()}


def _to_ir_measures(
    run: Mapping[str, Sequence[Hit]], qrels: Mapping[str, Mapping[str, int]]
) -> tuple[list[ir_measures.Qrel], list[ir_measures.ScoredDoc]]:
    """Validate run and judgements, and convert them for ir-measures."""
    if not qrels:
        raise ValueError("there are no judgements; metrics need them.")
    _check_queries(run, qrels, "the judgements")
    kept, left_out = with_relevant(qrels)
    if not kept:
        raise ValueError("no judgement is above 0; metrics need a relevant document.")
    if left_out:
        _log.warning("%s", without_relevant(left_out))
    scored = []
    for query_id in filter(kept.__contains__, run):
        hits = run[query_id]
        if len({hit.doc_id for hit in hits}) < len(hits):
            raise ValueError(f"query {query_id!r} has a document twice among its hits; keep only its best rank.")
        scored += [ir_measures.ScoredDoc(query_id, hit.doc_id, -float(rank)) for rank, hit in enumerate(hits)]
    judgements = [
        ir_measures.Qrel(query_id, doc_id, relevance)
        for query_id, judged in kept.items()
        for doc_id, relevance in judged.items()
    ]
    return judgements, scored


def ndcg_by_query(run: Mapping[str, Sequence[Hit]], qrels: Mapping[str, Mapping[str, int]]) -> dict[str, float]:
    """Compute NDCG@10 of each query with a relevant document; arguments and errors as in `evaluate_run`."""
    judgements, scored = _to_ir_measures(run, qrels)
    values = ir_measures.iter_calc([_MEASURES["ndcg@10"]], judgements, scored)
    return dict.fromkeys(with_relevant(qrels)[0], 0.0) | {each.query_id: float(each.value) for each in values}


def overlap_at(run: Mapping[str, Sequence[Hit]], reference_run: Mapping[str, Sequence[Hit]], cutoff: int) -> float:
    """Return the fraction of the reference's first `cutoff` hits among the first `cutoff` of a run, mean over queries.

    Args:
        run: Hits by query id, best first. Missing queries count as 0.
        reference_run: True hits by query id, best first, at least one each.
        cutoff: Number of hits in both, at least 1.

    Returns:
        A value between 0 and 1.

    Raises:
        ValueError: `cutoff` is below 1, the reference is empty, has a query without hits, or lacks a query of the run.
    """
    if cutoff < 1:
        raise ValueError(f"cutoff must be at least 1, got {cutoff}.")
    if not reference_run:
        raise ValueError("the reference has no queries.")
    _check_queries(run, reference_run, "the reference's queries")
    total = 0.0
    for query_id, reference_hits in reference_run.items():
        reference = {hit.doc_id for hit in reference_hits[:cutoff]}
        if not reference:
            raise ValueError(f"query {query_id!r} has no hits in the reference; remove it from both runs.")
        found = {hit.doc_id for hit in run.get(query_id, ())[:cutoff]}
        total += len(reference & found) / len(reference)
    return total / len(reference_run)


def share(value: float, reference: float) -> float:
    """Return the value relative to the reference, 1 if they are equal.

    Raises:
        ValueError: `reference` is not above 0.
    """
    if not reference > 0:
        raise ValueError(f"reference must be above 0, got {reference}.")
    return value / reference


def _check_queries(run: Mapping[str, object], known: Mapping[str, object], what: str) -> None:
    unknown = [query_id for query_id in run if query_id not in known]
    if unknown:
        raise ValueError(
            f"the run has {len(unknown)} queries, e.g. {unknown[0]!r}, that {what} lack; search the same queries."
        )
