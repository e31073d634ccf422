"""The commands with a server that only answers GETs, in place of OpenSearch."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from connector.cli.main import cli
from connector.cluster import Cluster, local, read_status
from connector.cluster.compose import COMPOSE_FILE
from connector.cluster.probe import get_json
from connector.cluster.state import NodeProcess, State, read_state, write_state
from connector.connection.access import Access
from connector.errors import ClusterError
from tests.http_server import QuietHandler, serving

REPLIES = {
    "/": {"version": {"number": "3.6.0"}},
    "/_cluster/health": {"status": "green", "number_of_nodes": 1},
    "/_nodes/plugins,jvm": {
        "nodes": {
            "a": {
                "plugins": [{"name": "opensearch-neural-search"}, {"name": "opensearch-knn"}],
                "jvm": {"version": "25.0.3", "input_arguments": ["-Xmx1g", "--add-modules=jdk.incubator.vector"]},
            }
        }
    },
    "/_cluster/stats": {
        "indices": {"store": {"size_in_bytes": 1_500_000}, "docs": {"count": 7}},
        "nodes": {
            "jvm": {"mem": {"heap_used_in_bytes": 500_000_000, "heap_max_in_bytes": 1_000_000_000}},
            "fs": {"available_in_bytes": 9_000_000_000},
        },
    },
}


class Answers(QuietHandler):
    """Answers like a node; under /closed/ like a managed service that hides its nodes."""

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path.startswith("/closed/"):
            path = path.removeprefix("/closed")
            reply = REPLIES.get(path) if path == "/" else None
        else:
            reply = REPLIES.get(path)
        self.reply(json.dumps(reply or {}).encode(), status=200 if reply else 403)


@pytest.fixture(scope="module")
def server_url() -> Iterator[str]:
    with serving(Answers) as url:
        yield url


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("local", "state"):
        monkeypatch.setattr(f"connector.cluster.{module}.cache_folder", lambda: tmp_path)
    for name in ("OPENSEARCH_URL", "OPENSEARCH_USERNAME", "OPENSEARCH_PASSWORD"):
        monkeypatch.delenv(name, raising=False)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, arguments)


def test_up_with_a_url_starts_nothing(server_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENSEARCH_URL", server_url)
    assert run("up").output == f"OpenSearch is already up at {server_url} (given)\n"
    assert read_state() is None


def test_up_with_a_url_that_nobody_answers_reports_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENSEARCH_URL", "http://127.0.0.1:1")
    result = run("up")
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: No OpenSearch answers at http://127.0.0.1:1 (OPENSEARCH_URL).")
    assert "unset it to start one here" in result.stderr and "`ksparse up`" not in result.stderr


def test_another_port_than_that_of_the_url_is_refused(server_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENSEARCH_URL", server_url)
    result = run("up", "--port", "1")
    assert result.exit_code == 1
    assert f"OpenSearch runs at {server_url}, not on port 1. Unset OPENSEARCH_URL" in result.stderr
    assert run("up", "--port", server_url.rpartition(":")[2]).exit_code == 0


def test_any_port_of_several_urls_is_that_of_the_cluster(server_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    urls = f"{server_url},http://127.0.0.1:1"
    monkeypatch.setenv("OPENSEARCH_URL", urls)
    for options in ([], ["--port", server_url.rpartition(":")[2]], ["--port", "1"]):
        assert run("up", *options).output == f"OpenSearch is already up at {urls} (given)\n"
    assert f"OpenSearch runs at {urls}, not on port 9200." in run("up", "--port", "9200").stderr


def test_the_port_of_https_is_443(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENSEARCH_URL", "https://127.0.0.1")
    assert run("up", "--port", "443").stderr.startswith("Error: No OpenSearch answers at https://127.0.0.1 ")
    assert "OpenSearch runs at https://127.0.0.1, not on port 9200." in run("up", "--port", "9200").stderr


def test_up_prints_json(server_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENSEARCH_URL", server_url)
    assert json.loads(run("up", "--json").output) == {"url": server_url, "kind": "given", "was_up": True}


@pytest.mark.parametrize(
    "arguments", [["--heap", "two"], ["--heap", ""], ["--nodes", "2"], ["--port", "0"], ["--timeout", "0"]]
)
def test_a_wrong_option_is_a_usage_error(arguments: list[str]) -> None:
    assert run("up", *arguments).exit_code == 2


def test_up_on_a_port_that_is_taken_is_refused_before_anything_is_downloaded(
    server_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KSPARSE_CACHE", str(tmp_path))
    port = server_url.rpartition(":")[2]
    result = run("up", "--port", port)
    assert result.exit_code == 1
    assert result.stderr.startswith(f"Error: Port {port} of 127.0.0.1 is in use. Choose another port")


def test_up_uses_docker_where_it_answers(server_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    port = server_url.rpartition(":")[2]
    calls: list[str] = []
    monkeypatch.setattr(local, "docker_answers", lambda: True)
    monkeypatch.setattr(local, "compose_up", lambda *_, **options: calls.append(f"up {options['heap']}"))
    monkeypatch.setattr(local, "compose_down", lambda _, purge: calls.append(f"down {purge}"))
    assert f"OpenSearch is up at {server_url} (compose)\n" in run("up", "--heap", "4g", "--port", port).output
    assert f"OpenSearch is already up at {server_url} (compose)\n" in run("up").output
    assert run("down", "--purge").output == f"OpenSearch at {server_url} is down; data deleted\n"
    assert calls == ["up 4g", "down True"]


def test_docker_gets_our_compose_file_unless_another_is_named(
    server_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files: list[Path] = []
    monkeypatch.setattr(local, "docker_answers", lambda: True)
    monkeypatch.setattr(local, "compose_up", lambda file, **_: files.append(file))
    monkeypatch.setattr(local, "compose_down", lambda *_, **__: None)
    # One of the current folder may well be about something else.
    other = tmp_path / "docker-compose.yml"
    other.write_text("services: {db: {image: postgres}}\n")
    monkeypatch.chdir(tmp_path)
    for options in ([], ["--compose-file", str(other)]):
        run("up", "--port", server_url.rpartition(":")[2], *options)
        run("down")
    assert files == [COMPOSE_FILE, other]


def test_purge_deletes_the_volumes_of_stopped_containers(
    server_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    purged: list[Path] = []
    monkeypatch.setattr(local, "docker_answers", lambda: True)
    monkeypatch.setattr(local, "compose_up", lambda *_, **__: None)
    monkeypatch.setattr(local, "compose_down", lambda file, purge: purged.append(file) if purge else None)
    other, lost = tmp_path / "other.yml", tmp_path / "lost.yml"
    for file in (other, lost):
        file.write_text("services: {}\n")
    for options in ([], ["--compose-file", str(other)], ["--compose-file", str(lost)]):
        run("up", "--port", server_url.rpartition(":")[2], *options)
        assert run("down").output == f"OpenSearch at {server_url} is down\n"
    lost.unlink()
    result = run("down", "--purge")
    assert result.stdout == "Nothing was up; data deleted\n"
    assert set(purged) == {COMPOSE_FILE, other}
    assert run("down", "--purge").output == "Nothing was up; there was no data to delete\n"
    assert len(purged) == 2


@pytest.fixture
def without_psutil(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where the extra `cluster` is not installed, and Docker does not answer."""
    monkeypatch.setitem(sys.modules, "psutil", None)
    monkeypatch.setattr(local, "docker_answers", lambda: False)


PSUTIL_HINT = "need psutil, which is not installed. Run: pip install 'ksparse[cluster]', or start Docker"


@pytest.mark.usefixtures("without_psutil")
def test_without_psutil_every_up_says_what_to_install_and_nothing_is_left() -> None:
    for _ in range(2):
        result = run("up")
        assert result.exit_code == 1 and PSUTIL_HINT in result.stderr
    assert run("status").stderr.startswith("Error: No OpenSearch is running.")
    assert run("down").output == "Nothing was up\n"


@pytest.mark.usefixtures("without_psutil")
@pytest.mark.parametrize("command", ["up", "status", "down"])
def test_without_psutil_nodes_that_another_installation_started_are_not_guessed_at(
    command: str, tmp_path: Path
) -> None:
    (tmp_path / "up-1" / "node-0").mkdir(parents=True)
    write_state(State("embedded", "http://127.0.0.1:1", str(tmp_path / "up-1"), nodes=(NodeProcess("node-0", 7, 1.5),)))
    result = run(command)
    assert result.exit_code == 1 and PSUTIL_HINT in result.stderr


@pytest.mark.usefixtures("without_psutil")
def test_docker_needs_no_psutil(server_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "docker_answers", lambda: True)
    monkeypatch.setattr(local, "compose_up", lambda *_, **__: None)
    monkeypatch.setattr(local, "compose_down", lambda *_, **__: None)
    port = server_url.rpartition(":")[2]
    assert f"OpenSearch is up at {server_url} (compose)\n" in run("up", "--port", port).output
    assert f"OpenSearch is already up at {server_url} (compose)\n" in run("up").output
    assert run("status").exit_code == 0
    assert run("down").output == f"OpenSearch at {server_url} is down\n"


def test_down_without_a_cluster_reports_it() -> None:
    result = run("down")
    assert (result.exit_code, result.output) == (0, "Nothing was up\n")


def test_purge_deletes_the_data_of_a_stopped_cluster(tmp_path: Path) -> None:
    (tmp_path / "up-1" / "node-0").mkdir(parents=True)
    assert run("down", "--purge").output == "Nothing was up; data deleted\n"
    assert not (tmp_path / "up-1").exists()


def test_status_without_a_cluster_says_what_to_do() -> None:
    result = run("status")
    assert result.exit_code == 1
    assert result.stderr == "Error: No OpenSearch is running. Start one with `ksparse up`, or set OPENSEARCH_URL.\n"


def test_status_of_a_cluster_whose_process_has_ended_is_down() -> None:
    write_state(State("compose", "http://127.0.0.1:1"))
    result = run("status")
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: No OpenSearch is running.")


def test_status_shows_what_the_server_says(server_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENSEARCH_URL", server_url)
    lines = dict(line.split(maxsplit=1) for line in run("status").output.splitlines())
    assert lines == {
        "url": server_url,
        "kind": "given",
        "version": "3.6.0",
        "health": "green",
        "nodes": "1",
        "plugins": "opensearch-knn, opensearch-neural-search",
        "java": "25.0.3",
        "simd": "yes",
        "heap": "500.0 MB of 1,000.0 MB",
        "disk": "1.5 MB in indices, 9,000.0 MB free",
        "encoding": "torch on a CPU",
        "documents": "7",
    }


def test_status_as_json_has_units_in_its_names(server_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENSEARCH_URL", server_url)
    found = json.loads(run("status", "--json").output)
    assert found["heap_used_bytes"] == 500_000_000
    assert found["plugins"] == ["opensearch-knn", "opensearch-neural-search"]
    assert found["simd"] is True


def test_what_a_service_keeps_to_itself_is_unknown(server_url: str) -> None:
    found = read_status(Cluster(f"{server_url}/closed"))
    assert (found.version, found.health, found.plugins, found.simd, found.documents) == ("3.6.0", *[None] * 4)


@pytest.mark.parametrize("reply", [b"{}", b"[1]", b"<html>a shop</html>"])
def test_what_is_no_opensearch_is_refused(reply: bytes) -> None:
    class Other(QuietHandler):
        def do_GET(self) -> None:
            self.reply(reply)

    with serving(Other) as url, pytest.raises(ClusterError, match=f"The server at {url} is not OpenSearch"):
        read_status(Cluster(url))


@pytest.mark.parametrize("command", ["up", "down", "status"])
def test_help_has_examples(command: str) -> None:
    assert f"Examples:\n    ksparse {command}" in run(command, "--help").output


def test_a_redirect_is_named_and_not_followed() -> None:
    asked: list[tuple[str, str | None]] = []

    class Redirects(QuietHandler):
        def do_GET(self) -> None:
            asked.append((self.path, self.headers["Authorization"]))
            self.send_response(302)
            self.send_header("Location", "https://ada:lace@elsewhere.example/")
            self.send_header("Content-Length", "0")
            self.end_headers()

    access = Access(username="ada", password="lace")
    with (
        serving(Redirects) as url,
        pytest.raises(ClusterError, match="redirects to https://elsewhere.example/") as raised,
    ):
        get_json(Cluster(url, access), "/")
    assert asked == [("/", "Basic YWRhOmxhY2U=")]
    assert "lace" not in str(raised.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--nodes", "3"], "with 1 node(s), not 3. Unset OPENSEARCH_URL"),
        (["--heap", "4g"], "with a heap of 954m a node, not 4g. Unset OPENSEARCH_URL"),
        (["--compose-file", str(COMPOSE_FILE)], f"not by {COMPOSE_FILE}. Unset OPENSEARCH_URL"),
    ],
)
def test_what_the_running_server_is_not_is_refused(
    options: list[str], message: str, server_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENSEARCH_URL", server_url)
    result = run("up", *options)
    assert result.exit_code == 1 and message in result.stderr
    assert run("up", "--nodes", "1", "--heap", "950m").exit_code == 0


def test_three_nodes_or_another_file_where_docker_runs_one_are_refused_at_once(server_url: str, tmp_path: Path) -> None:
    write_state(State("compose", server_url, compose_file=str(COMPOSE_FILE)))
    three = run("up", "--nodes", "3", "--timeout", "1")
    assert three.exit_code == 1 and "with 1 node(s), not 3. Run `ksparse down` first." in three.stderr
    other = tmp_path / "docker-compose.yml"
    other.write_text("services: {}\n")
    refused = run("up", "--compose-file", str(other))
    assert refused.exit_code == 1 and f"not by {other}. Run `ksparse down` first." in refused.stderr
    assert run("up", "--compose-file", str(COMPOSE_FILE)).exit_code == 0


@pytest.mark.parametrize(
    ("options", "reason"), [([], "Docker does not answer"), (["--nodes", "3"], "three nodes are always embedded")]
)
def test_a_compose_file_that_would_not_be_used_is_refused(
    options: list[str], reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "docker_answers", lambda: False)
    result = run("up", "--compose-file", str(COMPOSE_FILE), *options)
    assert result.exit_code == 1 and reason in result.stderr
    assert read_state() is None


def test_up_that_takes_too_long_names_its_option(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "docker_answers", lambda: True)
    (tmp_path / "docker").write_text("#!/bin/sh\nexec sleep 60\n")
    (tmp_path / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    result = run("up", "--timeout", "1", "--port", "9301")
    assert result.exit_code == 1
    assert (
        "did not finish within 1 s. Repeat it with a longer --timeout; what was downloaded is kept.\n" in result.stderr
    )
