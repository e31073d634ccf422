"""A set in an encoder's features, without a corpus."""

from __future__ import annotations

import numpy as np

from benchmarks.datasets import EncodedSet
from connector.encoders.text import TextEncoder
from connector.evaluation.datasets import RetrievalSet
from connector.types import Document, Query
from connector.vectors.top_k import sparsify


def encoded(activations: np.ndarray, embeddings: np.ndarray, encoder: TextEncoder) -> EncodedSet:
    """Each document is also a query, which has itself as its one relevant document."""
    ids = [str(row) for row in range(len(embeddings))]
    vectors = sparsify(activations, activations.shape[1])
    return EncodedSet(
        name="small",
        documents=tuple(Document(doc_id, "text") for doc_id in ids),
        judged=RetrievalSet("small", tuple(Query(i, "text") for i in ids), {i: {i: 1} for i in ids}),
        document_embeddings=embeddings,
        query_embeddings=embeddings,
        document_vectors=vectors,
        query_vectors=vectors,
        encoder=encoder,
    )
