"""The commands where no OpenSearch answers, or none is needed."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result
from opensearchpy import OpenSearch

from connector.cli.main import cli
from connector.errors import ConnectorError, EncoderMismatchError, IndexMappingError
from connector.index.writer import BulkWriter
from tests.beir import write_beir

CLOSED = "http://127.0.0.1:1"

Command = Callable[..., Result]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Holds a BEIR set of one document, and is the working directory."""
    write_beir(tmp_path, {"d1": "stars burn"}, {"q1": "stars"}, test=[("q1", "d1")])
    monkeypatch.chdir(tmp_path)
    return tmp_path


COMMANDS = {
    "ingest": ["ingest", "corpus.jsonl", "--index", "docs"],
    "search": ["search", "stars", "--index", "docs"],
    "evaluate": ["evaluate", "."],
}
each_command = pytest.mark.parametrize("arguments", COMMANDS.values(), ids=COMMANDS)


@each_command
def test_no_server_is_one_line_with_the_next_step_and_no_password(
    folder: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    monkeypatch.setenv("OPENSEARCH_URL", CLOSED)
    monkeypatch.setenv("OPENSEARCH_USERNAME", "me")
    monkeypatch.setenv("OPENSEARCH_PASSWORD", "s3cret")
    result = CliRunner().invoke(cli, arguments)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == (
        f"Error: No OpenSearch answers at {CLOSED}. Start one with `ksparse up`, or set OPENSEARCH_URL.\n"
    )
    assert list(folder.glob("*dead*")) == []


@each_command
def test_nothing_that_is_logged_holds_the_password(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, arguments: list[str]
) -> None:
    monkeypatch.setenv("OPENSEARCH_URL", CLOSED)
    monkeypatch.setenv("OPENSEARCH_USERNAME", "me")
    monkeypatch.setenv("OPENSEARCH_PASSWORD", "s3cret")
    caplog.set_level(0)
    result = CliRunner().invoke(cli, arguments)
    assert CLOSED in caplog.text, "nothing was logged: the test proves nothing"
    for secret in ("s3cret", base64.b64encode(b"me:s3cret").decode()):
        assert secret not in caplog.text + result.output


@each_command
def test_a_password_in_the_url_is_refused_and_not_shown(
    folder: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    monkeypatch.setenv("OPENSEARCH_URL", "http://me:s3cret@127.0.0.1:1")
    result = CliRunner().invoke(cli, arguments)
    assert result.exit_code == 1
    assert "OPENSEARCH_URL contains a user name or password" in result.stderr
    assert "s3cret" not in result.output


def test_an_empty_query_needs_no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENSEARCH_URL", CLOSED)
    result = CliRunner().invoke(cli, ["search", " ", "--index", "docs"])
    assert (result.exit_code, result.stderr) == (1, "Error: The query is empty; enter a search text.\n")


@pytest.mark.parametrize(
    "arguments", [["search", "stars"], ["ingest"], ["evaluate", "missing"], ["nothing"], ["--nothing"], ["train"]]
)
def test_wrong_usage_is_exit_status_2(arguments: list[str]) -> None:
    result = CliRunner().invoke(cli, arguments)
    assert result.exit_code == 2
    assert result.stderr.startswith("Usage: ")


@pytest.mark.parametrize("name", ["up", "down", "status", "train", "ingest", "search", "explore", "evaluate"])
def test_every_command_has_help_with_examples(name: str) -> None:
    result = CliRunner().invoke(cli, [name, "-h"])
    assert result.exit_code == 0
    assert f"Examples:\n    ksparse {name}" in result.output


def test_the_version_is_that_of_the_package() -> None:
    assert "0.1.0" in CliRunner().invoke(cli, ["--version"]).output


@pytest.mark.parametrize(
    ("error", "exit_code", "shown"),
    [
        (EncoderMismatchError("the features do not match"), 5, "Error: the features do not match\n"),
        (ConnectorError("it went wrong"), 1, "Error: it went wrong\n"),
        (
            OSError(28, "No space left on device"),
            1,
            "Error: [Errno 28] No space left on device. Fix the cause and rerun",
        ),
        (KeyboardInterrupt(), 130, "Stopped. Rerun the command; no document is duplicated.\n"),
    ],
)
def test_errors_become_one_line_and_an_exit_status(
    monkeypatch: pytest.MonkeyPatch, error: BaseException, exit_code: int, shown: str
) -> None:
    @click.command()
    def broken() -> None:
        raise error

    monkeypatch.setattr("connector.cli.search.search", broken)
    result = CliRunner().invoke(cli, ["search"])
    assert (result.exit_code, result.stdout) == (exit_code, "")
    assert result.stderr.startswith(shown)
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--prune-ratio", "0.1"], "--prune-ratio 0.1 needs --prune-type"),
        (["--prune-type", "posting_budget"], "--prune-type posting_budget needs --prune-ratio"),
        (["--alpha", "0.3"], "--alpha needs --hybrid"),
        (["--hybrid", "--alpha", "1.5"], "1.5 is not in the range 0<=x<=1"),
        (["--hybrid", "--alpha", "nan"], "--alpha must be a number, got nan"),
        (["--bm25-weight", "-1"], "--bm25-weight must be a number above 0, got -1"),
    ],
)
def test_a_search_is_refused_before_it_asks_a_server(options: list[str], message: str) -> None:
    result = CliRunner().invoke(cli, ["search", "stars", "--index", "docs", *options])
    assert result.exit_code == 2 and message in result.output


@pytest.mark.parametrize("content", ["", "\n\n"], ids=["empty", "blank"])
def test_a_file_without_dead_letters_needs_no_server(
    folder: Path, monkeypatch: pytest.MonkeyPatch, content: str
) -> None:
    monkeypatch.setenv("OPENSEARCH_URL", CLOSED)
    (folder / "letters.jsonl").write_text(content)
    done = CliRunner().invoke(cli, ["replay", "letters.jsonl", "--index", "docs"])
    assert done.exit_code == 0
    assert done.stderr == "letters.jsonl contains no dead letters; there is nothing to replay.\n"
    assert done.stdout.startswith("docs: 0 indexed + 0 dead-lettered = 0 read")


@pytest.mark.parametrize("name", ["doc*", "docs,wiki"])
def test_a_pattern_or_a_list_is_not_written(name: str) -> None:
    with pytest.raises(IndexMappingError, match="may name several indices, but a write goes to one"):
        BulkWriter(OpenSearch(CLOSED), name)


def test_a_blank_id_is_not_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENSEARCH_URL", CLOSED)
    refused = CliRunner().invoke(cli, ["explain", "stars", "--index", "docs", "--id", " "])
    assert refused.exit_code == 2 and "--id is blank; give the id of a document." in refused.stderr


def test_no_queries_on_standard_input_are_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENSEARCH_URL", CLOSED)
    for given in ("", "\n  \n"):
        done = CliRunner().invoke(cli, ["search", "-", "--index", "docs"], input=given)
        assert done.exit_code == 2
        assert done.stderr.endswith("Error: standard input has no queries; give one per line.\n")


def test_a_file_without_ids_deletes_nothing_and_needs_no_server(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setenv("OPENSEARCH_URL", CLOSED)
    (folder / "ids.txt").write_text("\n")
    for file, name in (("ids.txt", "ids.txt"), ("-", "Standard input")):
        done = CliRunner().invoke(cli, ["delete", "--index", "docs", "--ids", file], input="")
        assert (done.exit_code, done.stdout) == (0, "")
        assert done.stderr == f"{name} has no ids; there is nothing to delete.\n"


@pytest.mark.parametrize(
    ("command", "options", "said"),
    [
        ("ingest", ["--k", "8"], "--k"),
        ("ingest", ["--idf", "--no-calibrate"], "--idf and --no-calibrate"),
        ("ingest", ["--fit", "head"], "--fit"),
        ("evaluate", ["--k", "8"], "--k"),
        ("ingest-ray", ["--no-calibrate"], "--no-calibrate"),
        ("reencode", ["--k", "8"], "--k"),
    ],
)
def test_options_that_a_dictionary_would_ignore_are_refused(
    folder: Path, command: str, options: list[str], said: str
) -> None:
    arguments = COMMANDS | {
        "ingest-ray": ["ingest-ray", "corpus.jsonl", "--index", "docs", "--actors", "1"],
        "reencode": ["reencode", "docs", "--to", "docs-2"],
    }
    result = CliRunner().invoke(cli, [*arguments[command], "--encoder", "own", *options])
    assert result.exit_code == 2
    assert f"Error: --encoder own builds a dictionary, without {said}; choose one." in result.stderr


def test_codes_that_a_head_cannot_have_are_refused_before_it_is_fitted(folder: Path) -> None:
    result = CliRunner().invoke(cli, [*COMMANDS["ingest"], "--fit", "head", "--code-bits", "3"])
    assert result.exit_code == 2
    said = "Error: --code-bits 3 needs a dictionary, and --fit makes a head; use 1, 2, 4 or 8."
    assert said in result.stderr
