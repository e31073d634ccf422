"""Middleware: API key, size limit, metrics, and cancellation when clients disconnect."""

from __future__ import annotations

import asyncio
import hmac
import json
import time
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from contextlib import suppress
from typing import Any

from connector.service.metrics import Metrics
from connector.service.settings import ServiceSettings

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

OPEN_ROUTES = ("/health", "/ready")
"""Monitoring routes, which need no key and tell clients without one nothing about the indices."""

_CLIENT_LEFT = 499


class Gate:
    """ASGI middleware.

    A request is read completely before it is handled. If the client disconnects, handling is cancelled and its texts
    are removed from the encoder's queue.

    Args:
        app: The wrapped application.
        settings: Keys and limits.
        metrics: Records each request.
    """

    def __init__(self, app: App, settings: ServiceSettings, metrics: Metrics) -> None:
        self._app = app
        self._settings = settings
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request; pass other events through."""
        if scope["type"] != "http":
            await self._app(scope, receive, _briefly(send))
            return
        start, status = time.perf_counter(), _CLIENT_LEFT

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._handle(scope, receive, watched)
        finally:
            route = getattr(scope.get("route"), "path", "other")
            self._metrics.requests.labels(route, status).inc()
            self._metrics.seconds.labels(route).observe(time.perf_counter() - start)

    async def _handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = scope["headers"]
        if scope["path"] not in OPEN_ROUTES and not is_permitted(headers, self._settings.api_keys):
            await _refuse(send, 401, "The API key is missing or wrong; send it as `Authorization: Bearer KEY`.")
            return
        limit = self._settings.max_body_bytes
        length = next((value for name, value in headers if name == b"content-length"), b"0")
        body = None if length.isdigit() and int(length) > limit else await _read(receive, limit)
        if body is None:
            await _refuse(send, 413, f"The request has more than {limit:,} bytes; send fewer or shorter texts at once.")
            return
        handled = asyncio.ensure_future(self._app(scope, _replay(body, receive), send))
        left = asyncio.ensure_future(_wait_for_disconnect(receive))
        try:
            await asyncio.wait((handled, left), return_when=asyncio.FIRST_COMPLETED)
        finally:
            left.cancel()
            if not handled.done():
                handled.cancel()
            with suppress(asyncio.CancelledError):
                await handled


def is_permitted(headers: Sequence[tuple[bytes, bytes]], keys: Sequence[str]) -> bool:
    """Whether the headers of a request have one of the keys, or none is needed."""
    if not keys:
        return True
    given = next((value for name, value in headers if name == b"authorization"), b"")
    scheme, _, key = given.partition(b" ")
    # Compare with all keys, so that timing reveals nothing.
    fits = [hmac.compare_digest(key.strip(), known.encode()) for known in keys]
    return scheme.lower() == b"bearer" and any(fits)


def _briefly(send: Send) -> Send:
    """Send starlette's message about a failed start, without the traceback if the error is one of ksparse."""

    async def brief(message: Message) -> None:
        if message["type"] == "lifespan.startup.failed":
            *_, last = message["message"].strip().splitlines() or [""]
            if last.startswith("connector.errors."):
                message = {**message, "message": last.partition(": ")[2]}
        await send(message)

    return brief


async def _read(receive: Receive, limit: int) -> bytes | None:
    """Read the body; None if it exceeds the limit."""
    parts, size = [], 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return b""
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > limit:
            return None
        if not message.get("more_body"):
            return b"".join(parts)


def _replay(body: bytes, receive: Receive) -> Receive:
    """Replay the body to the application, then block: the gate itself waits for the disconnect."""
    given = False

    async def replay() -> Message:
        nonlocal given
        if given:
            await asyncio.Event().wait()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay


async def _wait_for_disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _refuse(send: Send, status: int, reason: str) -> None:
    body = json.dumps({"error": reason}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
