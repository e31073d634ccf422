"""What an Elasticsearch is asked in its own words; a small HTTP server stands in for it.

docs/elasticsearch.md says which real ones were tried.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from opensearchpy import OpenSearch

from connector.connection.client import connect
from connector.index.meta import IndexMeta
from connector.index.schema import prepare_index
from connector.index.searcher import Searcher
from connector.types import EncoderFingerprint
from tests.http_server import QuietHandler, serving

REPLIES: dict[str, Any] = {
    "GET /": {"version": {"number": "9.4.3"}},
    "PUT /books": {"acknowledged": True},
    "GET /books/_alias": {"books": {"aliases": {}}},
    "GET /books/_settings": {"books": {"settings": {"index": {"uuid": "u"}}}},
    "POST /books/_bulk": {
        "items": [{"index": {"status": 409, "error": {"type": "version_conflict_engine_exception"}}}]
    },
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
    class Handler(QuietHandler):
        def answer(self) -> None:
            request = f"{self.command} {self.path.partition('?')[0]}"
            requests[request] = json.loads((self.body() or "{}").splitlines()[0])
            replies = dict(REPLIES)
            if "PUT /books" in requests:
                replies["GET /books/_mapping"] = {"books": {"mappings": requests["PUT /books"]["mappings"]}}
            self.reply(json.dumps(replies.get(request, {})).encode(), status=200 if request in replies else 404)

        do_GET = do_PUT = do_POST = do_DELETE = answer

    with serving(Handler) as url, connect(url) as client:
        yield client


def test_metadata_is_flattened(client: OpenSearch, requests: dict[str, Any], fingerprint: EncoderFingerprint) -> None:
    prepare_index(client, "books", IndexMeta(fingerprint))
    properties = requests["PUT /books"]["mappings"]["properties"]
    assert properties["metadata"] == {"type": "flattened"}
    assert properties["features"] == {"type": "rank_features"}


def test_pages_open_and_close_a_point_in_time(client: OpenSearch, requests: dict[str, Any]) -> None:
    assert list(Searcher(client, "books", weight_exponent=0).pages({"3": 0.5})) == []
    assert requests["POST /_search"]["pit"] == {"id": "the-pit", "keep_alive": "5m"}
    assert requests["POST /_search"]["sort"] == [{"_score": "desc"}, {"_shard_doc": "asc"}]
    assert requests["DELETE /_pit"] == {"id": "the-pit"}
