"""What each recipe minimizes: an objective draws its own batches and returns the loss of one."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
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
        documents_at, document_values = self.head.strongest(documents, settings.k)
        queries_at, query_values = self.head.strongest(queries, max(settings.train_k_query))
        columns = _as_columns(documents_at, document_values, self.head.num_latents)
        scale = self.log_scale.exp()
        dense_scores = queries @ documents.T
        loss = torch.zeros((), device=documents.device)
        for k in settings.train_k_query:
            sparse_scores = scale * _dot_products(queries_at[:, :k], query_values[:, :k], columns)
            loss = loss + ranking_loss(dense_scores, sparse_scores, settings.temperature) / len(settings.train_k_query)
        if settings.document_weight:
            loss = loss + settings.document_weight * ranking_loss(
                documents @ documents.T,
                scale * _dot_products(documents_at, document_values, columns),
                settings.temperature,
                mask_diagonal=True,
            )
        if settings.balance_weight:
            loss = loss + settings.balance_weight * balance_loss(
                _usage(documents_at, document_values, self.head.num_latents),
                _usage(queries_at, query_values, self.head.num_latents),
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


def _as_columns(latents: Tensor, values: Tensor, num_latents: int) -> Tensor:
    """Sparse rows (n, k) as the columns of a dense matrix (num_latents, n)."""
    return values.new_zeros(num_latents, len(values)).scatter(0, latents.T, values.T)


def _dot_products(latents: Tensor, values: Tensor, columns: Tensor) -> Tensor:
    """Dot products of sparse rows (m, k) with the columns of (num_latents, n): (m, n).

    Only the rows of `columns` that occur are read: five times faster, gradients included, than a dense product of
    512 x 512 rows over 8,192 latents on two cores.
    """
    if columns.device.type == "mps":  # has no embedding_bag
        return _as_columns(latents, values, len(columns)).T @ columns
    return F.embedding_bag(latents, columns, per_sample_weights=values, mode="sum")


def _usage(latents: Tensor, values: Tensor, num_latents: int) -> Tensor:
    """The share of the rows' weight that each latent carries: (num_latents,), sums to 1."""
    shares = values / values.sum(dim=1, keepdim=True).clamp_min(1e-12) / len(values)
    return values.new_zeros(num_latents).index_add(0, latents.flatten(), shares.flatten())
