"""A set without judgements that is large enough for a dictionary, for small runs of the scenarios."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from click.testing import CliRunner, Result

from benchmarks.__main__ import benchmarks
from tests.beir import numbered, write_beir
from tests.tiny import WORDS

COUNT = 1_200
QUERIES = 20


def write_unjudged(folder: Path) -> Path:
    """1,200 texts of random words, 20 of them also queries."""
    random = np.random.default_rng(2)
    texts = [" ".join(random.choice(WORDS, 8)) for _ in range(COUNT)]
    return write_beir(folder, numbered(texts, "d"), numbered(texts[:QUERIES], "q"))


def run(*arguments: str) -> Result:
    """Run a command of the benchmarks that succeeds."""
    result = CliRunner().invoke(benchmarks, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result


def read_groups(path: Path) -> dict[str, list[dict[str, Any]]]:
    """The rows of a result by group."""
    groups: dict[str, list[dict[str, Any]]] = json.loads(path.read_text())["results"]
    return groups
