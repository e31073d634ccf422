"""Control groups: finding them, and their limits. Version 2 is only tested with fake files."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.scenarios import cgroup
from benchmarks.scenarios.cgroup import Hierarchy, NoGroupsError, find_hierarchy


def processes(folder: Path, groups: str, *mounts: str) -> Path:
    (folder / "proc" / "self").mkdir(parents=True)
    (folder / "proc" / "self" / "cgroup").write_text(groups)
    (folder / "proc" / "self" / "mounts").write_text("".join(f"{line}\n" for line in mounts))
    return folder / "proc"


@pytest.fixture
def hierarchy() -> Hierarchy:
    try:
        return find_hierarchy()
    except NoGroupsError as error:
        pytest.skip(str(error))


def test_what_takes_more_than_its_group_may_is_killed(hierarchy: Hierarchy) -> None:
    script = "import sys; room = bytearray(int(sys.argv[1])); print(len(room))"
    with hierarchy.group(64 * 2**20) as group:
        ended = []
        for size in (2**20, 256 * 2**20):
            with group.entered():
                process = subprocess.Popen([sys.executable, "-c", script, str(size)], stdout=subprocess.DEVNULL)
            assert os.getpid() not in group.processes
            ended.append(process.wait(60))
        assert ended == [0, -9]
        assert group.usage().total <= 64 * 2**20
    assert not group.folder.exists()


def test_files_that_are_read_count(hierarchy: Hierarchy, tmp_path: Path) -> None:
    big = tmp_path / "big"
    big.write_bytes(bytes(40 * 2**20))
    os.sync()
    with big.open("rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    with hierarchy.group(None) as group:
        with group.entered():
            process = subprocess.Popen(["cat", big], stdout=subprocess.DEVNULL)
        assert process.wait(60) == 0
        assert group.usage().cached >= 30 * 2**20 or big.stat().st_dev == os.stat("/dev/shm").st_dev


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes groups")
@pytest.mark.parametrize(("path", "parent"), [("/", "."), ("/one/two", "one")])
def test_a_group_of_version_2_is_made_beside_the_own_one(
    tmp_path: Path, path: str, parent: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cgroup, "_PATIENCE_S", 0.0)
    mount = tmp_path / "cgroup"
    (mount / "one" / "two").mkdir(parents=True)
    (mount / "cgroup.controllers").write_text("cpu memory")
    (mount / parent / "cgroup.subtree_control").write_text("cpu")
    proc = processes(tmp_path, f"0::{path}\n", f"cgroup2 {mount} cgroup2 rw 0 0")
    # Files that stand in stay where the system would take them away with their group.
    with pytest.raises(OSError, match="not empty"):
        find_hierarchy(proc=proc)
    assert (mount / parent / "cgroup.subtree_control").read_text() == "+memory"
    [made] = (mount / parent).glob("ksparse-bench-*")
    assert (made / "memory.max").read_text() == "max"


@pytest.mark.skipif(os.geteuid() != 0, reason="others hear of that first")
def test_a_machine_without_the_controller_reports_it(tmp_path: Path) -> None:
    proc = processes(tmp_path, "0::/\n", f"cgroup2 {tmp_path} cgroup2 rw 0 0", "proc /proc proc rw 0 0")
    with pytest.raises(NoGroupsError, match="the memory controller is missing"):
        find_hierarchy(proc=proc)
    with pytest.raises(NoGroupsError, match="use Linux"):
        find_hierarchy(proc=tmp_path / "nothing")


def test_a_group_of_a_run_that_was_killed_is_removed(hierarchy: Hierarchy) -> None:
    old = hierarchy.parent / "ksparse-bench-4194305-0"  # above the largest id of a process
    old.mkdir()
    with hierarchy.group(None) as group:
        find_hierarchy()
        assert group.folder.is_dir() and not old.exists()
