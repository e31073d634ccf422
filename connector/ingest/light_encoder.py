"""Load the encoder of an index without torch, if the local cache has all parts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache, partial
from logging import getLogger
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from opensearchpy import OpenSearch
from safetensors import SafetensorError
from safetensors.numpy import load

from connector.encoders.adapt import adapt
from connector.encoders.dictionary_file import unpack_cells
from connector.encoders.folders import DEFAULT_ENCODER, QUERY_MODEL, encoder_folder, is_head, lasting_name
from connector.encoders.graph import choose_backend
from connector.encoders.labels import read_labels
from connector.encoders.light import LightEncoder
from connector.encoders.light_heads import UnbuiltHead, to_head
from connector.encoders.light_model import FACTS_FILE, HEAD_FOLDER, LightModel, find_graph
from connector.encoders.precision import Precision, choose_precision
from connector.encoders.saved_model import lasting_model_name
from connector.errors import EncoderError
from connector.index.companion import fetch_companion
from connector.index.schema import IndexSchema

_log = getLogger("ksparse.ingest")

StoredHead = tuple[Mapping[str, Any], Mapping[str, NDArray[Any]], Path | None]
"""Configuration, weights, and the folder with its labels; None for a dictionary, which has none."""


def find_light_encoder(
    client: OpenSearch, schema: IndexSchema, name: str | None, device: str | None
) -> LightEncoder | None:
    """Load the calibrated encoder of an index without torch; None if that is not possible.

    Args:
        client: A connected client, used to fetch the dictionary of the index.
        schema: Schema of the index.
        name: Name or folder; None uses the name recorded in the index.
        device: Device; any other than a CPU needs torch.

    Raises:
        ClusterError: The server is unreachable or denies access.
        IndexMappingError: The dictionary of the index is missing.
    """
    try:
        if device not in (None, "cpu") or choose_backend(None, "cpu") != "openvino":
            return None
        found = _head_of(client, schema, name)
        model = find_graph(_base_model_of(found), choose_precision(None)) if found is not None else None
        if found is None or model is None:
            return None
        encoder = _joined(model, found, schema, name or schema.encoder_name)
    except (EncoderError, SafetensorError, ValueError, KeyError) as error:
        _log.info("The encoder of %s needs torch: %s", schema.index, error)
        return None
    # The model of that name may have changed.
    return encoder if encoder.fingerprint.digest == schema.encoder.digest else None


def find_new_encoder(name: str, device: str | None, k: int | None) -> LightEncoder | None:
    """Load an encoder for a new index without torch; None if that is not possible.

    Args:
        name: A shipped head, the folder of a head, a dense model, or the folder of an exported encoder.
        device: Device; any other than a CPU needs torch.
        k: Features kept per document; None uses the head's number.
    """
    try:
        if device not in (None, "cpu") or choose_backend(None, "cpu") != "openvino":
            return None
        precision = choose_precision(None)
        exported = is_exported(name)
        folder = Path(name) / HEAD_FOLDER if exported else encoder_folder(name)
        head = _read_head(folder) if is_head(folder) else None
        if (folder / QUERY_MODEL).exists():
            return None
        base_model = _base_model_of(head) if head is not None else lasting_model_name(name)
        if exported:
            model: LightModel | None = LightModel(Path(name), precision)
        else:
            model = _find_unchanged(base_model, precision)
        if model is None:
            return None
        base_model = model.base_model or base_model
        return LightEncoder(
            model,
            to_head(*head[:2]) if head is not None else UnbuiltHead.of_model(model.dim, base_model),
            base_model=base_model,
            revision=model.revision,
            k=k,
            name=lasting_name(name) if head is not None else "",
            labels=cache(partial(read_labels, folder)) if head is not None else tuple,
        )
    except (EncoderError, SafetensorError, OSError, ValueError, KeyError) as error:
        _log.info("The encoder %s needs torch: %s", name, error)
        return None


def _base_model_of(head: StoredHead) -> str:
    """Name of the head's dense model, by which its graph is found."""
    return lasting_model_name(str(head[0].get("base_model", "")))


def _find_unchanged(base_model: str, precision: Precision) -> LightModel | None:
    """The converted dense model of this name, unless its files are on this machine and have changed since then."""
    from connector.encoders.base_model import files_digest, find_local_model

    local = find_local_model(base_model)
    return find_graph(base_model, precision, files=files_digest(local) if local is not None else None)


def is_exported(name: str | None) -> bool:
    """Whether the name is a folder of an exported encoder."""
    return bool(name) and (Path(str(name)) / FACTS_FILE).is_file()


def open_exported(client: OpenSearch, schema: IndexSchema, folder: Path) -> LightEncoder:
    """Load an exported encoder for an index; if the folder has no head, with the index's dictionary.

    Raises:
        ClusterError: The server is unreachable or denies access.
        EncoderError: Neither the folder nor the index has a head, or the precision is not available in OpenVINO.
        IndexMappingError: The dictionary of the index is missing.
    """
    head = _read_head(folder / HEAD_FOLDER) if is_head(folder / HEAD_FOLDER) else _dictionary_of(client, schema)
    if head is None:
        raise EncoderError(f"{folder} has no head and index {schema.index!r} no dictionary; export with --encoder.")
    precision = choose_precision(None)
    choose_backend("openvino", "cpu", precision)
    return _joined(LightModel(folder, precision), head, schema, str(folder.resolve()))


def _joined(model: LightModel, head: StoredHead, schema: IndexSchema, name: str) -> LightEncoder:
    config, weights, folder = head
    encoder = LightEncoder(
        model,
        to_head(config, weights),
        base_model=schema.encoder.base_model,
        revision=schema.encoder.revision,
        k=schema.encoder.k,
        name=name,
        labels=tuple if folder is None else cache(partial(read_labels, folder)),
    )
    return adapt(encoder, schema.statistics, schema.code)


def _head_of(client: OpenSearch, schema: IndexSchema, name: str | None) -> StoredHead | None:
    if name is None and schema.dictionary is not None:
        return _dictionary_of(client, schema)
    folder = encoder_folder(name or schema.encoder_name or DEFAULT_ENCODER)
    if not is_head(folder) or (folder / QUERY_MODEL).exists():
        return None
    return _read_head(folder)


def _dictionary_of(client: OpenSearch, schema: IndexSchema) -> StoredHead | None:
    if schema.dictionary is None:
        return None
    cells = unpack_cells(fetch_companion(client, schema.dictionary))
    return cells.config, cells.weights, None


def _read_head(folder: Path) -> StoredHead:
    config: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return config, load((folder / "model.safetensors").read_bytes()), folder
