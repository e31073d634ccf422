"""The cluster of `ksparse up`, `down` and `status`, which outlives the command that started it."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from connector.cluster.compose import COMPOSE_FILE, compose_down, compose_up, docker_answers
from connector.cluster.connection import Cluster, connection_from_environment
from connector.cluster.embedded import create_nodes, start_nodes, stop_nodes
from connector.cluster.folders import cache_folder, locked
from connector.cluster.node import HOST, Node, bytes_of_heap, free_ports, is_free
from connector.cluster.probe import get_json, wait_until_ready
from connector.cluster.processes import stop_processes
from connector.cluster.state import (
    State,
    describe_process,
    read_compose_files,
    read_state,
    remove_state,
    still_runs,
    write_compose_files,
    write_state,
)
from connector.cluster.status import read_status
from connector.connection.address import parse_addresses
from connector.errors import ClusterError

DEFAULT_PORT = 9200
DEFAULT_HEAP = "2g"
_HEAP_TOLERANCE = 0.15
_LOCK_TIMEOUT_S = 600.0
_ML_PLUGIN = "opensearch-ml"


class Started(NamedTuple):
    """Result of `up`."""

    cluster: Cluster
    was_up: bool
    """Whether it was already running."""


class Stopped(NamedTuple):
    """Result of `down`."""

    url: str | None
    """URL of the stopped cluster; None if there was none."""
    data_deleted: bool
    """Whether there was data and it was deleted."""


def up(
    *,
    nodes: int = 1,
    heap: str | None = None,
    port: int | None = None,
    ml: bool = False,
    timeout_s: float = 180.0,
    compose_file: Path | None = None,
    on_progress: Callable[[str], None] = lambda _: None,
) -> Started:
    """Return a ready cluster: that of OPENSEARCH_URL, a running one, a new one in Docker, or a new embedded one.

    Args:
        nodes: 1 or 3; three nodes are always embedded.
        heap: Java heap of each node, such as "2g", which is the default.
        port: HTTP port of the first node on 127.0.0.1; by default 9200, or a free one if that is in use.
        ml: Include ML Commons, with which OpenSearch can call an encoding service (`ksparse connect`).
        timeout_s: Seconds until it must be ready, without downloads for embedded nodes.
        compose_file: Compose file for Docker; by default the one of this library.
        on_progress: Called with a message about each slow step.

    Raises:
        ValueError: `nodes` or `heap` is invalid.
        ClusterError: No cluster could be reached or started, or the running one is not as requested.
    """
    given = connection_from_environment()
    if given is not None:
        advice = "Unset OPENSEARCH_URL to start one here."
        _check_port(given.url, port, advice)
        _check_file(given.url, "", compose_file, advice)
        try:
            get_json(given, "/")
        except ClusterError as error:
            if "ksparse up" not in str(error):
                raise
            raise ClusterError(
                f"No OpenSearch answers at {given.url} (OPENSEARCH_URL). Correct the variable, or unset it to start "
                "one here."
            ) from error
        return _was_up(given, ml, nodes, heap, advice)
    with locked(cache_folder() / "up.lock", timeout_s=_LOCK_TIMEOUT_S):
        state = read_state()
        if state is not None and _is_up(state):
            advice = "Run `ksparse down` first."
            running = len(state.nodes) or 1  # Docker runs one, which is not listed
            if running != nodes:
                raise ClusterError(f"OpenSearch is up at {state.url} with {running} node(s), not {nodes}. {advice}")
            _check_port(state.url, port, advice)
            _check_file(state.url, state.compose_file, compose_file, advice)
            cluster = Cluster(state.url, kind=state.kind)
            wait_until_ready(cluster, nodes=nodes, timeout_s=timeout_s, on_progress=on_progress)
            return _was_up(cluster, ml, nodes, heap, advice)
        for folder in _data_folders():
            stop_processes(folder)  # the rest of a cluster, part of which has ended
        if port is None:
            port = DEFAULT_PORT if is_free(DEFAULT_PORT) else free_ports(1)[0]
        heap = heap or DEFAULT_HEAP
        in_docker = nodes == 1 and docker_answers()
        if compose_file is not None and not in_docker:
            why = "Docker does not answer" if nodes == 1 else "three nodes are always embedded"
            raise ClusterError(
                f"The compose file {compose_file} cannot be used: {why}. Leave it out to start without it."
            )
        if in_docker:
            file = compose_file or COMPOSE_FILE
            on_progress(f"Starting OpenSearch with Docker ({file})")
            cluster = Cluster(f"http://{HOST}:{port}", kind="compose")
            # Before the start, so that `down` can also stop an unhealthy container.
            write_state(State("compose", cluster.url, compose_file=str(file.absolute())))
            write_compose_files(read_compose_files() | {str(file.absolute())})
            compose_up(file, port=port, heap=heap, timeout_s=timeout_s)
            wait_until_ready(cluster, nodes=1, timeout_s=timeout_s, on_progress=on_progress)
            return Started(cluster, was_up=False)
        return Started(_start_embedded(nodes, heap, port, ml, timeout_s, on_progress), was_up=False)


def _was_up(cluster: Cluster, ml: bool, nodes: int, heap: str | None, advice: str) -> Started:
    """Return a running cluster, unless it is known to lack what was asked for."""
    if not ml and nodes == 1 and heap is None:
        return Started(cluster, was_up=True)
    found = read_status(cluster)
    if ml and _ML_PLUGIN not in (found.plugins or (_ML_PLUGIN,)):
        raise ClusterError(
            f"OpenSearch is up at {cluster.url} without ML Commons. Run `ksparse down` first if it is yours, and then "
            "`ksparse up --ml`."
        )
    if nodes > 1 and found.nodes not in (None, nodes):
        raise ClusterError(f"OpenSearch is up at {cluster.url} with {found.nodes} node(s), not {nodes}. {advice}")
    if heap is not None and found.heap_max_bytes and found.nodes:
        each = found.heap_max_bytes / found.nodes
        # Some garbage collectors do not count all of it.
        if abs(each / bytes_of_heap(heap) - 1) > _HEAP_TOLERANCE:
            raise ClusterError(
                f"OpenSearch is up at {cluster.url} with a heap of {each / 2**20:.0f}m a node, not {heap}. {advice}"
            )
    return Started(cluster, was_up=True)


def _check_file(url: str, used: str, wanted: Path | None, advice: str) -> None:
    if wanted is not None and str(wanted.absolute()) != used:
        raise ClusterError(f"OpenSearch runs at {url}, not by {wanted}. {advice}")


def _check_port(url: str, port: int | None, advice: str) -> None:
    if port is not None and port not in {address.port for address in parse_addresses(url)[0]}:
        raise ClusterError(f"OpenSearch runs at {url}, not on port {port}. {advice}")


def down(*, purge: bool = False) -> Stopped:
    """Stop the cluster started by `up`.

    Args:
        purge: Also delete the data, including that of earlier clusters.

    Raises:
        ClusterError: Docker reported an error.
    """
    with locked(cache_folder() / "up.lock", timeout_s=_LOCK_TIMEOUT_S):
        state = read_state()
        folders = _data_folders()
        stopped = 0
        for folder in folders:
            stopped += stop_processes(folder)
            if purge:
                shutil.rmtree(folder)
        in_docker = state is not None and state.kind == "compose"
        files = {state.compose_file} if state is not None and in_docker else set()
        if purge:
            files |= read_compose_files()
        for file in sorted(files):
            compose_down(Path(file), purge=purge)
            if purge:
                write_compose_files(read_compose_files() - {file})
        remove_state()
    url = state.url if state is not None and (stopped or in_docker) else None
    return Stopped(url, data_deleted=purge and bool(folders or files))


def find_cluster() -> Cluster:
    """Return the cluster of OPENSEARCH_URL, else that of `ksparse up`, without checking whether it answers.

    Raises:
        ClusterError: There is neither.
    """
    given = connection_from_environment()
    if given is not None:
        return given
    state = read_state()
    if state is None or not _is_up(state):
        raise ClusterError("No OpenSearch is running. Start one with `ksparse up`, or set OPENSEARCH_URL.")
    return Cluster(state.url, kind=state.kind)


def _is_up(state: State) -> bool:
    """Return whether all processes run, or the Docker container answers."""
    if state.kind == "embedded":
        return all(still_runs(node) for node in state.nodes)
    try:
        get_json(Cluster(state.url), "/", timeout_s=5.0)
    except ClusterError:
        return False
    return True


def _data_folders() -> list[Path]:
    return list(cache_folder().glob("up-*"))


def _start_embedded(
    count: int, heap: str, port: int, ml: bool, timeout_s: float, on_progress: Callable[[str], None]
) -> Cluster:
    # One folder per cluster size, because a node of three cannot start alone.
    folder = cache_folder() / f"up-{count}"
    nodes = create_nodes(count, folder, heap=heap, port=port, settings={}, ml=ml, on_progress=on_progress)

    def remember() -> None:
        processes = tuple(describe_process(node.name, node.pid) for node in nodes)
        write_state(State("embedded", nodes[0].url, folder=str(folder), nodes=processes))

    on_progress("Starting OpenSearch (20 to 30 s)")
    try:
        cluster = start_nodes(nodes, timeout_s=timeout_s, on_started=remember, on_progress=on_progress)
    except BaseException:  # also Ctrl-C, which would leave nodes running
        stop_nodes(nodes)
        remove_state()
        raise
    _leave_running(nodes)
    return cluster


def _leave_running(nodes: list[Node]) -> None:
    for node in nodes:
        node.leave_running()
