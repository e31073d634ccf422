"""Load encoders for commands."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from opensearchpy import OpenSearch

from connector.index.schema import IndexSchema
from connector.ingest.index_encoder import load_index_encoder, load_new_encoder

if TYPE_CHECKING:
    from connector.encoders.text import TextEncoder


def hide_loading() -> None:
    """Disable the progress bar for model weights, which takes longer to draw than the weights to load."""
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    # Modules that are loaded already have read the environment; importing them only for this would take seconds.
    if "huggingface_hub" in sys.modules:
        sys.modules["huggingface_hub"].utils.disable_progress_bars()
    if "transformers" in sys.modules:
        sys.modules["transformers"].utils.logging.disable_progress_bar()


def open_index_encoder(
    client: OpenSearch,
    schema: IndexSchema,
    name: str | None = None,
    *,
    device: str | None = None,
    light: bool | None = None,
) -> TextEncoder:
    """Load the encoder of an index: the named one, else the one that the index names or stores.

    Args:
        client: A connected client.
        schema: Schema of the index.
        name: Name or folder of the encoder.
        device: Device of the encoder.
        light: As in `load_index_encoder`.
    """
    hide_loading()
    return load_index_encoder(client, schema, name, device=device, light=light)


def open_new_encoder(
    name: str, *, device: str | None = None, k: int | None = None, idf: bool = False, light: bool | None = None
) -> TextEncoder:
    """Load the encoder of a new index without progress bars; see `load_new_encoder`."""
    hide_loading()
    return load_new_encoder(name, device=device, k=k, idf=idf, light=light)


def open_encoder(name: str, *, device: str | None = None, k: int | None = None, idf: bool = False) -> TextEncoder:
    """Load an encoder without progress bars."""
    from connector.encoders.load import load_encoder

    hide_loading()
    return load_encoder(name, device=device, k=k, idf=idf)
