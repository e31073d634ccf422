"""Progress where there is no terminal."""

from __future__ import annotations

import pytest

from connector.cli.progress import documents, stages


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Its only item is the time."""
    now = [100.0]
    monkeypatch.setattr("connector.cli.progress.time.monotonic", lambda: now[0])
    return now


def test_a_stage_is_a_line_at_once_and_then_every_five_seconds(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    with stages(quiet=False) as report:
        for second, share in ((0, 0.0), (3, 0.2), (5, 0.5), (6, 0.6)):
            clock[0] = 100.0 + second
            report("encoding", share)
        report("searching", 0.1)
    assert capsys.readouterr().err == "encoding: 0%\nencoding: 50%\nsearching: 10%\n"


def test_documents_are_counted_in_lines(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    with documents(False, 2_000, "corpus -> docs") as done:
        done(500)
        clock[0] += 6
        done(1_500)
    with documents(False, None, "- -> docs") as done:
        done(500)
    assert capsys.readouterr().err == (
        "corpus -> docs: 500 of 2,000 documents\ncorpus -> docs: 1,500 of 2,000 documents\n- -> docs: 500 documents\n"
    )


def test_quiet_writes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with stages(quiet=True) as report:
        report("encoding", 0.5)
    with documents(True, None, "corpus") as done:
        done(1)
    assert capsys.readouterr().err == ""


def test_brackets_in_a_path_are_no_markup(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # as on a terminal
    with documents(False, 2, "data[/old]/c.jsonl -> docs") as done:
        done(1)
    with stages(quiet=False) as report:
        report("embedding data[/old]", 0.5)
