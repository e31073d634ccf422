"""A mistaken name of an encoder or dense model is reported before torch is imported and before anything is read."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

COMMANDS = {
    "ingest": ["ingest", "corpus.jsonl", "--index", "docs", "--encoder"],
    "ingest-ray": ["ingest-ray", "corpus.jsonl", "--index", "docs", "--encoder"],
    "search": ["search", "cats", "--index", "docs", "--encoder"],
    "explain": ["explain", "cats", "--index", "docs", "--encoder"],
    "explore": ["explore", "--index", "docs", "--encoder"],
    "update": ["update", "corpus.jsonl", "--index", "docs", "--encoder"],
    "replay": ["replay", "corpus.jsonl", "--index", "docs", "--encoder"],
    "reencode": ["reencode", "docs", "--to", "docs-2", "--encoder"],
    "reencode from": ["reencode", "docs", "--to", "docs-2", "--old-encoder"],
    "evaluate": ["evaluate", "beir", "--encoder"],
    "tune": ["tune", "--index", "docs", "--encoder"],
    "label": ["label", "corpus.jsonl", "--encoder"],
    "export": ["export", "folder", "--encoder"],
    "serve": ["serve", "docs", "--encoder"],
    "train": ["train", "corpus.jsonl", "--output", "head", "--base-model"],
    "train dictionary": ["train", "dictionary", "corpus.jsonl", "--output", "head", "--base-model"],
    "train queries": ["train", "queries", "corpus.jsonl", "--output", "head", "--encoder"],
    "train splade": ["train", "splade", "corpus.jsonl", "--output", "head", "--start"],
    "train splade by": ["train", "splade", "corpus.jsonl", "--output", "head", "--teacher"],
}

PROGRAM = """
import json, sys
from click.testing import CliRunner
from connector.cli.main import cli

for words in json.load(sys.stdin):
    result = CliRunner().invoke(cli, words)
    print(json.dumps([result.exit_code, result.stderr, "torch" in sys.modules]))
"""


def results_of(commands: list[list[str]], folder: Path) -> list[tuple[int, str, bool]]:
    """Exit status, standard error and whether torch was imported, of commands in another process."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        input=json.dumps(commands),
        capture_output=True,
        text=True,
        cwd=folder,
        env=os.environ
        | {"PYTHONPATH": str(Path(__file__).parents[1]), "HF_HUB_OFFLINE": "1", "OPENSEARCH_URL": "http://127.0.0.1:1"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [tuple(json.loads(line)) for line in done.stdout.splitlines()]


@pytest.mark.parametrize("name", ["./my-head", "my-head"], ids=["path", "name"])
def test_a_name_that_is_nowhere_is_reported_without_torch(tmp_path: Path, name: str) -> None:
    (tmp_path / "corpus.jsonl").write_text('{"_id": "1", "text": "cats"}\n')
    (tmp_path / "beir").mkdir()
    results = results_of([[*words, name] for words in COMMANDS.values()], tmp_path)
    for command, (status, said, torch) in zip(COMMANDS, results, strict=True):
        assert status == 1 and f"{name}" in said and "Traceback" not in said, (command, said)
        assert "is not a folder and cannot be fetched" in said or "is not a head" in said, (command, said)
        assert not torch, command


def test_a_folder_without_an_encoder_is_reported_without_torch(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    [(status, said, torch)] = results_of([[*COMMANDS["search"], "empty"]], tmp_path)
    assert (status, torch) == (1, False)
    assert said.startswith("Error: empty is neither a head (config.json with num_latents) nor a SparseEncoder")


def test_own_is_the_name_of_a_dictionary_that_is_built(tmp_path: Path) -> None:
    (tmp_path / "corpus.jsonl").write_text("")
    [(status, said, _)] = results_of([[*COMMANDS["ingest"], "own"]], tmp_path)
    assert status == 1 and "127.0.0.1:1" in said, said
