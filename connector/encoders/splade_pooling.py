"""SPLADE's max pooling without the (tokens, vocabulary) matrix that all of a step's time and memory would go into."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from sentence_transformers import SparseEncoder
from sentence_transformers.sparse_encoder.modules import SpladePooling
from torch import Tensor, nn


@contextmanager
def pooled_sparsely(model: SparseEncoder) -> Iterator[None]:
    """Inside, the model pools logits as they are computed, and differentiates the largest ones alone.

    log(1 + ReLU(x)) grows with x, so the largest logit decides; only a few hundred of 30,522 are above 0, and each
    comes from one token. Vectors and gradients are the same to rounding. A model of another make (sum pooling, another
    activation) is left as it is.
    """
    pooling, decoder = next(each for each in model if isinstance(each, SpladePooling)), _output_layer(model)
    if decoder is None or (pooling.pooling_strategy, pooling.activation_function) != ("max", "relu"):
        yield
        return

    def pool(features: dict[str, Any]) -> dict[str, Any]:
        hidden, mask = features["token_embeddings"], features["attention_mask"]
        pooled = _LargestLogits.apply(hidden, mask.bool(), decoder.weight, decoder.bias)
        features["sentence_embedding"] = pooled.log1p()
        return features

    if "forward" in vars(pooling):  # inside of another such block already
        yield
        return
    # Attributes of the instances, in front of their classes' methods: the modules themselves stay what they are.
    vars(pooling)["forward"] = pool
    vars(decoder)["forward"] = lambda hidden: hidden
    pooling.embedding_dimension = decoder.out_features
    try:
        yield
    finally:
        del vars(pooling)["forward"], vars(decoder)["forward"]


def _output_layer(model: SparseEncoder) -> nn.Linear | None:
    transformer = model.transformers_model
    layer = transformer.get_output_embeddings() if transformer is not None else None  # type: ignore[no-untyped-call]
    return layer if isinstance(layer, nn.Linear) and layer.bias is not None else None


class _LargestLogits(torch.autograd.Function):
    """max over a text's tokens of ReLU(h W^T + b): (n, tokens, width) -> (n, vocabulary)."""

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401
        hidden: Tensor,
        mask: Tensor,
        weight: Tensor,
        bias: Tensor,
    ) -> Tensor:
        lengths = mask.sum(dim=1).tolist()
        tokens = hidden[mask]
        pooled, best, start = [], [], 0
        for length in lengths:
            values, places = (weight @ tokens[start : start + length].T).max(dim=1)
            pooled.append(values + bias)
            best.append(places + start)
            start += length
        largest = torch.stack(pooled).relu_()
        ctx.save_for_backward(hidden, mask, weight, largest, torch.stack(best))
        return largest

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        hidden, mask, weight, largest, best = ctx.saved_tensors
        rows, features = torch.nonzero((largest > 0) & (gradients[0] != 0), as_tuple=True)
        tokens = hidden[mask]
        places = torch.stack([best[rows, features], features])
        sparse = torch.sparse_coo_tensor(
            places, gradients[0][rows, features], (len(tokens), len(weight)), check_invariants=False
        )
        of_hidden = torch.zeros_like(hidden)
        of_hidden[mask] = sparse @ weight
        of_weight = sparse.t() @ tokens if ctx.needs_input_grad[2] else None
        of_bias = torch.zeros_like(weight[:, 0]).index_add(0, features, gradients[0][rows, features])
        return of_hidden, None, of_weight, of_bias
