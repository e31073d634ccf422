"""Embeddings whose dot product is the similarity of their dense model."""

from __future__ import annotations

from typing import Any

from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Normalize
from sentence_transformers.base.modules.module import Module
from torch import tensor
from torch.nn.functional import normalize

_NAME = "sentence_embedding"


class ComparableEmbedding(Module):
    """Applies what sentence-transformers does behind the modules of a dense model: truncation and normalization.

    Args:
        dim: Dimensions kept, the first ones (Matryoshka).
        unit: Whether embeddings are normalized, for models that are compared by cosine.
    """

    config_keys = ["dim", "unit"]

    def __init__(self, dim: int, unit: bool) -> None:  # noqa: FBT001 - sentence-transformers passes config.json
        super().__init__()  # type: ignore[no-untyped-call]
        self.dim = dim
        self.unit = unit
        # A part of the fingerprint, which hashes tensors.
        self.register_buffer("settings", tensor([dim, int(unit)]))

    def forward(self, features: dict[str, Any], **kwargs: Any) -> dict[str, Any]:  # noqa: ARG002
        """Truncate and normalize `sentence_embedding`."""
        embeddings = features[_NAME][:, : self.dim]
        features[_NAME] = normalize(embeddings, dim=1) if self.unit else embeddings
        return features

    def get_embedding_dimension(self) -> int:
        """Width of the output."""
        return self.dim

    def extra_repr(self) -> str:
        """The settings, by which caches distinguish models."""
        return f"dim={self.dim}, unit={self.unit}"

    def save(self, output_path: str, *args: Any, safe_serialization: bool = True, **kwargs: Any) -> None:  # noqa: ARG002
        """Save `config.json` to a folder; there are no weights."""
        self.save_config(output_path)


def make_comparable(model: SentenceTransformer) -> SentenceTransformer:
    """Append a `ComparableEmbedding` to a dense model that is truncated, or compared by cosine without normalizing.

    Args:
        model: Changed in place; `truncate_dim` is then None.
    """
    dim = model.get_embedding_dimension()
    truncated = model.truncate_dim is not None
    by_cosine = model.similarity_fn_name == "cosine"
    if dim is not None and (truncated or (by_cosine and not isinstance(model[-1], (Normalize, ComparableEmbedding)))):
        model.append(ComparableEmbedding(dim, by_cosine))
        model.truncate_dim = None
    return model
