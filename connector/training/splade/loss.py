"""The loss of the HT paper, 3.1: L = L_R + lambda_Q L_Q + lambda_D L_D + lambda_T L_T."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from sentence_transformers import SparseEncoder
from torch import Tensor, nn

from connector.encoders.lexical import Task
from connector.encoders.thresholds import Thresholding
from connector.training.losses import flops_loss


class HybridThresholdingLoss(nn.Module):
    """Margin MSE against a teacher, sparsity of queries and documents, and a loss that raises thresholds.

    As in the paper, L_Q and L_D are computed on the weights before thresholding. For a model without `Thresholding`,
    L_T is 0, and this is the loss of SPLADE.

    Args:
        model: The model, whose modules get the task (query or document) of each text.
        lambda_q: Weight of L_Q.
        lambda_d: Weight of L_D.
        lambda_t: Weight of L_T.
        teacher_scale: Factor for the teacher's scores: cosines differ by tenths, SPLADE scores by units.
    """

    teacher_scale: Tensor

    def __init__(
        self,
        model: SparseEncoder,
        *,
        lambda_q: float = 0.01,
        lambda_d: float = 0.008,
        lambda_t: float = 1.0,
        teacher_scale: float = 1.0,
    ) -> None:
        super().__init__()
        self.model = model
        self.lambda_q = lambda_q
        self.lambda_d = lambda_d
        self.lambda_t = lambda_t
        self.register_buffer("teacher_scale", torch.tensor(teacher_scale))

    def forward(self, sentence_features: Iterable[dict[str, Any]], labels: Tensor) -> dict[str, Tensor]:
        """Encode a batch and return the weighted terms of its loss.

        Args:
            sentence_features: Tokens of n queries, then columns of documents: the first n are the positives, the next n
                are hard negatives of the same queries, and so on.
            labels: (n, documents), the teacher's score of each document for each query.
        """
        queries, *columns = sentence_features
        query_weights, kept = self._encode(queries, "query")
        encoded = [self._encode(column, "document") for column in columns]
        documents = torch.cat([each[1] for each in encoded])
        thresholds = [module for module in self.model if isinstance(module, Thresholding)]
        zero = labels.new_zeros(())
        return {
            "L_R": margin_mse(kept @ documents.T, self.teacher_scale * labels),
            "L_Q": self.lambda_q * query_weights.sum(dim=1).mean(),
            "L_D": self.lambda_d * flops_loss(torch.cat([each[0] for each in encoded])),
            "L_T": self.lambda_t * torch.stack([zero, *(each.loss() for each in thresholds)]).sum(),
        }

    @torch.no_grad()
    def margin_ratio(self, sentence_features: Iterable[dict[str, Any]], labels: Tensor) -> float:
        """Return the ratio of the model's margins to the teacher's (root mean square); arguments as in `forward`."""
        queries, *columns = sentence_features
        kept = self._encode(queries, "query")[1]
        own = _margins(kept @ torch.cat([self._encode(column, "document")[1] for column in columns]).T)
        return float((own.square().mean() / _margins(labels).square().mean().clamp_min(1e-12)).sqrt())

    def _encode(self, features: dict[str, Any], task: Task) -> tuple[Tensor, Tensor]:
        """Weights before and after thresholding, both (texts, vocabulary)."""
        output = self.model(dict(features), task=task)
        weights = output["sentence_embedding"]
        return output.get("activations", weights), weights


def margin_mse(scores: Tensor, teacher: Tensor) -> Tensor:
    """Mean squared difference of margins (Hofstätter et al., arXiv:2010.02666).

    Margins are between a query's positive and every other document of the batch. The query's own hard negatives have
    half of the total weight, because the others are easy to distinguish.

    Args:
        scores: (n, m), m a multiple of n; document i is the positive of query i, and i + n, i + 2n, ... are its hard
            negatives.
        teacher: (n, m), scores of the teacher on the same scale.
    """
    errors = (_margins(scores) - _margins(teacher)).square()
    n, m = errors.shape
    own = torch.eye(n, dtype=torch.bool, device=errors.device).repeat(1, m // n)
    others = errors[~own].mean() if n > 1 else None
    mined = errors[:, n:][own[:, n:]].mean() if m > n else None
    terms = [each for each in (others, mined) if each is not None]
    return torch.stack(terms).mean()


def _margins(scores: Tensor) -> Tensor:
    return scores.diagonal().unsqueeze(1) - scores
