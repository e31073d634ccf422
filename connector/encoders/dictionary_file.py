"""Serialize a dictionary with its configuration as one safetensors file. Torch is imported on demand."""

from __future__ import annotations

import json
from json import JSONDecodeError
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from connector.encoders.light_heads import CellsHead
from connector.errors import EncoderError

if TYPE_CHECKING:
    from connector.encoders.dictionary import TwoLevelDictionary

_CONFIG = "config"


def pack_dictionary(head: TwoLevelDictionary | CellsHead) -> bytes:
    """Serialize a dictionary; cells with 2 bits per dimension, components with 8, other weights in half precision."""
    if isinstance(head, CellsHead):
        config, weights = head.config, head.stored()
    else:
        config = head.get_config_dict()
        weights = {name: tensor.numpy() for name, tensor in head.half_weights().items()}
    # The configuration is stored as the first tensor.
    return save({**weights, _CONFIG: np.frombuffer(json.dumps(config).encode(), np.uint8)})


def unpack_cells(data: bytes) -> CellsHead:
    """Deserialize a dictionary.

    Raises:
        EncoderError: The data is damaged, or a newer version wrote it.
    """
    try:
        weights: dict[str, NDArray[Any]] = load(data)
        config = cast("dict[str, Any]", json.loads(weights.pop(_CONFIG).tobytes()))
        return CellsHead(config, weights)
    except (SafetensorError, JSONDecodeError, KeyError, TypeError, ValueError) as error:
        raise _damaged(error) from error


def unpack_dictionary(data: bytes) -> TwoLevelDictionary:
    """Deserialize a dictionary as a torch module; the encoder's fingerprint is unchanged.

    Raises:
        EncoderError: The data is damaged, or a newer version wrote it.
    """
    from connector.encoders.dictionary import TwoLevelDictionary

    cells = unpack_cells(data)
    try:
        return TwoLevelDictionary.from_cells(cells).eval()
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise _damaged(error) from error


def _damaged(error: Exception) -> EncoderError:
    return EncoderError(f"the dictionary is damaged, or a newer version of ksparse wrote it: {error}")
