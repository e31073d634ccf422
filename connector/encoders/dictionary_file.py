"""Serialize a dictionary with its configuration as one safetensors file."""

from __future__ import annotations

import json
from json import JSONDecodeError
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from connector.encoders.dictionary import TwoLevelDictionary
from connector.errors import EncoderError

_CONFIG = "config"


def pack_dictionary(head: TwoLevelDictionary) -> bytes:
    """Serialize a dictionary with the weights of `TwoLevelDictionary.half_weights`."""
    # The configuration is stored as the first tensor.
    config = torch.frombuffer(bytearray(json.dumps(head.get_config_dict()).encode()), dtype=torch.uint8)
    return save(head.half_weights() | {_CONFIG: config})


def unpack_dictionary(data: bytes) -> TwoLevelDictionary:
    """Deserialize a dictionary; the encoder's fingerprint is unchanged.

    Raises:
        EncoderError: The data is damaged, or a newer version wrote it.
    """
    try:
        weights = load(data)
        config: dict[str, Any] = json.loads(weights.pop(_CONFIG).numpy().tobytes())
        head = TwoLevelDictionary(**config)
        head.load_state_dict(weights)
    except (SafetensorError, JSONDecodeError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise EncoderError(f"the dictionary is damaged, or a newer version of ksparse wrote it: {error}") from error
    return head.eval()
