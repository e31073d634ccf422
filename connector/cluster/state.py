"""State of the cluster started by `ksparse up`, on disk for `down` and `status`."""

import json
from dataclasses import asdict, dataclass
from logging import getLogger
from pathlib import Path
from typing import Literal

from connector.cluster.folders import cache_folder
from connector.cluster.processes import creation_time
from connector.errors import ClusterError
from connector.files import write_whole

_log = getLogger("ksparse.cluster")


@dataclass(frozen=True)
class NodeProcess:
    """Process of a node. The creation time distinguishes it from a later process with the same id."""

    name: str
    pid: int
    created_s: float
    """Seconds since 1970."""


@dataclass(frozen=True)
class State:
    """A cluster started by `ksparse up`."""

    kind: Literal["compose", "embedded"]
    url: str
    folder: str = ""
    """Parent of the nodes' folders; empty with Docker."""
    compose_file: str = ""
    """Empty for embedded nodes."""
    nodes: tuple[NodeProcess, ...] = ()


def state_path() -> Path:
    """Return the path of the state file."""
    return cache_folder() / "up.json"


def read_state() -> State | None:
    """Return the state written by `up`; None if nothing is running.

    Raises:
        ClusterError: The file is damaged.
    """
    path = state_path()
    try:
        fields = json.loads(path.read_text())
        nodes = tuple(NodeProcess(**node) for node in fields.pop("nodes"))
        return State(**fields, nodes=nodes)
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ClusterError(f"{path} is damaged ({error}). Delete it, and stop the nodes that it lists.") from error


def write_state(state: State) -> None:
    """Replace the state atomically."""
    write_whole(state_path(), json.dumps(asdict(state), indent=2) + "\n")


def remove_state() -> None:
    """Delete the state."""
    state_path().unlink(missing_ok=True)


def read_compose_files() -> set[str]:
    """Return the compose files whose volumes `down --purge` has to delete: those of all clusters since the last one.

    A file that no longer exists is left out with a warning, because Docker finds the volume by it.
    """
    try:
        files = set(_compose_files_path().read_text().splitlines())
    except FileNotFoundError:
        return set()
    lost = {file for file in files if not Path(file).is_file()}
    for file in sorted(lost):
        _log.warning(
            "The compose file %s no longer exists; if its data remains, delete it with `docker volume rm`.", file
        )
    return files - lost


def write_compose_files(files: set[str]) -> None:
    """Replace the list of compose files atomically."""
    if files:
        write_whole(_compose_files_path(), "".join(f"{file}\n" for file in sorted(files)))
    else:
        _compose_files_path().unlink(missing_ok=True)


def _compose_files_path() -> Path:
    return cache_folder() / "compose-files.txt"


def describe_process(name: str, pid: int) -> NodeProcess:
    """Return the record of a running process; if it has just ended, a record that matches no process."""
    return NodeProcess(name, pid, creation_time(pid) or 0.0)


def still_runs(node: NodeProcess) -> bool:
    """Return whether the process runs, and is not another one with the same id."""
    created_s = creation_time(node.pid)
    # It is derived from the boot time, which time synchronization may shift slightly.
    return created_s is not None and abs(created_s - node.created_s) < 2.0
