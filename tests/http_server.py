"""HTTP servers of tests. Where one has served its time, none of its connections and threads is left."""

from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import BaseServer
from typing import Any


class QuietHandler(BaseHTTPRequestHandler):
    """Answers without a word on the terminal."""

    def body(self) -> bytes:
        """Body of the request."""
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def reply(self, content: bytes, *, status: int = 200, content_type: str = "application/json") -> None:
        """Answer; to HEAD without the content."""
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        pass


class Orderly(BaseServer):
    """Mixed into a server with threads: it knows its connections, so that they can be ended with it."""

    # Closing the server waits for the threads.
    daemon_threads = False
    block_on_close = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        self._open = set[socket.socket]()
        super().__init__(*args, **kwargs)

    def process_request(self, request: Any, client_address: Any) -> None:  # noqa: ANN401
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:  # noqa: ANN401
        self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401
        """A client that hangs up, as one that trusts no certificate does, is no news."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)

    def hang_up(self) -> None:
        """End all connections: a thread that waits for another request would wait for ever."""
        for connection in list(self._open):
            with suppress(OSError):
                socket.socket.shutdown(connection, socket.SHUT_RDWR)


class HttpServer(Orderly, ThreadingHTTPServer):
    """For handlers of the standard library."""


class _OnIpv6(HttpServer):
    address_family = socket.AF_INET6


@contextmanager
def running(server: Orderly) -> Iterator[None]:
    """Serve in a thread until the block is left."""
    with server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()
            server.hang_up()


@contextmanager
def serving(handler: type[BaseHTTPRequestHandler], *, host: str = "127.0.0.1") -> Iterator[str]:
    """Serve on a free port; yields the address."""
    server = (_OnIpv6 if ":" in host else HttpServer)((host, 0), handler)
    with running(server):
        yield f"http://{f'[{host}]' if ':' in host else host}:{server.server_port}"
