import os
import subprocess
from pathlib import Path

import pytest

from connector.cluster.state import (
    NodeProcess,
    State,
    describe_process,
    read_state,
    remove_state,
    state_path,
    still_runs,
    write_state,
)
from connector.errors import ClusterError

STATE = State("embedded", "http://127.0.0.1:9200", folder="/c/up-1", nodes=(NodeProcess("node-0", 7, 1.5),))


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("connector.cluster.state.cache_folder", lambda: tmp_path)


def test_state_is_read_as_it_was_written() -> None:
    write_state(STATE)
    assert read_state() == STATE


def test_without_a_file_nothing_is_up() -> None:
    assert read_state() is None


def test_removed_state_is_gone() -> None:
    write_state(STATE)
    remove_state()
    remove_state()
    assert read_state() is None


@pytest.mark.parametrize("text", ["", "[]", '{"nodes": []}', '{"kind": "embedded", "url": "x", "nodes": [3]}'])
def test_damaged_state_names_the_file(text: str) -> None:
    state_path().write_text(text)
    with pytest.raises(ClusterError, match=r"up\.json is damaged"):
        read_state()


def test_a_running_process_is_known_again() -> None:
    assert still_runs(describe_process("node-0", os.getpid()))


def test_a_recycled_process_id_is_another_process() -> None:
    mine = describe_process("node-0", os.getpid())
    assert not still_runs(NodeProcess("node-0", mine.pid, mine.created_s - 60.0))


def test_an_ended_process_does_not_run_even_before_it_is_reaped() -> None:
    with subprocess.Popen(["sleep", "60"]) as process:
        record = describe_process("node-0", process.pid)
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert not still_runs(record)
