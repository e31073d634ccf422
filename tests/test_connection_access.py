"""Authentication from Python and from the environment; a small HTTP server records the requests."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from opensearchpy import RequestsHttpConnection

from connector.cli.main import cli
from connector.connection.access import Access, access_from_environment
from connector.connection.client import check_server, connect
from connector.errors import ClusterError
from tests.fault_proxy import TLS_FOLDER
from tests.http_server import QuietHandler, serving

INFO = {"cluster_name": "books", "version": {"distribution": "opensearch", "number": "3.6.0"}}
SECRET = "m4rked"


def basic(username: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()


@contextmanager
def listening() -> Iterator[tuple[str, list[dict[str, str]]]]:
    """A fake OpenSearch, and the headers of its requests."""
    kept: list[dict[str, str]] = []

    class Handler(QuietHandler):
        def do_GET(self) -> None:
            kept.append({name.lower(): value for name, value in self.headers.items()})
            self.reply(json.dumps(INFO).encode())

    with serving(Handler) as url:
        yield url, kept


@pytest.fixture(autouse=True)
def empty_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Access.__dataclass_fields__:
        monkeypatch.delenv(f"OPENSEARCH_{name.upper()}", raising=False)
    monkeypatch.delenv("OPENSEARCH_URL", raising=False)


GIVEN: list[tuple[dict[str, Any], str]] = [
    ({"username": "ada", "password": "lacé:1"}, basic("ada", "lacé:1")),
    ({"http_auth": ("ada", "lace")}, basic("ada", "lace")),
    ({"http_auth": ["ada", "lace"]}, basic("ada", "lace")),
    ({"http_auth": "ada:la:ce"}, basic("ada", "la:ce")),
    ({"api_key": "b3BlbjpzZWNyZXQ="}, "ApiKey b3BlbjpzZWNyZXQ="),
    ({"api_key": ("open", "secret")}, "ApiKey b3BlbjpzZWNyZXQ="),
    ({"bearer_token": "a.b-c_d"}, "Bearer a.b-c_d"),
    ({"headers": {"Authorization": "Own 1"}}, "Own 1"),
]


@pytest.mark.parametrize(("options", "header"), GIVEN, ids=lambda each: str(each)[:40])
@pytest.mark.parametrize("connection_class", [None, RequestsHttpConnection])
def test_each_way_in_is_the_header_that_servers_know(
    options: dict[str, Any], header: str, connection_class: type | None
) -> None:
    asked = options | ({} if connection_class is None else {"connection_class": connection_class})
    with listening() as (url, kept):
        with connect(url, **asked) as client:
            check_server(client)
        assert [headers["authorization"] for headers in kept] == [header]


def test_a_token_that_changes_is_asked_for_with_each_request() -> None:
    tokens = iter(["first", "second"])
    with listening() as (url, kept):
        with connect(url, http_auth=lambda *_: {"Authorization": f"Bearer {next(tokens)}"}) as client:
            check_server(client)
            check_server(client)
        assert [headers["authorization"] for headers in kept] == ["Bearer first", "Bearer second"]


@pytest.mark.parametrize(
    ("variables", "header"),
    [
        ({"USERNAME": "ada", "PASSWORD": "lace"}, basic("ada", "lace")),
        ({"API_KEY": "b3BlbjpzZWNyZXQ=\n"}, "ApiKey b3BlbjpzZWNyZXQ="),
        ({"BEARER_TOKEN": " a.b\n"}, "Bearer a.b"),
        ({"USERNAME": "", "PASSWORD": "", "API_KEY": " "}, None),
    ],
)
def test_the_environment_is_read_by_commands_and_by_connect(
    variables: dict[str, str], header: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with listening() as (url, kept):
        for name, value in (variables | {"URL": url}).items():
            monkeypatch.setenv(f"OPENSEARCH_{name}", value)
        result = CliRunner().invoke(cli, ["status", "--json"])
        assert result.exit_code == 0, result.output
        with connect() as client:
            check_server(client)
        assert {headers.get("authorization") for headers in kept} == {header}


def test_a_secret_of_the_environment_goes_to_no_url_that_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENSEARCH_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("OPENSEARCH_BEARER_TOKEN", SECRET)
    with listening() as (url, kept):
        with connect(url) as client:
            check_server(client)
        assert "authorization" not in kept[0]


def test_connect_without_an_address_says_where_one_could_be() -> None:
    with pytest.raises(ClusterError, match="There is no address: give a URL, or set OPENSEARCH_URL"):
        connect()
    with pytest.raises(ValueError, match="need a URL; give it, or leave all to OPENSEARCH_URL"):
        connect(api_key="key")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"username": "ada", "password": SECRET, "api_key": SECRET}, "username and api_key are both set"),
        ({"http_auth": ("ada", SECRET), "bearer_token": SECRET}, "http_auth and bearer_token are both set"),
        ({"bearer_token": SECRET, "aws_service": "es"}, "bearer_token and aws_service are both set"),
        ({"username": "ada"}, "password is not set, but username is"),
        ({"password": SECRET}, "username is not set, but password is"),
        ({"bearer_token": f"Bearer {SECRET}"}, "bearer_token contains a space or a character"),
        ({"api_key": f"{SECRET}\nX: 1"}, "api_key contains a space"),
        ({"api_key": f"{SECRET}é"}, "api_key contains a space or a character"),
        ({"aws_service": "s3"}, "aws_service is 's3'; it must be es, or aoss"),
    ],
)
def test_what_contradicts_itself_is_refused_by_python_and_environment(
    given: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ValueError, match=message) as refused:
        connect("http://localhost", **given)
    assert SECRET not in str(refused.value)
    if "http_auth" in given:
        return
    for name, value in given.items():
        monkeypatch.setenv(f"OPENSEARCH_{name.upper()}", value)
    for name in given:
        message = message.replace(name, f"OPENSEARCH_{name.upper()}", 1)
    with pytest.raises(ClusterError) as wrong:
        access_from_environment()
    assert SECRET not in str(wrong.value)
    assert all(f"OPENSEARCH_{word.upper()}" in str(wrong.value) for word in given if word in message.lower())


def test_a_repr_of_the_arguments_holds_no_secret() -> None:
    given = [
        Access(username="ada", password=SECRET),
        Access(api_key=SECRET),
        Access(bearer_token=SECRET),
        Access(http_auth=("ada", SECRET)),
        Access(proxy=f"http://ada:{SECRET}@proxy"),
    ]
    client = connect("http://search.example", proxy=f"http://ada:{SECRET}@proxy", bearer_token=SECRET)
    for each in (*given, client, client.transport.hosts, client.transport.get_connection()):
        assert SECRET not in repr(each) and SECRET not in str(each)


@pytest.mark.parametrize(
    ("value", "verifies"), [("false", False), ("0", False), ("No", False), ("true", True), ("1", True)]
)
def test_the_environment_may_trust_every_server(value: str, verifies: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENSEARCH_VERIFY_CERTS", value)
    assert access_from_environment().verify_certs is verifies


def test_an_invalid_reference_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENSEARCH_VERIFY_CERTS", "maybe")
    with pytest.raises(ClusterError, match="OPENSEARCH_VERIFY_CERTS is 'maybe'; set true or false"):
        access_from_environment()


@pytest.mark.parametrize(
    ("option", "error", "message"),
    [
        ({"verify_cert": False}, TypeError, "no option 'verify_cert'; did you mean 'verify_certs'?"),
        ({"timeouts": 3}, TypeError, "no option 'timeouts'; did you mean 'timeout"),
        ({"opensearch_url": "http://x"}, TypeError, "got 'opensearch_url' and 'url', which are the same option"),
        ({"hosts": ["http://x"]}, ValueError, "hosts belongs in the URL"),
        ({"use_ssl": True}, ValueError, "use_ssl belongs in the URL"),
        ({"port": 9200}, ValueError, "port belongs in the URL"),
        ({"max_retries": 3}, ValueError, "max_retries is not an option of the client"),
        ({"retry_on_timeout": True}, ValueError, "retry_on_timeout is not an option of the client"),
    ],
)
def test_an_option_that_nobody_knows_is_an_error(option: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        connect("http://localhost:9200", **option)


def test_options_of_opensearch_py_have_their_own_names_too() -> None:
    client = connect("http://localhost:9200", timeout=7, pool_maxsize=3, opaque_id="a job", dead_timeout=5)
    connection = client.transport.get_connection()
    assert connection.timeout == 7 and connection.pool.pool.maxsize == 3
    assert connection.headers["x-opaque-id"] == "a job"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ca_certs": "missing.pem"}, r"ca_certs 'missing\.pem' cannot be read \(No such file or directory\)"),
        ({"ca_certs": "text.pem"}, r"ca_certs 'text\.pem' cannot be read"),
        ({"client_cert": "missing.pem"}, r"client_cert 'missing\.pem' cannot be read \(No such file"),
        ({"client_cert": "client.pem"}, "with the key in the same file, or name it as client_key"),
        ({"client_key": "client-key.pem"}, r"client_key 'client-key\.pem' needs its certificate, as client_cert"),
        ({"client_cert": "client.pem", "client_key": "server.pem"}, "do not match"),
        ({"client_cert": "client.pem", "client_key": "client-key-encrypted.pem"}, "is encrypted; decrypt it"),
    ],
)
def test_certificates_that_cannot_be_used_are_named(
    options: dict[str, Any], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in TLS_FOLDER.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "text.pem").write_text("no certificate")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ClusterError, match=message):
        connect("https://localhost", **options)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"http_auth": SECRET}, "http_auth must be a pair of a user name and a password"),
        ({"http_auth": ("ada", SECRET, "x")}, "http_auth must be a pair"),
        ({"http_auth": {"ada": SECRET}}, "http_auth must be a pair"),
        ({"http_auth": ("ada", 1)}, "both strings"),
        ({"api_key": (SECRET,)}, "api_key must be a pair of an id and a key"),
    ],
)
def test_a_pair_that_is_none_is_named_and_not_shown(option: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as refused:
        connect("http://localhost", **option)
    assert SECRET not in str(refused.value)
