"""Load encoders for commands."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from opensearchpy import OpenSearch

from connector.index.schema import IndexSchema
from connector.ingest.index_encoder import load_index_encoder
from connector.ingest.light_encoder import find_light_encoder, is_exported

if TYPE_CHECKING:
    from connector.encoders.text import TextEncoder


def hide_loading() -> None:
    """Disable the progress bar for model weights, which takes longer to draw than the weights to load."""
    from transformers.utils import logging

    logging.disable_progress_bar()  # type: ignore[no-untyped-call]


def open_index_encoder(
    client: OpenSearch, schema: IndexSchema, name: str | None = None, *, device: str | None = None, light: bool = False
) -> TextEncoder:
    """Load the encoder of an index: the named one, else the one that the index names or stores.

    Args:
        client: A connected client.
        schema: Schema of the index.
        name: Name or folder of the encoder.
        device: Device of the encoder.
        light: Avoid torch if possible: loading takes one second instead of five.
    """
    found = find_light_encoder(client, schema, name, device) if light else None
    if found is not None:
        return cast("TextEncoder", found)  # has the methods that searching needs
    if not is_exported(name):
        hide_loading()
    return load_index_encoder(client, schema, name, device=device)


def open_encoder(name: str, *, device: str | None = None, k: int | None = None, idf: bool = False) -> TextEncoder:
    """Load an encoder without progress bars."""
    from connector.encoders.load import load_encoder

    hide_loading()
    return load_encoder(name, device=device, k=k, idf=idf)
