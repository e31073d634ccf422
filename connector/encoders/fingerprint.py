"""Digest of a model's weights, which identifies it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import torch
from sentence_transformers import SparseEncoder
from sentence_transformers.base.model import BaseModel
from sentence_transformers.base.modules.module import Module
from torch import Tensor

from connector.encoders.autoencoder import KSparseAutoEncoder
from connector.encoders.dictionary import TwoLevelDictionary
from connector.encoders.light_heads import QUERY_ONLY
from connector.encoders.thresholds import Thresholding, TopKMasking


def hash_weights(model: SparseEncoder, head: KSparseAutoEncoder | None) -> str:
    """SHA-256 over all tensors of a model and the settings of its head that affect documents."""
    digest = hashlib.sha256()
    if head is not None and head.lexical_config is not None:
        digest.update(json.dumps(head.lexical_config, sort_keys=True).encode())
    for module in model.modules():
        if isinstance(module, (Thresholding, TopKMasking, TwoLevelDictionary)):
            digest.update(json.dumps(_config_of(module), sort_keys=True).encode())
    update_by_tensors(digest, model.state_dict())
    return digest.hexdigest()


def digest_model(model: BaseModel) -> str:
    """Digest of the weights, the pooling and the tokenizer of a model."""
    digest = hashlib.sha256(f"{pooling_of(model)}\n{tokenizer_of(model)}".encode())
    update_by_tensors(digest, model.state_dict())
    return digest.hexdigest()[:16]


def update_by_tensors(digest: Any, tensors: Mapping[str, Tensor]) -> None:  # noqa: ANN401 - hashlib names no type
    """Add names, shapes and values of tensors to a digest, sorted by name."""
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name}:{tuple(tensor.shape)}:".encode())
        digest.update(values_of(tensor))


def values_of(tensor: Tensor) -> bytes:
    """The values of a tensor as bytes, in single precision unless they are integers of one byte."""
    if tensor.dtype is not torch.uint8:
        tensor = tensor.float()
    return tensor.detach().cpu().contiguous().numpy().tobytes()


def pooling_of(model: BaseModel) -> str:
    """The pooling of a model, e.g. `mean` or `max/relu`."""
    pooling = next((module for module in model if "Pooling" in type(module).__name__), None)
    mode = getattr(pooling, "pooling_mode", None) or getattr(pooling, "pooling_strategy", None)
    activation = getattr(pooling, "activation_function", None)
    return "/".join(str(part) for part in (mode, activation) if part) or type(pooling).__name__


def tokenizer_of(model: BaseModel) -> str:
    """The tokenizer of a model as JSON, without the truncation and padding of its last call."""
    tokenizer = model.tokenizer
    backend = getattr(tokenizer, "backend_tokenizer", None)  # one that is written in Python cannot be converted
    facts: dict[str, Any] = {} if backend is None else json.loads(backend.to_str())
    facts |= {"truncation": None, "padding": None}
    return json.dumps([facts, *(str(getattr(tokenizer, f"{name}_side", "")) for name in ("truncation", "padding"))])


def name_of(model: SparseEncoder) -> str:
    """The name by which a model was loaded, if known."""
    card = model.model_card_data
    return str(getattr(card, "base_model", None) or getattr(model.transformers_model, "name_or_path", "") or "unnamed")


def _config_of(module: Module) -> dict[str, Any]:
    """Settings that affect documents: without the dense model's name and query-only settings."""
    left_out = ("base_model", *QUERY_ONLY)
    return {name: value for name, value in module.get_config_dict().items() if name not in left_out}
