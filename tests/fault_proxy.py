"""An HTTP proxy in front of a real node that injects faults into requests, or allows only some of them."""

from __future__ import annotations

import base64
import json
import socket
import ssl
import struct
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.http_server import HttpServer, running

TLS_FOLDER = Path(__file__).with_name("tls")


@dataclass(frozen=True)
class Reply:
    """What a client sees.

    `declared` is the Content-Length if it is to be a lie; `broken` closes without a reply, `reset` by a TCP reset;
    `retry_after` is a header.
    """

    status: int
    body: bytes
    content_type: str = "application/json"
    declared: int | None = None
    broken: bool = False
    reset: bool = False
    retry_after: str | None = None


class Forward:
    """Passes a body on to the real node.

    Args:
        send: Does it.
        ended: Set once the proxy is to end.
    """

    def __init__(self, send: Callable[[bytes], Reply], ended: threading.Event) -> None:
        self._send = send
        self._ended = ended

    def __call__(self, body: bytes) -> Reply:
        """Return the node's reply."""
        return self._send(body)

    def pause(self, seconds: float) -> None:
        """Do nothing for so long, or until the proxy ends."""
        self._ended.wait(seconds)


Fault = Callable[[bytes, Forward], Reply]
"""Takes the body of a request and a way to pass a body on to the real node."""


def status(code: int, reason: str = "scripted", *, retry_after: str | None = None) -> Fault:
    """Answer with an error, without asking the node."""
    error = {"error": {"type": "scripted", "reason": reason, "root_cause": []}, "status": code}
    return lambda _body, _forward: Reply(code, json.dumps(error).encode(), retry_after=retry_after)


def broken_before(_body: bytes, _forward: Forward) -> Reply:
    """Close the connection; the node saw nothing."""
    return Reply(0, b"", broken=True)


def broken_after(body: bytes, forward: Forward) -> Reply:
    """Close the connection after the node has done its work."""
    forward(body)
    return Reply(0, b"", broken=True)


def reset_after(body: bytes, forward: Forward) -> Reply:
    """Reset the connection after the node has done its work."""
    forward(body)
    return Reply(0, b"", broken=True, reset=True)


def passed(body: bytes, forward: Forward) -> Reply:
    """No fault."""
    return forward(body)


def truncated(body: bytes, forward: Forward) -> Reply:
    """Half of the node's reply, then the connection ends."""
    reply = forward(body)
    return Reply(200, reply.body[: len(reply.body) // 2], declared=len(reply.body))


def half_json(body: bytes, forward: Forward) -> Reply:
    """Half of the node's reply, as if that were all."""
    reply = forward(body)
    return Reply(200, reply.body[: len(reply.body) // 2])


def empty(body: bytes, forward: Forward) -> Reply:
    """200 and nothing."""
    forward(body)
    return Reply(200, b"")


def page(body: bytes, forward: Forward) -> Reply:
    """200 and a page for people."""
    forward(body)
    return Reply(200, b"<html>Please wait</html>", content_type="text/html")


def without_last_item(body: bytes, forward: Forward) -> Reply:
    """The node's reply without what became of the last document."""
    parsed = json.loads(forward(body).body)
    parsed["items"].pop()
    return Reply(200, json.dumps(parsed).encode())


def slow(seconds: float) -> Fault:
    """The node's reply, late."""

    def wait(body: bytes, forward: Forward) -> Reply:
        reply = forward(body)
        forward.pause(seconds)
        return reply

    return wait


def busy_for(doc_id: str) -> Fault:
    """Keep one document from the node and say that a queue was full; the others are really written."""
    return busy_where(lambda name: name == doc_id)


def busy_where(chosen: Callable[[str], bool]) -> Fault:
    """Keep the documents of some ids from the node and say that a queue was full; the others are really written."""

    def hold_back(body: bytes, forward: Forward) -> Reply:
        lines = body.splitlines(keepends=True)
        held = [chosen(json.loads(line)["index"]["_id"]) for line in lines[::2]]
        rest = b"".join(line for place, line in enumerate(lines) if not held[place // 2])
        reply = forward(rest) if rest else Reply(200, b'{"items": []}')
        if reply.status != 200:
            return reply
        written: Iterator[Any] = iter(json.loads(reply.body)["items"])
        error = {"type": "rejected_execution_exception", "reason": "queue is full"}
        refused = {"index": {"status": 429, "error": error}}
        return Reply(200, json.dumps({"items": [refused if each else next(written) for each in held]}).encode())

    return hold_back


def at_most(limit: int) -> Fault:
    """Refuse larger bodies, as http.max_content_length does."""
    return lambda body, forward: status(413)(body, forward) if len(body) > limit else forward(body)


@dataclass
class FaultProxy:
    """What was asked, and what is to go wrong.

    Attributes:
        url: Its address.
        bulks: Bodies of the `_bulk` requests, in order.
        faults: One for each of the next `_bulk` requests.
        always: For those after them.
        creations: Faults of the next requests that create an index.
        reads: Takes method and path of any other request, and returns a fault for it, or None.
        allowed: Takes method and path of any request; one that is not allowed gets a 404.
        keep: Whether bodies are kept.
        hang_up: Ends all connections; clients open others.
    """

    url: str = ""
    bulks: list[bytes] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    faults: deque[Fault] = field(default_factory=deque)
    always: Fault | None = None
    creations: deque[Fault] = field(default_factory=deque)
    reads: Callable[[str, str], Fault | None] | None = None
    allowed: Callable[[str, str], bool] | None = None
    keep: bool = True
    hang_up: Callable[[], None] = lambda: None

    def ids(self) -> list[list[str]]:
        """The document ids of each `_bulk` request."""
        return [[json.loads(line)["index"]["_id"] for line in body.splitlines()[::2]] for body in self.bulks]


@contextmanager
def fault_proxy(
    node_url: str,
    *,
    tls: bool = False,
    client_tls: ssl.TLSVersion | None = None,
    credentials: tuple[str, str] | None = None,
    authorization: str | None = None,
    prefix: str = "",
) -> Iterator[FaultProxy]:
    """Run a proxy.

    Args:
        node_url: Of the node.
        tls: With the certificate in `tests/tls`, for localhost alone.
        client_tls: Ask for a certificate of the authority `client-ca.pem`, and speak this version at most.
        credentials: Ask for a user name and password.
        authorization: Ask for this header, in their place.
        prefix: Of all paths; others are not found, and the node sees none.
    """
    expected = authorization
    if credentials is not None:
        expected = "Basic " + base64.b64encode(":".join(credentials).encode()).decode()
    node = urlsplit(node_url)
    proxy = FaultProxy()
    lock, ended = threading.Lock(), threading.Event()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if expected and self.headers.get("Authorization") != expected:
                self.send(Reply(401, b"Unauthorized", content_type="text/plain"))
                return

            def send(content: bytes) -> Reply:
                connection = HTTPConnection(str(node.hostname), node.port, timeout=30)
                try:
                    kind = {"Content-Type": self.headers.get("Content-Type", "application/json")}
                    connection.request(self.command, self.path.removeprefix(prefix), content or None, kind)
                    reply = connection.getresponse()
                    return Reply(reply.status, reply.read(), reply.headers.get("Content-Type", ""))
                finally:
                    connection.close()

            forward = Forward(send, ended)
            fault: Fault | None = None
            with lock:
                proxy.paths.append(self.path)
                if "/_bulk" in self.path:
                    if proxy.keep:
                        proxy.bulks.append(body)
                    fault = proxy.faults.popleft() if proxy.faults else proxy.always
                elif self.command == "PUT" and proxy.creations:
                    fault = proxy.creations.popleft()
                elif proxy.reads is not None:
                    fault = proxy.reads(self.command, self.path)
            if not self.path.startswith(prefix):
                fault = status(404, "no such path")
            if proxy.allowed is not None and not proxy.allowed(self.command, self.path):
                fault = status(404, "no such request")
            try:
                reply = fault(body, forward) if fault else forward(body)
            except (OSError, HTTPException):  # the node is gone
                reply = Reply(0, b"", broken=True)
            self.send(reply)

        def send(self, reply: Reply) -> None:
            self.close_connection = reply.broken or reply.declared is not None
            if reply.reset:
                # Closed with no time to linger, a connection ends by RST instead of FIN.
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.rfile.close()
                self.connection.close()
            if reply.broken:
                return
            self.send_response(reply.status)
            self.send_header("Content-Type", reply.content_type)
            self.send_header("Content-Length", str(len(reply.body) if reply.declared is None else reply.declared))
            if reply.retry_after is not None:
                self.send_header("Retry-After", reply.retry_after)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(reply.body)

        do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = answer

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = HttpServer(("127.0.0.1", 0), Handler)
    proxy.hang_up = server.hang_up
    proxy.url = f"http{'s://localhost' if tls else '://127.0.0.1'}:{server.server_port}"
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(TLS_FOLDER / "server.pem")
        if client_tls is not None:
            context.maximum_version = client_tls
            context.load_verify_locations(TLS_FOLDER / "client-ca.pem")
            context.verify_mode = ssl.CERT_REQUIRED
        # The handshake is made in the thread of its connection.
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    with running(server):
        try:
            yield proxy
        finally:
            ended.set()
