"""Log messages, and which of them commands show."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner, Result
from opensearchpy.exceptions import NotFoundError

import connector
from connector.cli.log import shown_on_standard_error
from connector.cli.main import cli
from connector.connection.client import check_server, connect
from tests.http_server import QuietHandler, serving

INFO = {"cluster_name": "books", "version": {"distribution": "opensearch", "number": "3.6.0"}}


@pytest.fixture
def url(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    class Node(QuietHandler):
        def do_GET(self) -> None:
            known = self.path == "/"
            self.reply(json.dumps(INFO if known else {}).encode(), status=200 if known else 404)

    with serving(Node) as url:
        monkeypatch.setenv("OPENSEARCH_URL", url)
        monkeypatch.setenv("OPENSEARCH_BEARER_TOKEN", "m4rked")
        yield url


def run(*arguments: str) -> Result:
    result = CliRunner().invoke(cli, list(arguments))
    assert "m4rked" not in result.output
    return result


def test_the_library_has_one_logger_that_says_nothing_by_itself(url: str) -> None:
    assert [type(each) for each in logging.getLogger("ksparse").handlers] == [logging.NullHandler]
    assert connector.__name__ == "connector"
    script = "import logging; from connector import connect; logging.getLogger('ksparse.index').warning('unheard')"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, check=True).stderr == b""


def test_a_connection_is_logged(url: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "ksparse")
    with connect(url) as client:
        check_server(client)
    [record] = [each for each in caplog.records if each.name.startswith("ksparse")]
    assert (record.name, record.levelname) == ("ksparse.connection", "INFO")
    assert record.getMessage() == f"{url} is opensearch 3.6.0, cluster 'books'."


def test_an_index_that_does_not_exist_is_no_warning(url: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "opensearch")
    with connect(url) as client, pytest.raises(NotFoundError):
        client.indices.get_mapping(index="docs")
    [record] = [each for each in caplog.records if each.name == "opensearch"]
    assert record.levelname == "INFO" and "[status:404" in record.getMessage()


@pytest.mark.parametrize("place", [0, 1, 5])
def test_verbose_is_an_option_of_all_commands_and_of_the_group(url: str, place: int) -> None:
    arguments = ["search", "stars", "--index", "docs"]
    silent = run(*arguments)
    arguments.insert(place, "-v")
    result = run(*arguments)
    assert result.exit_code == silent.exit_code == 1
    assert "INFO" not in silent.stderr
    assert f"INFO ksparse.connection: {url} is opensearch 3.6.0" in result.stderr
    assert result.stderr.count("INFO ksparse.connection") == 1 and "INFO opensearch" not in result.stderr
    assert result.stderr.splitlines()[-1] == silent.stderr.splitlines()[-1]
    assert "INFO" not in run("search", "stars", "--index", "docs").stderr, "only of the command that asked for it"


def test_twice_verbose_shows_each_request(url: str) -> None:
    result = run("search", "stars", "--index", "docs", "-vv")
    assert f"INFO opensearch: GET {url}/ [status:200" in result.stderr
    assert f"{url}/docs/_mapping [status:404" in result.stderr


@pytest.mark.parametrize("name", ["up", "ingest", "ingest-ray", "train", "search", "reencode"])
def test_the_help_of_commands_names_it_once(name: str) -> None:
    for _ in range(2):
        assert run(name, "--help").output.count("--verbose") == 1


def test_warnings_are_shown_without_asking(monkeypatch: pytest.MonkeyPatch) -> None:
    @click.command()
    def waits() -> None:
        logging.getLogger("ksparse.index").warning("No reply for %d s.", 5)
        logging.getLogger("ksparse.index").info("a detail")
        click.echo("done")

    monkeypatch.setattr("connector.cli.search.search", waits)
    result = run("search")
    assert (result.stdout, result.stderr) == ("done\n", "No reply for 5 s.\n")


def test_what_was_set_before_is_set_again() -> None:
    logger = logging.getLogger("ksparse")
    before = logger.level, logger.handlers[:]
    with shown_on_standard_error(2), shown_on_standard_error(0):
        assert logger.level == logging.DEBUG and len(logger.handlers) == len(before[1]) + 1
    assert (logger.level, logger.handlers) == before
