"""Text of documents on a terminal, which obeys some of what it shows."""

from __future__ import annotations

import re

_COMMANDS = re.compile(r"[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]+")


def plain(text: str) -> str:
    """Return a text in one line, without control characters and those that turn the direction of writing.

    A document may hold the sequences by which a terminal clears its screen or shows another address than a link has.
    """
    return " ".join(_COMMANDS.sub(" ", text).split())
