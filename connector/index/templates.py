"""Index templates: which of a server's apply to a name, for messages. Nothing is changed by them here."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from opensearchpy import OpenSearch
from opensearchpy.exceptions import OpenSearchException


def templates_of(client: OpenSearch, index: str) -> tuple[str, ...]:
    """Name the templates that a new index of this name takes its settings from.

    The server takes the composable one of the highest priority, with its components, else all legacy ones that match.
    Where it tells nobody (Amazon's Serverless, a user without the right), there are none.
    """
    composable = _ask(client, "/_index_template").get("index_templates", [])
    fitting = [each for each in composable if _matches(index, each["index_template"]["index_patterns"])]
    if fitting:
        chosen = max(fitting, key=lambda each: int(each["index_template"].get("priority", 0)))
        components = chosen["index_template"].get("composed_of", [])
        return (f"index template {chosen['name']!r}", *(f"component template {name!r}" for name in components))
    legacy = _ask(client, "/_template")
    return tuple(f"template {name!r}" for name in sorted(legacy) if _matches(index, legacy[name]["index_patterns"]))


def advice_about_templates(client: OpenSearch, index: str) -> str:
    """A sentence that names the templates behind a new index, or nothing where there are none."""
    found = templates_of(client, index)
    if not found:
        return ""
    named = ", ".join(found)
    return f" {named[0].upper()}{named[1:]} applies to this name: correct it, or choose a name that it does not match."


def _matches(index: str, patterns: Iterable[str]) -> bool:
    return any(re.fullmatch(re.escape(pattern).replace(r"\*", ".*"), index) for pattern in patterns)


def _ask(client: OpenSearch, path: str) -> dict[str, Any]:
    try:
        reply = client.transport.perform_request("GET", path)
    except OpenSearchException:
        return {}
    return reply if isinstance(reply, dict) else {}
