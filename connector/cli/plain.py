"""Print text of documents safely on a terminal."""

from __future__ import annotations

import re

_COMMANDS = re.compile(r"[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]+")


def plain(text: str) -> str:
    """Return a text as one line without control characters and bidirectional overrides.

    Escape sequences in a document could clear the screen or disguise the target of a link.
    """
    return " ".join(_COMMANDS.sub(" ", text).split())
