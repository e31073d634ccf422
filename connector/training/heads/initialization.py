"""Latents that begin as documents.

A latent that looks the way a group of documents lies fires for that group alone. So texts that are near each other
share latents from the first step, and few features find what is near: the lists of an inverted index become the cells
of an index of neighbours in which every text lies in k cells.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import normalize

from connector.encoders.autoencoder import KSparseAutoEncoder
from connector.training.data import TrainingData, root_shares
from connector.vectors.statistics import CorpusStatistics

_MOST_DOCUMENTS = 131_072
"""Documents that centroids are taken of."""

_MOST_COMPARED = 16_384
"""Documents that biases are measured on."""

_ITERATIONS = 2
"""Of k-means. A third moves little."""

_SHARE_OF_THRESHOLD = 0.7
"""What a latent's bias takes off, of the similarity of the last document that it owes a place to."""

_NOISE = 0.5
"""Norm of what tells a document's second latent from its first."""

_BLOCK = 2_048


def begin_at_documents(
    head: KSparseAutoEncoder,
    data: TrainingData,
    statistics: Sequence[CorpusStatistics],
    *,
    seed: int = 0,
    progress: Callable[[float], None] | None = None,
) -> None:
    """Give a new head centroids of documents (spherical k-means) for latents, or the documents where those are few.

    Each bias is a share of the similarity of the document that a latent would still take in if all were used evenly, so
    that a latent among many documents is narrow and one among few is wide. All are scaled so that documents score 1
    with themselves, as dense ones do.

    Args:
        head: Its latents and biases are overwritten.
        data: Documents to begin at. Small corpora count for more than their size, as in batches.
        statistics: Of each corpus; its mean is taken off, as the head does.
        seed: Of the draws.
        progress: Called with the share done.
    """
    report = progress or (lambda _share: None)
    random = np.random.default_rng(seed)
    rows = _draw(data, max(_MOST_DOCUMENTS, head.num_latents), random)
    means = np.stack([each.mean for each in statistics])[np.searchsorted(data.corpus_starts, rows, side="right") - 1]
    documents = torch.from_numpy(data.documents[rows] - means).to(head.mean.device)
    latents = _first_latents(documents, head.num_latents, random)
    if len(documents) > head.num_latents:
        for iteration in range(_ITERATIONS):
            latents = _lloyd(documents, latents)
            report((iteration + 1) / (_ITERATIONS + 1))
    compared = documents[:_MOST_COMPARED]
    last = min(len(compared), max(1, round(head.k * len(compared) / head.num_latents)))
    thresholds = [(block @ compared.T).topk(last).values[:, -1] for block in _blocks(latents)]
    biases = -_SHARE_OF_THRESHOLD * torch.cat(thresholds)
    own_scores = (compared[:_BLOCK] @ latents.T + biases).topk(head.k).values.relu().square().sum(dim=1).mean()
    scale = own_scores.clamp_min(1e-12).rsqrt()
    with torch.no_grad():
        head.encoder.weight.copy_(scale * latents)
        head.encoder.bias.copy_(scale * biases)
    report(1.0)


def _draw(data: TrainingData, most: int, random: np.random.Generator) -> NDArray[np.int64]:
    """Rows of different documents, in random order."""
    sizes = np.array([rows.stop - rows.start for rows in data.corpora])
    each = np.repeat(root_shares(sizes.tolist()) / sizes, sizes)
    return random.choice(len(data.documents), size=min(most, len(data.documents)), replace=False, p=each / each.sum())


def _first_latents(documents: Tensor, count: int, random: np.random.Generator) -> Tensor:
    """Documents as directions, each once, then again with noise: (count, dim), of length 1."""
    latents = normalize(documents[torch.arange(count, device=documents.device) % len(documents)], dim=1)
    again = max(0, count - len(documents))
    noise = torch.from_numpy(random.standard_normal((again, documents.shape[1]), dtype=np.float32))
    latents[count - again :] += _NOISE / math.sqrt(documents.shape[1]) * noise.to(latents)
    return normalize(latents, dim=1)


def _lloyd(documents: Tensor, centroids: Tensor) -> Tensor:
    """Move each centroid to the middle of the documents that are nearest to it; one without any stays."""
    directions = normalize(documents, dim=1)
    moved = 1e-3 * centroids
    for block in _blocks(directions):
        moved.index_add_(0, (block @ centroids.T).argmax(dim=1), block)
    return normalize(moved, dim=1)


def _blocks(rows: Tensor) -> Iterator[Tensor]:
    return (rows[start : start + _BLOCK] for start in range(0, len(rows), _BLOCK))
