"""Find the index templates that apply to a name, for error messages."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from opensearchpy import OpenSearch
from opensearchpy.exceptions import OpenSearchException


def templates_of(client: OpenSearch, index: str) -> tuple[str, ...]:
    """Return the templates that apply to a new index of this name.

    The server applies the matching composable template of the highest priority with its components, else all matching
    legacy templates. Without the API (Amazon's Serverless) or the permission, the result is empty.
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
    """A sentence that names the applicable templates; empty if there are none."""
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
