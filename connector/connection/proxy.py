"""Find the HTTP proxy of an address, and send requests through it."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from typing import Any
from urllib.request import getproxies_environment

from urllib3 import ProxyManager
from urllib3.exceptions import ProxyError

from connector.connection.access import basic
from connector.connection.address import Address, Credentials, parse_address
from connector.connection.tls import causes_of


@dataclass(frozen=True, slots=True)
class Proxy:
    """An HTTP or HTTPS proxy.

    Attributes:
        address: Address without credentials.
        named_by: Origin of the setting: `proxy` or an environment variable.
        credentials: Credentials; never shown.
    """

    address: Address
    named_by: str = "proxy"
    credentials: Credentials | None = field(default=None, repr=False)

    def __str__(self) -> str:
        return f"proxy {self.address}" + ("" if self.named_by == "proxy" else f" of {self.named_by}")


def find_proxy(address: Address, proxy: str | None = None) -> Proxy | None:
    """Return the proxy for an address; None for a direct connection.

    Args:
        address: The target address.
        proxy: URL of the proxy; empty for none. None follows HTTPS_PROXY, HTTP_PROXY or ALL_PROXY, unless NO_PROXY
            names the host or it is this machine.

    Raises:
        ClusterError: The URL is not an http or https URL.
    """
    named_by = "proxy"
    if proxy is None:
        found = getproxies_environment()
        if address.is_loopback or _is_excepted(address, found.get("no", "")):
            return None
        scheme = address.scheme if address.scheme in found else "all"
        proxy, named_by = found.get(scheme), f"{scheme.upper()}_PROXY"
    if not proxy:
        return None
    url = proxy if "://" in proxy else f"http://{proxy}"
    leads, credentials = parse_address(url, name=f"The URL of {named_by}", default_port=80)
    return Proxy(leads, named_by, credentials)


def _is_excepted(address: Address, no_proxy: str) -> bool:
    """Whether NO_PROXY matches a host: by name, domain (with or without port), or network."""
    host = address.host.lower()
    names = [name.strip().lower().removeprefix("*").lstrip(".") for name in no_proxy.split(",") if name.strip()]
    for name in names:
        if name in ("", host, f"{host}:{address.port}", f"[{host}]", f"[{host}]:{address.port}"):  # "" was *
            return True
        if host.endswith(f".{name}") or f"{host}:{address.port}".endswith(f".{name}"):
            return True
        try:
            if ip_address(host) in ip_network(name, strict=False):
                return True
        except ValueError:
            continue
    return False


class ProxiedPool:
    """Replaces urllib3's pool of direct connections by one through a proxy.

    Args:
        proxy: The proxy.
        host: Scheme, host and port of the server.
        options: Options of urllib3's pool, e.g. `timeout`, `maxsize` and `ssl_context`.
    """

    def __init__(self, proxy: Proxy, host: str, **options: Any) -> None:
        headers = {} if proxy.credentials is None else {"proxy-authorization": basic(*proxy.credentials)}
        self._manager = ProxyManager(
            str(proxy.address), proxy_headers=headers, proxy_ssl_context=options.get("ssl_context"), **options
        )
        self._host = host

    def urlopen(self, method: str, url: str, body: bytes | None = None, **options: Any) -> Any:  # noqa: ANN401
        """Send a request like urllib3's pools, without following redirects."""
        return self._manager.urlopen(method, self._host + url, redirect=False, body=body, **options)

    def close(self) -> None:
        """Close all connections."""
        self._manager.clear()


def explain_proxy(proxy: Proxy, error: BaseException) -> str | None:
    """Explain an error of the proxy with the next step; None if it was not the proxy."""
    for cause in causes_of(error):
        if isinstance(cause, ProxyError):
            # A proxy that is given, not found, is used for all hosts.
            without = "leave it out" if proxy.named_by == "proxy" else "add the server's host to NO_PROXY"
            return (
                f"The connection through the {proxy} failed: {cause.original_error}. Correct the address or "
                f"credentials of the proxy, or {without}."
            )
    return None
