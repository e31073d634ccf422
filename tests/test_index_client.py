"""Error messages for misbehaving servers, which a small HTTP server simulates."""

from __future__ import annotations

import json
import os
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from opensearchpy.exceptions import TransportError

from connector.connection.client import Server, address_of, check_server, connect, is_elasticsearch
from connector.errors import BusyError, ClusterError, SearchError
from connector.index.complete import check_complete
from connector.index.schema import read_schema
from connector.index.sender import _search_error
from tests.http_server import QuietHandler, serving

Serve = Callable[..., str]

INFO = {"cluster_name": "books", "version": {"distribution": "opensearch", "number": "3.6.0"}}


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Starts servers that give one answer to everything, and stops them."""
    with ExitStack() as stack:

        def start(body: object = INFO, *, status: int = 200, content_type: str = "application/json") -> str:
            content = body.encode() if isinstance(body, str) else json.dumps(body).encode()

            class Handler(QuietHandler):
                def do_GET(self) -> None:
                    self.reply(content, status=status, content_type=content_type)

            return stack.enter_context(serving(Handler))

        yield start


def check(url: str) -> object:
    with connect(url, username="me", password="s3cret") as client:
        return check_server(client)


def test_a_server_says_who_it_is(serve: Serve) -> None:
    url = serve()
    with connect(url) as client:
        server = check_server(client)
    assert server == Server(url, "books", "3.6.0", "opensearch")


def test_an_elasticsearch_is_taken(serve: Serve) -> None:
    with connect(serve({"version": {"number": "8.8.0"}})) as client:
        assert check_server(client).distribution == "elasticsearch"
        assert is_elasticsearch(client)


def test_a_server_that_does_not_say_who_it_is_is_no_elasticsearch(serve: Serve) -> None:
    with connect(serve({}, status=404)) as client:
        assert not is_elasticsearch(client)


@pytest.mark.parametrize(
    ("version", "message"),
    [
        ({"distribution": "opensearch", "number": "2.19.1"}, r"runs opensearch 2\.19\.1; 3\.0 or newer is needed"),
        ({"number": "7.17.29"}, r"runs elasticsearch 7\.17\.29; 8\.8 or newer is needed"),
        ({"distribution": "other", "number": "9.0.0"}, r"is other 9\.0\.0, not OpenSearch; set OPENSEARCH_URL"),
        ({}, "not OpenSearch; set OPENSEARCH_URL"),
    ],
)
def test_another_or_an_older_server_is_refused(serve: Serve, version: dict[str, str], message: str) -> None:
    with pytest.raises(ClusterError, match=message):
        check(serve({"version": version}))


def test_a_server_that_is_unreachable_is_named_with_the_next_step() -> None:
    with pytest.raises(ClusterError, match=r"No OpenSearch answers at http://127\.0\.0\.1:1\. Start one with `ksparse"):
        check("http://127.0.0.1:1")


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (401, r"refuses the credentials \(401\); set OPENSEARCH_USERNAME and OPENSEARCH_PASSWORD"),
        (403, r"does not permit this \(403\): no right to look"),
    ],
)
def test_what_is_not_permitted_is_said(serve: Serve, status: int, message: str) -> None:
    body = {"error": {"root_cause": [{"reason": "no right to look"}], "type": "security_exception"}, "status": status}
    with pytest.raises(ClusterError, match=message) as caught:
        check(serve(body, status=status))
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_a_server_that_is_busy_is_said_for_all_requests(serve: Serve, status: int) -> None:
    url = serve("<html>\n<title>upstream</title>\n</html>", status=status, content_type="text/html")
    said = rf"^{url} cannot answer now \({status}\): it answers with a page of HTML\. Try again\.$"
    with connect(url) as client, pytest.raises(BusyError, match=said) as caught:
        read_schema(client, "docs")
    assert isinstance(caught.value, ClusterError) and isinstance(caught.value, SearchError)


@pytest.mark.parametrize(
    ("body", "status", "content_type"),
    [
        ("<html>a shop</html>", 200, "text/html"),
        ("<html>gone</html>", 404, "text/html"),
        ({"error": "no upstream"}, 503, "application/json"),
        ("not json", 200, "application/json"),
        ([1], 200, "application/json"),
    ],
)
def test_what_is_no_opensearch_is_refused_in_one_line(
    serve: Serve, body: object, status: int, content_type: str
) -> None:
    url = serve(body, status=status, content_type=content_type)
    with pytest.raises(ClusterError, match=url):
        check(url)


@pytest.mark.parametrize("url", ["localhost:9200", "ftp://host", "http://", ""])
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(ClusterError, match=f"The address is '{url}', not a URL such as http://localhost:9200"):
        connect(url)


def test_a_password_in_an_address_is_not_shown() -> None:
    with pytest.raises(ClusterError, match="The address is 'ftp://host', not a URL"):
        connect("ftp://me:s3cret@host")
    client = connect("http://me:s3cret@host:9200")
    assert address_of(client) == "http://host:9200"
    assert "s3cret" not in repr(client)


@pytest.mark.parametrize(
    ("url", "address"),
    [("http://host", "http://host:9200"), ("https://host", "https://host:443"), ("https://h:1", "https://h:1")],
)
def test_ports_have_their_defaults(url: str, address: str) -> None:
    assert address_of(connect(url)) == address


def test_a_path_in_the_address_is_kept() -> None:
    [host] = connect("http://host/search/").transport.hosts
    assert host.get("url_prefix", "").strip("/") == "search"


def test_the_pool_has_a_connection_for_each_write_in_flight() -> None:
    pool = connect("http://host").transport.get_connection().pool
    assert pool.pool.maxsize >= 4


@pytest.mark.parametrize(
    ("url", "asked", "compressed"),
    [
        ("http://localhost:9200", None, False),
        ("http://127.0.0.1:9200", None, False),
        ("http://[::1]:9200", None, False),
        ("https://search.example", None, True),
        ("http://10.0.0.7:9200", None, True),
        ("http://10.0.0.7:9200", False, False),
        ("http://localhost:9200", True, True),
    ],
)
def test_what_leaves_the_machine_is_compressed(url: str, asked: bool | None, compressed: bool) -> None:
    client = connect(url, http_compress=asked)
    assert client.transport.get_connection().http_compress is compressed


def test_a_forked_process_opens_connections_of_its_own() -> None:
    """On a shared socket, parent and child would read each other's replies."""
    ports: list[int] = []

    class Handler(QuietHandler):
        protocol_version = "HTTP/1.1"  # connections are kept

        def do_GET(self) -> None:
            ports.append(self.client_address[1])
            self.reply(json.dumps(INFO).encode())

    with serving(Handler) as url, connect(url) as client, warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python advises against forks with threads
        client.info()
        client.info()
        child = os.fork()
        if child == 0:
            status = 1
            try:
                status = int(client.info() != INFO)
            finally:
                os._exit(status)
        assert os.waitpid(child, 0)[1] == 0
        client.info()
    assert ports[0] == ports[1] == ports[3] != ports[2]


LIMIT = {
    "type": "circuit_breaking_exception",
    "reason": "[script] Too many dynamic script compilations within, max: [75/5m]; please use indexed, or scripts "
    "with parameters; this limit can be changed by the [script.context.score.max_compilations_rate] setting",
}
SCRIPT = "Failed to compile inline script [double best = 0;] using lang [painless]"


@pytest.mark.parametrize(
    "reason",
    [
        {"type": "query_shard_exception", "reason": f"failed to create query: {SCRIPT}", "caused_by": LIMIT},
        {"type": "general_script_exception", "reason": SCRIPT, "caused_by": LIMIT},
    ],
    ids=["rescoring", "elsewhere"],
)
def test_a_part_of_an_index_that_has_compiled_too_many_scripts_says_what_to_do(reason: object) -> None:
    failures = [{"shard": 0, "index": "docs-1", "reason": reason}]
    shards = {"total": 2, "successful": 1, "failed": 1, "failures": failures}
    with pytest.raises(BusyError, match=r"^A part of index 'docs' \(docs-1\) rejects the query: ") as refused:
        check_complete("docs", {"timed_out": False, "_shards": shards, "hits": {"hits": []}})
    assert "compilations_rate] setting. A script rescores hits by codes: raise that limit, or" in str(refused.value)
    assert "double best" not in str(refused.value), "not the whole script"


def test_a_search_that_fails_for_its_script_says_what_to_do() -> None:
    error = {"type": "search_phase_execution_exception", "reason": "all shards failed", "root_cause": [LIMIT]}
    found = _search_error("docs", TransportError(500, "search_phase_execution_exception", {"error": error}))
    assert isinstance(found, BusyError)
    assert re.search(r"^The search in 'docs' failed \(500\): .* A script rescores .* Try again.$", str(found)), found
