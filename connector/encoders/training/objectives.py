"""What each recipe minimizes: an objective draws its own batches and returns the loss of one."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from connector.encoders.autoencoder import KSparseAutoEncoder
from connector.encoders.training.data import NeighbourBatches, TrainingData
from connector.encoders.training.losses import balance_loss, distance_loss, ranking_loss, reconstruction_loss
from connector.encoders.training.settings import TrainingSettings


class PaperObjective(nn.Module):
    """alpha_1 L_MSE + alpha_2 L_dist on random batches (K-sparse paper, eq. 3)."""

    def __init__(self, head: KSparseAutoEncoder, data: TrainingData, settings: TrainingSettings) -> None:
        super().__init__()
        self.head = head
        self._documents = data.documents
        self._settings = settings
        self._random = np.random.default_rng(settings.seed)

    def loss(self) -> Tensor:
        """Draw documents and return both terms, weighted."""
        rows = self._random.integers(0, len(self._documents), size=self._settings.batch_size)
        embeddings = _to_device(self._documents[rows], self.head)
        features = self.head({"sentence_embedding": embeddings})
        loss = self._settings.alpha_distance * distance_loss(embeddings, features["sentence_embedding"])
        if self._settings.alpha_mse:
            loss = loss + self._settings.alpha_mse * reconstruction_loss(embeddings, features["decoded_embedding"])
        return loss

    def finish(self) -> None:
        """Nothing was learned beside the head."""


class RetrievalObjective(nn.Module):
    """The order of near neighbours by dense scores, kept by sparse ones at as few postings as possible."""

    def __init__(
        self,
        head: KSparseAutoEncoder,
        data: TrainingData,
        neighbours: NDArray[np.int32],
        settings: TrainingSettings,
    ) -> None:
        super().__init__()
        self.head = head
        self.log_scale = nn.Parameter(torch.zeros(()))
        self._settings = settings
        self._batches = NeighbourBatches(
            data,
            neighbours,
            batch_size=settings.batch_size,
            neighbours_per_seed=settings.neighbours_per_seed,
            seed=settings.seed,
        )

    def loss(self) -> Tensor:
        """Draw documents with their queries and return the ranking and balance terms, weighted."""
        settings, batch = self._settings, self._batches.draw()
        documents, queries = _to_device(batch.documents, self.head), _to_device(batch.queries, self.head)
        document_activations = self.head.activations(documents, settings.k)
        latents, values = self.head.strongest(queries, max(settings.train_k_query))
        scale = self.log_scale.exp()
        dense_scores = queries @ documents.T
        loss = torch.zeros((), device=documents.device)
        for k in settings.train_k_query:
            sparse_scores = scale * _scatter(latents[:, :k], values[:, :k], self.head) @ document_activations.T
            loss = loss + ranking_loss(dense_scores, sparse_scores, settings.temperature) / len(settings.train_k_query)
        if settings.document_weight:
            loss = loss + settings.document_weight * ranking_loss(
                documents @ documents.T,
                scale * document_activations @ document_activations.T,
                settings.temperature,
                mask_diagonal=True,
            )
        if settings.balance_weight:
            query_activations = _scatter(latents, values, self.head)
            loss = loss + settings.balance_weight * balance_loss(
                _usage(document_activations), _usage(query_activations)
            )
        return loss

    def finish(self) -> None:
        """Scale the head so that sparse scores are on the scale of the dense ones."""
        with torch.no_grad():
            root = (self.log_scale / 2).exp()
            self.head.encoder.weight.mul_(root)
            self.head.encoder.bias.mul_(root)
            self.log_scale.zero_()


def _to_device(rows: NDArray[np.float32], head: KSparseAutoEncoder) -> Tensor:
    return torch.from_numpy(rows).to(head.encoder.weight.device, non_blocking=True)


def _scatter(latents: Tensor, values: Tensor, head: KSparseAutoEncoder) -> Tensor:
    return values.new_zeros(len(values), head.num_latents).scatter(1, latents, values)


def _usage(activations: Tensor) -> Tensor:
    """The share of the rows' weight that each latent carries: (num_latents,), sums to 1."""
    return (activations / activations.sum(dim=1, keepdim=True).clamp_min(1e-12)).mean(dim=0)
