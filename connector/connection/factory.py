"""Create opensearch-py's client from addresses and access settings."""

from __future__ import annotations

import inspect
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from logging import getLogger
from typing import Any

import urllib3
from opensearchpy import ConnectionPool, OpenSearch, RequestsHttpConnection, Transport

from connector.arguments import refuse_unknown
from connector.connection.access import Access
from connector.connection.address import Address, parse_addresses
from connector.connection.proxy import Proxy, find_proxy
from connector.connection.tls import tls_context
from connector.connection.transport import FailoverTransport, PatientConnection

_log = getLogger("ksparse.connection")

_SAID_BY_THE_URL = ("hosts", "host", "port", "use_ssl", "scheme", "url_prefix")
_SAID_HERE = ("verify_certs", "ca_certs", "client_cert", "client_key")


def make_client(
    url: str | Sequence[str],
    access: Access,
    *,
    timeout: float = 30.0,
    pool_maxsize: int = 16,
    http_compress: bool | None = None,
    **options: Any,
) -> OpenSearch:
    """Create a client; arguments and errors as in `connect`, with opensearch-py's names."""
    addresses, credentials = parse_addresses(url)
    if credentials is not None:
        username, password = access.username or credentials.username, access.password or credentials.password
        access = replace(access, username=username, password=password)
    access.check()
    connection_class: type = options.pop("connection_class", PatientConnection)
    check_options(options, connection_class)
    headers = {name.lower(): value for name, value in (options.pop("headers", None) or {}).items()}
    authorization = access.authorization()
    if authorization is not None:
        headers = {"authorization": authorization} | headers
    if issubclass(connection_class, PatientConnection):
        proxies = [find_proxy(address, access.proxy) for address in addresses]
        secure = _secure(addresses, proxies, access, options)
        for address, proxy in zip(addresses, proxies, strict=True):
            if proxy is not None:
                _log.info("Requests to %s go through the %s.", address, proxy)
    else:
        proxies = [None for _ in addresses]
        secure = _left_to(connection_class, access)
    if http_compress is None:
        http_compress = not all(address.is_loopback for address in addresses)
    return OpenSearch(
        hosts=[_host(address, proxy) for address, proxy in zip(addresses, proxies, strict=True)],
        connection_class=connection_class,
        http_auth=access.signer(),
        headers=headers,
        timeout=timeout,
        pool_maxsize=pool_maxsize,
        http_compress=http_compress,
        # The writer handles retries.
        max_retries=0,
        **({"transport_class": FailoverTransport} | secure | options),
    )


def _host(address: Address, proxy: Proxy | None) -> dict[str, Any]:
    host: dict[str, Any] = {"host": address.host, "port": address.port, "use_ssl": address.scheme == "https"}
    if address.path:
        host["url_prefix"] = address.path
    return host if proxy is None else host | {"proxy": proxy}


def _secure(
    addresses: Sequence[Address], proxies: Sequence[Proxy | None], access: Access, options: dict[str, Any]
) -> dict[str, Any]:
    """TLS options, with files read once."""
    met = [*addresses, *(proxy.address for proxy in proxies if proxy is not None)]
    named_host = options.pop("ssl_assert_hostname", None)
    if "ssl_context" in options or all(address.scheme == "http" for address in met):
        return {}
    context = tls_context(
        verify_certs=access.verify_certs,
        ca_certs=access.ca_certs,
        client_cert=access.client_cert,
        client_key=access.client_key,
    )
    if named_host is False:
        context.check_hostname = False
    if context.verify_mode == ssl.CERT_NONE:  # as requested; otherwise each request would warn
        urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
    return {"ssl_context": context}


def _left_to(connection_class: type, access: Access) -> dict[str, Any]:
    """TLS options for another connection class."""
    options = {name: getattr(access, name) for name in _SAID_HERE if getattr(access, name, None) is not None}
    if access.proxy is not None:
        if not issubclass(connection_class, RequestsHttpConnection):
            raise ValueError(f"{connection_class.__name__} takes no proxy; leave proxy or connection_class out.")
        options["proxies"] = {"http": access.proxy, "https": access.proxy}
    return options | {"ssl_show_warn": False}


def check_options(options: Mapping[str, Any], connection_class: type = PatientConnection) -> None:
    """Refuse options that opensearch-py would silently ignore.

    Raises:
        ValueError: An option does not belong to the client.
        TypeError: An option is unknown.
    """
    for name in options:
        if name in _SAID_BY_THE_URL:
            raise ValueError(f"{name} belongs in the URL (https://search.example:9200/path), or a list of URLs.")
        if name == "max_retries" or name.startswith("retry_on_"):
            raise ValueError(
                f"{name} is not an option of the client: the writer decides what is retried, and how long."
            )
    refuse_unknown(options, connection_options(connection_class), "connect()")


def connection_options(connection_class: type = PatientConnection) -> set[str]:
    """Names of all options of `connect`, including opensearch-py's."""
    ours = {each.name for each in fields(Access)} | {"url", "opensearch_url", "timeout_s", "max_connections"}
    theirs = _names_of(connection_class, Transport, ConnectionPool) | {"transport_class", "_client_meta"}
    # `connect` says what to do in the place of those that the URL says.
    return ours | theirs | set(_SAID_BY_THE_URL)


def _names_of(*classes: type) -> set[str]:
    """The parameters of classes and their base classes."""
    found: set[str] = set()
    for each in classes:
        for base in inspect.getmro(each)[:-1]:
            found |= set(inspect.signature(base.__init__).parameters)  # type: ignore[misc]
    return found - {"self", "args", "kwargs", "proxy", *_SAID_BY_THE_URL}
