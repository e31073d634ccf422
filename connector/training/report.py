"""What every run leaves beside its weights: `training.json`, and rows of its card."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Counts = Mapping[str, Mapping[str, int]]
"""From corpus name to its counts (documents, queries)."""


class Trained(Protocol):
    """What a run of any kind yields beside its model."""

    @property
    def losses(self) -> Sequence[float]:
        """Mean loss before each validation."""
        ...

    @property
    def validations(self) -> Sequence[DataclassInstance]:
        """The held-out results."""
        ...

    @property
    def steps(self) -> int:
        """Steps taken."""
        ...

    @property
    def elapsed_s(self) -> float:
        """Time of the whole run."""
        ...


def write_report(
    folder: Path,
    trained: Trained,
    settings: DataclassInstance,
    data: Counts,
    **own: Any,  # noqa: ANN401
) -> None:
    """Write `training.json`.

    Args:
        folder: That is there.
        trained: The run's history.
        settings: What it was trained with.
        data: What it was trained on.
        **own: What this kind of run has to say besides.
    """
    report = {
        "settings": asdict(settings),
        "data": {name: dict(counts) for name, counts in data.items()},
        "steps": trained.steps,
        "elapsed_s": round(trained.elapsed_s, 1),
        "losses": list(trained.losses),
        "validations": [asdict(result) for result in trained.validations],
        **own,
        "versions": library_versions(),
    }
    (folder / "training.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def library_versions() -> dict[str, str]:
    """The versions of the libraries that decide what is computed."""
    return {name: version(name) for name in ("torch", "sentence-transformers", "numpy")}


def corpus_rows(data: Counts) -> str:
    """The rows of a card's table of corpora."""
    return "\n".join(f"| {name} | {counts['documents']:,} | {counts['queries']:,} |" for name, counts in data.items())
