"""Requests signed for AWS, as a server receives them; their signatures are made again by AWS's description."""

from __future__ import annotations

import hashlib
import hmac
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.message import Message
from pathlib import Path
from urllib.parse import parse_qsl, quote

import pytest
from click.testing import CliRunner

from connector.cli.connection import open_client
from connector.cli.main import cli
from connector.connection.aws import aws_signer
from connector.connection.client import check_server, connect
from connector.errors import ClusterError
from tests.http_server import QuietHandler, serving

pytest.importorskip("botocore", reason="pip install 'ksparse[aws]'")

SECRET, TOKEN = "s3cret/of+the=key", "t0ken/of+the=session"
BULK = '{"index":{"_id":"é"}}\n{"text":"stars"}\n'.encode()


@dataclass(frozen=True)
class Request:
    method: str
    target: str
    headers: Message
    body: bytes


@pytest.fixture
def received() -> Iterator[tuple[str, list[Request]]]:
    """A server that keeps what it receives, and its address."""
    kept: list[Request] = []

    class Handler(QuietHandler):
        def answer(self) -> None:
            kept.append(Request(self.command, self.path, self.headers, self.body()))
            self.reply(json.dumps({"version": {"distribution": "opensearch", "number": "3.6.0"}}).encode())

        do_GET = do_POST = do_PUT = do_HEAD = answer

    with serving(Handler) as url:
        yield url, kept


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Credentials in the environment, and nowhere else; the file that profiles would be read from."""
    for name in ("OPENSEARCH_USERNAME", "OPENSEARCH_PASSWORD", "AWS_PROFILE", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    variables = {
        "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_SESSION_TOKEN": TOKEN,
        "AWS_REGION": "eu-west-1",
        "AWS_CONFIG_FILE": str(tmp_path / "config"),
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "credentials"),
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return tmp_path / "config"


def without_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name)


def parts_of(request: Request) -> dict[str, str]:
    """The parts of the header `Authorization`."""
    algorithm, _, rest = request.headers["Authorization"].partition(" ")
    assert algorithm == "AWS4-HMAC-SHA256"
    return dict(part.strip().split("=", 1) for part in rest.split(","))


def sign(request: Request, secret: str) -> str:
    """The signature that AWS would compute from what it receives."""
    parts = parts_of(request)
    path, _, query = request.target.partition("?")
    arguments = sorted((quote(name, safe="-_.~"), quote(value, safe="-_.~")) for name, value in parse_qsl(query, True))
    names = parts["SignedHeaders"].split(";")
    canonical = "\n".join(
        [
            request.method,
            quote(path, safe="/-_.~"),  # a second time, for any service but S3
            "&".join(f"{name}={value}" for name, value in arguments),
            *(f"{name}:{' '.join(request.headers[name].split())}" for name in names),
            "",
            parts["SignedHeaders"],
            hashlib.sha256(request.body).hexdigest(),
        ]
    )
    scope = parts["Credential"].split("/")[1:]
    key = f"AWS4{secret}".encode()
    for part in scope:
        key = hmac.digest(key, part.encode(), "sha256")
    hashed = hashlib.sha256(canonical.encode()).hexdigest()
    text = "\n".join(["AWS4-HMAC-SHA256", request.headers["X-Amz-Date"], "/".join(scope), hashed])
    return hmac.digest(key, text.encode(), "sha256").hex()


@pytest.mark.parametrize("service", ["es", "aoss"])
def test_every_kind_of_request_is_signed_as_aws_describes_it(received: tuple[str, list[Request]], service: str) -> None:
    url, kept = received
    with connect(url, http_auth=aws_signer(service)) as client:  # type: ignore[arg-type]
        check_server(client)
        client.bulk(body=BULK, index="docs", params={"filter_path": "items.*.status,items.*.error.type"})
        client.search(index="a+b,c", body={"query": {"match_all": {}}})
        client.indices.exists(index="docs")
        client.index(index="docs", id="a/b c?d=é%", body={"text": "x"})
    assert [request.method for request in kept] == ["GET", "POST", "POST", "HEAD", "PUT"]
    assert kept[1].body == BULK
    for request in kept:
        parts = parts_of(request)
        assert sign(request, SECRET) == parts["Signature"], request.target
        assert parts["Credential"].split("/")[0] == "AKIDEXAMPLE"
        assert parts["Credential"].split("/")[2:] == ["eu-west-1", service, "aws4_request"]
        assert request.headers["X-Amz-Security-Token"] == TOKEN
        assert request.headers["X-Amz-Content-Sha256"] == hashlib.sha256(request.body).hexdigest()
        assert {"host", "x-amz-date", "x-amz-security-token"} <= set(parts["SignedHeaders"].split(";"))


def test_a_signature_fits_no_other_body_and_no_other_key(received: tuple[str, list[Request]]) -> None:
    url, kept = received
    with connect(url, http_auth=aws_signer("es")) as client:
        client.bulk(body=BULK, index="docs")
    [request] = kept
    for body, secret in ((BULK + b"\n", SECRET), (BULK, "another key")):
        assert (
            sign(Request(request.method, request.target, request.headers, body), secret)
            != (parts_of(request)["Signature"])
        )


def test_the_environment_chooses_signing(received: tuple[str, list[Request]], monkeypatch: pytest.MonkeyPatch) -> None:
    url, kept = received
    monkeypatch.setenv("OPENSEARCH_URL", url)
    monkeypatch.setenv("OPENSEARCH_AWS_SERVICE", "es")
    open_client().close()
    result = CliRunner().invoke(cli, ["status", "--json"])
    assert json.loads(result.stdout)["version"] == "3.6.0", result.output
    assert len(kept) == 5
    for request in kept:
        assert sign(request, SECRET) == parts_of(request)["Signature"]


def test_without_the_service_nothing_is_signed_although_aws_is_set_up(
    received: tuple[str, list[Request]], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, kept = received
    monkeypatch.setenv("OPENSEARCH_URL", url)
    open_client().close()
    assert "Authorization" not in kept[0].headers


def test_serverless_is_not_asked_who_it_is(
    received: tuple[str, list[Request]], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, kept = received
    monkeypatch.setenv("OPENSEARCH_URL", url)
    monkeypatch.setenv("OPENSEARCH_AWS_SERVICE", "aoss")
    open_client().close()
    assert kept == []


def test_the_region_may_come_from_a_profile(environment: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_REGION")
    with pytest.raises(ClusterError, match="needs a region; set AWS_REGION"):
        aws_signer()
    environment.write_text("[default]\nregion = us-east-2\n")
    assert "/us-east-2/es/" in aws_signer()("GET", "https://host/", None)["Authorization"]


def test_missing_credentials_name_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    without_credentials(monkeypatch)
    with pytest.raises(ClusterError, match="finds no AWS credentials; set AWS_PROFILE, or AWS_ACCESS_KEY_ID"):
        aws_signer()
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(ClusterError, match=r"The config profile \(nobody\) could not be found\); correct AWS_PROFILE"):
        aws_signer()


def test_without_botocore_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "botocore.session", None)
    with pytest.raises(ClusterError, match=r"needs botocore, which is not installed: pip install 'ksparse\[aws\]'"):
        aws_signer()


def test_an_unknown_service_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="service 's3' must be one of es, aoss"):
        aws_signer("s3")  # type: ignore[arg-type]
    monkeypatch.setenv("OPENSEARCH_URL", "https://host")
    monkeypatch.setenv("OPENSEARCH_AWS_SERVICE", "s3")
    with pytest.raises(ClusterError, match="OPENSEARCH_AWS_SERVICE is 's3'; it must be es, or aoss for Serverless"):
        open_client()


def test_two_ways_to_authenticate_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="username and http_auth are both set; leave one of them out"):
        connect("https://host", username="me", password="x", http_auth=aws_signer())
    for name, value in (("URL", "https://host"), ("AWS_SERVICE", "es"), ("USERNAME", "me"), ("PASSWORD", "x")):
        monkeypatch.setenv(f"OPENSEARCH_{name}", value)
    with pytest.raises(ClusterError, match="OPENSEARCH_USERNAME and OPENSEARCH_AWS_SERVICE are both set"):
        open_client()


def test_credentials_that_cannot_be_renewed_are_no_missing_server(
    received: tuple[str, list[Request]], environment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, kept = received
    without_credentials(monkeypatch)
    soon = (datetime.now(UTC) + timedelta(seconds=30)).isoformat()
    once = environment.with_name("once")
    once.write_text(
        json.dumps({"Version": 1, "AccessKeyId": "A", "SecretAccessKey": SECRET, "Expiration": soon}), encoding="utf-8"
    )
    script = environment.with_name("script")
    script.write_text(f"cat {once} && rm {once}\n", encoding="utf-8")
    environment.write_text(f"[default]\ncredential_process = sh {script}\n")
    with (
        connect(url, http_auth=aws_signer()) as client,
        pytest.raises(ClusterError, match="The AWS credentials cannot be renewed .*; sign in again"),
    ):
        check_server(client)
    assert kept == []


def test_neither_key_nor_token_is_logged_or_shown(
    received: tuple[str, list[Request]], caplog: pytest.LogCaptureFixture
) -> None:
    url, _ = received
    caplog.set_level(0)
    signer = aws_signer()
    with connect(url, http_auth=signer) as client:
        client.bulk(body=BULK, index="docs")
        shown = caplog.text + repr(client) + repr(signer) + repr(client.transport.get_connection())
    assert "_bulk" in caplog.text and "StringToSign" in caplog.text, "nothing was logged: the test proves nothing"
    assert SECRET not in shown and TOKEN not in shown
