"""Connect to OpenSearch, and say in one line why that does not work."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from opensearchpy import OpenSearch
from opensearchpy.exceptions import (
    AuthenticationException,
    AuthorizationException,
    ConnectionError,
    ConnectionTimeout,
    SSLError,
    TransportError,
)

from connector.errors import ClusterError

MINIMUM_VERSION = (3, 0)
"""`recovery_source_excludes` keeps the features from being stored twice; it is tested here with 3.6."""


@dataclass(frozen=True, slots=True)
class Server:
    """The server that answers: its address (never with a password), name and version."""

    url: str
    cluster_name: str
    version: str


def connect(
    url: str,
    *,
    username: str | None = None,
    password: str | None = None,
    timeout_s: float = 30.0,
    verify_certs: bool = True,
    ca_certs: str | None = None,
    **options: Any,
) -> OpenSearch:
    """Make a client. Nothing is sent yet.

    Args:
        url: e.g. `https://search.example:9200`.
        username: For basic authentication, with `password`.
        password: Never logged, shown or stored.
        timeout_s: Longest wait for one reply.
        verify_certs: Check the server's certificate (https).
        ca_certs: A file of certificates to trust.
        **options: Passed on to opensearch-py's `OpenSearch`.

    Raises:
        ClusterError: The address is not one of http or https.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ClusterError(f"{_without_password(url)!r} is not an address such as http://localhost:9200.")
    username, password = username or parts.username, password or parts.password
    secure: dict[str, Any] = {}
    if parts.scheme == "https":
        secure = {"verify_certs": verify_certs, "ssl_show_warn": False}
        if ca_certs:
            secure["ca_certs"] = ca_certs
    return OpenSearch(
        hosts=[{"host": parts.hostname, "port": parts.port or (443 if parts.scheme == "https" else 9200)}],
        use_ssl=parts.scheme == "https",
        http_auth=(username, password) if username and password else None,
        timeout=timeout_s,
        # The writer decides what is sent again, and how long.
        max_retries=0,
        # Replies are small and loopback is common: compressing them costs more than it saves.
        http_compress=False,
        **(secure | options),
    )


def check_server(client: OpenSearch) -> Server:
    """Ask the server who it is.

    Raises:
        ClusterError: It is away, refuses the credentials, is too old, or is no OpenSearch.
    """
    with explained(client):
        reply = client.info()
    version = str(reply.get("version", {}).get("number", ""))
    distribution = reply.get("version", {}).get("distribution", "elasticsearch")
    if distribution != "opensearch":
        raise ClusterError(f"{address_of(client)} is {distribution} {version}, not OpenSearch; set OPENSEARCH_URL.")
    if _version_tuple(version) < MINIMUM_VERSION:
        needed = ".".join(map(str, MINIMUM_VERSION))
        raise ClusterError(
            f"{address_of(client)} runs OpenSearch {version}; {needed} or newer is needed. "
            "Upgrade it, or start one here with `ksparse up`."
        )
    return Server(address_of(client), str(reply.get("cluster_name", "")), version)


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
        raise ClusterError(
            f"{url} shows a certificate that cannot be verified; name its authority with --ca-certs."
        ) from error
    except ConnectionTimeout as error:
        raise ClusterError(f"{url} gave no answer in time; see `ksparse status`, or wait and try again.") from error
    except ConnectionError as error:
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
    info = error.info
    if isinstance(info, dict):
        cause = info.get("error", info)
        if isinstance(cause, dict):
            roots = cause.get("root_cause") or [cause]
            return str(roots[0].get("reason") or cause.get("reason") or cause.get("type"))
        return str(cause)
    return str(error.error)


def _version_tuple(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])


def _without_password(url: str) -> str:
    return re.sub(r"//[^@/]*@", "//", url)
