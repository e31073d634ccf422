"""`ksparse connect`: OpenSearch with ML Commons encodes documents and queries of any client."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from click.testing import CliRunner
from opensearchpy import OpenSearch
from opensearchpy.exceptions import NotFoundError, OpenSearchWarning, TransportError

from benchmarks.scenarios.served import Limits, measure_service, of_pipeline
from connector import Document, NewIndex, SparseIndex
from connector.cli.main import cli
from connector.cluster import Cluster, connection_from_environment, embedded_cluster, read_status
from connector.cluster.node import free_ports
from connector.encoders.text import TextEncoder
from connector.errors import ClusterError, ConnectorError
from connector.files import cache_folder
from connector.index.bulk_lines import to_lines
from connector.ingest.preparation import to_sparse_documents
from connector.query.body import without_features
from connector.query.hybrid import words_clauses
from connector.query.terms import terms_of, typed_mappings
from connector.service.connect import connect_index, disconnect_index
from connector.types import Hit
from tests.http_server import QuietHandler, serving
from tests.patience import PATIENCE_S
from tests.service_server import service_process, serving_texts

pytestmark = [pytest.mark.opensearch, pytest.mark.slow]

EXAMPLES = Path(__file__).parents[2] / "examples"
DOCUMENTS: list[dict[str, Any]] = [
    {"_id": "1", "title": "Plants", "text": "plants eat light with green leaves", "metadata": {"lang": "en"}},
    {"_id": "2", "text": "cats sleep on warm stones", "metadata": {"lang": "en", "year": 2020}},
    {"_id": "3", "title": "Rivers", "text": "rivers carry sand to the sea", "metadata": {"lang": "de"}},
]
ODD = 'echo "${HOME:-/root}" ${parameters.http_body} ${ml_inference.parameters} \ue000{ \\ cats\nsleep'


@pytest.fixture(scope="module")
def ml_cluster() -> Iterator[Cluster]:
    """A cluster with ML Commons: the one of OPENSEARCH_URL if it has that, else a node of these tests."""
    given = connection_from_environment()
    if given is not None and "opensearch-ml" in (read_status(given).plugins or ()):
        yield given
        return
    settings = {"indices.breaker.total.use_real_memory": False}
    with embedded_cluster(heap="768m", timeout_s=600.0, settings=settings, ml=True, quick_start=True) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def client(ml_cluster: Cluster) -> Iterator[OpenSearch]:
    with ml_cluster.connect() as client:
        yield client


@pytest.fixture
def index(client: OpenSearch) -> Iterator[str]:
    name = f"test-{uuid.uuid4().hex[:12]}"
    yield name
    disconnect_index(client, name)
    client.indices.delete(index=name, ignore_unavailable=True)


@pytest.fixture
def written(client: OpenSearch, index: str, encoder: TextEncoder) -> SparseIndex:
    SparseIndex(index, encoder=encoder, client=client).add(DOCUMENTS)
    return SparseIndex(index, client=client)


@pytest.fixture
def service(client: OpenSearch, written: SparseIndex) -> Iterator[str]:
    with serving_texts(client, written.index) as address:
        yield address


@pytest.fixture
def pipeline(client: OpenSearch, index: str, service: str) -> str:
    return connect_index(client, index, service)


def ask(client: OpenSearch, index: str, query: Mapping[str, Any], **others: Any) -> list[tuple[str, float]]:  # noqa: ANN401
    body = {"query": query, **others}
    reply = client.search(index=index, body=body, params={"search_pipeline": f"ksparse-{index}"})
    return [(hit["_id"], hit["_score"]) for hit in reply["hits"]["hits"]]


def alike(hits: list[Hit]) -> list[tuple[str, Any]]:
    return [(hit.doc_id, pytest.approx(hit.score, rel=1e-5)) for hit in hits]


def text(query: str) -> dict[str, Any]:
    return {"match": {"ksparse": query}}


def digest(fields: Mapping[str, Any]) -> str:
    """Stored vector of a document: 9 bits of each weight, and the code."""
    names = sorted(fields["features"])
    weights = np.array([fields["features"][name] for name in names], np.float32)
    cells = (weights.view(np.uint32) >> 15).tolist()
    return hashlib.sha256(json.dumps([names, cells, fields.get("dense_code")]).encode()).hexdigest()


@pytest.mark.usefixtures("pipeline")
def test_what_any_client_writes_is_encoded_as_our_writer_does(client: OpenSearch, written: SparseIndex) -> None:
    records = [*DOCUMENTS, {"_id": "4", "title": ODD, "text": ODD}]
    docs = [{"_id": each["_id"], "_source": {k: v for k, v in each.items() if k != "_id"}} for each in records]
    path = f"/_ingest/pipeline/ksparse-{written.index}/_simulate"
    simulated = client.transport.perform_request("POST", path, body={"docs": docs})["docs"]
    encoder = written.encoder
    for record, made in zip(records, simulated, strict=True):
        document = Document(record["_id"], record["text"], record.get("title", ""))
        [sparse] = to_sparse_documents([document], encoder.encode_document([document.content]))
        ours = json.loads(to_lines(sparse, 2.0**written.retriever.schema.weight_exponent).splitlines()[1])
        theirs = made["doc"]["_source"]
        assert digest(theirs) == digest(ours), record["_id"]
        assert theirs["features"]["present"] == pytest.approx(ours["features"]["present"])
        assert set(theirs) == {*record, "features", "dense_code"} - {"_id"}


@pytest.mark.usefixtures("pipeline")
def test_the_whole_circle_with_plain_requests(client: OpenSearch, written: SparseIndex) -> None:
    index = written.index
    for record in ({"text": "wolves run in snow"}, {"text": ODD, "title": "Shell"}):
        client.index(index=index, body=record, id=record["text"][:4], refresh=True)
    queries = ("cats sleep", "wolves in snow", "sand and sea")
    for query in queries:
        hits = alike(written.search(query))
        assert len(hits) == 5
        assert ask(client, index, text(query)) == hits
        assert ask(client, index, {"neural_sparse": {"features": {"query_text": query}}}) == hits
        params = {"search_pipeline": f"ksparse-{index}", "q": query}
        by_address = client.search(index=index, params=params)["hits"]["hits"]
        assert [(hit["_id"], hit["_score"]) for hit in by_address] == hits
    filters = [{"term": {"metadata.lang": "en"}}]
    filtered = ask(client, index, {"bool": {"must": [text("cats sleep")], "filter": filters}}, size=1)
    assert filtered == alike(written.search("cats sleep", filters={"lang": "en"}, top_k=1))
    words = words_clauses("cats sleep", boost=0.1)
    assert ask(client, index, {"bool": {"should": [text("cats sleep"), *words]}}) == alike(
        written.search("cats sleep", hybrid=True, bm25_weight=0.1)
    )
    assert ask(client, index, {"hybrid": {"queries": [text("cats sleep"), {"match": {"text": "cats"}}]}})[0][0] == "2"


@pytest.mark.usefixtures("pipeline")
def test_highlights_and_aggregations_go_along(client: OpenSearch, index: str) -> None:
    body = {
        "query": {"bool": {"must": [text("cats sleep")], "should": []}},
        "highlight": {"fields": {"text": {}}},
        "aggs": {"langs": {"filters": {"filters": {"en": {"term": {"metadata.lang": "en"}}}}}},
        "track_total_hits": True,
    }
    reply = client.search(index=index, body=body, params={"search_pipeline": f"ksparse-{index}"})
    assert reply["hits"]["total"]["value"] == 3
    assert reply["aggregations"]["langs"]["buckets"]["en"]["doc_count"] == 2
    [first] = [hit for hit in reply["hits"]["hits"] if hit["_id"] == "2"]
    assert first["highlight"]["text"] == ["<em>cats</em> <em>sleep</em> on warm stones"]


@pytest.mark.usefixtures("pipeline")
def test_a_document_that_is_written_again_by_the_server_keeps_its_features(
    client: OpenSearch, written: SparseIndex
) -> None:
    # Features are not in _source: without the pipeline both would lose them.
    client.update_by_query(index=written.index, refresh=True)
    with pytest.warns(OpenSearchWarning, match="ingest pipeline"):
        client.update(index=written.index, id="2", body={"doc": {"text": "dogs bark at night"}}, refresh=True)
    assert len(written.search("cats sleep")) == 3
    assert written.search("dogs bark at night")[0].doc_id == "2"


@pytest.mark.usefixtures("pipeline")
def test_documents_that_the_server_copies_are_encoded_on_the_way(
    client: OpenSearch, written: SparseIndex, second: str, encoder: TextEncoder
) -> None:
    """From an index that ksparse does not know, and from one of ksparse with other features, which stay behind."""
    index = written.index
    client.index(
        index=second, id="plain", body={"text": "wolves run in snow", "metadata": {"lang": "en"}}, refresh=True
    )
    copy = {"source": {"index": second}, "dest": {"index": index}}
    assert client.reindex(body=copy, params={"refresh": "true"})["created"] == 1
    client.indices.delete(index=second)
    SparseIndex(second, encoder=encoder, client=client, new=NewIndex(code_bits=2)).add(
        [Document("ours", "dogs bark at night", title="Dogs")]
    )
    assert client.reindex(body=copy, params={"refresh": "true"})["created"] == 1
    written.add([Document("plain-2", "wolves run in snow"), Document("ours-2", "dogs bark at night", title="Dogs")])
    for query, copied in (("wolves run in snow", "plain"), ("dogs bark at night", "ours")):
        hits = {hit.doc_id: hit for hit in written.search(query)}
        assert hits[copied].score == pytest.approx(hits[f"{copied}-2"].score, rel=1e-5)  # features and codes


def test_a_pipeline_that_an_index_already_has_comes_first_and_stays(
    client: OpenSearch, index: str, service: str, written: SparseIndex
) -> None:
    theirs = f"{index}-theirs"
    processors = [
        {"rename": {"field": "body", "target_field": "text", "ignore_missing": True}},
        {"set": {"field": "metadata.by", "value": "theirs"}},
    ]
    client.ingest.put_pipeline(id=theirs, body={"processors": processors})
    client.indices.put_settings(index=index, body={"index.default_pipeline": theirs})
    try:
        connect_index(client, index, service)
        client.index(index=index, id="4", body={"body": "wolves run in snow"}, refresh=True)
        [hit] = written.search("wolves run in snow", top_k=1)
        assert (hit.doc_id, hit.text, hit.metadata) == ("4", "wolves run in snow", {"by": "theirs"})
        assert ask(client, index, text("wolves run in snow"))[0][0] == "4"
        disconnect_index(client, index)
        settings = client.indices.get_settings(index=index)[index]["settings"]["index"]
        assert (settings["default_pipeline"], settings.get("final_pipeline")) == (theirs, None)
    finally:
        client.indices.put_settings(index=index, body={"index.default_pipeline": "_none"})
        client.ingest.delete_pipeline(id=theirs)


def test_the_same_again_changes_nothing_and_remove_undoes_all(client: OpenSearch, index: str, service: str) -> None:
    said: list[str] = []
    connect_index(client, index, service, say=said.append)
    assert len(said) == 7
    said.clear()
    connect_index(client, index, service, say=said.append)
    assert said == []
    assert disconnect_index(client, index, say=said.append)
    for kind in ("connectors", "models"):
        body = {"query": {"prefix": {"name.keyword": f"ksparse-{index}"}}}
        found = client.transport.perform_request("POST", f"/_plugins/_ml/{kind}/_search", body=body)
        assert found["hits"]["hits"] == [], kind
    assert "final_pipeline" not in client.indices.get_settings(index=index)[index]["settings"]["index"]
    said.clear()
    assert not disconnect_index(client, index, say=said.append)
    assert said == []


def test_a_rehearsal_prints_every_request_without_the_key(
    ml_cluster: Cluster, client: OpenSearch, written: SparseIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENSEARCH_URL", ml_cluster.url)
    monkeypatch.setenv("KSPARSE_API_KEY", "a-secret-of-ours")
    result = CliRunner().invoke(cli, ["connect", written.index, "--dry-run"], catch_exceptions=False)
    assert result.exit_code == 0
    lines = [line for line in result.output.splitlines() if line.startswith(("POST", "PUT", "DELETE"))]
    assert [line.split()[0] for line in lines] == ["POST"] * 4 + ["PUT"] * 3
    assert "********" in result.output and "a-secret-of-ours" not in result.output
    with pytest.raises(TransportError):
        client.ingest.get_pipeline(id=f"ksparse-{written.index}")


def test_the_key_is_sent_and_a_new_one_makes_a_new_connector(client: OpenSearch, written: SparseIndex) -> None:
    index, said = written.index, list[str]()
    with serving_texts(client, index, api_keys=("old", "new")) as address:
        with pytest.raises(ConnectorError, match="The API key is missing or wrong"):
            connect_index(client, index, address)
        connect_index(client, index, address, key="old")
        port = int(address.rpartition(":")[2])
    with serving_texts(client, index, port=port, api_keys=("new",)) as address:
        connect_index(client, index, address, key="new", say=said.append)
        assert ask(client, index, text("cats sleep"))[0][0] == "2"
    assert any("connectors/_create" in each for each in said)


def test_without_the_service_nothing_is_written_and_each_error_says_why(
    client: OpenSearch, written: SparseIndex
) -> None:
    index = written.index
    with serving_texts(client, index) as address:
        connect_index(client, index, address)
    with pytest.raises(TransportError, match="Connection refused"):
        client.index(index=index, id="9", body={"text": "wolves run"})
    with pytest.raises(TransportError, match="Connection refused"):
        ask(client, index, text("wolves"))
    reply = client.bulk(index=index, body=[{"index": {"_id": "9"}}, {"text": "wolves run"}], refresh=True)
    assert [item["index"]["_id"] for item in reply["items"]] == ["9"] and reply["errors"]
    assert client.count(index=index)["count"] == 3
    written.add([{"_id": "8", "text": "our own writer has its own encoder"}])
    assert client.count(index=index)["count"] == 4


def test_a_service_that_is_killed_loses_no_acknowledged_document(
    ml_cluster: Cluster, client: OpenSearch, written: SparseIndex
) -> None:
    index, [port] = written.index, free_ports(1)
    acknowledged: list[str] = []
    refused: list[str] = []
    with service_process(ml_cluster.url, index, port=port) as (process, address):
        connect_index(client, index, address)
        for number in range(40):
            if number == 20:
                process.kill()
            try:
                client.index(index=index, id=f"w{number}", body={"text": f"wolves of pack {number} run"})
                acknowledged.append(f"w{number}")
            except TransportError:
                refused.append(f"w{number}")
    assert 20 <= len(acknowledged) < 40 and len(acknowledged) + len(refused) == 40
    with service_process(ml_cluster.url, index, port=port):
        again = [{"index": {"_id": each}} for each in refused]
        lines = [line for action in again for line in (action, {"text": "wolves run late"})]
        deadline = time.monotonic() + PATIENCE_S
        while client.bulk(index=index, body=lines, refresh=True)["errors"]:
            assert time.monotonic() < deadline
            time.sleep(0.5)
    everything = client.search(index=index, body={"query": {"match_all": {}}, "size": 100})["hits"]["hits"]
    ids = {hit["_id"] for hit in everything}
    assert ids == {"1", "2", "3", *acknowledged, *refused}
    featureless = client.count(index=index, body={"query": without_features()})["count"]
    assert featureless == 0, "a document was written without its features"


@pytest.mark.usefixtures("pipeline")
def test_a_document_that_cannot_be_encoded_is_named_and_the_others_are_written(client: OpenSearch, index: str) -> None:
    lines = [{"index": {"_id": "bad"}}, {"title": " "}, {"index": {"_id": "good"}}, {"text": "wolves run"}]
    bad, good = (item["index"] for item in client.bulk(index=index, body=lines)["items"])
    assert (bad["status"], good["status"]) == (422, 201)
    assert "document 'bad' has neither text nor title" in bad["error"]["reason"]


def test_an_index_of_another_encoder_than_the_pipeline_takes_nothing(
    client: OpenSearch, written: SparseIndex, encoder: TextEncoder
) -> None:
    index = written.index
    with serving_texts(client, index, recheck_s=0.0) as address:
        name = connect_index(client, index, address)
        client.indices.delete(index=index)
        made = NewIndex(settings={"final_pipeline": name}, code_bits=2)
        SparseIndex(index, encoder=encoder, client=client, new=made).add(DOCUMENTS[:2])
        with pytest.raises(TransportError, match=f"has another encoder .* Run `ksparse connect {index}` again"):
            client.index(index=index, id="9", body={"text": "wolves run"})
        assert client.count(index=index)["count"] == 2
        connect_index(client, index, address)
        client.index(index=index, id="9", body={"text": "wolves run"}, refresh=True)
        assert ask(client, index, text("wolves")) == alike(SparseIndex(index, client=client).search("wolves"))


@pytest.mark.usefixtures("pipeline")
@pytest.mark.parametrize(
    "command",
    [("sh", "any_client.sh"), ("node", "any_client.mjs"), ("java", "AnyClient.java"), ("go", "run", "any_client.go")],
    ids=lambda command: command[0],
)
def test_clients_in_other_languages_write_and_search(
    command: tuple[str, ...], ml_cluster: Cluster, written: SparseIndex
) -> None:
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    # Go compiles its standard library once, without C and without inlining, which saves a quarter of the time.
    go = {"GOCACHE": str(cache_folder() / "go-build"), "CGO_ENABLED": "0", "GOFLAGS": "-gcflags=all=-l"}
    environment = os.environ | {"OPENSEARCH_URL": ml_cluster.url, "INDEX": written.index} | go
    query = 'plants "eat" light'
    done = subprocess.run(
        [*command, query], cwd=EXAMPLES, env=environment, capture_output=True, text=True, timeout=PATIENCE_S
    )
    assert done.returncode == 0, done.stderr
    found = [(hit["_id"], hit["_score"]) for hit in json.loads(done.stdout)["hits"]["hits"]]
    assert found == alike(written.search(query))
    assert f"from-{command[0].replace('sh', 'curl')}" in dict(found)


class Overloaded(QuietHandler):
    """A service that answers the trial of `connect`, and then has no room."""

    busy: ClassVar[bool] = False
    slow: ClassVar[bool] = False
    released: ClassVar[threading.Event] = threading.Event()

    def do_POST(self) -> None:
        self.body()
        if self.slow:
            self.released.wait(PATIENCE_S)
        if self.busy:
            self.reply(b'{"error": "512 texts are queued for the encoder"}', status=503)
        else:
            self.reply(json.dumps({"features": {"1": 1.0}, "dense_code": "AA==", "request": "{}"}).encode())


def test_back_pressure_reaches_the_client(client: OpenSearch, written: SparseIndex) -> None:
    with serving(Overloaded) as address:
        connect_index(client, written.index, address)
        Overloaded.busy = True
        reply = client.bulk(index=written.index, body=[{"index": {"_id": "9"}}, {"text": "wolves run"}])
        Overloaded.busy = False
    [item] = reply["items"]
    assert item["index"]["status"] == 503
    assert "512 texts are queued" in item["index"]["error"]["reason"]


def test_a_slow_service_does_not_hold_a_search_for_ever(client: OpenSearch, written: SparseIndex) -> None:
    with serving(Overloaded) as address:
        connect_index(client, written.index, address)
        Overloaded.slow = True
        try:
            start = time.monotonic()
            with pytest.raises(TransportError, match="(?i)timeout|timed out"):
                ask(client, written.index, text("cats"))
            assert time.monotonic() - start < 8.0
        finally:
            Overloaded.slow = False
            Overloaded.released.set()


def test_an_index_with_another_final_pipeline_is_left_alone(client: OpenSearch, index: str, service: str) -> None:
    client.indices.put_settings(index=index, body={"index.final_pipeline": "theirs"})
    with pytest.raises(ConnectorError, match="already has the final pipeline 'theirs'"):
        connect_index(client, index, service)


def test_an_address_that_the_cluster_does_not_trust_is_said_with_the_setting(
    client: OpenSearch, written: SparseIndex
) -> None:
    with pytest.raises(
        ClusterError, match="See the cluster setting plugins.ml_commons.trusted_connector_endpoints_regex"
    ):
        connect_index(client, written.index, "http://203.0.113.1:8080")


def test_a_new_key_replaces_the_old_one_while_both_are_accepted(client: OpenSearch, written: SparseIndex) -> None:
    index, said = written.index, list[str]()
    with serving_texts(client, index, api_keys=("old", "new")) as address:
        connect_index(client, index, address, key="old")
        connect_index(client, index, address, key="new", say=said.append)
        requests = [each.partition("\n")[0] for each in said]
        last_change = max(row for row, each in enumerate(requests) if each.startswith("PUT"))
        first_deletion = min(row for row, each in enumerate(requests) if each.endswith("/_undeploy"))
        assert last_change < first_deletion, "a pipeline called a model that was deleted"
        said.clear()
        connect_index(client, index, address, key="new", say=said.append)
        assert said == []
        port = int(address.rpartition(":")[2])
    with serving_texts(client, index, port=port, api_keys=("new",)):
        assert ask(client, index, text("cats sleep"))[0][0] == "2"
        client.index(index=index, id="9", body={"text": "wolves run"})


def test_remove_frees_the_index_that_the_alias_named_before(
    client: OpenSearch, written: SparseIndex, second: str, encoder: TextEncoder
) -> None:
    index, alias = written.index, f"{written.index}-alias"
    client.indices.put_alias(index=index, name=alias)
    with serving_texts(client, alias) as address:
        connect_index(client, alias, address)
    SparseIndex(second, encoder=encoder, client=client).add(DOCUMENTS)
    actions = [{"remove": {"index": index, "alias": alias}}, {"add": {"index": second, "alias": alias}}]
    client.indices.update_aliases(body={"actions": actions})
    disconnect_index(client, alias)
    assert "final_pipeline" not in client.indices.get_settings(index=index)[index]["settings"]["index"]
    client.index(index=index, id="9", body={"text": "rolled back"})


@pytest.mark.parametrize("by_alias", [False, True])
def test_remove_frees_an_index_whose_name_begins_with_a_dot(
    client: OpenSearch, index: str, encoder: TextEncoder, by_alias: bool
) -> None:
    """As names of system indices do; also if an alias named it only earlier."""
    hidden = f".{index}"
    name = index if by_alias else hidden
    made = SparseIndex(hidden, encoder=encoder, client=client, new=NewIndex(settings={"hidden": True}))
    try:
        made.add(DOCUMENTS)
        if by_alias:
            client.indices.put_alias(index=hidden, name=name)
        with serving_texts(client, name) as address:
            connect_index(client, name, address)
        if by_alias:
            client.indices.delete_alias(index=hidden, name=name)
        assert disconnect_index(client, name)
        assert "final_pipeline" not in client.indices.get_settings(index=hidden)[hidden]["settings"]["index"]
    finally:
        disconnect_index(client, name)
        client.indices.delete(index=hidden, ignore_unavailable=True)


def test_variables_in_metadata_and_ids_are_texts(client: OpenSearch, index: str, encoder: TextEncoder) -> None:
    meta = {"log": ["${parameters.http_body}", {"${HOME}": "\ue000{ ${ml_inference.x}"}], "year": 2020, "of": None}
    new = NewIndex(mappings=typed_mappings("rest"))
    SparseIndex(index, encoder=encoder, client=client, new=new).add([Document("1", "cats sleep")])
    with serving_texts(client, index) as address:
        connect_index(client, index, address)
        path = f"/_ingest/pipeline/ksparse-{index}/_simulate"
        docs = [{"_id": "${parameters.id}", "_source": {"text": "cats sleep", "meta": meta}}]
        [made] = client.transport.perform_request("POST", path, body={"docs": docs})["docs"]
    source = made["doc"]["_source"]
    assert sorted(source["meta_terms"]) == sorted(terms_of(meta))
    assert source["meta"] == meta and "ksparse_input" not in source


@pytest.mark.slow
def test_the_suite_service_sends_searches_through_the_pipeline(
    ml_cluster: Cluster, client: OpenSearch, written: SparseIndex, service: str
) -> None:
    limits = Limits("uniform", 0.5, 10_000.0, 2, 1.0)
    with of_pipeline(client, ml_cluster.url, written.index, service) as target:
        capacity, *rates, last = measure_service(target, ["cats sleep"], limits, lambda _what, _share: None)
    assert capacity["rate"] > 1 and rates[0]["requests"] >= 1
    assert (last["kind"], last["errors"]) == ("long", 0)
    with pytest.raises(NotFoundError):  # it is disconnected afterwards
        client.transport.perform_request("GET", f"/_search/pipeline/ksparse-{written.index}")
