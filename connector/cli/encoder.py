"""The encoder of the commands that encode."""

from __future__ import annotations

from transformers.utils import logging

from connector.encoders.load import load_encoder
from connector.encoders.text import TextEncoder


def hide_loading() -> None:
    """Draw no progress bar for a model's weights: it takes longer to draw than they take to load."""
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]


def open_encoder(name: str, *, device: str | None = None, k: int | None = None, idf: bool = False) -> TextEncoder:
    """Load an encoder quietly."""
    hide_loading()
    return load_encoder(name, device=device, k=k, idf=idf)
