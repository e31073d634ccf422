"""Errors of an address before Ray is called, which would take two minutes."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Thread

import pytest

from connector.errors import ClusterError
from connector.ingest.ray.address import check_address


@contextmanager
def server(answer: bytes) -> Iterator[str]:
    """One that answers whatever it is sent with the same bytes, and then waits."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(100)
                connection.sendall(answer)
                with suppress(ConnectionError):
                    connection.recv(100)

        thread = Thread(target=serve)
        thread.start()
        yield f"127.0.0.1:{listening.getsockname()[1]}"
        thread.join()


def test_an_address_where_nothing_listens_is_said_within_seconds() -> None:
    started = time.monotonic()
    with pytest.raises(ClusterError, match=r"No Ray cluster at 127.0.0.1:1 \(Connection refused\). Start one"):
        check_address("127.0.0.1:1")
    assert time.monotonic() - started < 5


def test_another_server_is_no_ray() -> None:
    with server(b"HTTP/1.1 400 Bad Request\r\n\r\n") as address, pytest.raises(ClusterError, match="is not Ray"):
        check_address(f"ray://{address}")


def test_a_server_that_says_nothing_is_no_ray() -> None:
    with server(b"") as address, pytest.raises(ClusterError, match=f"No Ray cluster at {address}|is not Ray"):
        check_address(address)


def test_a_grpc_server_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    with server(bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))) as address:
        monkeypatch.setenv("RAY_ADDRESS", address)
        check_address(None)


@pytest.mark.parametrize("address", [None, "auto", "local", ""])
def test_what_ray_finds_itself_is_not_asked(address: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    check_address(address)


@pytest.mark.parametrize("address", ["nowhere", "host:", ":6379", "host:99999", "http://host"])
def test_what_is_no_address_is_said(address: str) -> None:
    with pytest.raises(ClusterError, match="is not an address of a Ray cluster"):
        check_address(address)
