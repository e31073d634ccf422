"""How to be let in: credentials, certificates and a proxy, given in Python or by the environment."""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, get_args

from connector.connection.address import parse_addresses
from connector.connection.aws import Service, Signer, aws_signer
from connector.errors import ClusterError

_WAYS = ("username", "http_auth", "api_key", "bearer_token", "aws_service")
_TOKEN = re.compile(r"[!-~]+")
_TRUTH = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


@dataclass(frozen=True, kw_only=True)
class Access:
    """What a server asks for beside its address. No secret is shown.

    Attributes:
        username: For basic authentication, with `password`.
        password: The same.
        http_auth: Instead: such a pair, or what makes the headers of a request (opensearch-py's signers; a function
            that returns a token which changes).
        api_key: Instead: an API key as the server gave it, or a pair of its id and itself.
        bearer_token: Instead: a token such as a JWT.
        aws_service: Instead: requests are signed for it (SigV4), with what botocore finds.
        verify_certs: Check the server's certificate.
        ca_certs: A file or folder of authorities to trust.
        client_cert: A file with our own certificate.
        client_key: A file with its key.
        proxy: Its URL; empty for none, None for the environment's.
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
        """Make sure that there is one way in at most, and that it is whole.

        Args:
            name: What a message calls an attribute.

        Raises:
            ValueError: It is not so.
        """
        ways = [name(way) for way in _WAYS if getattr(self, way)]
        if len(ways) > 1:
            raise ValueError(f"{' and '.join(ways)} are both set; leave one of them out.")
        if bool(self.username) != bool(self.password):
            missing, other = ("password", "username") if self.username else ("username", "password")
            raise ValueError(f"{name(missing)} is not set, but {name(other)} is; set both or neither.")
        if self.aws_service is not None and self.aws_service not in get_args(Service):
            raise ValueError(f"{name('aws_service')} is {self.aws_service!r}; it must be es, or aoss for Serverless.")
        for secret in ("api_key", "bearer_token"):
            value = getattr(self, secret)
            # The standard library's complaint about a header would show it.
            if isinstance(value, str) and value and not _TOKEN.fullmatch(value):
                raise ValueError(
                    f"{name(secret)} holds a space or a character that no header can hold; give it alone, without a "
                    "word such as Bearer before it."
                )

    def authorization(self) -> str | None:
        """The header of that name that is the same in all requests, None where there is none."""
        if self.bearer_token:
            return f"Bearer {self.bearer_token}"
        if self.api_key:
            return f"ApiKey {self.api_key if isinstance(self.api_key, str) else _base64(*self.api_key)}"
        if self.username and self.password:
            return basic(self.username, self.password)
        if self.http_auth and not callable(self.http_auth):
            # opensearch-py takes the two in one string as well.
            return basic(*(self.http_auth.split(":", 1) if isinstance(self.http_auth, str) else self.http_auth))
        return None

    def signer(self) -> Signer | None:
        """What makes further headers of each request, None where there is nothing.

        Raises:
            ClusterError: Requests are to be signed, and botocore, its credentials or a region are missing.
        """
        if self.aws_service is not None:
            return aws_signer(self.aws_service)
        return self.http_auth if callable(self.http_auth) else None


def url_from_environment() -> str | None:
    """OPENSEARCH_URL, None where it is not set.

    Raises:
        ClusterError: It holds a user name or password, or is not a URL of http or https.
    """
    url = os.environ.get("OPENSEARCH_URL", "").strip()
    if not url:
        return None
    if "@" in url:
        raise ClusterError(
            "OPENSEARCH_URL holds a user name or password. Take them out, and set OPENSEARCH_USERNAME and "
            "OPENSEARCH_PASSWORD instead."
        )
    parse_addresses(url, name="OPENSEARCH_URL")
    return url.rstrip("/")


def access_from_environment() -> Access:
    """Read what OPENSEARCH_USERNAME, OPENSEARCH_PASSWORD and their like say: an attribute's name, in capitals.

    Raises:
        ClusterError: They contradict each other, or one has a value that it cannot have. Secrets are not shown.
    """
    found: dict[str, Any] = {}
    for each in fields(Access):
        value = os.environ.get(variable(each.name), "")
        if each.name != "http_auth" and value.strip():
            # Files that secrets are read from end in a newline.
            found[each.name] = value if each.name in ("username", "password") else value.strip()
    if "verify_certs" in found:
        found["verify_certs"] = _truth(found["verify_certs"])
    access = Access(**found)
    try:
        access.check(variable)
    except ValueError as error:
        raise ClusterError(str(error)) from None
    return access


def variable(option: str) -> str:
    """The environment's name for an option."""
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
