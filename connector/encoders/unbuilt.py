"""Placeholder head of a dense model whose dictionary is not built yet."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from connector.encoders.autoencoder import KSparseAutoEncoder
from connector.errors import EncoderError


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
        raise EncoderError(
            f"{self.base_model} is a dense model without a head. A new index of 1,000 documents or more builds a "
            f"dictionary for it; to search or to write other indices, train a head: ksparse train CORPUS --base-model "
            f"{self.base_model} --output HEAD."
        )
