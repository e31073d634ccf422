"""Connect to OpenSearch, with one-line errors."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from logging import getLogger
from pathlib import Path
from typing import Any

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
from urllib3.exceptions import NameResolutionError

from connector.arguments import rename
from connector.connection.access import Access, access_from_environment, url_from_environment
from connector.connection.address import Address, without_password
from connector.connection.aws import Service, Signer
from connector.connection.factory import check_options, make_client
from connector.connection.proxy import Proxy, explain_proxy
from connector.connection.tls import causes_of, explain_tls
from connector.connection.transport import location
from connector.errors import BusyError, ClusterError

_log = getLogger("ksparse.connection")

_ADVICE = "see `ksparse status`, or set OPENSEARCH_URL."

MINIMUM_VERSIONS = {"opensearch": (3, 0), "elasticsearch": (8, 8)}
"""Tested here with OpenSearch 3.6; docs/elasticsearch.md says what was tried with Elasticsearch."""

_BUSY = (429, 502, 503, 504)
"""Statuses of a server, or of a load balancer before it, that may soon answer the same request."""

_REDIRECTS = (301, 302, 303, 307, 308)


@dataclass(frozen=True, slots=True)
class Server:
    """The connected server: address (without password), name, version and distribution."""

    url: str
    cluster_name: str
    version: str
    distribution: str


def connect(
    url: str | Sequence[str] | None = None,
    *,
    username: str | None = None,
    password: str | None = None,
    http_auth: tuple[str, str] | str | Signer | None = None,
    api_key: str | tuple[str, str] | None = None,
    bearer_token: str | None = None,
    aws_service: Service | None = None,
    verify_certs: bool = True,
    ca_certs: str | Path | None = None,
    client_cert: str | Path | None = None,
    client_key: str | Path | None = None,
    proxy: str | None = None,
    timeout_s: float = 30.0,
    max_connections: int = 16,
    http_compress: bool | None = None,
    **options: Any,
) -> OpenSearch:
    """Create a client, without sending a request.

    Args:
        url: E.g. `https://search.example:9200/path`; several nodes of one cluster as a list or joined by commas. None
            reads OPENSEARCH_URL, with credentials, certificates and proxy from OPENSEARCH_USERNAME etc. With a URL,
            these are not read from the environment, since secrets belong to one server.
        username: User for basic authentication.
        password: Password for basic authentication; never logged, shown or stored.
        http_auth: Alternative: such a pair, or a function that returns the headers of a request (`aws_signer`,
            opensearch-py's signers, a token that changes).
        api_key: Alternative: an encoded API key, or a pair of id and key.
        bearer_token: Alternative: a token such as a JWT.
        aws_service: Alternative: sign for Amazon's `es` or `aoss`; see `aws_signer`.
        verify_certs: Verify the server's certificate (https).
        ca_certs: File or folder of CA certificates; else SSL_CERT_FILE, else the system's.
        client_cert: File of a client certificate.
        client_key: File of its key, if separate.
        proxy: URL of an HTTP proxy; empty for none. None follows HTTPS_PROXY, HTTP_PROXY or ALL_PROXY, except for hosts
            in NO_PROXY and for this machine.
        timeout_s: Timeout of a request.
        max_connections: Size of the connection pool.
        http_compress: Use gzip; None enables it for servers on other machines.
        **options: Passed to opensearch-py's `OpenSearch`. `opensearch_url` is an alias of `url`.

    Raises:
        ClusterError: The URL is invalid, or a certificate cannot be read.
        ValueError: Two methods of authentication are given, or an option contradicts the URL.
        TypeError: An option is unknown.
    """
    access = Access(
        username=username,
        password=password,
        http_auth=http_auth,
        api_key=api_key,
        bearer_token=bearer_token,
        aws_service=aws_service,
        verify_certs=verify_certs,
        ca_certs=ca_certs,
        client_cert=client_cert,
        client_key=client_key,
        proxy=proxy,
    )
    # The options may contain opensearch-py's names for these.
    settings: dict[str, Any] = {"timeout": timeout_s, "pool_maxsize": max_connections, "http_compress": http_compress}
    settings |= rename(({} if url is None else {"url": url}) | options, "connect()", {"opensearch_url": "url"})
    url = settings.pop("url", None)
    if url is not None:
        return make_client(url, access, **settings)
    check_options(settings)
    if access != Access():
        raise ValueError("Credentials, certificates and proxies need a URL; give it, or leave all to OPENSEARCH_URL.")
    given = url_from_environment()
    if given is None:
        raise ClusterError("There is no address: give a URL, or set OPENSEARCH_URL.")
    return make_client(given, access_from_environment(), **settings)


def check_server(client: OpenSearch) -> Server:
    """Read and check the server's distribution and version.

    Raises:
        ClusterError: The server is unreachable, rejects the credentials, is too old, or is another product.
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
    _log.info("%s is %s %s, cluster %r.", url, distribution, version, reply.get("cluster_name"))
    return Server(url, str(reply.get("cluster_name", "")), version, distribution)


def is_elasticsearch(client: OpenSearch) -> bool:
    """Whether the server is Elasticsearch.

    A server without version information (Serverless), or that does not permit reading it, counts as OpenSearch.

    Raises:
        ClusterError: The server is unreachable or rejects the credentials.
    """
    try:
        with explained(client):
            try:
                return _distribution(client.info()) == "elasticsearch"
            except AuthorizationException:
                return False
    except (TransportError, SerializationError):
        return False


def _distribution(info: Mapping[str, Any]) -> str:
    """The distribution in the reply to `GET /`; missing only for Elasticsearch."""
    return str(info.get("version", {}).get("distribution", "elasticsearch"))


def address_of(client: OpenSearch) -> str:
    """The addresses of a client without credentials, joined by commas."""
    return ", ".join(
        str(
            Address(
                "https" if host.get("use_ssl") or client.transport.kwargs.get("use_ssl") else "http",
                host["host"],
                host["port"],
                f"/{prefix}" if (prefix := host.get("url_prefix", "").strip("/")) else "",
            )
        )
        for host in client.transport.hosts
    )


@contextmanager
def explained(client: OpenSearch) -> Iterator[None]:
    """Translate errors of connection and permission, and of a busy server, to a `ClusterError` with the next step."""
    url = address_of(client)
    try:
        yield
    except ConnectionTimeout as error:
        raise ClusterError(f"{url} gave no answer in time; see `ksparse status`, or wait and try again.") from error
    except ConnectionError as error:
        if isinstance(error.info, ClusterError):  # the signer's
            raise error.info from None
        raise ClusterError(_explain_connection(client, url, error)) from error
    except AuthenticationException as error:
        raise ClusterError(
            f"{url} refuses the credentials (401); set OPENSEARCH_USERNAME and OPENSEARCH_PASSWORD, or "
            "OPENSEARCH_API_KEY or OPENSEARCH_BEARER_TOKEN, to valid ones."
        ) from error
    except AuthorizationException as error:
        raise ClusterError(
            f"{url} does not permit this (403): {reason_of(error)}. Request the permission, or lift the block."
        ) from error
    except TransportError as error:
        if error.status_code in _BUSY:
            raise BusyError(f"{url} cannot answer now ({error.status_code}): {reason_of(error)}. Try again.") from error
        proxies = _proxies(client)
        if error.status_code == 407 and proxies:
            raise ClusterError(f"The {proxies[0]} asks for credentials (407); give them in its URL.") from error
        leads = location(error)
        if leads is not None and error.status_code in _REDIRECTS:
            raise ClusterError(
                f"{url} redirects to {without_password(leads)}, where no credentials are sent. Set OPENSEARCH_URL to "
                "the address that answers."
            ) from error
        raise


def _explain_connection(client: OpenSearch, url: str, error: ConnectionError) -> str:
    for proxy in _proxies(client):
        explanation = explain_proxy(proxy, error)
        if explanation is not None:
            return f"{url} cannot be reached. {explanation}"
    explanation = explain_tls(url, error)
    if explanation is not None:
        return explanation
    if isinstance(error, SSLError):
        return f"{url} does not speak TLS: {error.error}"
    if any(isinstance(cause, NameResolutionError) for cause in causes_of(error)):
        return f"The host of {url} is not known to this machine. Correct OPENSEARCH_URL, or the network's names."
    return f"No OpenSearch answers at {url}. Start one with `ksparse up`, or set OPENSEARCH_URL."


def _proxies(client: OpenSearch) -> list[Proxy]:
    return [host["proxy"] for host in client.transport.hosts if "proxy" in host]


def reason_of(error: TransportError) -> str:
    """The server's reason for an error, in one line."""
    if not isinstance(error.info, dict):
        said = _first_line(error.error)
        return said if not said.startswith("<") else "it answers with a page of HTML"
    cause = error.info.get("error", error.info)
    return root_cause(cause) if isinstance(cause, dict) else str(cause)


def root_cause(error: Mapping[str, Any]) -> str:
    """The first reason that the server gives under `all shards failed`, else its reason for the whole request."""
    [first, *_] = error.get("root_cause") or [error]
    if first.get("type") == "index_closed_exception":  # whose reason is "closed"
        return f"index {first.get('index')!r} is closed; open it, or take it out of its aliases"
    if not error.get("root_cause") and error.get("failed_shards"):  # of a task
        first = error["failed_shards"][0].get("reason") or error
    while "Failed to compile" in str(first.get("reason")) and isinstance(first.get("caused_by"), Mapping):
        first = first["caused_by"]  # its own reason is the whole script
    cause = error.get("caused_by")
    below = cause.get("reason") if isinstance(cause, Mapping) else None  # of a search without any of its shards
    reason = first.get("reason") or error.get("reason") or below or error.get("type") or "it gives no reason"
    while reason == "Failed to parse" and isinstance(cause, Mapping):  # a count gives no other reason
        inner = cause.get("caused_by")
        if cause.get("type") == "parsing_exception" or not isinstance(inner, Mapping):
            reason = cause.get("reason") or reason
        cause = inner
    return str(reason).rstrip(";. ")


def _first_line(error: object) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]


def version_tuple(version: str) -> tuple[int, ...]:
    """The first three numbers of a version, for comparisons."""
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])
