"""What every encoder offers to ingestion and search."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from connector.types import EncoderFingerprint, SparseVectors


class Encoder(Protocol):
    """Text to sparse vectors. Documents and queries meet in the same features."""

    @property
    def fingerprint(self) -> EncoderFingerprint:
        """What must be equal for vectors to be comparable."""
        ...

    def encode_document(self, texts: Sequence[str], *, batch_size: int = 32) -> SparseVectors:
        """Encode n texts of documents."""
        ...

    def encode_query(self, texts: Sequence[str], *, batch_size: int = 32, k: int | None = None) -> SparseVectors:
        """Encode n queries, keeping at most `k` features of each."""
        ...
