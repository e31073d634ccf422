"""Middleware: API key, size limit, and clients that disconnect."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from connector.service.escape import ESCAPE, unescape
from connector.service.gate import Gate, Message, Receive, Scope, Send
from connector.service.metrics import Metrics
from connector.service.settings import ServiceSettings


class Client:
    """Sends a body in parts, and disconnects on request."""

    def __init__(self, *parts: bytes) -> None:
        self.parts = [*parts]
        self.left = asyncio.Event()
        self.sent: list[Message] = []

    async def receive(self) -> Message:
        if self.parts:
            return {"type": "http.request", "body": self.parts.pop(0), "more_body": bool(self.parts)}
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        self.sent.append(message)


def scope(**headers: str) -> dict[str, Any]:
    pairs = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return {"type": "http", "path": "/search", "headers": pairs}


def gate(app: Callable[[Scope, Receive, Send], Awaitable[None]], **settings: Any) -> Gate:  # noqa: ANN401
    return Gate(app, ServiceSettings(**settings), Metrics())


async def echo(_scope: Scope, receive: Receive, send: Send) -> None:
    body = (await receive())["body"]
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})


def test_a_body_comes_to_the_route_whole() -> None:
    async def ask() -> list[Message]:
        client = Client(b"one ", b"two")
        await gate(echo)(scope(), client.receive, client.send)
        return client.sent

    start, body = asyncio.run(ask())
    assert (start["status"], body["body"]) == (200, b"one two")


@pytest.mark.parametrize("headers", [{}, {"content_length": "11"}])
def test_a_body_above_the_limit_reaches_no_route(headers: dict[str, str]) -> None:
    async def ask() -> list[Message]:
        client = Client(b"12345678", b"901")
        await gate(echo, max_body_bytes=10)(scope(**headers), client.receive, client.send)
        return client.sent

    assert asyncio.run(ask())[0]["status"] == 413


def test_a_client_that_leaves_ends_what_was_done_for_it() -> None:
    ended = []

    async def endless(_scope: Scope, _receive: Receive, _send: Send) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            ended.append(True)
            raise

    async def ask() -> list[Message]:
        client = Client(b"{}")
        asyncio.get_running_loop().call_later(0.01, client.left.set)
        await asyncio.wait_for(gate(endless)(scope(), client.receive, client.send), 10)
        return client.sent

    assert asyncio.run(ask()) == []
    assert ended == [True]


def test_an_error_of_a_route_is_not_swallowed() -> None:
    async def broken(_scope: Scope, _receive: Receive, _send: Send) -> None:
        raise RuntimeError("no memory")

    async def ask() -> None:
        client = Client(b"{}")
        await gate(broken)(scope(), client.receive, client.send)

    with pytest.raises(RuntimeError, match="no memory"):
        asyncio.run(ask())


@pytest.mark.parametrize("text", ["", "a ${b} c", f"{ESCAPE}{{ {ESCAPE} ${{", f"{ESCAPE}{ESCAPE}{{", "$ {"])
def test_a_text_comes_out_of_the_pipeline_as_it_went_in(text: str) -> None:
    escaped = text.replace(ESCAPE, ESCAPE * 2).replace("${", ESCAPE + "{")
    assert "${" not in escaped
    assert unescape(escaped) == text
