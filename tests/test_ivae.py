"""The variational autoencoder of the earlier work, by hand and behind a dense model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.distributions import Normal

from connector.encoders.ivae import IdentifiableVAE
from connector.encoders.load import load_encoder
from connector.training.heads.ivae import log_density
from connector.training.losses import flops_loss
from tests.tiny import DIM


@pytest.fixture
def head() -> IdentifiableVAE:
    """The posterior's mean is (x0, -x0, x1 / 2, 10 * [second cluster])."""
    head = IdentifiableVAE(2, 8, k=2, k_query=1, num_clusters=2)
    head.encoder = torch.nn.Linear(4, 4, bias=False)
    with torch.no_grad():
        head.encoder.weight.copy_(torch.tensor([[1.0, 0, 0, 0], [-1.0, 0, 0, 0], [0, 0.5, 0, 0], [0, 0, 0, 10.0]]))
        head.centroids.copy_(torch.tensor([[0.0, 0.0], [5.0, 5.0]]))
    return head


def test_the_largest_magnitudes_are_kept_and_signs_are_features(head: IdentifiableVAE) -> None:
    found = head.activations(torch.tensor([[1.0, 1.5], [-2.0, 0.0], [4.0, 6.0]]), 2)
    assert found.tolist() == [
        [1, 0, 0, 0, 0, 1, 0, 0],
        [0, 2, 0, 0, 2, 0, 0, 0],
        [0, 0, 0, 10, 0, 4, 0, 0],
    ]


def test_products_of_equal_sign_add_up(head: IdentifiableVAE) -> None:
    one, same, other = head.activations(torch.tensor([[2.0, 0.0], [1.0, 0.0], [-1.0, 0.0]]), 2)
    assert (one @ same).item() == 2 * 2 * 1.0
    assert (one @ other).item() == 0.0


def test_an_odd_number_of_features_is_refused() -> None:
    with pytest.raises(ValueError, match="num_latents 7 must be even"):
        IdentifiableVAE(2, 7, k=2)


def test_the_density_is_that_of_a_gaussian() -> None:
    values, means, log_variances = torch.randn(3, 5), torch.randn(3, 5), torch.randn(3, 5)
    expected = Normal(means, (log_variances / 2).exp()).log_prob(values).sum(dim=1)  # type: ignore[no-untyped-call]
    assert torch.allclose(log_density(values, means, log_variances), expected, atol=1e-5)


def test_flops_by_hand() -> None:
    # Means of the magnitudes: 2 and 0.5.
    assert flops_loss(torch.tensor([[1.0, -1.0], [-3.0, 0.0]])).item() == pytest.approx(2**2 + 0.5**2)


def test_a_saved_one_is_an_encoder(dense_folder: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    head = IdentifiableVAE(DIM, 64, k=6, k_query=3, base_model=str(dense_folder), hidden_dim=8, num_clusters=3)
    torch.nn.init.normal_(head.centroids)
    head.save(str(tmp_path))
    encoder = load_encoder(str(tmp_path), device="cpu")
    vectors = encoder.encode_document(["stars burn", "cats sleep"])
    assert vectors.active_dims.tolist() == [6, 6]
    assert encoder.encode_query(["stars burn"]).active_dims.tolist() == [3]
    embeddings = torch.from_numpy(encoder.embed(["stars burn", "cats sleep"]))
    means = head.encoder(head.with_clusters(embeddings))
    largest = means.abs().topk(6, dim=1).values
    np.testing.assert_allclose(vectors.weights, largest.detach().numpy(), rtol=1e-5)
