from pathlib import Path

import pytest

from connector.cluster.compose import COMPOSE_FILE, compose_down, compose_up, docker_answers
from connector.errors import ClusterError

FILE = Path("/somewhere/docker-compose.yml")


def install_docker(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a docker on the path that runs `script` instead of talking to an engine."""
    binary = folder / "docker"
    binary.write_text(f"#!/bin/sh\n{script}\n")
    binary.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


def test_no_docker_on_the_path_does_not_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not docker_answers()


def test_a_client_without_an_engine_does_not_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install_docker(tmp_path, '[ "$1" != info ]', monkeypatch)
    assert not docker_answers()


def test_an_engine_without_compose_does_not_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install_docker(tmp_path, '[ "$1" != compose ]', monkeypatch)
    assert not docker_answers()


def test_a_client_that_hangs_does_not_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install_docker(tmp_path, "exec sleep 60", monkeypatch)
    assert not docker_answers(timeout_s=0.2)


def test_an_engine_with_compose_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install_docker(tmp_path, "exit 0", monkeypatch)
    assert docker_answers()


def test_up_waits_for_health_on_the_port_and_heap_requested(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = tmp_path / "log"
    install_docker(tmp_path, f'echo "$OPENSEARCH_PORT $OPENSEARCH_HEAP $*" > {log}', monkeypatch)
    compose_up(FILE, port=9300, heap="4g", timeout_s=10.0)
    assert log.read_text() == f"9300 4g compose --file {FILE} up --detach --wait opensearch\n"


@pytest.mark.parametrize(("purge", "arguments"), [(False, "down"), (True, "down --volumes")])
def test_down_deletes_the_data_only_when_asked(
    purge: bool, arguments: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "log"
    install_docker(tmp_path, f'echo "$*" > {log}', monkeypatch)
    compose_down(FILE, purge=purge)
    assert log.read_text() == f"compose --file {FILE} {arguments}\n"


def test_what_docker_says_last_is_the_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install_docker(tmp_path, "echo pulling >&2; echo 'port is already allocated' >&2; exit 1", monkeypatch)
    with pytest.raises(ClusterError, match="up --detach --wait opensearch` failed: port is already allocated$"):
        compose_up(FILE, port=9200, heap="2g", timeout_s=10.0)


def test_a_docker_that_takes_too_long_is_an_error_with_the_next_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install_docker(tmp_path, "exec sleep 60", monkeypatch)
    with pytest.raises(
        ClusterError, match=r"within 0\.2 s\. Repeat it with a longer timeout_s; what was downloaded is"
    ):
        compose_up(FILE, port=9200, heap="2g", timeout_s=0.2)
    monkeypatch.setattr("connector.cluster.compose._DOWN_TIMEOUT_S", 0.2)
    with pytest.raises(ClusterError, match=r"within 0\.2 s\. Check that Docker answers .* run `ksparse down` again\.$"):
        compose_down(FILE, purge=False)


def test_the_compose_file_of_the_library_is_about_opensearch_on_the_loopback_interface() -> None:
    text = COMPOSE_FILE.read_text()
    assert "image: opensearchproject/opensearch:" in text
    assert "- 127.0.0.1:${OPENSEARCH_PORT:-9200}:9200" in text
