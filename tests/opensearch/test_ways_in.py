"""Tokens, client certificates and proxies in front of a real node."""

from __future__ import annotations

import json
import ssl
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from connector.cli.main import cli
from connector.connection.client import check_server, connect
from connector.errors import ClusterError
from tests.fault_proxy import TLS_FOLDER, fault_proxy
from tests.forward_proxy import forward_proxy

pytestmark = pytest.mark.opensearch

CA = str(TLS_FOLDER / "ca.pem")
CERT = str(TLS_FOLDER / "client.pem")
KEY = str(TLS_FOLDER / "client-key.pem")
NEWEST = ssl.TLSVersion.TLSv1_3
TOKEN = "a.m4rked-t0ken"


def run(*arguments: str) -> Result:
    result = CliRunner().invoke(cli, list(arguments))
    assert TOKEN not in result.output
    return result


def test_a_corpus_goes_in_and_out_with_token_certificate_and_proxy(
    opensearch_url: str, index: str, head_folder: Path, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("corpus.jsonl").write_text('{"_id": "d1", "text": "stars burn"}\n')
    options = ["--index", index, "--encoder", str(head_folder)]
    with (
        fault_proxy(opensearch_url, tls=True, client_tls=NEWEST, authorization=f"Bearer {TOKEN}") as front,
        forward_proxy() as proxy,
    ):
        for name, value in (
            ("URL", front.url),
            ("BEARER_TOKEN", TOKEN),
            ("CA_CERTS", CA),
            ("CLIENT_CERT", CERT),
            ("CLIENT_KEY", KEY),
            ("PROXY", proxy.url),
        ):
            monkeypatch.setenv(f"OPENSEARCH_{name}", value)
        assert run("ingest", "corpus.jsonl", *options).exit_code == 0
        [hit] = json.loads(run("search", "stars burn", *options, "--json").stdout)["hits"]
        assert hit["doc_id"] == "d1"
        assert json.loads(run("status", "--json").stdout)["url"] == front.url
        assert any("/_bulk" in path for path in front.paths)
        assert {asked.partition(" ")[0] for asked in proxy.asked} == {"CONNECT"}


@pytest.mark.parametrize("trust", [["--ca-certs", CA], ["--insecure"]], ids=lambda trust: trust[0])
def test_a_client_certificate_is_shown_whether_the_server_is_verified_or_not(
    opensearch_url: str, trust: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with fault_proxy(opensearch_url, tls=True, client_tls=NEWEST) as front:
        monkeypatch.setenv("OPENSEARCH_URL", front.url)
        result = run("status", "--json", *trust, "--client-cert", CERT, "--client-key", KEY)
        assert result.exit_code == 0, result.output
        verify = "--insecure" not in trust
        with connect(front.url, verify_certs=verify, ca_certs=CA, client_cert=CERT, client_key=KEY) as client:
            assert check_server(client).url == front.url


@pytest.mark.parametrize("shown", [[], ["--client-cert", str(TLS_FOLDER / "server.pem")]], ids=["none", "other"])
@pytest.mark.parametrize(
    ("newest", "said"),
    [
        (ssl.TLSVersion.TLSv1_2, ("refuses the client certificate, or asks for one",)),
        # The server's alert comes after the handshake: the request may find the connection closed before it is read.
        (
            ssl.TLSVersion.TLSv1_3,
            (
                "refuses the client certificate, or asks for one",
                "closes the connection without an answer; if it asks for a client certificate, name one",
            ),
        ),
    ],
)
def test_without_a_certificate_that_it_trusts_the_server_is_not_called_no_tls(
    opensearch_url: str,
    shown: list[str],
    newest: ssl.TLSVersion,
    said: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with fault_proxy(opensearch_url, tls=True, client_tls=newest) as front:
        monkeypatch.setenv("OPENSEARCH_URL", front.url)
        for command in (["status"], ["search", "stars", "--index", "docs"]):
            result = run(*command, "--ca-certs", CA, *shown)
            assert (result.exit_code, result.stdout) == (1, "")
            assert (
                result.stderr.startswith(tuple(f"Error: {front.url} {each}" for each in said))
                and result.stderr.count("\n") == 1
            )
            assert "OPENSEARCH_CLIENT_CERT" in result.stderr


@pytest.mark.parametrize("header", [f"ApiKey {TOKEN}", f"Bearer {TOKEN}"])
def test_a_token_that_is_refused_is_one_line_that_does_not_hold_it(
    opensearch_url: str, header: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with fault_proxy(opensearch_url, authorization="Bearer another") as front:
        monkeypatch.setenv("OPENSEARCH_URL", front.url)
        monkeypatch.setenv(f"OPENSEARCH_{'API_KEY' if 'ApiKey' in header else 'BEARER_TOKEN'}", TOKEN)
        result = run("search", "stars", "--index", "docs")
    assert result.exit_code == 1 and "OPENSEARCH_BEARER_TOKEN" in result.stderr and "401" in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_node_behind_a_path_is_written_to_and_named_with_it(
    workplace: Path, opensearch_url: str, index: str, head_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("corpus.jsonl").write_text('{"_id": "d1", "text": "stars burn"}\n')
    with fault_proxy(opensearch_url, prefix="/search/here") as front:
        monkeypatch.setenv("OPENSEARCH_URL", f"{front.url}/search/here/")
        result = run("ingest", "corpus.jsonl", "--index", index, "--encoder", str(head_folder))
        assert result.exit_code == 0, result.output
        result = run("search", "stars", "--index", index, "--encoder", str(head_folder), "--json")
        assert [hit["doc_id"] for hit in json.loads(result.stdout)["hits"]] == ["d1"]
        monkeypatch.setenv("OPENSEARCH_URL", f"{front.url}/other")
        for command in (["status"], ["search", "stars", "--index", index]):
            assert f"{front.url}/other" in run(*command).stderr


def test_a_node_that_is_down_is_no_reason_to_stop(
    opensearch_url: str, index: str, head_folder: Path, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("corpus.jsonl").write_text("".join(f'{{"_id": "d{row}", "text": "stars burn"}}\n' for row in range(20)))
    monkeypatch.setenv("OPENSEARCH_URL", f"http://127.0.0.1:1,{opensearch_url}")
    options = ["--index", index, "--encoder", str(head_folder)]
    result = run("ingest", "corpus.jsonl", *options, "--chunk-size", "2", "--json")
    assert result.exit_code == 0 and json.loads(result.stdout)["indexed"] == 20
    assert run("search", "stars", *options).exit_code == 0


def test_certificates_of_the_environment_that_are_missing_are_named(
    opensearch_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENSEARCH_URL", "https://localhost")
    monkeypatch.setenv("OPENSEARCH_CA_CERTS", "missing.pem")
    result = run("status")
    assert result.stderr == (
        "Error: ca_certs 'missing.pem' cannot be read (No such file or directory); give a PEM file.\n"
    )
    with pytest.raises(ClusterError, match="ca_certs 'missing.pem' cannot be read"):
        connect()
