"""Parse and format URLs of servers. Imports only the errors."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from ipaddress import ip_address
from typing import NamedTuple
from urllib.parse import SplitResult, unquote, urlsplit

from connector.errors import ClusterError

_HOST = re.compile(r"[\w.-]+|[0-9a-f:.]+")
"""A name, in any script, or an IP address."""


class Address(NamedTuple):
    """Where a server listens. As a string it is the whole URL, without credentials."""

    scheme: str
    host: str
    """A name or an IP address, without the brackets of IPv6."""
    port: int
    path: str = ""
    """Path prefix of all requests: empty, or with a leading and no trailing slash."""

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}{self.path}"

    @property
    def is_loopback(self) -> bool:
        """Whether it is on this machine."""
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"


class Credentials(NamedTuple):
    """The credentials in a URL."""

    username: str
    password: str

    def __repr__(self) -> str:
        return f"{type(self).__name__}(username={self.username!r})"


def parse_addresses(
    url: str | Sequence[str], *, name: str = "The address"
) -> tuple[tuple[Address, ...], Credentials | None]:
    """Parse one or several URLs (a list, or joined by commas) of nodes of one cluster.

    Args:
        url: The URLs; the default port is 443 for https and 9200 for http.
        name: Name for messages.

    Raises:
        ClusterError: A URL is invalid or names another user. Messages show no credentials.
    """
    for each in [url] if isinstance(url, str | Mapping) else url:
        if not isinstance(each, str):  # not shown: a dictionary of opensearch-py may hold a password
            raise ClusterError(f"{name} is of type {type(each).__name__}, not a URL such as http://localhost:9200.")
    urls = re.split(r"\s*,\s*(?=https?://)", url.strip()) if isinstance(url, str) else [each.strip() for each in url]
    parsed = [parse_address(each, name=name) for each in urls]
    if not parsed:
        raise ClusterError(f"{name} is an empty list; give at least one URL such as http://localhost:9200.")
    found = {credentials for _, credentials in parsed if credentials is not None}
    if len(found) > 1:
        raise ClusterError(f"{name} has several users; nodes of one cluster have the same.")
    return tuple(address for address, _ in parsed), next(iter(found), None)


def parse_address(
    url: str, *, name: str = "The address", default_port: int = 9200
) -> tuple[Address, Credentials | None]:
    """Parse one URL; otherwise as `parse_addresses`."""
    parts, port = _split(url, name)
    host = parts.hostname or ""
    if parts.scheme not in ("http", "https") or not _HOST.fullmatch(host) or re.search(r"\s", parts.path):
        raise ClusterError(f"{name} is {without_password(url)!r}, not a URL such as http://localhost:9200.")
    if parts.query or parts.fragment:
        raise ClusterError(f"{name} is {without_password(url)!r}; a server's URL ends before the ? or #.")
    address = Address(
        parts.scheme, host, port or (443 if parts.scheme == "https" else default_port), parts.path.rstrip("/")
    )
    if parts.username is None and parts.password is None:
        return address, None
    # A URL writes a colon in a password as %3A.
    return address, Credentials(unquote(parts.username or ""), unquote(parts.password or ""))


def without_password(url: str) -> str:
    """A URL without credentials, for messages."""
    # Up to the last @: an unquoted password may contain slashes and other characters.
    return re.sub(r"^(\w+://)?.*@", r"\1", url, flags=re.DOTALL)


def _split(url: str, name: str) -> tuple[SplitResult, int | None]:
    try:
        parts = urlsplit(url)
        # A slash in a password that was not quoted puts the rest of it, and the host, into the path.
        if parts.port != 0 and "@" not in parts.path:
            return parts, parts.port
    except ValueError:
        pass
    # Not while the error is handled: it shows what it could not read, and that may be a password.
    raise ClusterError(
        f"{name} is not a valid URL. The port must be a number from 1 to 65535, an IPv6 address must be in brackets, "
        "and a / in a password must be written as %2F. Examples: http://localhost:9200, http://[::1]:9200. Separate "
        "several URLs by commas, each with its http://."
    )
