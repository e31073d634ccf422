"""A real HTTP proxy: it forwards requests with absolute URLs, and opens tunnels (CONNECT)."""

from __future__ import annotations

import base64
import select
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from urllib.parse import urlsplit

from tests.http_server import QuietHandler, serving


@dataclass
class ForwardProxy:
    """Where it listens, and what came by: method and target of each request, and their headers."""

    url: str = ""
    asked: list[str] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)


@contextmanager
def forward_proxy(*, credentials: tuple[str, str] | None = None) -> Iterator[ForwardProxy]:
    """Run a proxy on a free port that leads every name to this machine; it asks for `credentials` where given."""
    expected = credentials and "Basic " + base64.b64encode(":".join(credentials).encode()).decode()
    proxy = ForwardProxy()

    class Handler(QuietHandler):
        protocol_version = "HTTP/1.1"

        def permitted(self) -> bool:
            proxy.asked.append(f"{self.command} {self.path}")
            proxy.headers.append({name.lower(): value for name, value in self.headers.items()})
            if expected and self.headers["Proxy-Authorization"] != expected:
                self.reply(b"{}", status=407)
                return False
            return True

        def forward(self) -> None:
            body = self.body()
            if not self.permitted():
                return
            target = urlsplit(self.path)
            kept = {name: value for name, value in self.headers.items() if not name.lower().startswith("proxy-")}
            connection = HTTPConnection("127.0.0.1", target.port, timeout=30)
            try:
                connection.request(self.command, self.path.partition(target.netloc)[2], body or None, kept)
                answer = connection.getresponse()
                content_type = answer.headers.get("Content-Type", "")
                self.reply(answer.read(), status=answer.status, content_type=content_type)
            finally:
                connection.close()

        do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = forward

        def do_CONNECT(self) -> None:
            self.close_connection = True
            if not self.permitted():
                return
            port = int(self.path.rpartition(":")[2])
            with socket.create_connection(("127.0.0.1", port), timeout=30) as there:
                self.send_response(200)
                self.end_headers()
                _pass_on(self.connection, there)

    with serving(Handler) as url:
        proxy.url = url
        yield proxy


def _pass_on(one: socket.socket, other: socket.socket) -> None:
    """Copy what comes from each of two to the other, until one of them closes."""
    across = {one: other, other: one}
    while True:
        readable, _, _ = select.select(list(across), [], [], 30)
        for each in readable:
            data = each.recv(65536)
            if not data:
                return
            across[each].sendall(data)
        if not readable:
            return
