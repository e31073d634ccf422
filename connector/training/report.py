"""`training.json` and the card of a trained model."""

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
"""Numbers of documents and queries by corpus name."""


class Trained(Protocol):
    """The history of a training run."""

    @property
    def losses(self) -> Sequence[float]:
        """Mean loss before each validation."""
        ...

    @property
    def validations(self) -> Sequence[DataclassInstance]:
        """Results on held-out queries."""
        ...

    @property
    def steps(self) -> int:
        """Number of steps."""
        ...

    @property
    def elapsed_s(self) -> float:
        """Duration of the run."""
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
        folder: An existing folder.
        trained: The history of the run.
        settings: Its settings.
        data: Its corpora.
        **own: Further values of this kind of model.
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
    """Versions of the libraries that affect the result."""
    return {name: version(name) for name in ("torch", "sentence-transformers", "numpy")}


def corpus_rows(data: Counts) -> str:
    """Rows of the table of corpora in a card."""
    return "\n".join(f"| {name} | {counts['documents']:,} | {counts['queries']:,} |" for name, counts in data.items())
