"""Find and stop the processes of a node folder. As a script, this is the watchdog of an embedded cluster.

Every process of a node has the node's folder in the environment variable `MARK`, so all of them can be found, and no
other process with a reused id is stopped.

The watchdog outlives its parent process to clean up: its standard input is a pipe from the parent, which sends a byte
when it is done, and closes when the parent ends for any reason. (PR_SET_PDEATHSIG would also fire at the end of a
thread, and exists only on Linux.) As a script it imports nothing of this library, so it needs little memory.
"""

import os
import select
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import ModuleType

    import psutil

MARK = "KSPARSE_NODE_FOLDER"
_GRACE_S = 20.0


def require_psutil() -> "ModuleType":
    """Import psutil, which only embedded nodes need.

    Raises:
        ClusterError: It is not installed.
    """
    try:
        import psutil
    except ImportError as error:
        from connector.errors import ClusterError

        raise ClusterError(
            "Embedded OpenSearch nodes need psutil, which is not installed. Run: pip install 'ksparse[cluster]', or "
            "start Docker, or set OPENSEARCH_URL."
        ) from error
    return psutil


def find_processes(folder: Path) -> "list[psutil.Process]":
    """Return the processes of all nodes in or below `folder`."""
    psutil = require_psutil()
    found = []
    for process in psutil.process_iter():
        try:
            mark = process.environ().get(MARK)
        except (psutil.Error, OSError):  # it has ended, or is another user's
            continue
        if mark and Path(mark).is_relative_to(folder):
            found.append(process)
    return found


def creation_time(pid: int) -> float | None:
    """Return the creation time of a process in seconds since 1970; None if it does not run."""
    psutil = require_psutil()
    try:
        process = psutil.Process(pid)
        return float(process.create_time()) if is_alive(process) else None
    except psutil.NoSuchProcess:
        return None


def is_alive(process: "psutil.Process") -> bool:
    """Return whether a process runs; zombies do not."""
    psutil = require_psutil()
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def stop_processes(folder: Path, *, grace_s: float = _GRACE_S) -> int:
    """Stop all processes of the nodes in `folder`: SIGTERM, and SIGKILL after `grace_s` seconds.

    Returns:
        The number of processes.
    """
    stopped = set()
    deadline = time.monotonic() + grace_s
    # Repeat until none is left, because bin/opensearch starts several processes in sequence.
    while processes := find_processes(folder):
        for process in processes:
            if process not in stopped:
                _send(process, signal.SIGTERM)
                _send(process, signal.SIGCONT)  # a paused process handles SIGTERM only after it continues
                stopped.add(process)
            elif time.monotonic() > deadline:
                _send(process, signal.SIGKILL)
        time.sleep(0.1)
    return len(stopped)


def _send(process: "psutil.Process", number: signal.Signals) -> None:
    psutil = require_psutil()
    try:
        process.send_signal(number)  # checks the creation time first
    except psutil.NoSuchProcess:
        pass


def _watch(folder: Path, parent: int) -> None:
    """Wait until the parent ends, then stop the processes in `folder` and delete it."""
    # Forked children of the parent also hold the pipe, hence the check of the parent process.
    while os.getppid() == parent:
        readable, _, _ = select.select([sys.stdin], [], [], 1.0)
        if readable:
            break
    stop_processes(folder)
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    _watch(Path(sys.argv[1]), int(sys.argv[2]))
