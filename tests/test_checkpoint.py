"""Where a run stood, and going on from there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from connector.errors import CheckpointError
from connector.ingest.checkpoint import Checkpoint, Watermark

RUN = {"input": "a1", "encoder": "b2", "index": "docs c3"}
MARK = Watermark(read=9, indexed=6, superseded=1, dead_lettered=2, dead_letter_bytes=321)


def test_what_was_saved_is_loaded(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path / "run.json", RUN)
    checkpoint.save(Watermark(read=1, indexed=1))
    checkpoint.save(MARK)
    assert Checkpoint(tmp_path / "run.json", RUN).load() == MARK
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"], "nothing is left beside it"
    checkpoint.remove()
    checkpoint.remove()
    assert list(tmp_path.iterdir()) == []


def test_a_write_that_breaks_off_leaves_the_one_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint = Checkpoint(tmp_path / "run.json", RUN)
    checkpoint.save(MARK)

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        checkpoint.save(Watermark(read=99, indexed=99))
    assert checkpoint.load() == MARK


@pytest.mark.parametrize("name", list(RUN))
def test_another_run_does_not_resume(tmp_path: Path, name: str) -> None:
    Checkpoint(tmp_path / "run.json", RUN).save(MARK)
    after = "this index gets all documents" if name == "index" else "no document is duplicated"
    with pytest.raises(CheckpointError, match=f"has another {name} .*now other.*Leave --resume out: {after}"):
        Checkpoint(tmp_path / "run.json", RUN | {name: "other"}).load()


@pytest.mark.parametrize("content", ["", "[]", '{"run": {}}', '{"run": {}, "watermark": {"read": 1, "what": 2}}'])
def test_a_damaged_one_says_what_to_do(tmp_path: Path, content: str) -> None:
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(CheckpointError, match="cannot be read .* Leave --resume out: no document is duplicated"):
        Checkpoint(tmp_path / "run.json", RUN).load()


def test_none_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"There is no checkpoint .*run.json: the last run has finished"):
        Checkpoint(tmp_path / "run.json", RUN).load()


@pytest.mark.parametrize(
    ("name", "aside"),
    [("docs.2.checkpoint.json", "docs.2.{}.checkpoint.json"), ("run.json", "run.{}.json"), ("run", "run.{}")],
)
def test_that_of_another_input_is_set_aside_and_can_be_resumed(tmp_path: Path, name: str, aside: str) -> None:
    checkpoint = Checkpoint(tmp_path / name, RUN)
    for number in (1, 2):
        Checkpoint(tmp_path / name, RUN | {"input": f"other {number}"}).save(MARK)
        assert checkpoint.set_aside() == tmp_path / aside.format(number)
    for number in (1, 2):
        assert Checkpoint(tmp_path / aside.format(number), RUN | {"input": f"other {number}"}).load() == MARK
    assert checkpoint.set_aside() is None
    Checkpoint(tmp_path / name, RUN | {"encoder": "other"}).save(MARK)
    assert checkpoint.set_aside() is None and checkpoint.path.exists()
    checkpoint.path.write_text("damaged")
    assert checkpoint.set_aside() is None and checkpoint.path.exists()


def test_it_holds_names_and_numbers_alone(tmp_path: Path) -> None:
    Checkpoint(tmp_path / "run.json", RUN).save(MARK)
    kept = json.loads((tmp_path / "run.json").read_text())
    assert kept["run"] == RUN and set(kept) == {"run", "watermark"}
