"""The precision in which a dense model is computed. Torch is not imported here."""

from __future__ import annotations

import os
from typing import Literal, cast, get_args

from connector.errors import EncoderError

Precision = Literal["float32", "bfloat16", "float16", "int8"]

PRECISIONS: tuple[str, ...] = get_args(Precision)

TORCH_PRECISIONS = tuple(name for name in PRECISIONS if name != "int8")
"""int8 needs OpenVINO."""

PRECISION_VARIABLE = "KSPARSE_PRECISION"


def choose_precision(asked: str | None) -> Precision:
    """Return the precision of the dense model.

    Args:
        asked: One of `PRECISIONS`; None reads KSPARSE_PRECISION, then falls back to float32.

    Raises:
        EncoderError: The precision is unknown.
    """
    chosen = asked or os.environ.get(PRECISION_VARIABLE) or "float32"
    if chosen not in PRECISIONS:
        raise EncoderError(f"There is no precision {chosen!r}; use {', '.join(PRECISIONS[:-1])} or {PRECISIONS[-1]}.")
    return cast("Precision", chosen)
