"""`ksparse train dictionary` with the tiny dense model."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from connector.cli.main import cli
from connector.encoders.load import load_encoder
from tests.tiny import WORDS


def write_corpus(path: Path, documents: int) -> Path:
    """Texts of eight random words each."""
    random = np.random.default_rng(0)
    with path.open("w", encoding="utf-8") as lines:
        for number in range(documents):
            lines.write(json.dumps({"_id": str(number), "text": " ".join(random.choice(WORDS, 8))}) + "\n")
    return path


def train(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["train", "dictionary", *arguments])


def test_a_dictionary_is_built_tested_and_loaded(tmp_path: Path, dense_folder: Path) -> None:
    corpus, output = write_corpus(tmp_path / "corpus.jsonl", 1_200), tmp_path / "cells"
    result = train(str(corpus), "--base-model", str(dense_folder), "--output", str(output), "--quiet")
    assert result.exit_code == 0, result.output
    assert "702 cells (26 x 27)" in result.output
    report = json.loads((output / "training.json").read_text())
    assert report["data"] == {"corpus.jsonl": {"documents": 1_200, "queries": 1_200}}
    assert report["result"]["recall_at_100"] > 0.5, "100 of 1,200 documents at random would hold 0.08"
    encoder = load_encoder(str(output), device="cpu")
    [vector] = encoder.calibrate(["plants eat light"] * 3).encode_document(["cats sleep on warm stones"]).as_mappings()
    cells = [feature for feature in vector if int(feature) < 702]
    assert len(cells) == report["settings"]["cells"] == 8
    assert len(encoder.encode_query(["cats sleep"]).as_mappings()[0]) <= 16 + 24


def test_options_reach_the_dictionary(tmp_path: Path, dense_folder: Path) -> None:
    corpus, output = write_corpus(tmp_path / "corpus.jsonl", 1_000), tmp_path / "cells"
    options = (
        "--cells",
        "3",
        "--query-cells",
        "5",
        "--tokens",
        "0",
        "--query-tokens",
        "0",
        "--spread",
        "0",
        "--seed",
        "7",
    )
    result = train(str(corpus), "--base-model", str(dense_folder), "--output", str(output), "--quiet", *options)
    assert result.exit_code == 0, result.output
    config = json.loads((output / "config.json").read_text())
    assert (config["k"], config["k_query"], config["spread"], config["lexical_config"]) == (3, 5, 0.0, None)
    assert json.loads((output / "training.json").read_text())["settings"]["seed"] == 7


@pytest.mark.parametrize(
    ("documents", "options", "expected"),
    [
        (999, [], "A dictionary needs 1,000 documents, got 999; use the shipped encoder."),
        (1_000, ["--tokens", "0"], "--tokens 0 and --query-tokens 24 must both be 0 or both be at least 1"),
        (1_000, ["--cells", "0"], "Invalid value for '--cells'"),
        (1_000, ["--latents", "64"], "No such option"),
    ],
)
def test_what_cannot_be_built_is_refused_before_a_model_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, documents: int, options: list[str], expected: str
) -> None:
    monkeypatch.setattr("connector.encoders.base_model.load_base_model", None)
    corpus, output = write_corpus(tmp_path / "corpus.jsonl", documents), tmp_path / "cells"
    result = train(str(corpus), "--output", str(output), *options)
    assert result.exit_code != 0
    assert expected in result.output
    assert not output.exists()


def test_options_that_contradict_each_other_are_named(tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "corpus.jsonl", 1)
    result = train(str(corpus), "--output", str(tmp_path / "cells"), "--tokens", "0", "--query-tokens", "5")
    assert result.exit_code == 2
    assert "--tokens 0 and --query-tokens 5 must both be 0 or both be at least 1." in result.stderr
