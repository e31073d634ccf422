"""Placeholder head of a dense model whose dictionary is not built yet."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from connector.encoders.autoencoder import KSparseAutoEncoder
from connector.encoders.light_heads import unbuilt


class UnbuiltDictionary(KSparseAutoEncoder):
    """A head without features: the encoder can only embed until a new index builds its dictionary.

    Args:
        dim: Width of the dense embedding.
        base_model: Name of the dense model.
    """

    def __init__(self, dim: int, base_model: str) -> None:
        super().__init__(dim, 1, 1, base_model=base_model)

    def strongest(self, embeddings: Tensor, k: int, **options: Any) -> tuple[Tensor, Tensor]:  # noqa: ARG002
        """Raise EncoderError: there are no features yet.

        Raises:
            EncoderError: Always.
        """
        raise unbuilt(self.base_model)
