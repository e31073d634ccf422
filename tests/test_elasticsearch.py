"""What an Elasticsearch is asked in its own words; a small HTTP server stands in for it.

docs/elasticsearch.md says which real ones were tried.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from opensearchpy import OpenSearch

from connector.index.client import connect
from connector.index.schema import prepare_index
from connector.index.searcher import Searcher
from connector.types import EncoderFingerprint

REPLIES: dict[str, Any] = {
    "GET /": {"version": {"number": "9.4.3"}},
    "PUT /books": {"acknowledged": True},
    "POST /books/_pit": {"id": "the-pit"},
    "POST /_search": {"hits": {"hits": []}},
    "DELETE /_pit": {"succeeded": True},
}


@pytest.fixture
def requests() -> dict[str, Any]:
    """The body of every request that was answered, by method and path."""
    return {}


@pytest.fixture
def client(requests: dict[str, Any]) -> Iterator[OpenSearch]:
    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            request = f"{self.command} {self.path.partition('?')[0]}"
            requests[request] = json.loads(body or "{}")
            content = json.dumps(REPLIES.get(request, {})).encode()
            self.send_response(200 if request in REPLIES else 404)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_PUT = do_POST = do_DELETE = answer

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        with connect(f"http://127.0.0.1:{server.server_port}") as client:
            yield client
        server.shutdown()
        thread.join()


def test_metadata_is_flattened(client: OpenSearch, requests: dict[str, Any], fingerprint: EncoderFingerprint) -> None:
    prepare_index(client, "books", fingerprint)
    properties = requests["PUT /books"]["mappings"]["properties"]
    assert properties["metadata"] == {"type": "flattened"}
    assert properties["features"] == {"type": "rank_features"}


def test_pages_open_and_close_a_point_in_time(client: OpenSearch, requests: dict[str, Any]) -> None:
    assert list(Searcher(client, "books", weight_exponent=0).pages({"3": 0.5})) == []
    assert requests["POST /_search"]["pit"] == {"id": "the-pit", "keep_alive": "5m"}
    assert requests["POST /_search"]["sort"] == [{"_score": "desc"}, {"_shard_doc": "asc"}]
    assert requests["DELETE /_pit"] == {"id": "the-pit"}
