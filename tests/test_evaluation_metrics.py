from __future__ import annotations

import math

import pytest

from connector.evaluation.metrics import METRICS, evaluate_run, ndcg_by_query, overlap_at, share
from connector.types import Hit


def hits(*doc_ids: str, score: float = 1.0) -> list[Hit]:
    return [Hit(doc_id, score) for doc_id in doc_ids]


def filler(count: int) -> list[Hit]:
    return hits(*(f"x{number}" for number in range(count)))


def test_a_perfect_run_scores_one() -> None:
    assert evaluate_run({"q": hits("d1")}, {"q": {"d1": 1}}) == {"ndcg@10": 1.0, "mrr@10": 1.0, "recall@100": 1.0}


def test_the_names_are_listed_in_order() -> None:
    assert tuple(evaluate_run({}, {"q": {"d1": 1}})) == METRICS == ("ndcg@10", "mrr@10", "recall@100")


def test_ndcg_discounts_by_the_logarithm_of_the_rank() -> None:
    values = evaluate_run({"q": hits("x", "d1")}, {"q": {"d1": 1}})
    assert values["ndcg@10"] == pytest.approx(1 / math.log2(3))


def test_ndcg_gains_are_linear_in_the_relevance() -> None:
    values = evaluate_run({"q": hits("d1", "d2")}, {"q": {"d1": 1, "d2": 2}})
    assert values["ndcg@10"] == pytest.approx((1 + 2 / math.log2(3)) / (2 + 1 / math.log2(3)))


def test_the_tenth_hit_counts_for_mrr() -> None:
    values = evaluate_run({"q": filler(9) + hits("d1")}, {"q": {"d1": 1}})
    assert values["mrr@10"] == pytest.approx(0.1)


def test_the_eleventh_hit_does_not_count_for_mrr_and_ndcg() -> None:
    values = evaluate_run({"q": filler(10) + hits("d1")}, {"q": {"d1": 1}})
    assert values == {"ndcg@10": 0.0, "mrr@10": 0.0, "recall@100": 1.0}


def test_the_hundred_and_first_hit_does_not_count_for_recall() -> None:
    values = evaluate_run({"q": hits("d1") + filler(99) + hits("d2")}, {"q": {"d1": 1, "d2": 1}})
    assert values["recall@100"] == 0.5


def test_mrr_counts_the_first_relevant_hit_only() -> None:
    values = evaluate_run({"q": hits("x", "d1", "d2")}, {"q": {"d1": 1, "d2": 1}})
    assert values["mrr@10"] == 0.5


def test_a_document_judged_zero_is_not_relevant() -> None:
    values = evaluate_run({"q": hits("d0")}, {"q": {"d0": 0, "d1": 1}})
    assert values == {"ndcg@10": 0.0, "mrr@10": 0.0, "recall@100": 0.0}


@pytest.mark.parametrize("run", [{"q1": hits("d1")}, {"q1": hits("d1"), "q2": []}])
def test_a_query_without_hits_counts_as_zero(run: dict[str, list[Hit]]) -> None:
    values = evaluate_run(run, {"q1": {"d1": 1}, "q2": {"d1": 1}})
    assert values == {"ndcg@10": 0.5, "mrr@10": 0.5, "recall@100": 0.5}


def test_an_empty_run_scores_zero() -> None:
    assert evaluate_run({}, {"q": {"d1": 1}}) == {"ndcg@10": 0.0, "mrr@10": 0.0, "recall@100": 0.0}


@pytest.mark.parametrize("order", [("a", "b"), ("b", "a")])
def test_equal_scores_keep_the_runs_order(order: tuple[str, str]) -> None:
    values = evaluate_run({"q": hits(*order)}, {"q": {order[1]: 1}})
    assert values["ndcg@10"] == pytest.approx(1 / math.log2(3))
    assert values["mrr@10"] == 0.5


def test_the_order_counts_and_not_the_scores() -> None:
    values = evaluate_run({"q": [Hit("d1", 1.0), Hit("x", 2.0)]}, {"q": {"d1": 1}})
    assert values["mrr@10"] == 1.0


def test_an_unjudged_query_is_refused() -> None:
    with pytest.raises(ValueError, match="the run has 1 queries, e.g. 'q2', that the judgements lack"):
        evaluate_run({"q1": [], "q2": []}, {"q1": {"d1": 1}})


def test_no_judgements_are_refused() -> None:
    with pytest.raises(ValueError, match="there are no judgements"):
        evaluate_run({}, {})


@pytest.mark.parametrize("judged", [{}, {"d1": 0}])
def test_a_query_without_a_relevant_document_is_left_out_and_named(
    judged: dict[str, int], caplog: pytest.LogCaptureFixture
) -> None:
    run, qrels = {"q": hits("d1"), "r": hits("x", "d1")}, {"q": judged, "r": {"d1": 1}}
    assert evaluate_run(run, qrels) == evaluate_run({"r": run["r"]}, {"r": qrels["r"]})
    assert ndcg_by_query(run, qrels) == {"r": pytest.approx(1 / math.log2(3))}
    assert "1 queries have no judgement above 0, e.g. 'q', and are ignored." in caplog.messages
    with pytest.raises(ValueError, match="no judgement is above 0"):
        evaluate_run({}, {"q": judged})


def test_a_document_that_is_found_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="query 'q' has a document twice among its hits"):
        evaluate_run({"q": hits("d1", "d1")}, {"q": {"d1": 1}})


def test_overlap_ignores_the_order_within_the_cutoff() -> None:
    assert overlap_at({"q": hits("b", "a", "c")}, {"q": hits("a", "b", "d")}, 2) == 1.0


def test_overlap_counts_no_hit_below_the_cutoff() -> None:
    assert overlap_at({"q": hits("x", "b", "a")}, {"q": hits("a", "b", "c")}, 2) == 0.5


def test_overlap_is_measured_by_what_the_reference_has() -> None:
    assert overlap_at({"q": hits("x", "a")}, {"q": hits("a")}, 10) == 1.0


def test_overlap_counts_a_missing_query_as_zero() -> None:
    assert overlap_at({"q1": hits("a")}, {"q1": hits("a"), "q2": hits("a")}, 1) == 0.5


def test_overlap_refuses_a_reference_without_hits() -> None:
    with pytest.raises(ValueError, match="query 'q' has no hits in the reference"):
        overlap_at({}, {"q": []}, 1)


def test_overlap_refuses_an_empty_reference() -> None:
    with pytest.raises(ValueError, match="the reference has no queries"):
        overlap_at({}, {}, 1)


def test_overlap_refuses_a_query_that_the_reference_lacks() -> None:
    with pytest.raises(ValueError, match="e.g. 'q2', that the reference's queries lack"):
        overlap_at({"q2": []}, {"q1": hits("a")}, 1)


def test_overlap_refuses_a_cutoff_of_zero() -> None:
    with pytest.raises(ValueError, match="cutoff must be at least 1, got 0"):
        overlap_at({}, {"q": hits("a")}, 0)


def test_a_share_is_a_part_of_the_reference() -> None:
    assert share(0.6, 0.8) == pytest.approx(0.75)


@pytest.mark.parametrize("reference", [0.0, -1.0, float("nan")])
def test_a_share_of_nothing_is_refused(reference: float) -> None:
    with pytest.raises(ValueError, match="reference must be above 0"):
        share(0.5, reference)


def test_ndcg_of_each_query_makes_up_the_mean() -> None:
    run = {"q1": hits("x", "d1"), "q2": hits("d2")}
    qrels = {"q1": {"d1": 1}, "q2": {"d2": 1}, "unasked": {"d3": 1}}
    gains = ndcg_by_query(run, qrels)
    assert gains == {"q1": pytest.approx(1 / math.log2(3)), "q2": 1.0, "unasked": 0.0}
    assert sum(gains.values()) / 3 == pytest.approx(evaluate_run(run, qrels)["ndcg@10"])
