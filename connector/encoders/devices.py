"""Run one encoder on several devices."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from connector.encoders.device import choose_device
from connector.encoders.text import TextEncoder
from connector.types import EncoderFingerprint, SparseVectors
from connector.vectors.top_k import stack


class SpreadEncoder:
    """Encodes documents on several devices at once, each with a copy of the model; queries on the first.

    Documents are distributed by length, so that all devices have equal work. Vectors equal those of one device up to
    rounding.

    Args:
        encoder: A calibrated encoder; it stays on its device.
        devices: E.g. "cuda:0", "cuda:1"; a device that is named twice gets two copies.

    Raises:
        EncoderError: A device is not available.
        ValueError: No device is given.
    """

    def __init__(self, encoder: TextEncoder, devices: Sequence[str]) -> None:
        if not devices:
            raise ValueError("devices must name at least one device.")
        self._encoder = encoder
        self._copies = [encoder.on_device(choose_device(device)) for device in devices]
        self._pool = ThreadPoolExecutor(len(devices), "device")

    @property
    def fingerprint(self) -> EncoderFingerprint:
        """The encoder's fingerprint, independent of devices."""
        return self._encoder.fingerprint

    def encode_document(self, texts: Sequence[str], *, batch_size: int = 32) -> SparseVectors:
        """Encode n documents; see `TextEncoder.encode_document`."""
        if isinstance(texts, str):
            raise ValueError("texts must be a sequence of strings, got a single string; put it in a list.")
        order = np.argsort([-len(text) for text in texts], kind="stable")
        shares = [order[number :: len(self._copies)] for number in range(len(self._copies))]
        running = [
            self._pool.submit(copied.encode_document, [texts[row] for row in rows], batch_size=batch_size)
            for copied, rows in zip(self._copies, shares, strict=True)
            if len(rows)
        ]
        parts = [each.result() for each in running]
        if not parts:
            return self._copies[0].encode_document([], batch_size=batch_size)
        return stack(parts).take(np.argsort(np.concatenate(shares)))

    def encode_query(self, texts: Sequence[str], *, batch_size: int = 32, k: int | None = None) -> SparseVectors:
        """Encode n queries; see `TextEncoder.encode_query`."""
        return self._copies[0].encode_query(texts, batch_size=batch_size, k=k)
