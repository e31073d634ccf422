"""Messages when a run of any command is stopped."""

from __future__ import annotations

import errno

import pytest

from connector.cli.stop import stoppable


@pytest.mark.parametrize(
    ("option", "words"), [("", "Rerun the command;"), ("--resume", "Rerun the command with --resume;")]
)
def test_only_what_can_be_resumed_is_said_to_be(
    option: str, words: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    left: list[int] = []
    monkeypatch.setattr("os._exit", left.append)
    with stoppable(option=option):
        raise KeyboardInterrupt
    assert left == [4]
    assert words in capsys.readouterr().err


def test_a_full_disk_leaves_a_run_that_can_be_resumed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="4"), stoppable(option="--resume"):
        raise OSError(errno.ENOSPC, "No space left on device", "run.json")
    said = capsys.readouterr().err
    assert "No space left on device: 'run.json'" in said and "rerun the command with --resume" in said
