"""The encoder of an index without torch, where this machine has all that it takes."""

from __future__ import annotations

import json
from logging import getLogger
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from opensearchpy import OpenSearch
from safetensors import SafetensorError
from safetensors.numpy import load

from connector.encoders.adapt import adapt
from connector.encoders.folders import DEFAULT_ENCODER, QUERY_MODEL, encoder_folder, is_head
from connector.encoders.graph import choose_backend
from connector.encoders.light import LightEncoder
from connector.encoders.light_heads import to_head
from connector.encoders.light_model import FACTS_FILE, HEAD_FOLDER, LightModel, find_graph
from connector.errors import EncoderError
from connector.index.companion import fetch_companion
from connector.index.schema import IndexSchema

_log = getLogger("ksparse.ingest")

Head = tuple[dict[str, Any], dict[str, NDArray[Any]]]
"""Configuration and weights."""


def find_light_encoder(
    client: OpenSearch, schema: IndexSchema, name: str | None, device: str | None
) -> LightEncoder | None:
    """The encoder of an index, told what the index keeps, if it runs here without torch; else None.

    Args:
        client: A ready client: the cluster keeps a dictionary of the index's own.
        schema: Of the index.
        name: Where the encoder is found; where the index says if None.
        device: Where to compute; anything but a CPU takes torch.

    Raises:
        ClusterError: The server is away or does not permit it.
        IndexMappingError: The dictionary of the index is gone.
    """
    try:
        if device not in (None, "cpu") or choose_backend(None, "cpu") != "openvino":
            return None
        found = _head_of(client, schema, name)
        model = find_graph(str(found[0].get("base_model", ""))) if found is not None else None
        if found is None or model is None:
            return None
        encoder = _joined(model, found, schema, name or schema.encoder_name)
    except (EncoderError, SafetensorError, ValueError, KeyError) as error:
        _log.info("The encoder of %s takes torch: %s", schema.index, error)
        return None
    # A model of the same name may have changed meanwhile.
    return encoder if encoder.fingerprint.digest == schema.encoder.digest else None


def is_exported(name: str | None) -> bool:
    """Whether a name is the folder of an exported encoder."""
    return name is not None and (Path(name) / FACTS_FILE).is_file()


def open_exported(client: OpenSearch, schema: IndexSchema, folder: Path) -> LightEncoder:
    """An exported encoder for an index, whose dictionary is taken where the folder holds no head.

    Raises:
        ClusterError: The server is away or does not permit it.
        EncoderError: The folder holds no head, and the index has no dictionary.
        IndexMappingError: The dictionary of the index is gone.
    """
    head = _read_head(folder / HEAD_FOLDER) if is_head(folder / HEAD_FOLDER) else _dictionary_of(client, schema)
    if head is None:
        raise EncoderError(f"{folder} holds no head and index {schema.index!r} no dictionary; export with --encoder.")
    return _joined(LightModel(folder), head, schema, str(folder.resolve()))


def _joined(model: LightModel, head: Head, schema: IndexSchema, name: str) -> LightEncoder:
    config, weights = head
    encoder = LightEncoder(
        model,
        to_head(config, weights),
        base_model=schema.encoder.base_model,
        revision=schema.encoder.revision,
        k=schema.encoder.k,
        name=name,
    )
    return adapt(encoder, schema.statistics, schema.code)


def _head_of(client: OpenSearch, schema: IndexSchema, name: str | None) -> Head | None:
    if name is None and schema.dictionary is not None:
        return _dictionary_of(client, schema)
    folder = encoder_folder(name or schema.encoder_name or DEFAULT_ENCODER)
    if not is_head(folder) or (folder / QUERY_MODEL).exists():
        return None
    return _read_head(folder)


def _dictionary_of(client: OpenSearch, schema: IndexSchema) -> Head | None:
    if schema.dictionary is None:
        return None
    weights = load(fetch_companion(client, schema.dictionary))
    config: dict[str, Any] = json.loads(weights.pop("config").tobytes())
    return config, weights


def _read_head(folder: Path) -> Head:
    config: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return config, load((folder / "model.safetensors").read_bytes())
