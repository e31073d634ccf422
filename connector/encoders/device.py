"""Which device to compute on."""

from __future__ import annotations

import torch
from sentence_transformers.util import get_device_name

from connector.errors import EncoderError


def choose_device(name: str | None = None) -> str:
    """Return the device asked for, or the best one there is: cuda, else mps, else cpu.

    Raises:
        EncoderError: There is no such device here.
    """
    if name is None:
        return get_device_name()
    try:
        torch.empty(1, device=name)
    # A name that torch does not know is a RuntimeError, CUDA that is not built in an AssertionError.
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise EncoderError(f"There is no device {name!r} here; leave it out to use {get_device_name()!r}.") from error
    return name
