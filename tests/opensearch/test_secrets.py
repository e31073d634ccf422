"""Whatever happens, no credential leaves but in the header that is meant for it: a search through all that is left."""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from opensearchpy import OpenSearch

from connector.cli.main import cli
from connector.cluster import connection_from_environment
from connector.connection.client import check_server, connect
from connector.errors import BulkWriteError, ClusterError
from connector.index.meta import IndexMeta
from connector.index.schema import prepare_index
from connector.index.writer import BulkWriter
from connector.types import EncoderFingerprint, SparseDocument
from tests.beir import write_beir
from tests.fault_proxy import TLS_FOLDER, FaultProxy, broken_before, fault_proxy, passed, status
from tests.forward_proxy import forward_proxy

pytestmark = pytest.mark.opensearch

USER, PASSWORD = "ada", "m4rked-Pa55w0rd"
TOKEN = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
SECRETS = (PASSWORD, TOKEN, TOKEN.rstrip("=")[:-2], base64.b64encode(PASSWORD.encode()).decode().rstrip("=")[:-2])


def assert_holds_no_secret(text: str, where: str) -> None:
    for secret in SECRETS:
        assert secret not in text, f"{where} holds a credential"


def chain_of(error: BaseException) -> list[BaseException]:
    found: list[BaseException] = []
    waiting: list[BaseException | None] = [error]
    while waiting:
        each = waiting.pop()
        if each is not None and each not in found:
            found.append(each)
            waiting += [each.__cause__, each.__context__]
    return found


def assert_error_holds_no_secret(error: BaseException) -> None:
    for each in chain_of(error):
        assert_holds_no_secret(f"{each} {each!r} {each.args!r} {vars(each)!r}", f"{type(each).__name__}")


@pytest.fixture
def guarded(
    opensearch_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> Iterator[FaultProxy]:
    """The node behind a password, everything logged down to the bytes, and a working folder that is searched after."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OPENSEARCH_AWS_SERVICE", raising=False)
    # opensearch-py's record of requests as commands for a shell, and the bytes that the standard library sends.
    caplog.set_level(0)
    monkeypatch.setattr(logging.getLogger("opensearchpy.trace"), "propagate", True)
    for name in ("opensearch", "opensearchpy.trace", "urllib3"):
        caplog.set_level(1, name)
    with fault_proxy(opensearch_url, credentials=(USER, PASSWORD)) as proxy:
        monkeypatch.setenv("OPENSEARCH_URL", proxy.url)
        monkeypatch.setenv("OPENSEARCH_USERNAME", USER)
        monkeypatch.setenv("OPENSEARCH_PASSWORD", PASSWORD)
        yield proxy
    records = caplog.get_records("call")
    assert any(record.name == "opensearch" for record in records), "nothing was logged: the test proves nothing"
    for record in records:
        assert_holds_no_secret(logging.Formatter().format(record), f"what {record.name} logs")
        assert_holds_no_secret(repr(vars(record)), f"a record of {record.name}")
        if record.exc_info and record.exc_info[1]:
            assert_error_holds_no_secret(record.exc_info[1])
    for path in tmp_path.rglob("*"):
        if path.is_file():
            assert_holds_no_secret(path.read_text("utf-8", "replace"), path.name)


def run(*arguments: str) -> Result:
    result = CliRunner().invoke(cli, list(arguments))
    assert_holds_no_secret(result.output, " ".join(arguments))
    if result.exception is not None:
        assert_error_holds_no_secret(result.exception)
    return result


def test_a_day_of_commands_leaves_no_credential_behind(
    guarded: FaultProxy, index: str, head_folder: Path, client: OpenSearch
) -> None:
    options = ["--index", index, "--encoder", str(head_folder)]
    write_beir(Path(), {"d1": "stars burn"}, {"q1": "stars"}, test=[("q1", "d1")])
    with Path("corpus.jsonl").open("a") as corpus:
        corpus.write('{"_id": "d2"\n')
    guarded.faults.extend([passed, broken_before, status(400, "not today")])
    assert run("ingest", "corpus.jsonl", *options).exit_code == 4
    assert Path(f"{index}.checkpoint.json").is_file()
    assert run("ingest", "corpus.jsonl", *options, "--resume", "--json").exit_code == 3
    assert run("ingest", "corpus.jsonl", *options, "--dry-run").exit_code == 0
    assert run("ingest", "corpus.jsonl", "--index", "Upper", "--encoder", str(head_folder)).exit_code == 1
    assert run("replay", f"{index}.dead-letters.jsonl", *options).exit_code == 3
    assert run("search", "stars", *options, "--json").exit_code == 0
    assert run("search", "stars", *options, "--filter", "x=1").exit_code == 0
    assert run("search", "stars", "--index", "missing", "--encoder", str(head_folder)).exit_code == 1
    assert run("status").exit_code == 0
    assert run("status", "--json").exit_code == 0
    assert run("evaluate", ".", "--encoder", str(head_folder), "--json", "--quiet").exit_code == 0
    assert Path(f"{index}.dead-letters.jsonl").is_file()
    meta = client.indices.get_mapping(index=index)[index]["mappings"]["_meta"]
    assert_holds_no_secret(json.dumps(meta), "the index")


@pytest.mark.parametrize("variable", ["API_KEY", "BEARER_TOKEN"])
def test_neither_a_token_nor_the_password_of_a_proxy_is_left_behind(
    opensearch_url: str,
    variable: str,
    index: str,
    head_folder: Path,
    workplace: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    caplog.set_level(0)
    for name in ("opensearch", "urllib3", "ksparse"):
        caplog.set_level(1, name)
    Path("corpus.jsonl").write_text('{"_id": "d1", "text": "stars burn"}\n')
    header = f"{'ApiKey' if variable == 'API_KEY' else 'Bearer'} {PASSWORD}"
    with (
        fault_proxy(opensearch_url, tls=True, authorization=header) as front,
        forward_proxy(credentials=(USER, PASSWORD)) as proxy,
    ):
        monkeypatch.setenv("OPENSEARCH_URL", front.url)
        monkeypatch.setenv(f"OPENSEARCH_{variable}", PASSWORD)
        monkeypatch.setenv("OPENSEARCH_PROXY", proxy.url.replace("//", f"//{USER}:{PASSWORD}@"))
        options = ["--index", index, "--encoder", str(head_folder), "--ca-certs", str(TLS_FOLDER / "ca.pem")]
        # The first asks whether the new index takes documents.
        front.faults += [passed, broken_before]
        assert run("ingest", "corpus.jsonl", *options).exit_code == 0
        assert run("search", "stars", *options).exit_code == 0
        monkeypatch.setenv("OPENSEARCH_PROXY", f"http://{USER}:{PASSWORD}-of-yesterday@{proxy.url[7:]}")
        assert "407" in run("search", "stars", *options).stderr
    assert_holds_no_secret(caplog.text, "the log")
    for path in Path().rglob("*"):
        if path.is_file():
            assert_holds_no_secret(path.read_text("utf-8", "replace"), path.name)


@pytest.mark.parametrize("command", [["status"], ["search", "stars", "--index", "docs"]], ids=lambda each: each[0])
@pytest.mark.parametrize(
    "url",
    [
        f"http://{USER}:{PASSWORD}@127.0.0.1:1",
        f"{USER}:{PASSWORD}@127.0.0.1:1",
        f"http://{USER}:{PASSWORD}/@127.0.0.1:1",
        f"http://{USER}:{PASSWORD}",
        f"http://{USER}:{PASSWORD}℀@127.0.0.1:1",
    ],
)
def test_a_password_in_a_url_is_never_repeated(
    guarded: FaultProxy, monkeypatch: pytest.MonkeyPatch, url: str, command: list[str]
) -> None:
    run("search", "stars", "--index", "docs")
    monkeypatch.setenv("OPENSEARCH_URL", url)
    assert run(*command).exit_code == 1
    with pytest.raises(ClusterError) as caught, connect(url) as client:
        check_server(client)
    assert_error_holds_no_secret(caught.value)


def test_errors_and_reprs_of_objects_hold_no_credential(
    guarded: FaultProxy, index: str, fingerprint: EncoderFingerprint, monkeypatch: pytest.MonkeyPatch
) -> None:
    with connect(guarded.url, username=USER, password=PASSWORD) as client:
        prepare_index(client, index, IndexMeta(fingerprint))
        writer = BulkWriter(client, index, retry_deadline_s=0.0)
        for fault in (broken_before, status(503), status(400)):
            guarded.faults.append(fault)
            with pytest.raises(BulkWriteError) as refused:
                writer.write([SparseDocument("d1", {"1": 1.0})])
            assert_error_holds_no_secret(refused.value)
        pictures = (client, client.transport, client.transport.get_connection(), writer, connection_from_environment())
        for each in pictures:
            assert_holds_no_secret(f"{each} {each!r}", type(each).__name__)
    with connect(guarded.url, username=USER, password=f"{PASSWORD} of yesterday") as client:
        with pytest.raises(ClusterError, match="401") as denied:
            check_server(client)
        assert_error_holds_no_secret(denied.value)
    monkeypatch.setenv("OPENSEARCH_PASSWORD", f"{PASSWORD} of yesterday")
    for arguments in (["status"], ["search", "stars", "--index", index]):
        assert "401" in run(*arguments).stderr
