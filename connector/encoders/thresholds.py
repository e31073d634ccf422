"""Thresholds that a model learns, so that each text keeps as many weights as it needs (hybrid thresholding)."""

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
    """S(w, t) = ReLU(w - t): what is kept becomes smaller by the threshold."""
    return F.relu(weights - threshold)


def hard_threshold(weights: Tensor, threshold: Tensor) -> Tensor:
    """H(w, t) = w where w >= t, else 0. Its gradient with respect to t is 0 everywhere."""
    return torch.where(weights >= threshold, weights, 0.0)


def sigmoid_threshold(weights: Tensor, threshold: Tensor, steepness: float) -> Tensor:
    """Eq. 1, w sigmoid(K (w - t)): H as a slope that a gradient can climb, the steeper the larger K."""
    return weights * torch.sigmoid(steepness * (weights - threshold))


def gauss_threshold(weights: Tensor, threshold: Tensor, steepness: float) -> Tensor:
    """H as w (1 + erf(a (w - t))) / 2, by the Gauss error function, as in DT (Park and Lee 2020).

    a = K sqrt(pi) / 4 makes it as steep at the threshold as eq. 1 with the same K.
    """
    slope = steepness * math.sqrt(math.pi) / 4
    return weights * (1.0 + torch.erf(slope * (weights - threshold))) / 2


class Thresholding(WeightedModule):
    """Sets weights of `sentence_embedding` (n, width) below a learned threshold to 0 (HT paper, Qiao et al. 2023, 3.1).

    A threshold each for queries (t_Q) and documents (t_D), and a rule for each, by the paper's names:

    - `none`, phi: all weights stay.
    - `soft`, S: ReLU(w - t), in training and afterwards.
    - `sigmoid`, H^: eq. 1, in training and afterwards; weights far below t become very small, but not 0.
    - `hard`, H^H: eq. 1 in training, 0 below t afterwards.
    - `gauss`, DT: the Gauss error function in training, 0 below t afterwards.

    Args:
        query: The rule for queries.
        document: The rule for documents, and for texts that are neither.
        steepness: K of eq. 1.

    Raises:
        ValueError: There is no such rule, or `steepness` is not above 0.
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
        """Apply the rule of a task to weights of any shape, 0 or above."""
        if task == "query":
            rule, learned = self.query, self.query_threshold
        else:
            rule, learned = self.document, self.document_threshold
        # Below 0 a soft threshold would give every text every feature. L_T brings it back: it takes the parameter.
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
        """L_T = log(1 + exp(-t_D)) + log(1 + exp(-t_Q)): falls as thresholds rise. A side without a rule has none."""
        sides = ((self.query, self.query_threshold), (self.document, self.document_threshold))
        terms = [F.softplus(-learned) for rule, learned in sides if rule != "none"]
        return torch.stack(terms).sum() if terms else self.query_threshold.new_zeros(())

    def forward(
        self,
        features: dict[str, Tensor | Any],
        task: Task | None = None,
        **kwargs: Any,
    ) -> dict[str, Tensor | Any]:
        """Replace `sentence_embedding` by what the rule makes of it; keep the former as `activations`.

        Args:
            features: Holds `sentence_embedding` (n, width), values 0 or above.
            task: "query", or anything else for a document.
            **kwargs: Meant for other modules.
        """
        activations = features["sentence_embedding"]
        features["activations"] = activations
        features["sentence_embedding"] = self.threshold(activations, task)
        return features


class TopKMasking(Module):
    """Keeps the k largest weights of each document's `sentence_embedding` (Yang et al. 2021, arXiv:2112.09628).

    In joint training k falls step by step to its final value; queries stay as they are.

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
        """Cut the embeddings of documents; `kwargs` are meant for other modules."""
        weights = features["sentence_embedding"]
        if task != "query" and self.k < weights.shape[1]:
            values, places = weights.topk(self.k, dim=1)
            features["sentence_embedding"] = torch.zeros_like(weights).scatter(1, places, values)
        return features

    def save(self, output_path: str, *args: Any, **kwargs: Any) -> None:
        """Write `config.json`; there is nothing else to keep."""
        self.save_config(output_path)
