"""The encoder of the earlier work: an identifiable variational autoencoder whose small values are zeroed afterwards."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from connector.encoders.autoencoder import KSparseAutoEncoder
from connector.encoders.lexical import Task, TokenCounts

HIDDEN_DIM = 1_500
"""Width of the hidden layers of all networks, as in the earlier work."""


class IdentifiableVAE(KSparseAutoEncoder):
    """Turns `sentence_embedding` (n, dim) into the mean g(x, u) of the posterior, and keeps its largest values.

    u is the cluster that x belongs to (one-hot): the auxiliary variable that makes the model identifiable
    (Khemakhem et al. 2020, arXiv:1907.04809, as used by Dobrynin et al. 2024, doi:10.1109/aict61888.2024.10740301).
    Which values are zeroed is decided after training, by their rank among the absolute values of each row. They have
    signs, which `rank_features` cannot hold: the positive and the negative part of a latent are two features, so a
    search adds up the products of equal sign and leaves the others out.

    Args:
        dim: Width of the dense embedding.
        num_latents: Features, two for each latent.
        k: Values kept per document.
        k_query: Values kept per query; `k` if None.
        base_model: Name of the dense model that the weights were trained for.
        hidden_dim: Width of the two hidden layers.
        num_clusters: Clusters that u tells apart.
    """

    config_keys = ["dim", "num_latents", "k", "k_query", "base_model", "hidden_dim", "num_clusters"]
    centroids: Tensor

    def __init__(
        self,
        dim: int,
        num_latents: int,
        k: int,
        k_query: int | None = None,
        base_model: str = "",
        hidden_dim: int = HIDDEN_DIM,
        num_clusters: int = 25,
    ) -> None:
        if num_latents % 2:
            raise ValueError(f"num_latents {num_latents} must be even: two features for each latent.")
        super().__init__(dim, num_latents, k, k_query, base_model=base_model)
        self.hidden_dim = hidden_dim
        self.num_clusters = num_clusters
        self.encoder = build_mlp(dim + num_clusters, num_latents // 2, hidden_dim)
        self.register_buffer("centroids", torch.zeros(num_clusters, dim))

    def with_clusters(self, embeddings: Tensor) -> Tensor:
        """Append to each embedding the cluster that it belongs to: (n, dim + num_clusters)."""
        nearest = torch.cdist(embeddings, self.centroids).argmin(dim=1)
        return torch.cat([embeddings, F.one_hot(nearest, self.num_clusters).to(embeddings.dtype)], dim=1)

    def strongest(
        self,
        embeddings: Tensor,
        k: int,
        *,
        task: Task | None = None,
        tokens: TokenCounts | None = None,
        candidates: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """Keep the k values of largest magnitude: features int64 (n, k) and magnitudes (n, k)."""
        means = self.encoder(self.with_clusters(embeddings))
        magnitudes, latents = means.abs().topk(min(k, means.shape[1]), dim=1)
        return torch.where(means.gather(1, latents) < 0, latents + means.shape[1], latents), magnitudes


def build_mlp(inputs: int, outputs: int, hidden_dim: int) -> nn.Sequential:
    """Three linear layers with leaky ReLUs of slope 0.1 between them."""
    layers: list[Any] = [nn.Linear(inputs, hidden_dim), nn.LeakyReLU(0.1)]
    layers += [nn.Linear(hidden_dim, hidden_dim), nn.LeakyReLU(0.1), nn.Linear(hidden_dim, outputs)]
    for layer in layers[::2]:
        nn.init.xavier_uniform_(layer.weight)
    return nn.Sequential(*layers)
