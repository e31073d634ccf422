"""Find and stop the processes of a node folder. Run as a script it is the watchdog of an embedded cluster.

Every process of a node carries its folder in the environment variable `MARK`, so one that was forgotten can be found,
and a stranger who got a recycled process id is never taken for ours.

The watchdog outlives the process that started it only to clean up: its standard input is a pipe from that process,
which says by a byte that it is done, and ends when that process does, however it ends. (PR_SET_PDEATHSIG would fire
when a mere thread ends, and exists on Linux alone.) As a script it imports nothing of this library, so it stays small.
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
    """Import psutil; commands that start and find no embedded nodes do without.

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
    """Return the processes of the nodes in `folder` and the folders below it."""
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
    """Return when a process was created, in seconds since 1970; None when it does not run."""
    psutil = require_psutil()
    try:
        process = psutil.Process(pid)
        return float(process.create_time()) if is_alive(process) else None
    except psutil.NoSuchProcess:
        return None


def is_alive(process: "psutil.Process") -> bool:
    """Tell whether a process runs; one that has ended and waits to be reaped does not."""
    psutil = require_psutil()
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def stop_processes(folder: Path, *, grace_s: float = _GRACE_S) -> int:
    """Stop every process of the nodes in `folder`: SIGTERM, and SIGKILL after `grace_s` seconds.

    Returns:
        How many processes there were.
    """
    stopped = set()
    deadline = time.monotonic() + grace_s
    # Again until none is left: bin/opensearch starts several, one after the other.
    while processes := find_processes(folder):
        for process in processes:
            if process not in stopped:
                _send(process, signal.SIGTERM)
                _send(process, signal.SIGCONT)  # a paused process acts on SIGTERM only once it goes on
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
    """Wait for the end of the parent, then stop what is left in `folder` and remove it."""
    # A child that the parent forked holds the pipe as well, hence the second look.
    while os.getppid() == parent:
        readable, _, _ = select.select([sys.stdin], [], [], 1.0)
        if readable:
            break
    stop_processes(folder)
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    _watch(Path(sys.argv[1]), int(sys.argv[2]))
