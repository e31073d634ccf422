"""A parameter source for OpenSearch Benchmark, which loads this file: search bodies from a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Self


class Bodies:
    """Cycles through the bodies of a file, one per line.

    Args:
        workload: Not used.
        params: `file` in the workload's folder, and `index`.
        **kwargs: Not used.
    """

    def __init__(self, workload: object, params: dict[str, Any], **kwargs: object) -> None:
        lines = (Path(__file__).parent / params["file"]).read_text(encoding="utf-8").splitlines()
        self._bodies = [json.loads(line) for line in lines]
        self._index = params["index"]
        self._place = 0

    def partition(self, partition_index: int, total_partitions: int) -> Self:
        """There is one client."""
        return self

    def params(self) -> dict[str, Any]:
        """Return the next search."""
        body = self._bodies[self._place % len(self._bodies)]
        self._place += 1
        return {
            "index": self._index,
            "body": body,
            "cache": False,
            "request-params": {},
            "response-compression-enabled": False,
        }


def register(registry: Any) -> None:  # noqa: ANN401
    """Register the parameter source; called by the tool."""
    registry.register_param_source("bodies", Bodies)
