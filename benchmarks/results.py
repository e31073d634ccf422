"""Result file of a suite (JSON): parameters and rows, written by group so that a run can be resumed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from connector.errors import ConnectorError
from connector.files import write_whole

Rows = list[dict[str, Any]]


class ResultFile:
    """Result of a suite.

    Args:
        path: The file; existing groups with the same parameters are kept.
        suite: Name of the suite.
        params: All parameters of the figures except the machine.
        environment: Versions and machine; those of the last run are kept.

    Raises:
        ConnectorError: The file belongs to another suite or has other parameters.
    """

    def __init__(self, path: Path, suite: str, params: dict[str, Any], environment: dict[str, Any]) -> None:
        self.path = path
        self.suite = suite
        # As read from JSON, with lists for tuples.
        wanted = json.loads(json.dumps({"suite": suite, "params": params}))
        self.groups: dict[str, Rows] = {}
        if path.is_file():
            kept = json.loads(path.read_text(encoding="utf-8"))
            found = {name: kept.get(name) for name in wanted}
            if found != wanted:
                other = [
                    name for name in wanted["params"] if (found["params"] or {}).get(name) != wanted["params"][name]
                ]
                raise ConnectorError(
                    f"{path} contains the suite {found['suite']} with another {' and '.join(other) or 'name'}; choose "
                    "another --output, or delete the file."
                )
            self.groups = kept["results"]
        self._head = wanted | {"environment": environment}

    def add(self, group: str, rows: Rows) -> None:
        """Store the rows of a group atomically."""
        self.groups[group] = rows
        write_whole(self.path, json.dumps(self._head | {"results": self.groups}, indent=1) + "\n")


def write_result(path: Path, suite: str, params: dict[str, Any], results: dict[str, Rows]) -> None:
    """Write the result of a suite without a node and without resuming; `read_result` reads it."""
    content = {"suite": suite, "params": params, "results": results}
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def read_result(path: Path) -> dict[str, Any]:
    """Read the result of a suite.

    Raises:
        ConnectorError: The file is not a result.
    """
    try:
        result: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConnectorError(f"{path} cannot be read as a result ({error}).") from error
    if not isinstance(result, dict) or not {"suite", "params", "results"} <= set(result):
        raise ConnectorError(f"{path} is not the result of a suite: suite, params or results is missing.")
    return result


def name_of(row: dict[str, Any]) -> str:
    """Name of a system with its setting, or of a rule with its numbers of features (`feature-selection`)."""
    if "rule" in row:
        return f"{row['length']} {row['rule']}"
    return f"{row['system']} {row.get('knob', '')}".strip()
