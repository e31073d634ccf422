"""Sets of any size for measuring the cost of searches: real documents first, then resampled ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from benchmarks.datasets import EncodedSet
from connector.encoders.lexical import count_texts, pad_counts
from connector.types import Document, SparseVectors
from connector.vectors.storage import SMALLEST_WEIGHT

_NOISE = 0.75
"""Norm of the noise added to normalized embeddings, for cosines of about 0.8 with the original."""

_SWAPPED = 0.3
"""Fraction of a document's tokens replaced by those of another document."""

_BLOCK = 2_048


def resampled(
    data: EncodedSet, documents: int, *, seed: int = 0, progress: Callable[[float], None] | None = None
) -> EncodedSet:
    """Take the first documents of a set, and add resampled ones above its size.

    A resampled document is a real one with noise added to its embedding and some of its tokens replaced by those of
    another document, encoded by the set's head. It is only for measuring cost, not quality.

    Args:
        data: The encoded set, with the number of features per document to use.
        documents: Number of documents.
        seed: Seed of the random generator.
        progress: Called with the completed fraction of the resampled documents.
    """
    real = len(data.documents)
    if documents <= real:
        rows = np.sort(np.random.default_rng(seed).permutation(real)[:documents])
        return replace(
            data,
            documents=tuple(data.documents[row] for row in rows),
            document_embeddings=data.document_embeddings[rows],
            document_vectors=data.document_vectors.take(rows),
        )
    random = np.random.default_rng(seed)
    head = data.encoder.head
    assert head is not None, "encode_set takes dense models with a head only"
    tokens = None
    if head.lexical is not None:
        texts = [document.content for document in data.documents]
        tokens = count_texts(data.encoder.model.tokenizer, texts, data.encoder.max_seq_length)
    width = data.document_vectors.weights.shape[1]
    embeddings = [data.document_embeddings]
    features, weights = [data.document_vectors.features], [data.document_vectors.weights]
    for start in range(real, documents, _BLOCK):
        count = min(_BLOCK, documents - start)
        rows = random.integers(real, size=count)
        noise = random.standard_normal((count, data.document_embeddings.shape[1])).astype(np.float32)
        block = with_noise(data.document_embeddings[rows], noise)
        padded = None
        if tokens is not None:
            padded = pad_counts(_mixed(tokens[rows], tokens[random.integers(real, size=count)], random))
        with torch.inference_mode():
            found, values = head.strongest(torch.from_numpy(block), width, tokens=padded)
        embeddings.append(block)
        features.append(found.to(torch.int32).numpy())
        weights.append(np.where(values.numpy() < SMALLEST_WEIGHT, 0.0, values.numpy()).astype(np.float32))
        if progress is not None:
            progress((start + count - real) / (documents - real))
    return replace(
        data,
        documents=data.documents + tuple(Document(f"resampled-{row}", "-") for row in range(real, documents)),
        document_embeddings=np.concatenate(embeddings),
        document_vectors=SparseVectors(np.concatenate(features), np.concatenate(weights)),
    )


def with_noise(embeddings: NDArray[np.float32], noise: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return embeddings of length 1 with the noise added, scaled to cosines of about 0.8 with the original.

    Args:
        embeddings: (n, dim), of length 1.
        noise: (n, dim), of any length.
    """
    noisy = embeddings + _NOISE * noise / np.linalg.norm(noise, axis=1, keepdims=True)
    noisy /= np.linalg.norm(noisy, axis=1, keepdims=True)
    return np.asarray(noisy, dtype=np.float32)


def _mixed(own: csr_matrix, other: csr_matrix, random: np.random.Generator) -> csr_matrix:
    """Combine most tokens of documents with some of others."""
    parts = []
    for counts, share in ((own, 1 - _SWAPPED), (other, _SWAPPED)):
        kept = counts.copy()
        kept.data = kept.data * (random.random(len(kept.data)) < share)
        kept.eliminate_zeros()
        parts.append(kept)
    return (parts[0] + parts[1]).tocsr()
