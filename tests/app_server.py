"""Serves Flask's applications as `tests.http_server` serves handlers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from flask import Flask
from werkzeug.serving import ThreadedWSGIServer, WSGIRequestHandler

from tests.http_server import Orderly, running


class _Quiet(WSGIRequestHandler):
    def log(self, *_: object) -> None:
        pass


class _AppServer(Orderly, ThreadedWSGIServer):
    pass


@contextmanager
def serving_app(app: Flask) -> Iterator[str]:
    """Serve an application on a free port; yields the address."""
    server = _AppServer("127.0.0.1", 0, app, _Quiet)
    with running(server):
        yield f"http://127.0.0.1:{server.port}"
