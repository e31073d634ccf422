"""`ksparse serve`."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

import click

from connector.cli.connection import ConnectionOptions, connection_options, open_client
from connector.cli.encoder_option import encoder_option
from connector.corpus.lines import read_entries
from connector.errors import ConnectorError
from connector.service.settings import ServiceSettings

F = TypeVar("F", bound=Callable[..., Any])

_DEFAULTS = ServiceSettings()
_KEY_VARIABLE = "KSPARSE_API_KEY"

_file = click.Path(exists=True, dir_okay=False, path_type=Path)


api_key_file_option = click.option(
    "--api-key-file", type=_file, help=f"File of accepted keys, one per line.  [default: {_KEY_VARIABLE}]"
)


def _limit(flag: str, name: str, help_text: str) -> Callable[[F], F]:
    """An integer option whose default comes from the settings."""
    default = getattr(_DEFAULTS, name)
    return click.option(flag, name, type=click.IntRange(1), default=default, show_default=True, help=help_text)


@click.command(
    epilog="""\b
Examples:
  ksparse serve docs                                  on http://127.0.0.1:8080
  ksparse serve docs wiki --port 8081                 two indices
  ksparse serve docs --encoder my-encoder             a folder written by `ksparse export`: needs no torch
  ksparse serve                                       up to eight indices, each loaded on first use
  KSPARSE_API_KEY=... ksparse serve docs --host 0.0.0.0 --ssl-certfile cert.pem --ssl-keyfile key.pem
\b
Routes: POST /encode/query, /encode/document and /search; GET /health, /ready, /metrics and /openapi.json.
"""
)
@click.argument("indices", nargs=-1, metavar="[INDEX]...")
@encoder_option("Folder of `ksparse export`, or a name.  [default: each index's own encoder]")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8080, show_default=True, help="Port; 0 picks a free one."
)
@api_key_file_option
@click.option("--open", "is_open", is_flag=True, help="Accept requests without a key.")
@click.option("--ssl-certfile", type=_file, help="Certificate of the service (PEM).")
@click.option("--ssl-keyfile", type=_file, help="Its key.")
@click.option("--ssl-client-ca", type=_file, help="Require client certificates of this CA (mTLS).")
@_limit("--max-batch", "max_batch", "Maximum texts per forward pass.")
@_limit("--max-waiting", "max_waiting", "Maximum queued texts; more are refused.")
@_limit("--max-searches", "max_searches", "Maximum concurrent searches; more are refused.")
@_limit("--max-texts", "max_texts", "Maximum texts per request.")
@_limit("--max-body-bytes", "max_body_bytes", "Maximum bytes per request.")
@click.option(
    "--grace", type=click.IntRange(0), default=30, show_default=True, help="Seconds for requests to finish on exit."
)
@connection_options
def serve(
    indices: tuple[str, ...],
    encoder: str | None,
    host: str,
    port: int,
    api_key_file: Path | None,
    is_open: bool,
    ssl_certfile: Path | None,
    ssl_keyfile: Path | None,
    ssl_client_ca: Path | None,
    max_batch: int,
    max_waiting: int,
    max_searches: int,
    max_texts: int,
    max_body_bytes: int,
    grace: int,
    connection: ConnectionOptions,
) -> None:
    """Encode and search over HTTP, for clients in any language and for OpenSearch itself (`ksparse connect`)."""
    if missing := [name for name in ("fastapi", "uvicorn", "prometheus_client") if find_spec(name) is None]:
        raise ConnectorError(f"The service needs {', '.join(missing)}: pip install 'ksparse[serve]'.")
    keys = read_keys(api_key_file)
    for flag, file in (("--ssl-client-ca", ssl_client_ca), ("--ssl-keyfile", ssl_keyfile)):
        if file is not None and ssl_certfile is None:
            raise click.UsageError(f"{flag} needs TLS; give --ssl-certfile as well.")
    if not (keys or ssl_client_ca or is_open or _is_loopback(host)):
        raise click.UsageError(
            f"--host {host} exposes the service to other machines: set {_KEY_VARIABLE}, --api-key-file or "
            "--ssl-client-ca, or allow anyone with --open."
        )
    try:
        settings = ServiceSettings(
            indices=tuple(dict.fromkeys(indices)),
            encoder=encoder,
            api_keys=keys,
            max_batch=max_batch,
            max_waiting=max_waiting,
            max_searches=max_searches,
            max_texts=max_texts,
            max_body_bytes=max_body_bytes,
        )
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    from connector.service.run import Listener, run

    listener = Listener(host, port, ssl_certfile, ssl_keyfile, ssl_client_ca, grace)
    what = ", ".join(settings.indices) or "any index"
    run(
        open_client(connection),
        settings,
        listener,
        announce=lambda url: click.echo(f"Serving {what} at {url} (Ctrl-C stops it)"),
    )


def read_keys(file: Path | None) -> tuple[str, ...]:
    """Read API keys, one per line, from a file or the environment; command lines are visible to other users."""
    lines = read_entries(file) if file is not None else os.environ.get(_KEY_VARIABLE, "").splitlines()
    keys = tuple(line.strip() for line in lines if line.strip())
    if file is not None and not keys:
        raise ConnectorError(f"{file} contains no API key; write one key per line.")
    return keys


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
