"""The encoder protocol of ingestion and search."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from connector.types import EncoderFingerprint, SparseVectors


class Encoder(Protocol):
    """Maps texts to sparse vectors; documents and queries share the feature space."""

    @property
    def fingerprint(self) -> EncoderFingerprint:
        """Vectors of encoders with equal fingerprints are comparable."""
        ...

    def encode_document(self, texts: Sequence[str], *, batch_size: int = 32) -> SparseVectors:
        """Encode n texts of documents."""
        ...

    def encode_query(self, texts: Sequence[str], *, batch_size: int = 32, k: int | None = None) -> SparseVectors:
        """Encode n queries, keeping at most `k` features of each."""
        ...
