"""What `ksparse up` left running, on disk: `down` and `status` read it in other processes."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from connector.cluster.folders import cache_folder
from connector.cluster.processes import creation_time
from connector.errors import ClusterError
from connector.files import write_whole


@dataclass(frozen=True)
class NodeProcess:
    """A node's process. The creation time tells it from a later process that got the same id."""

    name: str
    pid: int
    created_s: float
    """Seconds since 1970."""


@dataclass(frozen=True)
class State:
    """A running cluster of ours."""

    kind: Literal["compose", "embedded"]
    url: str
    folder: str = ""
    """Holds the nodes' folders; empty with Docker."""
    compose_file: str = ""
    """Empty for embedded nodes."""
    nodes: tuple[NodeProcess, ...] = ()


def state_path() -> Path:
    """Return where the state is kept."""
    return cache_folder() / "up.json"


def read_state() -> State | None:
    """Return what `up` wrote, None where nothing is up.

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
        raise ClusterError(f"{path} is damaged ({error}). Delete it, and stop the nodes it describes.") from error


def write_state(state: State) -> None:
    """Replace the state, whole or not at all."""
    write_whole(state_path(), json.dumps(asdict(state), indent=2) + "\n")


def remove_state() -> None:
    """Forget what was running."""
    state_path().unlink(missing_ok=True)


def describe_process(name: str, pid: int) -> NodeProcess:
    """Return the record of a process that runs now; of one that has just ended, a record that fits no process."""
    return NodeProcess(name, pid, creation_time(pid) or 0.0)


def still_runs(node: NodeProcess) -> bool:
    """Tell whether the process runs, and is not another one with a recycled id."""
    created_s = creation_time(node.pid)
    # It is derived from the time of boot, which a time server may shift a little.
    return created_s is not None and abs(created_s - node.created_s) < 2.0
