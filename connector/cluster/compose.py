"""Run OpenSearch with Docker Compose. The other service of the compose file is not started here."""

import os
import subprocess
from pathlib import Path

from connector.errors import ClusterError
from connector.source_tree import compose_file

COMPOSE_FILE = compose_file()
"""The compose file of this library, also in the wheel."""

_DOWN_TIMEOUT_S = 120.0


def docker_answers(*, timeout_s: float = 5.0) -> bool:
    """Return whether a Docker engine answers within `timeout_s` seconds and `docker compose` is installed."""
    try:
        for arguments in (["info", "--format", "{{.ServerVersion}}"], ["compose", "version"]):
            done = subprocess.run(["docker", *arguments], capture_output=True, timeout=timeout_s)
            if done.returncode:
                return False
    except (OSError, subprocess.TimeoutExpired):
        return False
    return True


def compose_up(file: Path, *, port: int, heap: str, timeout_s: float) -> None:
    """Start the service and wait until it is healthy.

    Args:
        file: The compose file, which uses OPENSEARCH_PORT and OPENSEARCH_HEAP.
        port: Port on 127.0.0.1.
        heap: Java heap, such as "2g".
        timeout_s: Seconds until it must be healthy, including the download of the image.

    Raises:
        ClusterError: Docker reported an error, or it took too long.
    """
    settings = {"OPENSEARCH_PORT": str(port), "OPENSEARCH_HEAP": heap}
    late = "Repeat it with a longer timeout_s; what was downloaded is kept."
    _compose(file, ["up", "--detach", "--wait", "opensearch"], settings=settings, timeout_s=timeout_s, late=late)


def compose_down(file: Path, *, purge: bool) -> None:
    """Stop the service and remove its container; with `purge`, also delete its data.

    Raises:
        ClusterError: Docker reported an error.
    """
    late = "Check that Docker answers (`docker info`), then run `ksparse down` again."
    arguments = ["down", *(["--volumes"] if purge else [])]
    _compose(file, arguments, settings={}, timeout_s=_DOWN_TIMEOUT_S, late=late)


def _compose(file: Path, arguments: list[str], *, settings: dict[str, str], timeout_s: float, late: str) -> None:
    """Run Docker Compose; `late` is the next step if it takes too long."""
    command = ["docker", "compose", "--file", str(file), *arguments]
    try:
        done = subprocess.run(
            command,
            env=os.environ | settings,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_s,
        )
    except subprocess.TimeoutExpired as error:
        raise ClusterError(f"`{' '.join(command)}` did not finish within {timeout_s:g} s. {late}") from error
    except OSError as error:
        raise ClusterError(
            f"Cannot run docker ({error}). Start Docker, or run this command where Docker is available."
        ) from error
    if done.returncode:
        last_line = (done.stderr or done.stdout).strip().rpartition("\n")[2]
        raise ClusterError(f"`{' '.join(command)}` failed: {last_line or f'exit status {done.returncode}'}")
