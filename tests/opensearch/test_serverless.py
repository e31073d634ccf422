"""The commands against a server that has no other requests than those Amazon's Serverless is documented to have."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from opensearchpy import OpenSearch

from connector.cli.main import cli
from connector.connection.client import connect
from connector.encoders.text import TextEncoder
from connector.errors import ClusterError
from connector.integrations.store import IndexStore
from connector.types import Document
from tests.fault_proxy import FaultProxy, fault_proxy

pytestmark = pytest.mark.opensearch
pytest.importorskip("botocore", reason="pip install 'ksparse[aws]'")

_DOCUMENTED = re.compile(
    r"PUT /[^/]+"
    r"|GET /[^/]+/_(mapping|settings)"
    r"|POST /[^/]+/_(bulk|count|mget|msearch|search)"
)


def documented(method: str, path: str) -> bool:
    """Whether Serverless supports the request, without `refresh`."""
    bare, _, query = path.partition("?")
    return _DOCUMENTED.fullmatch(f"{method} {bare}") is not None and "refresh=" not in query


@pytest.fixture
def serverless(workplace: Path, opensearch_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultProxy]:
    """A proxy that commands sign their requests for."""
    with fault_proxy(opensearch_url) as proxy:
        proxy.allowed = documented
        for name, value in (
            ("OPENSEARCH_URL", proxy.url),
            ("OPENSEARCH_AWS_SERVICE", "aoss"),
            ("AWS_REGION", "eu-west-1"),
            ("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"),
            ("AWS_SECRET_ACCESS_KEY", "s3cret"),
            ("AWS_EC2_METADATA_DISABLED", "true"),
        ):
            monkeypatch.setenv(name, value)
        yield proxy


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, arguments)


def test_documents_are_written_found_changed_and_deleted(
    serverless: FaultProxy, index: str, client: OpenSearch, head_folder: Path, workplace: Path
) -> None:
    lines = [{"_id": "1", "text": "plants eat light"}, {"_id": "2", "text": "cats sleep on warm stones"}]
    (workplace / "corpus.jsonl").write_text("\n".join(map(json.dumps, lines)))
    with_encoder = ("--index", index, "--encoder", str(head_folder))
    written = run("ingest", "corpus.jsonl", *with_encoder, "--quiet")
    assert written.exit_code == 0 and "2 indexed" in written.output, written.output
    client.indices.refresh(index=index)  # as Serverless does automatically
    for more in ((), ("--hybrid",)):
        found = run("search", "cats sleep", *with_encoder, "--top-k", "1", "--json", *more)
        assert found.exit_code == 0, found.output
        assert [hit["doc_id"] for hit in json.loads(found.stdout)["hits"]] == ["2"]
    (workplace / "changes.jsonl").write_text(json.dumps({"_id": "2", "text": "cats sleep on leaves"}))
    changed = run("update", "changes.jsonl", *with_encoder, "--quiet")
    assert changed.exit_code == 0, changed.output
    deleted = run("delete", "--index", index, "--id", "1", "--quiet")
    assert deleted.exit_code == 0 and "1 deleted" in deleted.output, deleted.output
    client.indices.refresh(index=index)
    [left] = client.search(index=index)["hits"]["hits"]
    assert (left["_id"], left["_source"]["text"]) == ("2", "cats sleep on leaves")
    assert any("_refresh" in path for path in serverless.paths), "no refresh was refused: the test proves nothing"


def test_a_deletion_by_filter_says_what_to_do_instead(
    serverless: FaultProxy, index: str, client: OpenSearch, encoder: TextEncoder
) -> None:
    with connect(serverless.url) as served:
        store = IndexStore(index, encoder=encoder, client=served)
        store.write([Document("1", "cats sleep")])
        client.indices.refresh(index=index)
        with pytest.raises(ClusterError, match="does not support delete by query .*Serverless.*delete by ids"):
            store.delete_all()
        store.delete(["1"])
    client.indices.refresh(index=index)
    assert client.count(index=index)["count"] == 0
