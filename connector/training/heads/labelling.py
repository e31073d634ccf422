"""Name a head's latents by corpora, and measure on held-out documents what the names are worth."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from connector.encoders.labelling import label_latents, measure_labels
from connector.encoders.labels import LabelQuality, Labels
from connector.encoders.text import TextEncoder
from connector.errors import EncoderError
from connector.types import SparseVectors
from connector.vectors.top_k import stack

_FEWEST_DOCUMENTS = 10


@dataclass(frozen=True, slots=True)
class LabelledHead:
    """What a run yields.

    Attributes:
        labels: Of each latent.
        quality: Measured on the held-out documents.
        documents: That the labels come from.
        held_out: That they were measured on.
    """

    labels: Labels
    quality: LabelQuality
    documents: int
    held_out: int


def label_head(
    encoder: TextEncoder,
    corpora: Sequence[Sequence[str]],
    embed: Callable[[Sequence[str]], NDArray[np.float32]],
    *,
    num_terms: int = 5,
    most_documents: int = 50_000,
    held_out: float = 0.2,
    seed: int = 0,
) -> LabelledHead:
    """Name the latents of a head.

    Args:
        encoder: With a head. Each corpus is encoded with its own statistics, as `ksparse ingest` would.
        corpora: The documents of each.
        embed: Documents to embeddings, by the encoder's dense model.
        num_terms: Of a label, at most.
        most_documents: Of each corpus.
        held_out: Share of the documents that labels are measured on.
        seed: Of the documents drawn and of those held out.

    Raises:
        EncoderError: The encoder has no latents, or there are too few documents.
    """
    if encoder.head is None:
        raise EncoderError("the encoder has no latents to label: its features are tokens.")
    random = np.random.default_rng(seed)
    texts: list[str] = []
    parts: list[SparseVectors] = []
    for corpus in corpora:
        rows = np.sort(random.permutation(len(corpus))[:most_documents])
        # The corpus itself where nothing is left out: its embeddings may be cached.
        documents = corpus if len(rows) == len(corpus) else [corpus[row] for row in rows]
        embeddings = embed(documents)
        told = encoder.with_statistics(encoder.measure_statistics(documents, embeddings))
        parts.append(told.sparsify_embeddings(embeddings, documents))
        texts += documents
    if len(texts) < _FEWEST_DOCUMENTS:
        raise EncoderError(
            f"{len(texts)} documents are too few to label latents; give {_FEWEST_DOCUMENTS}, better thousands."
        )
    vectors = stack(parts)
    order = random.permutation(len(texts))
    out = max(1, round(held_out * len(texts)))
    held, kept = np.sort(order[:out]), np.sort(order[out:])
    labels = label_latents(
        [texts[row] for row in kept], vectors.take(kept), encoder.head.num_latents, num_terms=num_terms
    )
    quality = measure_labels(labels, [texts[row] for row in held], vectors.take(held))
    return LabelledHead(labels, quality, len(kept), len(held))
