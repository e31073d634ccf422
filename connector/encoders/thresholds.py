"""Learned thresholds, which decide how many weights each text keeps (hybrid thresholding)."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from sentence_transformers.base.modules.module import Module
from torch import Tensor, nn

from connector.encoders.lexical import Task
from connector.encoders.module import WeightedModule
from connector.encoders.threshold_rules import THRESHOLD_RULES, ThresholdRule


def soft_threshold(weights: Tensor, threshold: Tensor) -> Tensor:
    """S(w, t) = ReLU(w - t): kept weights are reduced by the threshold."""
    return F.relu(weights - threshold)


def hard_threshold(weights: Tensor, threshold: Tensor) -> Tensor:
    """H(w, t) = w where w >= t, else 0. Its gradient with respect to t is 0 everywhere."""
    return torch.where(weights >= threshold, weights, 0.0)


def sigmoid_threshold(weights: Tensor, threshold: Tensor, steepness: float) -> Tensor:
    """Eq. 1, w sigmoid(K (w - t)): a differentiable approximation of H, steeper for larger K."""
    return weights * torch.sigmoid(steepness * (weights - threshold))


def gauss_threshold(weights: Tensor, threshold: Tensor, steepness: float) -> Tensor:
    """Approximation of H as w (1 + erf(a (w - t))) / 2, as in DT (Park and Lee 2020).

    a = K sqrt(pi) / 4 gives the same slope at the threshold as eq. 1 with the same K.
    """
    slope = steepness * math.sqrt(math.pi) / 4
    return weights * (1.0 + torch.erf(slope * (weights - threshold))) / 2


class Thresholding(WeightedModule):
    """Sets weights of `sentence_embedding` (n, width) below a learned threshold to 0 (HT paper, Qiao et al. 2023, 3.1).

    Queries (t_Q) and documents (t_D) have a threshold and a rule each, named as in the paper:

    - `none`, phi: all weights are kept.
    - `soft`, S: ReLU(w - t), in training and afterwards.
    - `sigmoid`, H^: eq. 1, in training and afterwards; weights far below t become very small but not 0.
    - `hard`, H^H: eq. 1 in training, 0 below t afterwards.
    - `gauss`, DT: the Gauss error function in training, 0 below t afterwards.

    Args:
        query: The rule for queries.
        document: The rule for documents and for texts without a task.
        steepness: K of eq. 1.

    Raises:
        ValueError: A rule is unknown, or `steepness` is not above 0.
    """

    config_keys = ["query", "document", "steepness"]
    forward_kwargs = {"task"}

    def __init__(
        self, query: ThresholdRule = "soft", document: ThresholdRule = "hard", steepness: float = 25.0
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        for task, rule in (("query", query), ("document", document)):
            if rule not in THRESHOLD_RULES:
                raise ValueError(f"the {task} rule must be one of {', '.join(THRESHOLD_RULES)}, got {rule!r}.")
        if not steepness > 0:
            raise ValueError(f"steepness must be above 0, got {steepness}.")
        self.query = query
        self.document = document
        self.steepness = steepness
        self.query_threshold = nn.Parameter(torch.zeros(()))
        self.document_threshold = nn.Parameter(torch.zeros(()))

    def threshold(self, weights: Tensor, task: Task | None) -> Tensor:
        """Apply the rule of a task to non-negative weights of any shape."""
        if task == "query":
            rule, learned = self.query, self.query_threshold
        else:
            rule, learned = self.document, self.document_threshold
        # A soft threshold below 0 would give every text every feature. L_T uses the raw parameter and raises it again.
        at = learned.clamp_min(0.0)
        if rule == "none":
            return weights
        if rule == "soft":
            return soft_threshold(weights, at)
        if rule == "sigmoid" or (rule == "hard" and self.training):
            return sigmoid_threshold(weights, at, self.steepness)
        if rule == "gauss" and self.training:
            return gauss_threshold(weights, at, self.steepness)
        return hard_threshold(weights, at)

    def loss(self) -> Tensor:
        """L_T = log(1 + exp(-t_D)) + log(1 + exp(-t_Q)), which falls as thresholds rise; `none` rules are skipped."""
        sides = ((self.query, self.query_threshold), (self.document, self.document_threshold))
        terms = [F.softplus(-learned) for rule, learned in sides if rule != "none"]
        return torch.stack(terms).sum() if terms else self.query_threshold.new_zeros(())

    def forward(
        self,
        features: dict[str, Tensor | Any],
        task: Task | None = None,
        **kwargs: Any,
    ) -> dict[str, Tensor | Any]:
        """Apply the rule to `sentence_embedding`; keep the original as `activations`.

        Args:
            features: `sentence_embedding` (n, width), non-negative.
            task: "query", or anything else for a document.
            **kwargs: Ignored; for other modules.
        """
        activations = features["sentence_embedding"]
        features["activations"] = activations
        features["sentence_embedding"] = self.threshold(activations, task)
        return features


class TopKMasking(Module):
    """Keeps the k largest weights of each document's `sentence_embedding` (Yang et al. 2021, arXiv:2112.09628).

    In joint training k decreases gradually to its final value; queries are not changed.

    Args:
        k: Weights kept.

    Raises:
        ValueError: `k` is below 1.
    """

    config_keys = ["k"]
    forward_kwargs = {"task"}

    def __init__(self, k: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        if k < 1:
            raise ValueError(f"k must be at least 1, got {k}.")
        self.k = k

    def forward(
        self, features: dict[str, Tensor | Any], task: Task | None = None, **kwargs: Any
    ) -> dict[str, Tensor | Any]:
        """Mask the embeddings of documents; `kwargs` are ignored."""
        weights = features["sentence_embedding"]
        if task != "query" and self.k < weights.shape[1]:
            values, places = weights.topk(self.k, dim=1)
            features["sentence_embedding"] = torch.zeros_like(weights).scatter(1, places, values)
        return features

    def save(self, output_path: str, *args: Any, **kwargs: Any) -> None:
        """Write `config.json`; there are no weights."""
        self.save_config(output_path)
