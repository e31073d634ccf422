"""Nodes without OpenSearch: the distribution is a shell script that sleeps, fails, or ignores signals."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from connector.cluster import Cluster, embedded, node, probe
from connector.cluster.folders import locked
from connector.cluster.java import Java
from connector.cluster.node import Node, check_heap, free_ports, is_free
from connector.cluster.processes import find_processes, stop_processes
from connector.cluster.state import describe_process
from connector.errors import ClusterError
from tests.patience import PATIENCE_S, process, wait_until

ROOT = Path(__file__).parents[1]
SLEEP = "sleep 600 & exec sleep 600"
JAVA = Java(Path("/java"), "25.0.3", simd=True, thai=True)
JVM_OPTIONS = """-XX:HeapDumpPath=data
-XX:ErrorFile=logs/hs_err_pid%p.log
20-:--add-modules=jdk.incubator.vector
"""


def make_distribution(folder: Path, script: str) -> Path:
    binary = folder / "bin" / "opensearch"
    binary.parent.mkdir(parents=True)
    binary.write_text(f"#!/bin/sh\n{script}\n")
    binary.chmod(0o755)
    (folder / "config").mkdir()
    (folder / "config" / "jvm.options").write_text(JVM_OPTIONS)
    return folder


@pytest.fixture
def make_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Node]]:
    # As ourselves: another user could not enter pytest's folders.
    monkeypatch.setattr(node, "service_user", lambda: None)
    folder = tmp_path / "node-0"
    folder.mkdir()

    def make(script: str = SLEEP, java: Java = JAVA) -> Node:
        home = make_distribution(tmp_path / "home", script)
        return Node(
            "node-0", folder, distribution=home, java=java, heap="1g", port=9200, transport_port=9300, settings={}
        )

    yield make
    stop_processes(tmp_path, grace_s=0.0)


def test_waiting_says_for_how_long_it_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "_SAY_EVERY_S", 0.5)
    nobody, said = f"http://127.0.0.1:{free_ports(1)[0]}", list[str]()
    with pytest.raises(ClusterError, match="was not ready after 1.5 s"):
        probe.wait_until_ready(Cluster(nobody), nodes=1, timeout_s=1.5, on_progress=said.append)
    assert said[0] == "OpenSearch is starting: 1 s"
    assert len(said) in (1, 2), "not at each attempt, of which there are seven"


def test_stop_ends_all_processes_of_the_session(make_node: Callable[..., Node]) -> None:
    started = make_node()
    started.start()
    wait_until(lambda: len(find_processes(started.folder)) == 2)
    started.stop()
    assert not started.running
    wait_until(lambda: find_processes(started.folder) == [])


def test_stop_kills_what_ignores_sigterm(make_node: Callable[..., Node]) -> None:
    started = make_node("trap '' TERM; echo ready; while :; do sleep 1; done")
    started.start()
    wait_until(lambda: "ready" in (started.folder / "logs" / "console.log").read_text())
    started.stop(timeout_s=0.2)
    wait_until(lambda: find_processes(started.folder) == [])


def test_a_paused_node_can_be_stopped(make_node: Callable[..., Node]) -> None:
    started = make_node()
    started.start()
    started.pause()
    started.stop(timeout_s=5.0)
    wait_until(lambda: find_processes(started.folder) == [])


def test_a_killed_node_can_be_started_again(make_node: Callable[..., Node]) -> None:
    started = make_node()
    started.start()
    first = started.pid
    started.kill()
    started.start()
    assert started.running
    assert started.pid != first
    started.stop()


def test_starting_twice_is_refused(make_node: Callable[..., Node]) -> None:
    started = make_node()
    started.start()
    with pytest.raises(ClusterError, match="node-0 already runs"):
        started.start()
    started.stop()


def test_pausing_a_stopped_node_is_refused(make_node: Callable[..., Node]) -> None:
    with pytest.raises(ClusterError, match="node-0 is not running. Start it first."):
        make_node().pause()


# As OpenSearch 3.6.0 printed it.
UNKNOWN_SETTING = """warning: no-jdk distributions that do not bundle a JDK are deprecated
uncaught exception in thread [main]
SettingsException[unknown setting [no.such] please check that any required plugins are installed]
\tat org.opensearch.common.settings.AbstractScopedSettings.validate(AbstractScopedSettings.java:614)
For complete error details, refer to the log at /somewhere/ksparse.log"""


def test_a_node_that_ends_while_starting_gives_its_reason(
    make_node: Callable[..., Node], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Ended(subprocess.Popen[bytes]):
        """A process that has ended before its creator does anything else."""

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.wait()

    monkeypatch.setattr(subprocess, "Popen", Ended)
    failing = make_node(f"echo '{UNKNOWN_SETTING}'; exit 64")
    failing.start()
    assert not failing.running
    assert describe_process(failing.name, failing.pid).created_s == 0.0
    with pytest.raises(ClusterError, match=r"\(exit status 64\): SettingsException\[unknown setting.* See") as caught:
        failing.check_alive()
    assert "\n" not in str(caught.value)
    assert "refer to the log" in caught.value.__notes__[0]


def test_dumps_and_logs_go_into_the_folder_of_the_node(make_node: Callable[..., Node]) -> None:
    made = make_node()
    options = (made.folder / "config" / "jvm.options").read_text()
    assert f"HeapDumpPath={made.folder}/logs" in options
    assert f"ErrorFile={made.folder}/logs/hs_err" in options
    assert "--add-modules=jdk.incubator.vector" in options


def test_a_java_without_the_vector_module_is_not_asked_for_it(make_node: Callable[..., Node]) -> None:
    made = make_node(java=Java(Path("/java"), "25.0.3", simd=False, thai=False))
    assert "jdk.incubator.vector" not in (made.folder / "config" / "jvm.options").read_text()


def test_data_of_an_earlier_node_is_kept(make_node: Callable[..., Node], tmp_path: Path) -> None:
    (tmp_path / "node-0" / "data").mkdir()
    (tmp_path / "node-0" / "data" / "index").write_text("documents")
    assert (make_node().folder / "data" / "index").read_text() == "documents"


@pytest.mark.parametrize("heap", ["2", "0g", "2 g", "1.5g", "2G", "-1g"])
def test_a_heap_that_java_would_misread_is_refused(heap: str) -> None:
    with pytest.raises(ValueError, match="such as 512m or 2g"):
        check_heap(heap)


def test_free_ports_are_free_and_differ() -> None:
    ports = free_ports(6)
    assert len(set(ports)) == 6
    assert all(is_free(port) for port in ports)


def test_two_nodes_are_neither_one_nor_three(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="nodes must be one of"):
        embedded.create_nodes(2, tmp_path, heap="1g", port=None, settings={}, on_progress=print)


def test_a_port_that_is_taken_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "find_java", lambda: JAVA)
    monkeypatch.setattr(embedded, "prepare", lambda *_, **__: tmp_path)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        with pytest.raises(ClusterError, match=f"Port {port} of 127.0.0.1 is in use"):
            embedded.create_nodes(1, tmp_path, heap="1g", port=port, settings={}, on_progress=print)


def test_a_lock_that_is_held_is_waited_for_and_then_named(tmp_path: Path) -> None:
    with (
        locked(tmp_path / "up.lock", timeout_s=PATIENCE_S),
        pytest.raises(ClusterError, match="up.lock"),
        locked(tmp_path / "up.lock", timeout_s=0.1),
    ):
        pass


PARENT = """
import signal, sys, time
from pathlib import Path
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it, and so would we
from connector.cluster import embedded, node
from connector.cluster.java import Java
node.service_user = lambda: None
embedded.cache_folder = lambda: Path(sys.argv[1])
embedded.find_java = lambda: Java(Path("/java"), "25", simd=True, thai=True)
embedded.prepare = lambda java, **options: Path(sys.argv[2])
with embedded.embedded_cluster():
    pass  # never reached: what sleeps does not answer
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_nothing_is_left_of_a_parent_that_a_signal_ended(number: signal.Signals, tmp_path: Path) -> None:
    home = make_distribution(tmp_path / "home", SLEEP)
    command = [sys.executable, "-c", PARENT, str(tmp_path), str(home)]
    with process(command, stderr=subprocess.DEVNULL, env=os.environ | {"PYTHONPATH": str(ROOT)}) as parent:
        wait_until(lambda: len(find_processes(tmp_path)) == 2)
        parent.send_signal(number)
    wait_until(lambda: find_processes(tmp_path) == [])
    wait_until(lambda: list((tmp_path / "run").iterdir()) == [])
