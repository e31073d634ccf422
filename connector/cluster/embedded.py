"""Embedded OpenSearch: one or three nodes that end with this process."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from connector.cluster import processes
from connector.cluster.connection import Cluster
from connector.cluster.distribution import prepare
from connector.cluster.folders import cache_folder
from connector.cluster.java import find_java
from connector.cluster.node import HOST, Node, free_ports, is_free
from connector.cluster.probe import get_json, wait_until_ready
from connector.cluster.processes import require_psutil
from connector.errors import ClusterError

_NODE_COUNTS = (1, 3)
_ML_SETTINGS: Mapping[str, object] = {
    "plugins.ml_commons.only_run_on_ml_node": False,
    "plugins.ml_commons.trusted_connector_endpoints_regex": [r"^https?://(127\.0\.0\.1|localhost)(:\d+)?/.*$"],
    "plugins.ml_commons.connector.private_ip_enabled": True,
    # Models run in the service; by default ML Commons refuses to call them if the machine's memory is mostly used.
    "plugins.ml_commons.native_memory_threshold": 100,
}

_MEMORY = Path("/dev/shm")  # noqa: S108 - a new folder in it
_MIN_MEMORY = 8 * 2**30


def _say_nothing(_: str) -> None:
    pass


@contextmanager
def embedded_cluster(
    nodes: int = 1,
    *,
    heap: str = "1g",
    port: int | None = None,
    timeout_s: float = 180.0,
    settings: Mapping[str, object] | None = None,
    ml: bool = False,
    quick_start: bool = False,
    on_progress: Callable[[str], None] = _say_nothing,
) -> Iterator[Cluster]:
    """Run an OpenSearch with k-NN and neural-search in a with block; its data is deleted at the end.

    If this process ends for any reason, including SIGKILL, a watchdog stops the nodes and deletes their folder.

    Args:
        nodes: 1 or 3.
        heap: Java heap of each node, such as "512m" or "2g".
        port: HTTP port of the first node; a free one by default.
        timeout_s: Seconds until the cluster must be ready, without downloads.
        settings: Additional settings for every node's opensearch.yml.
        ml: Install ML Commons, which may call services on this machine.
        quick_start: For tests, not for benchmarks: starts in half the time, without SIMD, and keeps data in memory if
            there is enough, because creating and deleting an index waits for the disk (350 ms instead of 120).
        on_progress: Called with a message about each slow step.

    Yields:
        The ready cluster. Its `nodes` can be stopped, killed, paused and restarted separately.

    Raises:
        ClusterError: A requirement is missing, or a node did not start.
    """
    require_psutil()
    folder = Path(tempfile.mkdtemp(prefix="ksparse-", dir=_MEMORY if quick_start and _has_room() else _on_disk()))
    folder.chmod(0o755)  # mkdtemp creates it without access for the node's user
    with _watchdog(folder):
        handles = create_nodes(
            nodes,
            folder,
            heap=heap,
            port=port,
            settings=settings or {},
            ml=ml,
            quick_start=quick_start,
            on_progress=on_progress,
        )
        try:
            yield start_nodes(handles, timeout_s=timeout_s, on_progress=on_progress)
        finally:
            stop_nodes(handles)


def _on_disk() -> Path:
    root = cache_folder() / "run"
    root.mkdir(exist_ok=True)
    return root


def _has_room() -> bool:
    """Whether a node can be stored in memory: the file system exists, is large, and can load libraries."""
    if not os.access(_MEMORY, os.W_OK):
        return False
    facts = os.statvfs(_MEMORY)
    return facts.f_bavail * facts.f_frsize >= _MIN_MEMORY and not facts.f_flag & os.ST_NOEXEC


def create_nodes(
    count: int,
    folder: Path,
    *,
    heap: str,
    port: int | None,
    settings: Mapping[str, object],
    ml: bool = False,
    quick_start: bool = False,
    on_progress: Callable[[str], None],
) -> list[Node]:
    """Create the folders of the nodes of a cluster below `folder`; existing data is kept.

    Raises:
        ValueError: `count` is neither 1 nor 3, or the heap is invalid.
        ClusterError: Java is missing, or the distribution cannot be downloaded.
    """
    if count not in _NODE_COUNTS:
        raise ValueError(f"nodes must be one of {_NODE_COUNTS}, got {count}.")
    require_psutil()
    if port is not None and not is_free(port):
        raise ClusterError(
            f"Port {port} of 127.0.0.1 is in use. Choose another port, or stop the process that listens there."
        )
    java = find_java()
    distribution = prepare(java, ml=ml, on_progress=on_progress)
    if not java.simd:
        on_progress(
            f"Java {java.version} in {java.home} lacks jdk.incubator.vector, so dense search is slow and its latencies "
            "are not valid"
        )
    ports = free_ports(2 * count)
    http_ports, transport_ports = ports[:count], ports[count:]
    if port is not None:
        http_ports[0] = port
    names = [f"node-{number}" for number in range(count)]
    discovery: dict[str, object] = {"discovery.type": "single-node"}
    if count > 1:
        discovery = {
            "discovery.seed_hosts": [f"{HOST}:{transport_port}" for transport_port in transport_ports],
            "cluster.initial_cluster_manager_nodes": names,
        }
    handles = []
    for name, http_port, transport_port in zip(names, http_ports, transport_ports, strict=True):
        (folder / name).mkdir(parents=True, exist_ok=True)
        handles.append(
            Node(
                name,
                folder / name,
                distribution=distribution,
                java=java,
                heap=heap,
                port=http_port,
                transport_port=transport_port,
                settings={"cluster.name": "ksparse", **discovery, **(_ML_SETTINGS if ml else {}), **settings},
                quick_start=quick_start,
            )
        )
    return handles


def start_nodes(
    nodes: Sequence[Node],
    *,
    timeout_s: float,
    on_started: Callable[[], None] = lambda: None,
    on_progress: Callable[[str], None] = _say_nothing,
) -> Cluster:
    """Start the nodes and wait until the cluster is ready.

    Args:
        nodes: All nodes of the cluster.
        timeout_s: Timeout in seconds.
        on_started: Called when the processes run.
        on_progress: Called with a message every few seconds.

    Raises:
        ClusterError: A node ended, or the cluster was not ready in time. The caller has to stop the nodes.
    """
    for node in nodes:
        node.start()
    on_started()

    def check_alive() -> None:
        for node in nodes:
            node.check_alive()

    cluster = Cluster(nodes[0].url, kind="embedded", nodes=tuple(nodes))
    wait_until_ready(cluster, nodes=len(nodes), timeout_s=timeout_s, check_alive=check_alive, on_progress=on_progress)
    # Another OpenSearch that took the port meanwhile would also have answered.
    members = get_json(cluster, "/_nodes/process")["nodes"].values()
    if {member["process"]["id"] for member in members} != {node.pid for node in nodes}:
        raise ClusterError(f"Another OpenSearch answers at {cluster.url}. Choose another port.")
    return cluster


def stop_nodes(nodes: Sequence[Node]) -> None:
    """Stop all nodes cleanly."""
    for node in nodes:
        node.stop()


@contextmanager
def _watchdog(folder: Path) -> Iterator[None]:
    """Stop the processes of a folder and delete it at the end of the block, or of this process."""
    # -P: otherwise the script would import modules of this package instead of the standard library's.
    command = [sys.executable, "-P", processes.__file__, str(folder), str(os.getpid())]
    with subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True) as watchdog:
        try:
            yield
        finally:
            # A byte, because forked children of this process may keep the pipe open.
            with suppress(BrokenPipeError):
                watchdog.communicate(b".")
