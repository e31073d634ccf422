"""Escape texts for ML Commons, which interprets `${` as the beginning of a variable."""

from __future__ import annotations

import re

ESCAPE = "\ue000"
"""A private-use character. The ingest pipeline writes `${` as this character and `{`, and this character twice."""

_ESCAPED = re.compile(f"{ESCAPE}([{ESCAPE}{{])")


def unescape(text: str) -> str:
    """Undo the escaping of the ingest pipeline."""
    return _ESCAPED.sub(lambda found: ESCAPE if found[1] == ESCAPE else "${", text)
