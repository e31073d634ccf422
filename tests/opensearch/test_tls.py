"""TLS and basic authentication in front of a real node: verification and error messages."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from opensearchpy import OpenSearch

from connector.cli.main import cli
from connector.connection.client import check_server, connect
from connector.errors import ClusterError
from tests.fault_proxy import TLS_FOLDER, FaultProxy, fault_proxy

pytestmark = pytest.mark.opensearch

CA = str(TLS_FOLDER / "ca.pem")
PASSWORD = "pass:w/rd@é"
UNVERIFIED = "has a certificate that cannot be verified: unable to get local issuer certificate"


@pytest.fixture
def front(opensearch_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultProxy]:
    """Speaks TLS as `localhost`, asks for a user name and password, and passes on to the node."""
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR", "OPENSEARCH_AWS_SERVICE"):
        monkeypatch.delenv(name, raising=False)
    with fault_proxy(opensearch_url, tls=True, credentials=("ada", PASSWORD)) as proxy:
        monkeypatch.setenv("OPENSEARCH_URL", proxy.url)
        monkeypatch.setenv("OPENSEARCH_USERNAME", "ada")
        monkeypatch.setenv("OPENSEARCH_PASSWORD", PASSWORD)
        yield proxy


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, list(arguments))


COMMANDS = [["status"], ["search", "stars", "--index", "docs"]]
each_command = pytest.mark.parametrize("arguments", COMMANDS, ids=lambda arguments: arguments[0])


@each_command
def test_an_unknown_certificate_is_refused_unless_asked_otherwise(front: FaultProxy, arguments: list[str]) -> None:
    result = run(*arguments)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith(f"Error: {front.url} {UNVERIFIED}. Give its CA certificate")
    assert "OPENSEARCH_CA_CERTS or --ca-certs" in result.stderr
    assert front.paths == [], "something was sent to a server that nobody trusts"


@each_command
def test_a_certificate_for_another_name_is_refused_although_its_authority_is_known(
    front: FaultProxy, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    monkeypatch.setenv("OPENSEARCH_URL", front.url.replace("localhost", "127.0.0.1"))
    result = run(*arguments, "--ca-certs", CA)
    assert result.exit_code == 1
    assert "IP address mismatch, certificate is not valid for '127.0.0.1'" in result.stderr
    assert "and a host name for which it is valid" in result.stderr
    assert front.paths == []


@pytest.mark.parametrize("trust", [["--ca-certs", CA], ["--insecure"]], ids=lambda trust: trust[0])
def test_what_is_trusted_is_written_to_and_searched(
    front: FaultProxy, trust: list[str], index: str, head_folder: Path, tmp_path: Path, client: OpenSearch
) -> None:
    corpus = tmp_path / "c.jsonl"
    corpus.write_text('{"_id": "d1", "text": "stars burn"}\n')
    options = ["--index", index, "--encoder", str(head_folder), *trust]
    assert run("ingest", str(corpus), *options, "--checkpoint", str(tmp_path / "point")).exit_code == 0
    assert client.count(index=index)["count"] == 1
    [hit] = json.loads(run("search", "stars burn", "--json", *options).stdout)["hits"]
    assert hit["doc_id"] == "d1"
    assert json.loads(run("status", "--json", *trust).stdout)["url"] == front.url


def test_the_certificates_of_ssl_cert_file_are_trusted(front: FaultProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", CA)
    assert run("status").exit_code == 0
    with connect(front.url, username="ada", password=PASSWORD) as client:
        assert check_server(client).url == front.url


@each_command
def test_a_wrong_password_is_one_line_that_does_not_hold_it(
    front: FaultProxy, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    monkeypatch.setenv("OPENSEARCH_PASSWORD", "wr0ng")
    result = run(*arguments, "--ca-certs", CA)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "401" in result.stderr and "OPENSEARCH_USERNAME and OPENSEARCH_PASSWORD" in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert "wr0ng" not in result.stderr


def test_a_password_in_a_url_is_taken_as_the_url_writes_it(front: FaultProxy) -> None:
    with connect(front.url.replace("//", "//ada:pass%3Aw%2Frd%40%C3%A9@"), ca_certs=CA) as client:
        assert check_server(client).url == front.url


@each_command
def test_a_server_with_tls_is_not_called_away(
    front: FaultProxy, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    monkeypatch.setenv("OPENSEARCH_URL", front.url.replace("https:", "http:"))
    assert "closes the connection without an answer; is it an https:// address?" in run(*arguments).stderr


def test_a_server_without_tls_is_distinguished_from_a_certificate_that_is_unknown(opensearch_url: str) -> None:
    with (
        connect(opensearch_url.replace("http:", "https:")) as client,
        pytest.raises(ClusterError, match=r"does not speak TLS correctly .*; is it an http:// address\?"),
    ):
        check_server(client)
