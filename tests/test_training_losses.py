from __future__ import annotations

import math

import pytest
import torch

from connector.training.losses import cross_flops_loss, distance_loss, ranking_loss, reconstruction_loss


def test_distance_loss_is_equation_2_by_hand() -> None:
    # X X^T = [[4, 2], [2, 2]], rows divided by their diagonal: [[1, 1/2], [1, 1]].
    dense = torch.tensor([[2.0, 0.0], [1.0, 1.0]])
    # Z Z^T = [[1, 0], [0, 9]], so [[1, 0], [0, 1]].
    sparse = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 3.0]])
    # The difference is [[0, 1/2], [1, 0]]: (1/2) sqrt(1/4 + 1).
    assert distance_loss(dense, sparse).item() == pytest.approx(math.sqrt(1.25) / 2)


@pytest.mark.parametrize("factor", [1.0, 0.1, 7.0])
def test_distance_loss_is_0_for_the_same_vectors_at_any_scale(factor: float) -> None:
    dense = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
    assert distance_loss(dense, factor * dense).item() == pytest.approx(0.0, abs=1e-6)


def test_distance_loss_takes_a_row_of_zeros_as_unrelated() -> None:
    # [[1, 0], [0, 1]] - [[1, 0], [0, 0]].
    loss = distance_loss(torch.eye(2), torch.tensor([[1.0, 0.0], [0.0, 0.0]]))
    assert loss.item() == pytest.approx(1 / 2)


def test_distance_loss_has_finite_gradients_at_a_row_of_zeros() -> None:
    sparse = torch.tensor([[1.0, 0.5], [0.0, 0.0]], requires_grad=True)
    distance_loss(torch.eye(2), sparse).backward()  # type: ignore[no-untyped-call]
    assert sparse.grad is not None
    assert torch.isfinite(sparse.grad).all()


def test_reconstruction_loss_is_the_mean_squared_error() -> None:
    loss = reconstruction_loss(torch.tensor([[1.0, 2.0]]), torch.tensor([[0.0, 4.0]]))
    assert loss.item() == pytest.approx((1 + 4) / 2)


def test_ranking_loss_is_0_for_equal_scores() -> None:
    scores = torch.tensor([[0.3, 0.1], [0.2, 0.9]])
    assert ranking_loss(scores, scores, 0.03).item() == pytest.approx(0.0, abs=1e-6)
    # A softmax does not see a constant.
    assert ranking_loss(scores, scores + 5, 0.03).item() == pytest.approx(0.0, abs=1e-4)


def test_ranking_loss_is_a_divergence_by_hand() -> None:
    # softmax([ln 3, 0]) = [3/4, 1/4] is the target, [1/2, 1/2] the prediction.
    loss = ranking_loss(torch.tensor([[math.log(3.0), 0.0]]), torch.zeros(1, 2), 1.0)
    assert loss.item() == pytest.approx(0.75 * math.log(1.5) + 0.25 * math.log(0.5))


def test_ranking_loss_grows_as_the_temperature_falls() -> None:
    dense, sparse = torch.tensor([[0.5, 0.4]]), torch.tensor([[0.4, 0.5]])
    assert ranking_loss(dense, sparse, 0.03) > ranking_loss(dense, sparse, 1.0) > 0


def test_ranking_loss_can_leave_the_diagonal_out() -> None:
    dense = torch.tensor([[9.0, 0.2, 0.1], [0.2, 9.0, 0.3], [0.1, 0.3, 9.0]])
    sparse = dense.clone().fill_diagonal_(-9.0)
    assert ranking_loss(dense, sparse, 0.1, mask_diagonal=True).item() == pytest.approx(0.0, abs=1e-5)
    assert ranking_loss(dense, sparse, 0.1).item() > 1


def test_balance_loss_is_1_for_even_usage() -> None:
    usage = torch.full((8,), 1 / 8)
    assert cross_flops_loss(usage, usage, 8).item() == pytest.approx(1.0)


def test_balance_loss_is_num_latents_where_one_latent_carries_all() -> None:
    usage = torch.eye(8)[3]
    assert cross_flops_loss(usage, usage, 8).item() == pytest.approx(8.0)


def test_balance_loss_is_0_where_queries_meet_no_document() -> None:
    assert cross_flops_loss(torch.eye(8)[3], torch.eye(8)[4], 8).item() == 0.0


def test_balance_loss_does_not_depend_on_features_left_out() -> None:
    documents, queries = torch.tensor([0.5, 0.0, 0.5, 0.0]), torch.tensor([0.25, 0.0, 0.75, 0.0])
    whole = cross_flops_loss(documents, queries, 8)
    assert cross_flops_loss(documents[[0, 2]], queries[[0, 2]], 8).item() == pytest.approx(whole.item())
