"""Represent records that cannot be serialized as JSON."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping
from typing import Any


def abridge(record: Mapping[Any, Any]) -> dict[str, str]:
    """Return a record with complete strings and shortened representations of other values."""
    return {str(key): value if isinstance(value, str) else _shortened(value) for key, value in record.items()}


def _shortened(value: object) -> str:
    try:
        return reprlib.repr(value)
    except ValueError:  # an integer with more digits than Python converts
        return object.__repr__(value)
