"""Load the encoder of an existing index. Torch is imported on demand."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

from opensearchpy import OpenSearch

from connector.encoders.adapt import adapt
from connector.encoders.dictionary_file import unpack_cells
from connector.encoders.folders import DEFAULT_ENCODER
from connector.encoders.graph import has_accelerator
from connector.errors import EncoderError
from connector.index.companion import Companion, fetch_companion
from connector.index.schema import IndexSchema, check_encoder
from connector.ingest.light_encoder import find_light_encoder, find_new_encoder, is_exported, open_exported

if TYPE_CHECKING:
    from connector.encoders.dictionary import TwoLevelDictionary
    from connector.encoders.text import TextEncoder


def encoder_of(schema: IndexSchema, encoder: TextEncoder) -> TextEncoder:
    """Return the encoder of an index, calibrated with the statistics and codes that the index stores.

    Raises:
        EncoderMismatchError: Another encoder wrote the index.
    """
    calibrated = adapt(encoder, schema.statistics, schema.code)
    check_encoder(schema, calibrated.fingerprint)
    return calibrated


def load_index_encoder(
    client: OpenSearch,
    schema: IndexSchema,
    name: str | None = None,
    *,
    device: str | None = None,
    light: bool | None = None,
) -> TextEncoder:
    """Load the encoder of an index; `encoder_of`, searches and writes check its fingerprint later.

    Args:
        client: A connected client, used to fetch the dictionary of the index.
        schema: Schema of the index.
        name: Name or folder; None uses the name recorded in the index, or the shipped head.
        device: cuda, mps or cpu; None picks the best available.
        light: Whether to avoid torch if possible: loading takes one second instead of five. None avoids it unless
            there is an accelerator, which only torch uses.

    Raises:
        ClusterError: The server is unreachable or denies access.
        EncoderError: The encoder cannot be loaded.
        IndexMappingError: The dictionary of the index is missing.
    """
    # It has all methods that searches and indices need.
    folder = name or (schema.encoder_name if schema.dictionary is None else None)
    if is_exported(folder):
        if device not in (None, "cpu"):
            raise EncoderError(f"{folder} computes on a cpu, not on {device}; leave the device out.")
        return cast("TextEncoder", open_exported(client, schema, Path(str(folder))))
    if _may_avoid_torch(device, light):
        found = find_light_encoder(client, schema, name, device)
        if found is not None:
            return cast("TextEncoder", found)
    from connector.encoders.device import choose_device
    from connector.encoders.load import load_encoder, with_base_model

    device = choose_device(device)
    if name is None and schema.dictionary is not None:
        return with_base_model(_fetch_dictionary(client, schema.dictionary), device=device)
    try:
        loaded = load_encoder(name or schema.encoder_name or DEFAULT_ENCODER, device=device, k=schema.encoder.k)
        return _with_dictionary(client, schema, loaded) if loaded.needs_dictionary else loaded
    except EncoderError as error:
        if name or not schema.encoder_name:
            raise
        raise EncoderError(
            f"Index {schema.index!r} was written by the encoder {schema.encoder_name}, which cannot be loaded here: "
            f"{error} If there is a copy elsewhere, name it."
        ) from error


def load_new_encoder(
    name: str = DEFAULT_ENCODER,
    *,
    device: str | None = None,
    k: int | None = None,
    idf: bool = False,
    light: bool | None = None,
) -> TextEncoder:
    """Load an encoder for a new index.

    Args:
        name: As in `load_encoder`, or the folder of an exported encoder.
        device: As in `load_encoder`.
        k: As in `load_encoder`.
        idf: As in `load_encoder`.
        light: As in `load_index_encoder`.

    Raises:
        EncoderError: The encoder cannot be loaded.
    """
    if not idf and _may_avoid_torch(device, light):
        found = find_new_encoder(name, device, k)
        if found is not None:
            return cast("TextEncoder", found)
    from connector.encoders.load import load_encoder

    return load_encoder(name, device=device, k=k, idf=idf)


def _may_avoid_torch(device: str | None, light: bool | None) -> bool:
    return light if light is not None else device is not None or not has_accelerator()


def fitting_encoder(client: OpenSearch, schema: IndexSchema, encoder: TextEncoder | None) -> TextEncoder:
    """Return the given encoder with the dictionary of the index, or load the index's own if none is given.

    Raises:
        ClusterError, EncoderError, IndexMappingError: As in `load_index_encoder`.
    """
    if encoder is None:
        return load_index_encoder(client, schema)
    if encoder.needs_dictionary:
        return _with_dictionary(client, schema, encoder)
    both = schema.dictionary is not None and encoder.has_dictionary
    if both and encoder.fingerprint.digest != schema.encoder.digest:
        return _with_dictionary(client, schema, encoder)
    return encoder


def _with_dictionary(client: OpenSearch, schema: IndexSchema, dense: TextEncoder) -> TextEncoder:
    """Combine a dense model with the dictionary of the index, unless their widths differ."""
    if schema.dictionary is None:
        raise EncoderError(
            f"Index {schema.index!r} was not written with a dictionary for the dense model "
            f"{dense.fingerprint.base_model}; leave the encoder out."
        )
    head = unpack_cells(fetch_companion(client, schema.dictionary))
    # `check_encoder` reports another width.
    return dense.with_head(head) if dense.head is not None and dense.head.dim == head.dim else dense


def _fetch_dictionary(client: OpenSearch, dictionary: Companion) -> TwoLevelDictionary:
    from connector.encoders.dictionary_file import unpack_dictionary

    return unpack_dictionary(fetch_companion(client, dictionary))
