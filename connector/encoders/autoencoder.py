"""The TopK autoencoder of the K-sparse paper, as a sentence-transformers module behind a dense model."""

from __future__ import annotations

from typing import Any, Literal, Self

import torch
from sentence_transformers.base.modules.module import Module
from torch import Tensor, nn

Task = Literal["query", "document"]


class KSparseAutoEncoder(Module):
    """Turns `sentence_embedding` (n, dim) into k-sparse activations (n, num_latents).

    activations = ReLU(TopK(W x + b)), and, where a decoder is kept, reconstruction = activations @ D + c
    (K-sparse encoder, Dobrynin 2025, Fig. 2 and 3; TopK after Makhzani and Frey, arXiv:1312.5663). The number of
    non-zero values is fixed at training time, so nothing needs to be zeroed afterwards. ReLU comes last because
    `rank_features` holds positive weights only.

    Args:
        dim: Width of the dense embedding.
        num_latents: Width of the sparse space.
        k: Features kept per document, at most `num_latents`.
        k_query: Features kept per query; `k` if None. Queries may be shorter: each feature is a clause to pay for.
        with_decoder: Keep a decoder, as reconstruction (eq. 3) needs it. Search does not.
        base_model: Name of the dense model that the weights were trained for.

    Raises:
        ValueError: A size is below 1, or `k` is above `num_latents`.
    """

    config_keys = ["dim", "num_latents", "k", "k_query", "with_decoder", "base_model"]
    forward_kwargs = {"task", "max_active_dims"}

    def __init__(
        self,
        dim: int,
        num_latents: int,
        k: int,
        k_query: int | None = None,
        with_decoder: bool = False,
        base_model: str = "",
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        k_query = k if k_query is None else k_query
        if min(dim, num_latents, k, k_query) < 1:
            raise ValueError(f"dim {dim}, num_latents {num_latents}, k {k} and k_query {k_query} must be at least 1.")
        if max(k, k_query) > num_latents:
            raise ValueError(f"k {k} and k_query {k_query} cannot exceed num_latents {num_latents}.")
        self.dim = dim
        self.num_latents = num_latents
        self.k = k
        self.k_query = k_query
        self.with_decoder = with_decoder
        self.base_model = base_model
        self.encoder = nn.Linear(dim, num_latents)
        self.decoder = nn.Linear(num_latents, dim) if with_decoder else None

    def activations(self, embeddings: Tensor, k: int) -> Tensor:
        """Keep the k strongest latents of each embedding.

        Args:
            embeddings: (n, dim).
            k: Latents kept, at most `num_latents`.

        Returns:
            (n, num_latents), at most k values above 0 per row, the rest 0. Gradients flow through the kept ones.
        """
        values, latents = self.encoder(embeddings).topk(k, dim=-1)
        return torch.zeros(len(embeddings), self.num_latents, dtype=values.dtype, device=values.device).scatter(
            -1, latents, values.relu()
        )

    def strongest(self, embeddings: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """The same as `activations`, without the zeros: latents int64 (n, k) and values (n, k), strongest first."""
        values, latents = self.encoder(embeddings).topk(k, dim=-1)
        return latents, values.relu()

    def forward(
        self,
        features: dict[str, Tensor | Any],
        task: Task | None = None,
        max_active_dims: int | None = None,
        **kwargs: Any,
    ) -> dict[str, Tensor | Any]:
        """Replace `sentence_embedding` by the activations; keep the dense one as `dense_embedding`.

        Args:
            features: Holds `sentence_embedding` (n, dim).
            task: "query" keeps `k_query` latents, anything else `k`.
            max_active_dims: Keeps that many instead.
            **kwargs: Meant for other modules.
        """
        embeddings = features["sentence_embedding"]
        k = max_active_dims or (self.k_query if task == "query" else self.k)
        activations = self.activations(embeddings, min(k, self.num_latents))
        features["dense_embedding"] = embeddings
        features["sentence_embedding"] = activations
        if self.decoder is not None and self.training:
            features["decoded_embedding"] = self.decoder(activations)
        return features

    def get_embedding_dimension(self) -> int:
        """Width of the output, of which at most `k` values are not zero."""
        return self.num_latents

    def save(self, output_path: str, *args: Any, safe_serialization: bool = True, **kwargs: Any) -> None:
        """Write `config.json` and the weights (safetensors) into a folder."""
        self.save_config(output_path)
        self.save_torch_weights(output_path, safe_serialization=safe_serialization)

    @classmethod
    def load(
        cls,
        model_name_or_path: str,
        subfolder: str = "",
        token: bool | str | None = None,
        cache_folder: str | None = None,
        revision: str | None = None,
        local_files_only: bool = False,
        init_defaults: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> Self:
        """Read what `save` wrote; weights stored in half precision are widened to float32."""
        module = super().load(
            model_name_or_path, subfolder, token, cache_folder, revision, local_files_only, init_defaults
        )
        cls.load_torch_weights(
            model_name_or_path, subfolder, token, cache_folder, revision, local_files_only, model=module
        )
        return module
