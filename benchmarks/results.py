"""The JSON file of a suite: what it depends on, and its rows, written group by group so that a run can go on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from connector.errors import ConnectorError
from connector.files import write_whole

Rows = list[dict[str, Any]]


class ResultFile:
    """One suite's result.

    Args:
        path: Taken up again where it holds groups of the same settings.
        suite: Its name.
        params: Everything that the figures depend on beside the machine.
        environment: Versions and machine; the last run's are kept.

    Raises:
        ConnectorError: The file is of another suite or of other settings.
    """

    def __init__(self, path: Path, suite: str, params: dict[str, Any], environment: dict[str, Any]) -> None:
        self.path = path
        # As they will be read again: lists for tuples.
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
                    f"{path} holds the suite {found['suite']} with another {' and '.join(other) or 'name'}; choose "
                    "another --output, or delete the file."
                )
            self.groups = kept["results"]
        self._head = wanted | {"environment": environment}

    def add(self, group: str, rows: Rows) -> None:
        """Keep the rows of a group; the file is whole at any moment."""
        self.groups[group] = rows
        write_whole(self.path, json.dumps(self._head | {"results": self.groups}, indent=1) + "\n")


def write_result(path: Path, suite: str, params: dict[str, Any], results: dict[str, Rows]) -> None:
    """Write the result of a suite that needs no node and is through in one go; `read_result` reads it."""
    content = {"suite": suite, "params": params, "results": results}
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def read_result(path: Path) -> dict[str, Any]:
    """Read a suite's result.

    Raises:
        ConnectorError: It is none.
    """
    try:
        result: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConnectorError(f"{path} cannot be read as a result ({error}).") from error
    if not isinstance(result, dict) or not {"suite", "params", "results"} <= set(result):
        raise ConnectorError(f"{path} is not a result of a suite: it lacks suite, params or results.")
    return result
