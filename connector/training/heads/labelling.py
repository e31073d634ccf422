"""Label the latents of a head with terms of corpora, and measure the labels on held-out documents."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from connector.encoders.labelling import label_latents, measure_labels
from connector.encoders.labels import LabelQuality, Labels
from connector.encoders.light_heads import unbuilt
from connector.encoders.text import TextEncoder
from connector.errors import EncoderError
from connector.types import SparseVectors
from connector.vectors.top_k import stack

_MIN_DOCUMENTS = 10


@dataclass(frozen=True, slots=True)
class LabelledHead:
    """Labels of a head.

    Attributes:
        labels: Label of each latent.
        quality: Quality of the labels on held-out documents.
        documents: Number of documents from which the labels were derived.
        held_out: Number of held-out documents.
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
    max_documents: int = 50_000,
    held_out: float = 0.2,
    seed: int = 0,
) -> LabelledHead:
    """Label the latents of a head.

    Args:
        encoder: An encoder with a head. It encodes each corpus with the corpus's own statistics, as `ksparse ingest`.
        corpora: Documents of each corpus.
        embed: Embeds documents with the encoder's dense model.
        num_terms: Maximum number of terms of a label.
        max_documents: Maximum number of documents per corpus.
        held_out: Fraction of the documents on which labels are measured.
        seed: Seed of the sampled and the held-out documents.

    Raises:
        EncoderError: The encoder has no latents, or there are too few documents.
    """
    if encoder.head is None:
        raise EncoderError("the encoder has no latents to label: its features are tokens.")
    if encoder.needs_dictionary:
        raise unbuilt(encoder.head.base_model)
    random = np.random.default_rng(seed)
    texts: list[str] = []
    parts: list[SparseVectors] = []
    for corpus in corpora:
        rows = np.sort(random.permutation(len(corpus))[:max_documents])
        # The complete corpus is passed as it is, because its embeddings may be cached.
        documents = corpus if len(rows) == len(corpus) else [corpus[row] for row in rows]
        embeddings = embed(documents)
        calibrated = encoder.with_statistics(encoder.measure_statistics(documents, embeddings))
        parts.append(calibrated.sparsify_embeddings(embeddings, documents))
        texts += documents
    if len(texts) < _MIN_DOCUMENTS:
        raise EncoderError(
            f"{len(texts)} documents are too few to label latents; use at least {_MIN_DOCUMENTS}, better thousands."
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
