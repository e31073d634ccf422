"""SPLADE's max pooling without the (tokens, vocabulary) matrix, which dominates time and memory."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from sentence_transformers import SparseEncoder
from sentence_transformers.sparse_encoder.modules import SpladePooling
from torch import Tensor, nn

_WORDS = 1_024
"""Words of the vocabulary that a graph compares with all tokens at a time."""


class MaxLogitPooling(SpladePooling):
    """Projects token states onto the vocabulary and keeps a running maximum of the logits.

    log(1 + ReLU(x)) is monotonic, so only the largest logit matters; only a few hundred of 30,522 are above 0, and each
    comes from one token. Vectors and gradients equal those of `SpladePooling("max")` after the same layer, up to
    rounding.

    Args:
        decoder: The language model's output layer, with a bias.
    """

    def __init__(self, decoder: nn.Linear) -> None:
        super().__init__("max", embedding_dimension=decoder.out_features)
        self.decoder = decoder

    def forward(self, features: dict[str, Tensor | Any], **kwargs: Any) -> dict[str, Tensor | Any]:
        """Map `token_embeddings` (n, tokens, hidden), the input of the output layer, to `sentence_embedding`.

        Args:
            features: `token_embeddings` and `attention_mask`.
            **kwargs: Ignored; for other modules.
        """
        hidden, mask = features["token_embeddings"], features["attention_mask"]
        largest = _largest_in_graph if torch._C._get_tracing_state() else _LargestLogits.apply
        features["sentence_embedding"] = largest(hidden, mask.bool(), self.decoder.weight, self.decoder.bias).log1p()
        return features


def with_max_logit_pooling(model: SparseEncoder) -> SparseEncoder:
    """Return a copy of a SPLADE with `MaxLogitPooling` that shares all weights.

    Other models (sum pooling, another activation, an output layer without bias) are returned unchanged.
    """
    decoder = _output_layer(model)
    if decoder is None or not any(_pools_by_maximum(module) for module in model):
        return model
    modules = [
        MaxLogitPooling(decoder).train(module.training) if _pools_by_maximum(module) else _without(module, decoder)
        for module in model
    ]
    prompts = {task: prompt for task, prompt in model.prompts.items() if prompt}
    pooled = SparseEncoder(modules=modules, device=str(model.device), prompts=prompts, similarity_fn_name="dot")
    return pooled.train(model.training)


def is_splade(modules: Iterable[nn.Module]) -> bool:
    """Whether the features of a model are tokens: weights from a language model's logits."""
    return any(isinstance(module, SpladePooling) for module in modules)


def modules_to_pooling(model: SparseEncoder) -> list[nn.Module]:
    """The modules of a model with `MaxLogitPooling` up to it; none for another model."""
    modules = list(model)
    return modules[: _place_of_pooling(modules) + 1]


def modules_behind_pooling(model: SparseEncoder) -> list[nn.Module]:
    """The other modules."""
    modules = list(model)
    return modules[_place_of_pooling(modules) + 1 :]


def _place_of_pooling(modules: Sequence[nn.Module]) -> int:
    return next((place for place, module in enumerate(modules) if isinstance(module, MaxLogitPooling)), -1)


def _pools_by_maximum(module: nn.Module) -> bool:
    kind = (getattr(module, "pooling_strategy", None), getattr(module, "activation_function", None))
    return type(module) is SpladePooling and kind == ("max", "relu")


def _without(module: nn.Module, layer: nn.Module) -> nn.Module:
    """A copy of the module, sharing its weights, in which a layer is replaced by the identity."""
    if module is layer:
        return nn.Identity()
    if not any(each is layer for each in module.modules()):
        return module
    changed = copy.copy(module)
    changed._modules = {
        name: child if child is None else _without(child, layer) for name, child in module._modules.items()
    }
    return changed


def _output_layer(model: SparseEncoder) -> nn.Linear | None:
    transformer = model.transformers_model
    layer = transformer.get_output_embeddings() if transformer is not None else None
    return layer if isinstance(layer, nn.Linear) and layer.bias is not None else None


def _largest_in_graph(hidden: Tensor, mask: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """As `_LargestLogits`, without loops over texts, for graphs."""
    # Padding repeats the first token, which changes no maximum.
    tokens = torch.where(mask.unsqueeze(2), hidden, hidden[:, :1])
    largest = [torch.matmul(tokens, some.t()).amax(dim=1) for some in torch.split(weight, _WORDS)]
    return (torch.cat(largest, dim=1) + bias).relu()


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
