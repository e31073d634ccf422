"""Print text of documents safely, whatever the terminal and its encoding."""

from __future__ import annotations

import io
import json
import re
import sys

_COMMANDS = re.compile(r"[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]+")


def plain(text: str) -> str:
    """Return a text as one line without control characters and bidirectional overrides.

    Escape sequences in a document could clear the screen or disguise the target of a link.
    """
    return " ".join(_COMMANDS.sub(" ", text).split())


def to_json(value: object) -> str:
    """Return JSON for standard output, with escapes if its encoding does not have all characters."""
    text = json.dumps(value, ensure_ascii=False)
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        return json.dumps(value)
    return text


def escape_output() -> None:
    """Make standard output escape characters that its encoding does not have."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
