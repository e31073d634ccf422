"""Ingest pipelines of indices. Pure functions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

PIPELINE_PREFIX = "ksparse-"
"""Prefix of the pipelines that `ksparse connect` makes; the name of the index or alias follows."""


def final_pipelines_in(replies: Mapping[str, Any]) -> dict[str, str]:
    """Return the final pipeline of each index that has one, from their settings by index."""
    return pipelines_in(replies, "final_pipeline")


def pipelines_in(replies: Mapping[str, Any], setting: str) -> dict[str, str]:
    """Return the pipeline in a setting of each index that has it, from replies with only that setting."""
    return {name: reply["settings"]["index"][setting] for name, reply in replies.items() if reply.get("settings")}
