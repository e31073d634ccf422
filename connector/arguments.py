"""Accept the keyword names of other libraries and refuse unknown ones."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from difflib import get_close_matches
from typing import Any

OTHER_NAMES = {"opensearch_url": "url", "hosts": "url", "endpoint": "url", "index_name": "index"}
"""Names used by the OpenSearch stores of LangChain, Haystack and LlamaIndex, and ours."""


_MANY = 20
"""Names that messages omit."""


def rename(options: Mapping[str, Any], owner: str, other_names: Mapping[str, str] = OTHER_NAMES) -> dict[str, Any]:
    """Translate option names to ours.

    Args:
        options: The given options.
        owner: Name of the function or class in errors.
        other_names: Our name for each foreign name.

    Raises:
        TypeError: An option is given under two names.
    """
    renamed: dict[str, Any] = {}
    given_as: dict[str, str] = {}
    for name, value in options.items():
        ours = other_names.get(name, name)
        if ours in renamed:
            raise TypeError(f"{owner} got {name!r} and {given_as[ours]!r}, which are the same option; leave one out.")
        renamed[ours] = value
        given_as[ours] = name
    return renamed


def refuse_unknown(given: Iterable[str], known: Collection[str], owner: str) -> None:
    """Refuse unknown names.

    Args:
        given: Names of keyword arguments.
        known: The valid names.
        owner: Name of the function or class in errors.

    Raises:
        TypeError: A name is unknown; the message suggests the most similar valid name.
    """
    for name in given:
        if name not in known:
            near = get_close_matches(name, known, 1)
            listed = ", ".join(sorted(known)) or "none"
            advice = f"; did you mean {near[0]!r}?" if near else f"; it takes {listed}." if len(known) < _MANY else "."
            raise TypeError(f"{owner} has no option {name!r}{advice}")
