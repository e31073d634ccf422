"""The loss of the identifiable variational autoencoder of the earlier work."""

from __future__ import annotations

import math

import numpy as np
import torch
from sklearn.cluster import KMeans
from torch import Tensor

from connector.encoders.ivae import IdentifiableVAE, build_mlp
from connector.errors import EncoderError
from connector.training.checkpoint import Objective
from connector.training.data import TrainingData
from connector.training.heads.settings import TrainingSettings
from connector.training.losses import distance_loss, flops_loss

_DECODER_VARIANCE = 0.01
_MAX_CLUSTERED = 20_000


class IVAEObjective(Objective):
    """alpha_1 L_ELBO + alpha_2 L_dist + alpha_3 L_FLOPS on random batches (K-sparse paper, eq. 1).

    The ELBO is that of Khemakhem et al. 2020, eq. 8, with Gaussians: posterior N(g(x, u), v(x, u)), prior N(0, l(u))
    and likelihood N(f(z), 0.01), without annealing.

    Raises:
        EncoderError: There are fewer documents than clusters.
    """

    def __init__(self, head: IdentifiableVAE, data: TrainingData, settings: TrainingSettings) -> None:
        super().__init__()
        self.head = head
        if len(data.documents) < head.num_clusters:
            raise EncoderError(
                f"ivae needs at least {head.num_clusters} documents, one per cluster, got {len(data.documents)}; use "
                "more documents or another recipe."
            )
        latents, hidden, clusters = head.num_latents // 2, head.hidden_dim, head.num_clusters
        self.log_variance = build_mlp(head.dim + clusters, latents, hidden)
        self.log_prior_variance = build_mlp(clusters, latents, hidden)
        self.decoder = build_mlp(latents, head.dim, hidden)
        self.to(head.mean.device)
        self._documents = data.documents
        self._settings = settings
        self._random = np.random.default_rng(settings.seed)
        sample = self._random.permutation(len(data.documents))[:_MAX_CLUSTERED]
        found = KMeans(clusters, n_init=1, random_state=settings.seed).fit(data.documents[sample])
        with torch.no_grad():
            head.centroids.copy_(torch.from_numpy(found.cluster_centers_))

    def loss(self) -> Tensor:
        """Draw documents and return the weighted sum of the three terms."""
        settings = self._settings
        rows = self._random.integers(0, len(self._documents), size=settings.batch_size)
        embeddings = torch.from_numpy(self._documents[rows]).to(self.head.mean.device)
        known = self.head.with_clusters(embeddings)
        means, log_variances = self.head.encoder(known), self.log_variance(known)
        latents = means + (log_variances / 2).exp() * torch.randn_like(means)
        likelihood = log_density(embeddings, self.decoder(latents), torch.tensor(math.log(_DECODER_VARIANCE)))
        posterior = log_density(latents, means, log_variances)
        prior = log_density(latents, torch.zeros(()), self.log_prior_variance(known[:, self.head.dim :]))
        return (
            -settings.alpha_elbo * (likelihood + prior - posterior).mean()
            + settings.alpha_distance * distance_loss(embeddings, latents)
            + settings.alpha_flops * flops_loss(latents)
        )

    def finish(self) -> None:
        """Do nothing: the other networks are only for training."""

    @property
    def generators(self) -> list[np.random.Generator]:
        """Random generators of the batches."""
        return [self._random]


def log_density(values: Tensor, means: Tensor, log_variances: Tensor) -> Tensor:
    """Log density of independent Gaussians, summed over each row."""
    squares = (values - means).square() / log_variances.exp()
    return -0.5 * (math.log(2 * math.pi) + log_variances + squares).sum(dim=1)
