"""Read results of `python -m benchmarks frontier`: table and plot."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from connector.errors import ConnectorError
from connector.source_tree import source_tree

MAKE_ONE = (
    "python -m benchmarks frontier beir/scifact --output results/frontier-scifact.json",
    "python -m benchmarks report results/frontier-scifact.json",
    "ksparse explore --index docs --results results",
)


@dataclass(frozen=True, slots=True)
class Frontier:
    """A result.

    Attributes:
        name: File name without suffix.
        params: Parameters of the benchmark.
        environment: Its environment.
        rows: One row per system and setting.
        picture: The plot as PNG; None if missing.
    """

    name: str
    params: Mapping[str, Any]
    environment: Mapping[str, Any]
    rows: Sequence[Mapping[str, Any]]
    picture: Path | None


def results_folder() -> Path:
    """The default folder of results: that of the source tree, else ./results."""
    tree = source_tree()
    return Path("results") if tree is None else tree / "benchmarks" / "results"


def frontier_names(folder: Path) -> list[str]:
    """The results in a folder, newest first."""
    paths = sorted(folder.glob("frontier-*.json"), key=lambda path: path.stat().st_mtime, reverse=True)
    return [path.stem for path in paths]


def read_frontier(folder: Path, name: str) -> Frontier:
    """Read one of `frontier_names`.

    Raises:
        ConnectorError: The file is not such a result.
    """
    path = folder / f"{name}.json"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        [rows] = found["results"].values()
        params, environment = dict(found["params"]), dict(found["environment"])
        rows = [row for row in rows if {"system", "knob", "ndcg@10", "ndcg_share"} <= row.keys()]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConnectorError(
            f"{path} is not a result of `python -m benchmarks frontier` ({type(error).__name__}: {error})."
        ) from error
    picture = path.with_suffix(".png")
    return Frontier(name, params, environment, rows, picture if picture.is_file() else None)
