"""The encoder of the commands that encode."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from opensearchpy import OpenSearch

from connector.index.schema import IndexSchema
from connector.ingest.index_encoder import load_index_encoder
from connector.ingest.light_encoder import find_light_encoder, is_exported

if TYPE_CHECKING:
    from connector.encoders.text import TextEncoder


def hide_loading() -> None:
    """Draw no progress bar for a model's weights: it takes longer to draw than they take to load."""
    from transformers.utils import logging

    logging.disable_progress_bar()  # type: ignore[no-untyped-call]


def open_index_encoder(
    client: OpenSearch, schema: IndexSchema, name: str | None = None, *, device: str | None = None, light: bool = False
) -> TextEncoder:
    """Load the encoder of an index quietly: by the name given, else by the one that the index keeps.

    Args:
        client: A ready client.
        schema: Of the index.
        name: Of the encoder.
        device: Where to compute.
        light: Do without torch where that is possible, which takes a second instead of five.
    """
    found = find_light_encoder(client, schema, name, device) if light else None
    if found is not None:
        return cast("TextEncoder", found)  # it has what a search asks of one
    if not is_exported(name):
        hide_loading()
    return load_index_encoder(client, schema, name, device=device)


def open_encoder(name: str, *, device: str | None = None, k: int | None = None, idf: bool = False) -> TextEncoder:
    """Load an encoder quietly."""
    from connector.encoders.load import load_encoder

    hide_loading()
    return load_encoder(name, device=device, k=k, idf=idf)
