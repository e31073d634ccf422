"""The encoder of the commands that encode."""

from __future__ import annotations

from transformers.utils import logging

from connector.encoders.load import load_encoder
from connector.encoders.text import TextEncoder


def open_encoder(name: str, *, device: str | None = None, k: int | None = None) -> TextEncoder:
    """Load an encoder without the progress bar of its weights, which takes longer to draw than to finish."""
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    return load_encoder(name, device=device, k=k)
