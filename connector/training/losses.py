"""Loss terms of all recipes, as functions of tensors."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def distance_loss(dense: Tensor, sparse: Tensor) -> Tensor:
    """Distance loss: eq. 2 of the K-sparse paper.

    (1/N) || diag(X X^T)^-1 X X^T - diag(Z Z^T)^-1 Z Z^T ||_F

    Args:
        dense: X (N, dim).
        sparse: Z (N, num_latents). A row of zeros has similarity 0 to all others.
    """
    difference: Tensor = torch.linalg.norm(_relative_similarity(dense) - _relative_similarity(sparse))
    return difference / len(dense)


def _relative_similarity(vectors: Tensor) -> Tensor:
    similarity = vectors @ vectors.T
    return similarity / similarity.diagonal().clamp_min(1e-12).unsqueeze(1)


def reconstruction_loss(embeddings: Tensor, decoded: Tensor) -> Tensor:
    """Mean squared error between embeddings and their reconstruction, both (N, dim): L_MSE of eq. 3."""
    return F.mse_loss(decoded, embeddings)


def ranking_loss(
    dense_scores: Tensor, sparse_scores: Tensor, temperature: float, *, mask_diagonal: bool = False
) -> Tensor:
    """KL divergence of the ranking by sparse scores from the ranking by dense scores, mean over rows.

    Args:
        dense_scores: (n, m), scores of m documents for query i in row i.
        sparse_scores: (n, m), on the scale of the dense ones.
        temperature: Divisor of both before the softmax. Small values weight only near neighbours.
        mask_diagonal: Exclude the diagonal, for documents compared with themselves.
    """
    target, predicted = dense_scores / temperature, sparse_scores / temperature
    if mask_diagonal:
        own = torch.eye(len(target), dtype=torch.bool, device=target.device)
        target, predicted = target.masked_fill(own, -1e4), predicted.masked_fill(own, -1e4)
    return F.kl_div(predicted.log_softmax(dim=1), target.log_softmax(dim=1), reduction="batchmean", log_target=True)


def cross_flops_loss(document_usage: Tensor, query_usage: Tensor, num_latents: int) -> Tensor:
    """FLOPS regularization between documents and queries (after Paria et al., arXiv:2004.05665).

    It is proportional to the expected number of postings that a query reads.

    Args:
        document_usage: (m,), fraction of the documents' total weight per feature; sums to 1. Features that do not occur
            may be omitted.
        query_usage: (m,), the same for queries.
        num_latents: Width of the latent space.

    Returns:
        num_latents times the dot product: 1 for even usage, num_latents if one latent has all the weight.
    """
    return num_latents * (document_usage * query_usage).sum()


def flops_loss(vectors: Tensor) -> Tensor:
    """Sum of squared mean magnitudes of vectors (n, width): FLOPS (Paria et al., arXiv:2004.05665, eq. 3)."""
    return vectors.abs().mean(dim=0).square().sum()
