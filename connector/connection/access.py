"""Credentials, certificates and proxy of a connection, from Python or from the environment."""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, get_args

from connector.connection.address import parse_addresses
from connector.connection.aws import Service, Signer, aws_signer
from connector.errors import ClusterError

CREDENTIALS = ("username", "http_auth", "api_key", "bearer_token", "aws_service")
"""Methods of authentication, of which a connection uses one."""

_TOKEN = re.compile(r"[!-~]+")
_TRUTH = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


@dataclass(frozen=True, kw_only=True)
class Access:
    """Access settings of a server. Its representation shows no secrets.

    Attributes:
        username: User for basic authentication.
        password: Password for basic authentication.
        http_auth: Alternative: such a pair, or a function that returns the headers of a request (e.g. opensearch-py's
            signers).
        api_key: Alternative: an encoded API key, or a pair of id and key.
        bearer_token: Alternative: a token such as a JWT.
        aws_service: Alternative: sign requests for this service (SigV4) with botocore's credentials.
        verify_certs: Verify the server's certificate.
        ca_certs: File or folder of CA certificates.
        client_cert: File of the client certificate.
        client_key: File of its key.
        proxy: URL of the proxy; empty for none, None for that of the environment.
    """

    username: str | None = None
    password: str | None = field(default=None, repr=False)
    http_auth: tuple[str, str] | str | Signer | None = field(default=None, repr=False)
    api_key: str | tuple[str, str] | None = field(default=None, repr=False)
    bearer_token: str | None = field(default=None, repr=False)
    aws_service: Service | None = None
    verify_certs: bool = True
    ca_certs: str | Path | None = None
    client_cert: str | Path | None = None
    client_key: str | Path | None = None
    proxy: str | None = field(default=None, repr=False)

    def check(self, name: Callable[[str], str] = str) -> None:
        """Check that at most one method of authentication is given, completely.

        Args:
            name: Returns the name of an attribute for messages.

        Raises:
            ValueError: Settings are contradictory or incomplete.
        """
        ways = [name(way) for way in CREDENTIALS if getattr(self, way)]
        if len(ways) > 1:
            raise ValueError(f"{' and '.join(ways)} are both set; leave one of them out.")
        if bool(self.username) != bool(self.password):
            missing, other = ("password", "username") if self.username else ("username", "password")
            raise ValueError(f"{name(missing)} is not set, but {name(other)} is; set both or neither.")
        if self.aws_service is not None and self.aws_service not in get_args(Service):
            raise ValueError(f"{name('aws_service')} is {self.aws_service!r}; it must be es, or aoss for Serverless.")
        for pair, parts in (("http_auth", "a user name and a password"), ("api_key", "an id and a key")):
            self._check_pair(name(pair), getattr(self, pair), parts, joined=pair == "http_auth")
        for secret in ("api_key", "bearer_token"):
            value = getattr(self, secret)
            # The standard library's error would show the value.
            if isinstance(value, str) and value and not _TOKEN.fullmatch(value):
                raise ValueError(
                    f"{name(secret)} contains a space or a character that is not allowed in a header; give only the "
                    "value, without a prefix such as Bearer."
                )

    @staticmethod
    def _check_pair(name: str, value: object, parts: str, *, joined: bool) -> None:
        if not value or callable(value) or (isinstance(value, str) and (":" in value or not joined)):
            return
        if isinstance(value, str) or not isinstance(value, Sequence) or len(value) != 2:
            raise ValueError(f"{name} must be a pair of {parts}.")
        if not all(isinstance(part, str) for part in value):
            raise ValueError(f"{name} must be a pair of {parts}, both strings.")

    def authorization(self) -> str | None:
        """The constant Authorization header; None if there is none."""
        if self.bearer_token:
            return f"Bearer {self.bearer_token}"
        if self.api_key:
            return f"ApiKey {self.api_key if isinstance(self.api_key, str) else _base64(*self.api_key)}"
        if self.username and self.password:
            return basic(self.username, self.password)
        if self.http_auth and not callable(self.http_auth):
            # opensearch-py also accepts both in one string.
            return basic(*(self.http_auth.split(":", 1) if isinstance(self.http_auth, str) else self.http_auth))
        return None

    def signer(self) -> Signer | None:
        """The function that returns further headers of each request; None if there is none.

        Raises:
            ClusterError: Signing needs botocore, its credentials or a region, which are missing.
        """
        if self.aws_service is not None:
            return aws_signer(self.aws_service)
        return self.http_auth if callable(self.http_auth) else None


def url_from_environment() -> str | None:
    """OPENSEARCH_URL; None if it is not set.

    Raises:
        ClusterError: It contains credentials, or is not an http or https URL.
    """
    url = os.environ.get("OPENSEARCH_URL", "").strip()
    if not url:
        return None
    if "@" in url:
        raise ClusterError(
            "OPENSEARCH_URL contains a user name or password. Remove them, and set OPENSEARCH_USERNAME and "
            "OPENSEARCH_PASSWORD instead."
        )
    parse_addresses(url, name="OPENSEARCH_URL")
    return url.rstrip("/")


def access_from_environment() -> Access:
    """Read OPENSEARCH_USERNAME, OPENSEARCH_PASSWORD etc.: one variable per attribute.

    Raises:
        ClusterError: Variables contradict each other or are invalid. Messages show no secrets.
    """
    found: dict[str, Any] = {}
    for each in fields(Access):
        value = os.environ.get(variable(each.name), "")
        if each.name != "http_auth" and value.strip():
            # Secrets that were read from files end with a newline.
            found[each.name] = value if each.name in ("username", "password") else value.strip()
    if "verify_certs" in found:
        found["verify_certs"] = _truth(found["verify_certs"])
    if os.environ.get(variable("proxy"), "no") == "":
        found["proxy"] = ""  # none, whatever HTTPS_PROXY says
    access = Access(**found)
    try:
        access.check(variable)
    except ValueError as error:
        raise ClusterError(str(error)) from None
    return access


def variable(option: str) -> str:
    """The environment variable of an option."""
    return f"OPENSEARCH_{option.upper()}"


def _truth(value: str) -> bool:
    if value.lower() not in _TRUTH:
        raise ClusterError(f"{variable('verify_certs')} is {value!r}; set true or false.")
    return _TRUTH[value.lower()]


def basic(username: str, password: str) -> str:
    """The header of basic authentication. Servers read UTF-8."""
    return f"Basic {_base64(username, password)}"


def _base64(*parts: str) -> str:
    return base64.b64encode(":".join(parts).encode()).decode()
