"""Escape texts for ML Commons, which interprets `${` as the beginning of a variable."""

from __future__ import annotations

import re
from typing import Any

ESCAPE = "\ue000"
"""A private-use character. The ingest pipeline writes `${` as this character and `{`, and this character twice."""

_ESCAPED = re.compile(f"{ESCAPE}([{ESCAPE}{{])")


def unescape(text: str) -> str:
    """Undo the escaping of the ingest pipeline."""
    return _ESCAPED.sub(lambda found: ESCAPE if found[1] == ESCAPE else "${", text)


def unescape_all(value: Any) -> Any:  # noqa: ANN401 - JSON
    """Undo the escaping in all strings and keys of a JSON value."""
    if isinstance(value, str):
        return unescape(value)
    if isinstance(value, list):
        return [unescape_all(each) for each in value]
    if isinstance(value, dict):
        return {unescape(name): unescape_all(each) for name, each in value.items()}
    return value
