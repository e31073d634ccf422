"""Initialize latents with documents.

A latent with the direction of a group of documents fires only for that group. Near texts therefore share latents from
the first step, and few features find the neighbours of a text: posting lists become the cells of an inverted file in
which every text is in k cells.
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
from connector.training.distinct import distinct_rows
from connector.vectors.statistics import CorpusStatistics

_MAX_DOCUMENTS = 131_072
"""Documents for centroids."""

_MAX_COMPARED = 16_384
"""Documents for biases."""

_ITERATIONS = 2
"""Iterations of k-means. A third one changes little."""

_SHARE_OF_THRESHOLD = 0.7
"""Bias of a latent as a fraction of the similarity of the last document that it should fire for."""

_NOISE = 0.5
"""Norm of the noise that distinguishes the second latent of a document from its first."""

_BLOCK = 2_048


def init_latents_from_documents(
    head: KSparseAutoEncoder,
    data: TrainingData,
    statistics: Sequence[CorpusStatistics],
    *,
    seed: int = 0,
    progress: Callable[[float], None] | None = None,
) -> None:
    """Initialize the latents of a head with centroids of documents (spherical k-means), or with single documents.

    If all latents were used evenly, each would fire for a fixed number of documents. Its bias is a fraction of the
    similarity of the last of these, so latents are narrow in dense regions and wide in sparse ones. Weights are scaled
    so that the sparse score of a document with itself is 1, like the dense one.

    Args:
        head: The head, whose latents and biases are overwritten.
        data: The documents. As in batches, corpora are sampled by the square root of their sizes.
        statistics: Statistics of each corpus, whose mean is subtracted, as in the head.
        seed: Seed of the samples.
        progress: Called with the completed fraction.
    """
    report = progress or (lambda _share: None)
    random = np.random.default_rng(seed)
    rows = _draw(data, max(_MAX_DOCUMENTS, head.num_latents), random)
    means = np.stack([each.mean for each in statistics])[np.searchsorted(data.corpus_starts, rows, side="right") - 1]
    centred = data.documents[rows] - means
    documents = torch.from_numpy(centred).to(head.mean.device)
    # Copies of a document would be equal latents, of which a text keeps all or none.
    distinct = torch.from_numpy(distinct_rows(centred)).to(documents.device)
    latents = _first_latents(documents[distinct], head.num_latents, random)
    if len(documents) > head.num_latents:
        for iteration in range(_ITERATIONS):
            latents = _lloyd(documents, latents)
            report((iteration + 1) / (_ITERATIONS + 1))
    compared = documents[:_MAX_COMPARED]
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
    """Sample rows of documents without replacement, in random order."""
    sizes = np.array([rows.stop - rows.start for rows in data.corpora])
    each = np.repeat(root_shares(sizes.tolist()) / sizes, sizes)
    return random.choice(len(data.documents), size=min(most, len(data.documents)), replace=False, p=each / each.sum())


def _first_latents(documents: Tensor, count: int, random: np.random.Generator) -> Tensor:
    """Normalized distinct documents, repeated with noise if there are too few: (count, dim)."""
    latents = normalize(documents[torch.arange(count, device=documents.device) % len(documents)], dim=1)
    again = max(0, count - len(documents))
    noise = torch.from_numpy(random.standard_normal((again, documents.shape[1]), dtype=np.float32))
    latents[count - again :] += _NOISE / math.sqrt(documents.shape[1]) * noise.to(latents)
    return normalize(latents, dim=1)


def _lloyd(documents: Tensor, centroids: Tensor) -> Tensor:
    """Move each centroid to the mean of its nearest documents; one without documents stays."""
    directions = normalize(documents, dim=1)
    moved = 1e-3 * centroids
    for block in _blocks(directions):
        moved.index_add_(0, (block @ centroids.T).argmax(dim=1), block)
    return normalize(moved, dim=1)


def _blocks(rows: Tensor) -> Iterator[Tensor]:
    return (rows[start : start + _BLOCK] for start in range(0, len(rows), _BLOCK))
