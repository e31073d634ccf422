"""Documents by number, and an encoder that needs no model: what is written can be made again to the last bit."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from connector.ingest.preparation import to_sparse_documents
from connector.types import Document, EncoderFingerprint, SparseDocument, SparseVectors

NUM_LATENTS = 64
K = 8


class HashEncoder:
    """Eight features of 64, and their weights, by the hash of the text."""

    @property
    def fingerprint(self) -> EncoderFingerprint:
        return EncoderFingerprint("hash", "", "ab" * 32, K, NUM_LATENTS, "mean", 12, {})

    def encode_document(self, texts: Sequence[str], *, batch_size: int = 32) -> SparseVectors:
        rows = [_row(text) for text in texts]
        features = np.array([features for features, _ in rows], np.int32).reshape(-1, K)
        return SparseVectors(features, np.array([weights for _, weights in rows], np.float32).reshape(-1, K))

    def encode_query(self, texts: Sequence[str], *, batch_size: int = 32, k: int | None = None) -> SparseVectors:
        raise NotImplementedError


def numbered(count: int, *, begin: int = 0, length: int = 0) -> list[Document]:
    """Documents `d0`, `d1`, ... whose texts differ and have at least so many characters."""
    return [
        Document(f"d{number}", f"text number {number} " + "and so on " * (length // 10), metadata={"number": number})
        for number in range(begin, begin + count)
    ]


def encoded(documents: Sequence[Document]) -> list[SparseDocument]:
    """The documents as they go into an index."""
    return to_sparse_documents(documents, HashEncoder().encode_document([each.content for each in documents]))


def _row(text: str) -> tuple[list[int], list[float]]:
    rng = np.random.default_rng(int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little"))
    return rng.permutation(NUM_LATENTS)[:K].tolist(), (0.1 + rng.random(K)).tolist()
