"""Run the service of `ksparse serve` with uvicorn in a thread."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import uvicorn
from opensearchpy import OpenSearch

from benchmarks.scenarios.served import printed_address
from connector.service.run import Listener, config
from connector.service.settings import ServiceSettings
from tests.patience import PATIENCE_S

_PROGRAM = "from connector.cli.main import cli; cli()"

_LISTENER = Listener(grace_s=1)
"""Kept connections of a test would hold up the end."""


@contextmanager
def serving_texts(
    client: OpenSearch,
    index: str,
    *,
    port: int = 0,
    listener: Listener = _LISTENER,
    **settings: Any,  # noqa: ANN401
) -> Iterator[str]:
    """Serve one index; yields the address. A port of 0 is a free one."""
    options = config(client, ServiceSettings(indices=(index,), **settings), listener)
    server = uvicorn.Server(options)
    with socket.create_server(("127.0.0.1", port)) as listening:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            deadline = time.monotonic() + PATIENCE_S
            while not server.started and thread.is_alive():
                assert time.monotonic() < deadline, "the service does not start"
                time.sleep(0.01)
            assert server.started, "the service ended at its start"
            scheme = "http" if listener.certfile is None else "https"
            yield f"{scheme}://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(PATIENCE_S)


@contextmanager
def service_process(
    url: str, index: str, *, port: int = 0, key: str = "", program: str = _PROGRAM, options: Sequence[str] = ()
) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run `ksparse serve` as a separate process and return its address; port 0 picks a free one."""
    command = [sys.executable, "-c", program, "serve", index, "--port", str(port), *options]
    environment = os.environ | {"OPENSEARCH_URL": url, "HF_HUB_OFFLINE": "1", "KSPARSE_API_KEY": key}
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    with subprocess.Popen(command, env=environment, **pipes) as process:
        try:
            assert process.stdout is not None
            yield process, printed_address(process.stdout)
        finally:
            process.kill()
