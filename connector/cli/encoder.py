"""The encoder of the commands that encode."""

from __future__ import annotations

from opensearchpy import OpenSearch
from transformers.utils import logging

from connector.encoders.load import load_encoder
from connector.encoders.text import TextEncoder
from connector.index.schema import IndexSchema
from connector.ingest.prepare import load_index_encoder


def hide_loading() -> None:
    """Draw no progress bar for a model's weights: it takes longer to draw than they take to load."""
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]


def open_index_encoder(
    client: OpenSearch, schema: IndexSchema, name: str | None = None, *, device: str | None = None
) -> TextEncoder:
    """Load the encoder of an index quietly: by the name given, else by the one that the index keeps."""
    hide_loading()
    return load_index_encoder(client, schema, name, device=device)


def open_encoder(name: str, *, device: str | None = None, k: int | None = None, idf: bool = False) -> TextEncoder:
    """Load an encoder quietly."""
    hide_loading()
    return load_encoder(name, device=device, k=k, idf=idf)
