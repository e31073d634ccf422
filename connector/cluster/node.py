"""An embedded OpenSearch node: its folder, and starting, pausing and stopping its process."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from logging import getLogger
from pathlib import Path
from random import SystemRandom

from connector.cluster.folders import ServiceUser, service_user
from connector.cluster.java import Java
from connector.cluster.processes import MARK
from connector.cluster.quick_start import quick_command
from connector.errors import ClusterError

_log = getLogger("ksparse.cluster")

HOST = "127.0.0.1"
_CONSOLE = "console.log"
# Below the ephemeral ports of Linux and macOS, so that no outgoing connection takes one meanwhile.
_PORTS = range(20_000, 32_000)
# References to processes that outlive their handle, because deleting a Popen of a running process causes a warning.
_left_running: list[subprocess.Popen[bytes]] = []


class Node:
    """A node that runs as a child process. A stopped node can be restarted with the same ports and data."""

    def __init__(
        self,
        name: str,
        folder: Path,
        *,
        distribution: Path,
        java: Java,
        heap: str,
        port: int,
        transport_port: int,
        settings: Mapping[str, object],
        quick_start: bool = False,
    ) -> None:
        """Create the node's folder; existing data is kept.

        Args:
            name: Unique in its cluster.
            folder: Folder for config, data, logs and tmp.
            distribution: An unpacked OpenSearch, which the node only reads.
            java: The Java runtime.
            heap: Size of the Java heap, such as "512m" or "2g".
            port: HTTP port on 127.0.0.1.
            transport_port: Port on 127.0.0.1 for the other nodes.
            settings: Additional settings of opensearch.yml, written as JSON values.
            quick_start: For tests (`quick_command`): starts in half the time, without SIMD, so latencies are not valid.
        """
        check_heap(heap)
        self.name = name
        self.folder = folder
        self.url = f"http://{HOST}:{port}"
        self._distribution = distribution
        self._java = java
        self._heap = heap
        self._quick_start = quick_start
        self._user = service_user()
        self._process: subprocess.Popen[bytes] | None = None
        self._write_folder(
            {
                "node.name": name,
                "path.data": str(folder / "data"),
                "path.logs": str(folder / "logs"),
                "network.host": HOST,
                "http.port": port,
                "transport.port": transport_port,
                # On a nearly full disk the default thresholds make every index read-only.
                "cluster.routing.allocation.disk.threshold_enabled": False,
                **settings,
            }
        )

    def __repr__(self) -> str:
        return f"Node({self.name!r}, {self.url!r}, pid={self._process.pid if self._process else None})"

    @property
    def pid(self) -> int:
        """Process id of the node, even if the process has ended.

        Raises:
            ClusterError: The node was not started.
        """
        if self._process is None:
            raise ClusterError(f"{self.name} was not started. Start it first.")
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the process runs, possibly paused."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start the process without waiting until it is ready.

        Raises:
            ClusterError: The node already runs.
        """
        if self.running:
            raise ClusterError(f"{self.name} already runs, with process id {self.pid}. Stop it first.")
        logs = self.folder / "logs"
        environment = {name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL") if name in os.environ}
        environment |= {
            MARK: str(self.folder),
            "OPENSEARCH_JAVA_HOME": str(self._java.home),
            "OPENSEARCH_PATH_CONF": str(self.folder / "config"),
            "OPENSEARCH_TMPDIR": str(self.folder / "tmp"),
            "OPENSEARCH_JAVA_OPTS": f"-Xms{self._heap} -Xmx{self._heap}",
        }
        command = [str(self._distribution / "bin" / "opensearch")]
        if self._quick_start:
            command = quick_command(self._java.home, self._distribution, self.folder, self._heap)
        with (logs / _CONSOLE).open("wb") as console:
            # A separate session: Ctrl-C in the terminal does not reach it, and one signal reaches the whole launcher.
            self._process = subprocess.Popen(
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                user=self._user.uid if self._user else None,
                group=self._user.gid if self._user else None,
                extra_groups=[] if self._user else None,
            )
        _log.info("Node %s started as process %d, at %s; its logs are in %s.", self.name, self.pid, self.url, logs)

    def stop(self, *, timeout_s: float = 20.0) -> None:
        """Stop the node: SIGTERM, and SIGKILL after `timeout_s` seconds. Does nothing if it was not started."""
        if self._process is None:
            return
        _signal(self._process, signal.SIGTERM)
        _signal(self._process, signal.SIGCONT)  # a paused process handles SIGTERM only after it continues
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            _log.warning("Node %s did not stop within %.0f s and is killed.", self.name, timeout_s)
            _signal(self._process, signal.SIGKILL)
            self._process.wait()
        _log.info("Node %s stopped.", self.name)

    def kill(self) -> None:
        """Kill the process (SIGKILL), like a crash."""
        process = self._running_process()
        _signal(process, signal.SIGKILL)
        process.wait()

    def pause(self) -> None:
        """Pause the process (SIGSTOP): connections stay open, but nothing answers."""
        _signal(self._running_process(), signal.SIGSTOP)

    def resume(self) -> None:
        """Resume a paused process (SIGCONT)."""
        _signal(self._running_process(), signal.SIGCONT)

    def leave_running(self) -> None:
        """Let the process outlive this handle and this program."""
        _left_running.append(self._running_process())

    def check_alive(self) -> None:
        """Raise an error if the process has ended by itself.

        Raises:
            ClusterError: One line with the reason; the end of the log is attached as a note.
        """
        if self._process is None or self._process.poll() is None:
            return
        tail = self._log_tail()
        errors = [line for line in tail if re.search("Exception|ERROR|Error:|error:", line)]
        reason = (errors or tail or ["no output"])[0].strip()
        error = ClusterError(
            f"{self.name} ended while starting (exit status {self._process.returncode}): {reason[:300]} "
            f"See {self.folder / 'logs'}."
        )
        error.add_note("\n".join(tail))
        raise error

    def _running_process(self) -> "subprocess.Popen[bytes]":
        if self._process is None or self._process.poll() is not None:
            raise ClusterError(f"{self.name} is not running. Start it first.")
        return self._process

    def _log_tail(self) -> list[str]:
        """Last lines of the console output, which include the log."""
        try:
            return (self.folder / "logs" / _CONSOLE).read_text(errors="replace").splitlines()[-30:]
        except OSError:
            return []

    def _write_folder(self, settings: Mapping[str, object]) -> None:
        config = self.folder / "config"
        logs = self.folder / "logs"
        shutil.rmtree(config, ignore_errors=True)
        shutil.copytree(self._distribution / "config", config)
        for name in ("data", "logs", "tmp"):
            (self.folder / name).mkdir(exist_ok=True)
        lines = [f"{name}: {json.dumps(value)}\n" for name, value in settings.items()]
        (config / "opensearch.yml").write_text("".join(lines))
        options = (config / "jvm.options").read_text()
        # Relative paths would be in the distribution, which is read-only and shared by all nodes.
        options = options.replace("HeapDumpPath=data", f"HeapDumpPath={logs}").replace("=logs/", f"={logs}/")
        if not self._java.simd:
            options = re.sub(r"(?m)^.*--add-modules=jdk\.incubator\.vector$", "", options)
        (config / "jvm.options").write_text(options)
        if self._user is not None:
            _hand_over(self.folder, self._user)


def _signal(process: "subprocess.Popen[bytes]", number: signal.Signals) -> None:
    """Send a signal to a node's whole session, unless it has ended."""
    if process.poll() is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)


def check_heap(heap: str) -> None:
    """Raise a ValueError for an invalid heap size."""
    if not re.fullmatch(r"[1-9]\d*[mg]", heap):
        raise ValueError(f"heap must be a number of megabytes or gigabytes such as 512m or 2g, got {heap!r}.")


def bytes_of_heap(heap: str) -> int:
    """The bytes of a valid heap size."""
    check_heap(heap)
    return int(heap[:-1]) * {"m": 2**20, "g": 2**30}[heap[-1]]


def is_free(port: int) -> bool:
    """Return whether a server can listen on this port of 127.0.0.1."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((HOST, port))
        except OSError:
            return False
    return True


def free_ports(count: int) -> list[int]:
    """Return free ports of 127.0.0.1."""
    candidates = SystemRandom().sample(_PORTS, len(_PORTS))
    ports = [port for port, _ in zip(filter(is_free, candidates), range(count), strict=False)]
    if len(ports) < count:
        raise ClusterError(
            f"There are no {count} free ports between {_PORTS.start} and {_PORTS.stop}. Stop some servers."
        )
    return ports


def _hand_over(folder: Path, user: ServiceUser) -> None:
    os.chown(folder, user.uid, user.gid)
    for parent, folders, files in os.walk(folder):
        for name in (*folders, *files):
            os.chown(os.path.join(parent, name), user.uid, user.gid, follow_symlinks=False)
