"""Clients with several nodes, of which one does not answer."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from opensearchpy import OpenSearch
from opensearchpy.exceptions import TransportError

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
