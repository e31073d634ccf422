"""Errors of a set are reported before a model is loaded or a node is started."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from benchmarks.__main__ import benchmarks
from benchmarks.datasets import check_sets
from connector.errors import CorpusError, EncoderError
from tests.beir import write_beir
from tests.never import never

COMMANDS = {
    "frontier": ("--splade", "bert-tiny-splade-ht"),
    "levers": (),
    "dictionary": (),
    "dictionary-levers": (),
    "growth": (),
    "ingest": (),
    "ksparse-table4": (),
    "query-encoders": ("--fast", "all-MiniLM-L6-v2"),
    "encoder-frontier": (),
    "feature-selection": (),
    "ht-table1": ("--train", ".", "--start", "bert-tiny-splade-ht"),
}


@pytest.fixture
def nothing_starts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("connector.encoders.load.load_encoder", never("a model was loaded, or a node started"))
    monkeypatch.setattr("benchmarks.demo.running_cluster", never("a model was loaded, or a node started"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    return write_beir(tmp_path / "stars", {"d1": "stars burn"}, {"q1": "stars"}, train=[("q1", "d1")])


def run(*arguments: str) -> None:
    CliRunner().invoke(benchmarks, arguments, catch_exceptions=False)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_missing_split_is_said_first(dataset: Path, name: str, nothing_starts: None) -> None:
    with pytest.raises(CorpusError, match=r"stars has no split 'test' \(qrels/test.tsv\); it has train.$"):
        run(name, str(dataset), *COMMANDS[name])


@pytest.mark.parametrize("name", ["frontier", "levers"])
def test_missing_queries_are_said_first(dataset: Path, name: str, nothing_starts: None) -> None:
    for path in (dataset / "qrels" / "train.tsv", dataset / "queries.jsonl"):
        path.unlink()
    with pytest.raises(CorpusError, match=r"stars has neither judgements \(qrels/\) nor queries.jsonl"):
        run(name, str(dataset))


def test_a_splade_that_is_nowhere_is_said_first(dataset: Path, nothing_starts: None) -> None:
    with pytest.raises(EncoderError, match="^The model 'nosuch' is not a folder and cannot be fetched"):
        run("frontier", str(dataset), "--split", "train", "--splade", "nosuch")


def test_a_set_needs_a_document(dataset: Path) -> None:
    check_sets([dataset], "train")
    (dataset / "corpus.jsonl").write_text("")
    with pytest.raises(CorpusError, match="contains no document to search"):
        check_sets([dataset], "train")
