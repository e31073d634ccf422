"""L = L_R + lambda_Q L_Q + lambda_D L_D + lambda_T L_T: the loss of the HT paper, 3.1."""

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
    """Margin MSE against a teacher, the sparsity of queries and documents, and thresholds that want to rise.

    L_Q and L_D look at the weights as they are before thresholding, as in the paper: what falls is zeroed soon. For a
    model without `Thresholding` L_T is 0, and this is the loss of SPLADE.

    Args:
        model: Its modules are passed which texts are queries.
        lambda_q: Weight of L_Q.
        lambda_d: Weight of L_D.
        lambda_t: Weight of L_T.
        teacher_scale: Multiplies the teacher's scores: a cosine differs by tenths, a SPLADE score by units.
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
            sentence_features: Tokens of n queries, then columns of documents: the first n of all of them are those
                that the queries ask for, the next n are mined for the same queries, and so on.
            labels: (n, documents), the teacher's score of every document for every query.
        """
        queries, *columns = sentence_features
        query_weights, asked = self._encode(queries, "query")
        encoded = [self._encode(column, "document") for column in columns]
        documents = torch.cat([each[1] for each in encoded])
        thresholds = [module for module in self.model if isinstance(module, Thresholding)]
        zero = labels.new_zeros(())
        return {
            "L_R": margin_mse(asked @ documents.T, self.teacher_scale * labels),
            "L_Q": self.lambda_q * query_weights.sum(dim=1).mean(),
            "L_D": self.lambda_d * flops_loss(torch.cat([each[0] for each in encoded])),
            "L_T": self.lambda_t * torch.stack([zero, *(each.loss() for each in thresholds)]).sum(),
        }

    @torch.no_grad()
    def margin_ratio(self, sentence_features: Iterable[dict[str, Any]], labels: Tensor) -> float:
        """How many times as large the model's margins are as the teacher's, in the mean square; arguments as above."""
        queries, *columns = sentence_features
        asked = self._encode(queries, "query")[1]
        own = _margins(asked @ torch.cat([self._encode(column, "document")[1] for column in columns]).T)
        return float((own.square().mean() / _margins(labels).square().mean().clamp_min(1e-12)).sqrt())

    def _encode(self, features: dict[str, Any], task: Task) -> tuple[Tensor, Tensor]:
        """Weights before and after thresholding, both (texts, vocabulary)."""
        output = self.model(dict(features), task=task)
        weights = output["sentence_embedding"]
        return output.get("activations", weights), weights


def margin_mse(scores: Tensor, teacher: Tensor) -> Tensor:
    """Mean squared difference of margins (Hofstätter et al., arXiv:2010.02666).

    A query's margins are between the document that it asks for and each of the others, mined for it or for another
    query of the batch. Its own mined ones count half of all, since the others are easy to tell apart.

    Args:
        scores: (n, m), m a multiple of n; query i asks for document i, and i + n, i + 2n, ... are mined for it.
        teacher: (n, m), on the scale of the scores.
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
