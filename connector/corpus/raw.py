"""What is kept of a record that JSON cannot hold."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping
from typing import Any


def abridge(record: Mapping[Any, Any]) -> dict[str, str]:
    """A record's strings, whole, and of all else a short picture: nested too deeply, circular or too large for more."""
    return {str(key): value if isinstance(value, str) else _picture(value) for key, value in record.items()}


def _picture(value: object) -> str:
    try:
        return reprlib.repr(value)
    except ValueError:  # an integer of more digits than Python writes
        return object.__repr__(value)
