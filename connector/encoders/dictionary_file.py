"""A dictionary as one safetensors file, configuration included, for places that are no folder."""

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
    """Write a dictionary, its weights as `TwoLevelDictionary.half_weights` has them."""
    # Tensors have no header of their own in front: the configuration is the first of them.
    config = torch.frombuffer(bytearray(json.dumps(head.get_config_dict()).encode()), dtype=torch.uint8)
    return save(head.half_weights() | {_CONFIG: config})


def unpack_dictionary(data: bytes) -> TwoLevelDictionary:
    """Read what `pack_dictionary` wrote; the encoder has the same fingerprint as before.

    Raises:
        EncoderError: It is damaged, or of a newer version.
    """
    try:
        weights = load(data)
        config: dict[str, Any] = json.loads(weights.pop(_CONFIG).numpy().tobytes())
        head = TwoLevelDictionary(**config)
        head.load_state_dict(weights)
    except (SafetensorError, JSONDecodeError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise EncoderError(f"the dictionary is damaged, or a newer version of ksparse wrote it: {error}") from error
    return head.eval()
