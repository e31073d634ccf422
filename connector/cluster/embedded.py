"""Embedded OpenSearch: one or three nodes, started by this process and gone with it."""

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
    # Models run in the service, not in the node; by default it refuses to call them where the machine's memory is used.
    "plugins.ml_commons.native_memory_threshold": 100,
}

_MEMORY = Path("/dev/shm")  # noqa: S108 - a new folder in it
_LEAST_MEMORY = 8 * 2**30


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
    """Run an OpenSearch with k-NN and neural-search for the length of a with block; its data goes with it.

    When this process ends in any way, SIGKILL included, a watchdog stops the nodes and removes their folder.

    Args:
        nodes: 1 or 3.
        heap: Java heap of each node, such as "512m" or "2g".
        port: HTTP port of the first node; a free one by default.
        timeout_s: Seconds until the cluster must be ready, downloads not counted.
        settings: Further lines of every node's opensearch.yml.
        ml: With ML Commons, which may call services on this machine.
        quick_start: For tests: half the time to start, but without SIMD, so never for a benchmark; and data in memory
            where there is room, since creating and deleting an index waits for the disk (350 ms, then 120).
        on_progress: Called with a sentence about each slow step.

    Yields:
        The ready cluster. Its `nodes` can be stopped, killed, paused and started again one by one.

    Raises:
        ClusterError: Something is missing on this machine, or a node did not start.
    """
    require_psutil()
    folder = Path(tempfile.mkdtemp(prefix="ksparse-", dir=_MEMORY if quick_start and _has_room() else _on_disk()))
    folder.chmod(0o755)  # mkdtemp closes it to the node's user
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
            yield start_nodes(handles, timeout_s=timeout_s)
        finally:
            stop_nodes(handles)


def _on_disk() -> Path:
    root = cache_folder() / "run"
    root.mkdir(exist_ok=True)
    return root


def _has_room() -> bool:
    """Whether a node may lie in memory: such a file system exists, is large, and libraries can be loaded from it."""
    if not os.access(_MEMORY, os.W_OK):
        return False
    facts = os.statvfs(_MEMORY)
    return facts.f_bavail * facts.f_frsize >= _LEAST_MEMORY and not facts.f_flag & os.ST_NOEXEC


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
    """Write the folders of the nodes of one cluster, below `folder`; data in them is kept.

    Raises:
        ValueError: `count` is neither 1 nor 3, or the heap is not like 2g.
        ClusterError: Java or the distribution is missing and cannot be had.
    """
    if count not in _NODE_COUNTS:
        raise ValueError(f"A cluster has {count} nodes; it must be one of {_NODE_COUNTS}.")
    require_psutil()
    java = find_java()
    distribution = prepare(java, ml=ml, on_progress=on_progress)
    if not java.simd:
        on_progress(
            f"Java {java.version} in {java.home} lacks jdk.incubator.vector: dense search is slow, so its latencies do "
            "not count"
        )
    if port is not None and not is_free(port):
        raise ClusterError(
            f"Port {port} of 127.0.0.1 is taken. Choose another --port, or stop the process that listens there."
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


def start_nodes(nodes: Sequence[Node], *, timeout_s: float, on_started: Callable[[], None] = lambda: None) -> Cluster:
    """Start the nodes and return the cluster once it is ready.

    Args:
        nodes: All nodes of the cluster.
        timeout_s: Seconds to wait until it is ready.
        on_started: Is called as soon as the processes run.

    Raises:
        ClusterError: A node ended, or they were not ready in time. They are left to the caller to stop.
    """
    for node in nodes:
        node.start()
    on_started()

    def check_alive() -> None:
        for node in nodes:
            node.check_alive()

    cluster = Cluster(nodes[0].url, kind="embedded", nodes=tuple(nodes))
    wait_until_ready(cluster, nodes=len(nodes), timeout_s=timeout_s, check_alive=check_alive)
    # A stranger who took the port meanwhile would have answered as well.
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
    """Have the folder removed and its processes stopped at the end of the block, or of this process."""
    # -P: as a script it would find this room's modules in place of the standard library's.
    command = [sys.executable, "-P", processes.__file__, str(folder), str(os.getpid())]
    with subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True) as watchdog:
        try:
            yield
        finally:
            # A byte, since closing the pipe says nothing while a forked child of ours holds it as well.
            with suppress(BrokenPipeError):
                watchdog.communicate(b".")
