"""Choose the device."""

from __future__ import annotations

import torch
from sentence_transformers.util import get_device_name

from connector.errors import EncoderError


def choose_device(name: str | None = None) -> str:
    """Return the given device, or the best available one: cuda, else mps, else cpu.

    Raises:
        EncoderError: The device is not available.
    """
    if name is None:
        return get_device_name()
    try:
        torch.empty(1, device=name)
    # Torch raises RuntimeError for an unknown name and AssertionError if built without CUDA.
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise EncoderError(f"Device {name!r} is not available; leave it out to use {get_device_name()!r}.") from error
    return name
