"""Serves the service of `ksparse serve` on a port of its own, as uvicorn does, in a thread."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from opensearchpy import OpenSearch

from connector.service.run import Listener, config
from connector.service.settings import ServiceSettings
from tests.patience import PATIENCE_S


@contextmanager
def serving_texts(client: OpenSearch, index: str, *, port: int = 0, **settings: Any) -> Iterator[str]:  # noqa: ANN401
    """Serve one index; yields the address. A port of 0 is a free one."""
    options = config(client, ServiceSettings(indices=(index,), **settings), Listener(grace_s=1))
    server = uvicorn.Server(options)
    with socket.create_server(("127.0.0.1", port)) as listening:
        # Kept connections would hold up the end.
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            deadline = time.monotonic() + PATIENCE_S
            while not server.started and thread.is_alive():
                assert time.monotonic() < deadline, "the service does not start"
                time.sleep(0.01)
            assert server.started, "the service ended at its start"
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(PATIENCE_S)
