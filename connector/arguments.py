"""Keyword arguments by the names that other libraries give them, and an error for unknown ones."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from difflib import get_close_matches
from typing import Any

OTHER_NAMES = {"opensearch_url": "url", "hosts": "url", "endpoint": "url", "index_name": "index"}
"""What LangChain's, Haystack's and LlamaIndex's stores of OpenSearch call what is called otherwise here."""


_MANY = 20
"""Names left out of messages."""


def rename(options: Mapping[str, Any], owner: str, other_names: Mapping[str, str] = OTHER_NAMES) -> dict[str, Any]:
    """Return options under our own names.

    Args:
        options: As given.
        owner: What errors call the function or class.
        other_names: From another name to ours.

    Raises:
        TypeError: Something is given twice, by two names.
    """
    renamed: dict[str, Any] = {}
    given_as: dict[str, str] = {}
    for name, value in options.items():
        ours = other_names.get(name, name)
        if ours in renamed:
            raise TypeError(f"{owner} takes {name!r} for {given_as[ours]!r}; leave one of them out.")
        renamed[ours] = value
        given_as[ours] = name
    return renamed


def refuse_unknown(given: Iterable[str], known: Collection[str], owner: str) -> None:
    """Refuse names that are not known.

    Args:
        given: Names of keyword arguments.
        known: Those that there are.
        owner: What errors call the function or class.

    Raises:
        TypeError: One is unknown; the message names the nearest that is known, or a few where none is near.
    """
    for name in given:
        if name not in known:
            near = get_close_matches(name, known, 1)
            listed = ", ".join(sorted(known)) or "none"
            advice = f"; did you mean {near[0]!r}?" if near else f"; it takes {listed}." if len(known) < _MANY else "."
            raise TypeError(f"{owner} has no option {name!r}{advice}")
