"""Texts on their way through ML Commons, which takes `${` for the beginning of a variable."""

from __future__ import annotations

import re

ESCAPE = "\ue000"
"""A character for private use. The ingest pipeline writes `${` as this one and `{`, and this one twice."""

_ESCAPED = re.compile(f"{ESCAPE}([{ESCAPE}{{])")


def unescape(text: str) -> str:
    """Return a text as it was before the ingest pipeline wrote it."""
    return _ESCAPED.sub(lambda found: ESCAPE if found[1] == ESCAPE else "${", text)
