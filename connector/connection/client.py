"""Connect to OpenSearch, and say in one line why that does not work."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

from opensearchpy import OpenSearch
from opensearchpy.exceptions import (
    AuthenticationException,
    AuthorizationException,
    ConnectionError,
    ConnectionTimeout,
    SerializationError,
    SSLError,
    TransportError,
)

from connector.connection.aws import Signer
from connector.connection.tls import explain_tls
from connector.connection.transport import PatientConnection
from connector.errors import ClusterError

_ADVICE = "see `ksparse status`, or set OPENSEARCH_URL."

MINIMUM_VERSIONS = {"opensearch": (3, 0), "elasticsearch": (8, 8)}
"""Tested here with OpenSearch 3.6; docs/elasticsearch.md says what was tried with Elasticsearch."""


@dataclass(frozen=True, slots=True)
class Server:
    """The server that answers: its address (never with a password), name, version and what it is."""

    url: str
    cluster_name: str
    version: str
    distribution: str


def connect(
    url: str,
    *,
    username: str | None = None,
    password: str | None = None,
    http_auth: tuple[str, str] | Signer | None = None,
    timeout_s: float = 30.0,
    verify_certs: bool = True,
    ca_certs: str | None = None,
    max_connections: int = 16,
    http_compress: bool | None = None,
    **options: Any,
) -> OpenSearch:
    """Make a client. Nothing is sent yet.

    Args:
        url: e.g. `https://search.example:9200`.
        username: For basic authentication, with `password`.
        password: Never logged, shown or stored.
        http_auth: Instead of them: such a pair, or what signs requests (`aws_signer`, opensearch-py's signers).
        timeout_s: Longest wait for one reply.
        verify_certs: Check the server's certificate (https).
        ca_certs: A file of certificates to trust.
        max_connections: Kept open for requests at the same time.
        http_compress: Send and receive gzip; if None, wherever the server is not on this machine.
        **options: Passed on to opensearch-py's `OpenSearch`.

    Raises:
        ClusterError: The address is not one of http or https.
        ValueError: There are both a user name and `http_auth`.
    """
    parts, port = _split(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ClusterError(f"{_without_password(url)!r} is not an address such as http://localhost:9200.")
    username, password = username or _unquoted(parts.username), password or _unquoted(parts.password)
    if http_auth is not None and (username or password):
        raise ValueError("http_auth takes the place of username and password; leave one of them out.")
    if username and password:
        http_auth = username, password
    if isinstance(http_auth, tuple):
        # urllib3 writes Latin-1, OpenSearch reads UTF-8.
        http_auth = http_auth[0].encode().decode("latin-1"), http_auth[1].encode().decode("latin-1")
    secure: dict[str, Any] = {}
    if parts.scheme == "https":
        secure = {"verify_certs": verify_certs, "ssl_show_warn": False}
        if ca_certs:
            secure["ca_certs"] = ca_certs
    host: dict[str, Any] = {
        "host": parts.hostname,
        "port": port or (443 if parts.scheme == "https" else 9200),
    }
    if parts.path.strip("/"):
        host["url_prefix"] = parts.path.strip("/")
    return OpenSearch(
        hosts=[host],
        use_ssl=parts.scheme == "https",
        http_auth=http_auth,
        timeout=timeout_s,
        pool_maxsize=max_connections,
        # The writer decides what is sent again, and how long.
        max_retries=0,
        http_compress=not _is_loopback(parts.hostname) if http_compress is None else http_compress,
        **({"connection_class": PatientConnection} | secure | options),
    )


def _is_loopback(hostname: str) -> bool:
    try:
        return ip_address(hostname).is_loopback
    except ValueError:
        return hostname == "localhost"


def check_server(client: OpenSearch) -> Server:
    """Ask the server who it is.

    Raises:
        ClusterError: It is away, refuses the credentials, is too old, or is neither OpenSearch nor Elasticsearch.
    """
    url = address_of(client)
    try:
        with explained(client):
            reply = client.info()
    except (TransportError, SerializationError) as error:
        raise ClusterError(f"{url} does not answer as OpenSearch does ({_first_line(error)}); {_ADVICE}") from error
    if not isinstance(reply, dict):
        raise ClusterError(f"{url} does not answer as OpenSearch does; {_ADVICE}")
    version = str(reply.get("version", {}).get("number", ""))
    distribution = _distribution(reply)
    minimum = MINIMUM_VERSIONS.get(distribution)
    if minimum is None or not version:
        raise ClusterError(f"{url} is {distribution} {version}, not OpenSearch; set OPENSEARCH_URL.")
    if version_tuple(version) < minimum:
        needed = ".".join(map(str, minimum))
        raise ClusterError(
            f"{url} runs {distribution} {version}; {needed} or newer is needed. "
            "Upgrade it, or start an OpenSearch here with `ksparse up`."
        )
    return Server(url, str(reply.get("cluster_name", "")), version, distribution)


def is_elasticsearch(client: OpenSearch) -> bool:
    """Whether the server is an Elasticsearch. One that does not say who it is (Serverless) is an OpenSearch.

    Raises:
        ClusterError: It is away or refuses the credentials.
    """
    try:
        with explained(client):
            return _distribution(client.info()) == "elasticsearch"
    except (TransportError, SerializationError):
        return False


def _distribution(info: Mapping[str, Any]) -> str:
    """What a server's reply to `GET /` says it is; Elasticsearch alone does not say."""
    return str(info.get("version", {}).get("distribution", "elasticsearch"))


def address_of(client: OpenSearch) -> str:
    """The address that a client talks to, without credentials."""
    host = client.transport.hosts[0]
    scheme = "https" if host.get("use_ssl") or client.transport.kwargs.get("use_ssl") else "http"
    return f"{scheme}://{host['host']}:{host['port']}"


@contextmanager
def explained(client: OpenSearch) -> Iterator[None]:
    """Turn what any request can run into (no answer, no permission) into a `ClusterError` with the next step."""
    url = address_of(client)
    try:
        yield
    except SSLError as error:
        raise ClusterError(explain_tls(url, error) or f"{url} does not speak TLS: {error.error}") from error
    except ConnectionTimeout as error:
        raise ClusterError(f"{url} gave no answer in time; see `ksparse status`, or wait and try again.") from error
    except ConnectionError as error:
        if isinstance(error.info, ClusterError):  # the signer's
            raise error.info from None
        raise ClusterError(
            f"No OpenSearch answers at {url}. Start one with `ksparse up`, or set OPENSEARCH_URL."
        ) from error
    except AuthenticationException as error:
        raise ClusterError(
            f"{url} refuses the credentials (401); set OPENSEARCH_USERNAME and OPENSEARCH_PASSWORD."
        ) from error
    except AuthorizationException as error:
        raise ClusterError(
            f"{url} does not permit this (403): {reason_of(error)}. Ask for the right, or lift the block."
        ) from error


def reason_of(error: TransportError) -> str:
    """The server's own words for an error, in one line."""
    if not isinstance(error.info, dict):
        return str(error.error)
    cause = error.info.get("error", error.info)
    return root_cause(cause) if isinstance(cause, dict) else str(cause)


def root_cause(error: Mapping[str, Any]) -> str:
    """The first reason that the server gives under `all shards failed`, else its reason for the whole request."""
    [first, *_] = error.get("root_cause") or [error]
    return str(first.get("reason") or error.get("reason") or error.get("type"))


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]


def version_tuple(version: str) -> tuple[int, ...]:
    """The first three numbers of a version, for comparisons."""
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])


def _split(url: str) -> tuple[SplitResult, int | None]:
    try:
        parts = urlsplit(url)
        return parts, parts.port
    except ValueError:
        pass
    # Not while the error is handled: it shows what it could not read, and that may be a password.
    raise ClusterError("The address cannot be read: is its port a number? It should be like http://localhost:9200.")


def _unquoted(part: str | None) -> str | None:
    """A part of an address, which writes a colon in a password as %3A."""
    return None if part is None else unquote(part)


def _without_password(url: str) -> str:
    # Up to the last @: a password that should have been quoted may hold slashes and others.
    return re.sub(r"^(\w+://)?.*@", r"\1", url, flags=re.DOTALL)
