"""Run the service."""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import uvicorn
from opensearchpy import OpenSearch

from connector.errors import ConnectorError
from connector.index.schema import existing_schema
from connector.service.app import create_app
from connector.service.settings import ServiceSettings

_KEEP_ALIVE_S = 75
"""Clients keep idle connections for longer than uvicorn's 5 seconds (ML Commons: 60); their next request would fail."""


class Listener(NamedTuple):
    """Address and TLS settings of the service.

    Attributes:
        host: Address.
        port: Port; 0 picks a free one.
        certfile: Certificate of the service, for TLS.
        keyfile: Key of the certificate.
        client_ca: CA of accepted client certificates; None requires none.
        grace_s: Seconds for requests to finish on exit.
    """

    host: str = "127.0.0.1"
    port: int = 8080
    certfile: Path | None = None
    keyfile: Path | None = None
    client_ca: Path | None = None
    grace_s: int = 30


def run(
    client: OpenSearch,
    settings: ServiceSettings,
    listener: Listener,
    *,
    announce: Callable[[str], None] = lambda _: None,
) -> None:
    """Serve until SIGTERM or SIGINT; running requests are then completed.

    Args:
        client: A connected client.
        settings: Limits, keys and indices.
        listener: Address and TLS settings.
        announce: Called with the URL once requests are accepted; they wait until the encoders are loaded.

    Raises:
        ConnectorError: The port is taken, a certificate cannot be used, the server is unreachable, or an index does not
            exist.
    """
    _check_certificates(listener)
    with _listen(listener) as listening:
        for name in settings.indices:
            existing_schema(client, name)
        host, port = listening.getsockname()[:2]
        scheme = "http" if listener.certfile is None else "https"
        announce(f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}")
        server = uvicorn.Server(config(client, settings, listener))
        # Uvicorn logs the error and exits with a failure status.
        server.run(sockets=[listening])
    if not server.started:
        raise ConnectorError("The service did not start; see the error above.")


def config(client: OpenSearch, settings: ServiceSettings, listener: Listener) -> uvicorn.Config:
    """The configuration of uvicorn."""
    secure = {"ssl_certfile": str(listener.certfile)} if listener.certfile is not None else {}
    if listener.keyfile is not None:
        secure["ssl_keyfile"] = str(listener.keyfile)
    if listener.client_ca is not None:
        secure["ssl_ca_certs"] = str(listener.client_ca)
    return uvicorn.Config(
        create_app(client, settings),
        log_level="info",
        # Requests are not logged; /metrics counts them.
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=listener.grace_s,
        timeout_keep_alive=_KEEP_ALIVE_S,
        ssl_cert_reqs=ssl.CERT_REQUIRED if listener.client_ca is not None else ssl.CERT_NONE,
        **secure,  # type: ignore[arg-type]
    )


def _check_certificates(listener: Listener) -> None:
    """Load the files before slow work starts; uvicorn would show a traceback, or prompt for the passphrase of a key."""
    if listener.certfile is None:
        return
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)

    def encrypted() -> str:
        raise ConnectorError(
            f"The key {str(listener.keyfile or listener.certfile)!r} is encrypted; decrypt it (openssl pkey), and keep "
            "the file private."
        )

    files = [str(each) for each in (listener.certfile, listener.keyfile, listener.client_ca) if each is not None]
    try:
        context.load_cert_chain(listener.certfile, listener.keyfile, password=encrypted)
        if listener.client_ca is not None:
            context.load_verify_locations(listener.client_ca)
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or str(error)
        raise ConnectorError(
            f"The certificates cannot be used ({', '.join(files)}: {reason}); give PEM files, and the key of the "
            "certificate."
        ) from error


def _listen(listener: Listener) -> socket.socket:
    """Bind the port before slow work starts."""
    try:
        family = socket.AF_INET6 if ":" in listener.host else socket.AF_INET
        return socket.create_server((listener.host, listener.port), family=family)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise ConnectorError(
            f"Port {listener.port} on {listener.host} is not available ({reason}); choose another one."
        ) from error
