"""Clients with several nodes, of which one does not answer, and with connections that were closed."""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import pytest
from opensearchpy import OpenSearch
from opensearchpy.exceptions import ConnectionError, TransportError

from connector.connection.client import connect
from tests.http_server import QuietHandler, serving


def handler(asked: Counter[str], name: str, status: int) -> type[QuietHandler]:
    class Handler(QuietHandler):
        def do_GET(self) -> None:
            asked[name] += 1
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            body = json.dumps({"node": name} if status == 200 else {"error": {"type": "no_manager", "reason": name}})
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        do_POST = do_PUT = do_DELETE = do_GET

    return Handler


READS: list[Callable[[OpenSearch], Any]] = [
    lambda client: client.info(),
    lambda client: client.search(index="docs", body={}),
    lambda client: client.msearch(body=[{"index": "docs"}, {}]),
    lambda client: client.mget(index="docs", body={"ids": ["1"]}),
    lambda client: client.count(index="docs", body={}),
]
WRITES: list[Callable[[OpenSearch], Any]] = [
    lambda client: client.bulk(index="docs", body=[{"index": {"_id": "1"}}, {}]),
    lambda client: client.indices.create(index="docs"),
    lambda client: client.delete(index="docs", id="1"),
    lambda client: client.update_by_query(index="docs", body={}),
]


@pytest.mark.parametrize("status", [502, 503, 504])
@pytest.mark.parametrize("read", READS)
def test_what_only_reads_is_asked_of_another_node(read: Callable[[OpenSearch], Any], status: int) -> None:
    asked: Counter[str] = Counter()
    with serving(handler(asked, "ill", status)) as ill, serving(handler(asked, "well", 200)) as well:
        with connect([ill, well]) as client:
            assert [read(client) for _ in range(4)] == [{"node": "well"}] * 4
    assert asked["well"] == 4 and asked["ill"] > 0


@pytest.mark.parametrize("write", WRITES)
def test_what_may_have_been_written_is_not_repeated(write: Callable[[OpenSearch], Any]) -> None:
    asked: Counter[str] = Counter()
    with serving(handler(asked, "one", 503)) as one, serving(handler(asked, "two", 503)) as two:
        with connect([one, two]) as client, pytest.raises(TransportError):
            write(client)
    assert asked.total() == 1


@pytest.mark.parametrize(("status", "requests"), [(503, 3), (429, 1), (400, 1)])
def test_each_node_is_asked_at_most_once(status: int, requests: int) -> None:
    asked: Counter[str] = Counter()
    served = [serving(handler(asked, name, status)) for name in "abc"]
    with served[0] as one, served[1] as two, served[2] as three, connect([one, two, three]) as client:
        with pytest.raises(TransportError) as refused:
            client.search(index="docs", body={})
    assert refused.value.status_code == status
    assert asked.total() == requests


def forgetful(asked: Counter[str], *, together: int = 1) -> type[QuietHandler]:
    """Resets a connection at its second request, as a load balancer that has forgotten it.

    The first requests, of this number, are answered at the same time, so that each has a connection.
    """
    begun, counting = threading.Barrier(together), threading.Lock()

    class Handler(QuietHandler):
        protocol_version = "HTTP/1.1"
        has_answered = False

        def do_GET(self) -> None:
            self.body()
            if self.has_answered:
                asked["reset"] += 1
                self.close_connection = True
                # Closed with no time to linger, a connection ends by RST instead of FIN.
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.rfile.close()
                self.connection.close()
                return
            self.has_answered = True
            with counting:
                asked["answered"] += 1
                number = asked["answered"]
            if number <= together:
                begun.wait(30)
            self.reply(b'{"node": "forgetful"}')

        do_POST = do_PUT = do_DELETE = do_GET

    return Handler


@pytest.mark.parametrize("nodes", [1, 2])
@pytest.mark.parametrize("read", READS)
def test_what_only_reads_is_sent_again_on_a_new_connection(read: Callable[[OpenSearch], Any], nodes: int) -> None:
    asked: Counter[str] = Counter()
    with ExitStack() as stack:
        urls = [stack.enter_context(serving(forgetful(asked))) for _ in range(nodes)]
        client = stack.enter_context(connect(urls))
        assert [read(client) for _ in range(4)] == [{"node": "forgetful"}] * 4
    assert asked == {"answered": 4, "reset": 4 - nodes}


@pytest.mark.parametrize("nodes", [1, 2])
@pytest.mark.parametrize("write", WRITES)
def test_what_may_have_been_written_on_a_closed_connection_is_not_repeated(
    write: Callable[[OpenSearch], Any], nodes: int
) -> None:
    asked: Counter[str] = Counter()
    with ExitStack() as stack:
        urls = [stack.enter_context(serving(forgetful(asked))) for _ in range(nodes)]
        client = stack.enter_context(connect(urls))
        for _ in urls:
            client.info()
        with pytest.raises(ConnectionError):
            write(client)
    assert asked == {"answered": nodes, "reset": 1}


def test_a_request_is_not_sent_again_on_another_closed_connection() -> None:
    asked: Counter[str] = Counter()
    with serving(forgetful(asked, together=3)) as url, connect(url) as client, ThreadPoolExecutor(3) as threads:
        for reply in [threads.submit(client.info) for _ in range(3)]:
            reply.result(30)
        assert client.info() == {"node": "forgetful"}
    assert asked == {"answered": 4, "reset": 1}


def test_an_idle_connection_is_kept_alive() -> None:
    with serving(forgetful(Counter())) as url, connect(url) as client:
        client.info()
        [kept] = [each for each in client.transport.get_connection().pool.pool.queue if each is not None]
        assert kept.sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) != 0
        assert kept.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0
