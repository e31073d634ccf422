"""`ksparse serve`: the routes in this process, and the command as a separate process."""

from __future__ import annotations

import json
import os
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Event
from typing import Any

import httpx
import pytest
from click.testing import CliRunner
from fastapi.testclient import TestClient
from opensearchpy import OpenSearch
from opensearchpy.exceptions import TransportError
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Transformer
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling

from connector import SearchSettings, SparseIndex
from connector.cli.main import cli
from connector.cli.serve import read_keys
from connector.connection.client import connect
from connector.encoders.load import load_encoder
from connector.encoders.text import TextEncoder
from connector.index.frequencies import DocumentFrequencies
from connector.index.kept import KeptDocuments
from connector.index.schema import existing_schema, save_search_defaults
from connector.search.opened import OpenedIndex, features_for
from connector.service.app import create_app
from connector.service.metrics import Metrics
from connector.service.run import Listener, config
from connector.service.served import DocumentVector, QueryText, ServedIndex
from connector.service.settings import ServiceSettings
from tests.fault_proxy import fault_proxy
from tests.patience import PATIENCE_S
from tests.service_server import service_process, serving_texts
from tests.tenants import fill_a_tenth
from tests.tiny import DIM, MAX_TOKENS, build_head

pytestmark = pytest.mark.opensearch

TLS = Path(__file__).parents[1] / "tls"

DOCUMENTS = [
    {"_id": "1", "title": "Plants", "text": "plants eat light with green leaves", "metadata": {"lang": "en"}},
    {"_id": "2", "title": "", "text": "cats sleep on warm stones", "metadata": {"lang": "en"}},
    {"_id": "3", "title": "Rivers", "text": "rivers carry sand to the sea", "metadata": {"lang": "de"}},
]


@pytest.fixture
def written(client: OpenSearch, index: str, encoder: TextEncoder) -> SparseIndex:
    """An index whose encoder any process can load: it says the folder of the tiny head."""
    made = SparseIndex(index, encoder=encoder, client=client)
    made.add(DOCUMENTS)
    return SparseIndex(index, client=client)


@contextmanager
def serving(client: OpenSearch, index: str, **settings: Any) -> Iterator[TestClient]:  # noqa: ANN401
    app = create_app(client, ServiceSettings(indices=(index,), **settings))
    with TestClient(app, raise_server_exceptions=False) as service:
        yield service


@pytest.fixture
def service(client: OpenSearch, written: SparseIndex) -> Iterator[TestClient]:
    with serving(client, written.index) as service:
        yield service


def test_a_query_is_encoded_once(service: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    encoded: list[int | None] = []
    encode = OpenedIndex._encode_apart

    def counted(opened: OpenedIndex, queries: list[str], settings: SearchSettings) -> Any:  # noqa: ANN401
        encoded.append(settings.k_query)
        return encode(opened, queries, settings)

    monkeypatch.setattr(OpenedIndex, "_encode_apart", counted)
    monkeypatch.setattr("connector.index.reach.MAX_RESCORED", 0)
    filtered = {"query": "plants eat light", "filters": {"lang": "en"}}
    assert [hit["id"] for hit in service.post("/search", json=filtered).json()["hits"]][0] == "1"
    assert service.post("/search", json={"query": "plants eat light"}).status_code == 200
    # Two of three documents are kept, so more features are searched than without the filter.
    assert encoded == [features_for(2, 2 / 3), 2]
    deep = {"query": "cats sleep", "hybrid": True, "rank_window_size": 250}
    assert service.post("/search", json=deep).status_code == 200
    assert encoded == [features_for(2, 2 / 3), 2, 2]


def test_a_search_finds_what_the_library_finds(service: TestClient, written: SparseIndex) -> None:
    options: list[dict[str, Any]] = [
        {},
        {"top_k": 2},
        {"filters": {"lang": "en"}},
        {"window": 0},
        {"k_query": 2},
        {"hybrid": True},
        {"hybrid": True, "alpha": 0.2},
        {"hybrid": True, "bm25_weight": 0.1},
    ]
    for each in options:
        reply = service.post("/search", json={"query": "cats sleep", **each})
        assert reply.status_code == 200, reply.text
        known = dict(each)
        settings = {name: known.pop(name) for name in ("window", "k_query") if name in known}
        hits = written.search("cats sleep", settings=SearchSettings(**settings), **known)
        found = [(hit["id"], hit["score"]) for hit in reply.json()["hits"]]
        assert found == [(hit.doc_id, pytest.approx(hit.score, rel=1e-5)) for hit in hits], each
        assert reply.json()["hits"][0]["source"]["text"]
    reply = service.post("/search", json={"query": "cats sleep", "fields": []})
    assert [hit["source"] for hit in reply.json()["hits"]] == [{}] * 3


def test_documents_are_encoded_as_the_writer_does(service: TestClient, written: SparseIndex) -> None:
    texts = [f"{each['title']} {each['text']}".strip() for each in DOCUMENTS]
    reply = service.post("/encode/document", json={"texts": texts}).json()
    schema = written.retriever.schema
    assert (reply["index"], reply["space"], reply["weight_exponent"]) == (
        written.index,
        schema.space,
        schema.weight_exponent,
    )
    vectors = written.encoder.encode_document(texts)
    assert vectors.codes is not None
    for row, features in enumerate(vectors.as_mappings()):
        answered = reply["vectors"][row]["features"]
        assert answered.pop("present") == pytest.approx(2.0**schema.weight_exponent, rel=2**-7)
        assert set(answered) == set(features)
        for name, weight in features.items():
            assert answered[name] * 2.0**-schema.weight_exponent == pytest.approx(weight, rel=2**-7)
    assert {"features": None, "rescore": None}.items() <= service.post(
        "/encode/document", json={"texts": texts[:1], "parts": "codes"}
    ).json()["vectors"][0].items()


@pytest.fixture
def other_model(dense_folder: Path, tmp_path: Path) -> TextEncoder:
    """A head in front of another dense model, which pools by the first token."""
    modules = [Transformer(str(dense_folder.parent / "transformer"), max_seq_length=MAX_TOKENS), Pooling(DIM, "cls")]
    SentenceTransformer(modules=[*modules, Normalize()], device="cpu").save_pretrained(str(tmp_path / "dense"))
    (tmp_path / "head").mkdir()
    build_head(str(tmp_path / "dense"), seed=5).save(str(tmp_path / "head"))
    return load_encoder(str(tmp_path / "head"), device="cpu")


def test_indices_of_different_dense_models_are_each_encoded_by_their_own(
    client: OpenSearch, written: SparseIndex, second: str, other_model: TextEncoder
) -> None:
    SparseIndex(second, encoder=other_model, client=client).add(DOCUMENTS)
    other = SparseIndex(second, client=client)
    assert other.retriever.schema.space != written.retriever.schema.space
    queries = [f"{word} sleep on warm stones" for word in ("cats", "rivers", "plants", "stars")]
    asked = [(index, query) for query in queries for index in (written, other)]
    app = create_app(client, ServiceSettings(indices=(written.index, second)))
    with TestClient(app) as service, ThreadPoolExecutor(len(asked)) as threads:

        def ask(each: tuple[SparseIndex, str]) -> list[dict[str, Any]]:
            body = {"query": each[1], "index": each[0].index}
            return list(service.post("/search", json=body).raise_for_status().json()["hits"])

        answers = list(threads.map(ask, asked))  # requests of both indices are under way together
        unnamed = service.post("/search", json={"query": "cats"})
        vectors = [
            service.post("/encode/document", json={"texts": ["cats sleep"], "index": name}).json()["vectors"]
            for name in (written.index, second)
        ]
    for (index, query), hits in zip(asked, answers, strict=True):
        wanted = [(hit.doc_id, pytest.approx(hit.score, rel=1e-5)) for hit in index.search(query)]
        assert [(hit["id"], hit["score"]) for hit in hits] == wanted, (index.index, query)
    assert (unnamed.status_code, unnamed.json()["error"][:20]) == (422, "this service serves ")
    assert vectors[0] != vectors[1]


def test_ml_commons_form_is_a_list_of_token_to_weight(service: TestClient, client: OpenSearch, index: str) -> None:
    [document] = service.post("/encode/document", json={"inputs": ["cats sleep"]}).json()
    assert "present" in document and all(weight > 0 for weight in document.values())
    [tokens] = service.post("/encode/query", json={"inputs": ["cats sleep"]}).json()
    clauses = [
        {"rank_feature": {"field": f"features.{name}", "boost": weight, "linear": {}}}
        for name, weight in tokens.items()
    ]
    found = client.search(index=index, body={"query": {"bool": {"should": clauses}}})["hits"]["hits"]
    hits = SparseIndex(index, client=client).search("cats sleep", settings=SearchSettings(window=0))
    assert [(hit["_id"], hit["_score"]) for hit in found] == [
        (hit.doc_id, pytest.approx(hit.score, rel=1e-5)) for hit in hits
    ]


def test_a_rewritten_request_finds_what_the_library_finds(
    service: TestClient, client: OpenSearch, written: SparseIndex
) -> None:
    request = {
        "query": {
            "bool": {"must": [{"match": {"ksparse": "cats sleep"}}], "filter": [{"term": {"metadata.lang": "en"}}]}
        }
    }
    reply = service.post(f"/indices/{written.index}/pipeline/search", json=request)
    body = json.loads(reply.json()["request"])
    found = [(hit["_id"], hit["_score"]) for hit in client.search(index=written.index, body=body)["hits"]["hits"]]
    hits = written.search("cats sleep", filters={"lang": "en"})
    assert found == [(hit.doc_id, pytest.approx(hit.score, rel=1e-5)) for hit in hits]
    assert body["rescore"]["window_size"] == written.retriever.defaults().window


def test_a_rewritten_request_with_filters_finds_what_the_library_finds(
    client: OpenSearch, index: str, encoder: TextEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("connector.search.opened.MAX_RESCORED", 0)  # no scan without filters, as in a large index
    fill_a_tenth(client, index, encoder)
    text, alpha = {"match": {"ksparse": "warm"}}, {"term": {"metadata.tenant": "alpha"}}
    beta = {"term": {"metadata.tenant": "beta"}}
    requests: list[dict[str, Any]] = [
        {"query": {"bool": {"must": text, "filter": [alpha]}}},
        {"query": {"bool": {"must": text, "must_not": beta}}},
        {"query": text, "post_filter": alpha},
    ]

    def check() -> None:
        hits = SparseIndex(index, client=client).search("warm", filters=[alpha])
        assert len(hits) == 6
        with serving(client, index) as service:
            for request in requests:
                reply = service.post(f"/indices/{index}/pipeline/search", json=request)
                found = client.search(index=index, body=json.loads(reply.json()["request"]))["hits"]["hits"]
                expected = [(hit.doc_id, pytest.approx(hit.score, rel=1e-5)) for hit in hits]
                assert [(hit["_id"], hit["_score"]) for hit in found] == expected, request

    by_two = SparseIndex(index, client=client).search("warm", filters=[alpha], settings=SearchSettings(2, 0))
    assert len(by_two) == 2, "features of a search without filters"
    check()  # all codes
    monkeypatch.setattr("connector.index.reach.MAX_RESCORED", 0)
    check()  # more features


def test_a_rewritten_request_rescores_as_many_hits_as_the_index_permits(
    client: OpenSearch, written: SparseIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("connector.search.opened.MAX_RESCORED", 0)  # no scan, as in a large index
    client.indices.put_settings(index=written.index, body={"index.max_rescore_window": 30})
    with serving(client, written.index, recheck_s=0.0) as service:
        for k in (2, 3):
            request = {"query": {"match": {"ksparse": "cats sleep"}}}
            reply = service.post(f"/indices/{written.index}/pipeline/search", json=request)
            body = json.loads(reply.json()["request"])
            assert body["rescore"]["window_size"] == 30
            assert client.search(index=written.index, body=body)["hits"]["hits"][0]["_id"] == "2"
            save_search_defaults(client, written.index, SearchSettings(k, 50))  # which opens the index again


def test_a_text_with_a_variable_of_ml_commons_stays_a_text(service: TestClient, index: str) -> None:
    request = {"query": {"match": {"text": "echo ${HOME:-/root}"}}}
    reply = service.post(f"/indices/{index}/pipeline/search", json=request).json()["request"]
    assert "${" not in reply
    assert json.loads(reply) == request


@pytest.mark.parametrize(
    ("path", "body", "code", "reason"),
    [
        ("/search", {"query": " "}, 400, "The query is empty"),
        ("/search", {"query": "cats " * 50}, 400, "tokens, but the encoder reads at most 12; shorten it"),
        ("/search", {"query": "cats", "top": 3}, 422, "top: Extra inputs are not permitted"),
        ("/search", {"query": "cats", "bm25_weight": 1}, 422, "bm25_weight needs hybrid=True"),
        ("/search", {"query": "cats", "alpha": 0.2}, 422, "alpha needs hybrid=True"),
        ("/search", {"query": "cats", "hybrid": True, "alpha": 2}, 422, "less than or equal to 1"),
        ("/search", {"query": "cats", "filters": {"x": {"$near": 1}}}, 422, "near"),
        ("/search", {"query": "cats", "prune_type": "top_k"}, 422, "top_k keeps a whole number"),
        ("/search", {"query": "cats", "prune_ratio": 0.5}, 422, "prune_ratio needs a prune_type"),
        ("/encode/query", {"texts": ["cats"], "prune_ratio": 2}, 422, "prune_ratio needs a prune_type"),
        ("/search", {"query": "cats", "rank_window_size": 50}, 422, "rank_window_size needs hybrid"),
        ("/search", {"query": "cats", "index": "another"}, 404, "Index 'another' is not served here"),
        ("/encode/query", {"texts": ["a"], "inputs": ["a"]}, 422, "give either texts"),
        ("/encode/query", {"texts": []}, 422, "texts: List should have at least 1 item"),
        ("/encode/query", {"texts": ["cats"], "space": "0" * 16}, 409, "has another encoder"),
        ("/encode/document", {"texts": ["cats"], "space": "0" * 16}, 409, "`ksparse connect"),
        ("/encode/document", {"texts": ["cats"] * 257}, 413, "the request has 257 texts, the limit is 256"),
        ("/encode/document", {"texts": [""]}, 422, "text 0 is empty"),
    ],
)
def test_a_request_that_cannot_be_answered_says_why(
    service: TestClient, path: str, body: dict[str, Any], code: int, reason: str
) -> None:
    reply = service.post(path, json=body)
    assert reply.status_code == code, reply.text
    assert reason in reply.json()["error"]


def test_a_filter_does_not_read_an_index_that_is_not_served(
    service: TestClient, client: OpenSearch, written: SparseIndex, second: str
) -> None:
    client.index(index=second, id="1", body={"lang": ["de"], "text": "rivers"}, params={"refresh": "true"})
    lookup = {"terms": {"metadata.lang": {"index": second, "id": "1", "path": "lang"}}}
    alike = {"more_like_this": {"fields": ["text"], "like": {"_index": second, "_id": "1"}, "min_doc_freq": 1}}
    shown = {"fields": {"text": {}}, "highlight_query": alike}
    assert [hit.id for hit in written.search("cats", filters=[lookup])] == ["3"], "the server does look it up"
    for each in ({"filters": [lookup]}, {"filters": {"bool": {"must": alike}}}, {"highlight": shown}):
        reply = service.post("/search", json={"query": "cats sleep", **each})
        assert reply.status_code == 422, reply.text
        assert f"reads documents of index '{second}', which is not served here" in reply.json()["error"]
    own = {"terms": {"metadata.lang": {"index": written.index, "id": "3", "path": "metadata.lang"}}}
    reply = service.post("/search", json={"query": "cats sleep", "filters": [own]})
    assert [hit["id"] for hit in reply.json()["hits"]] == ["3"]


def test_too_many_bytes_are_refused_before_they_are_read(client: OpenSearch, written: SparseIndex) -> None:
    with serving(client, written.index, max_body_bytes=100) as service:
        reply = service.post("/search", json={"query": "cats " * 100})
        assert (reply.status_code, reply.json()["error"][:40]) == (413, "The request has more than 100 bytes; sen")
        assert service.post("/search", json={"query": "cats"}).status_code == 200


def test_a_key_is_needed_and_nowhere_shown(
    client: OpenSearch, written: SparseIndex, caplog: pytest.LogCaptureFixture
) -> None:
    settings = ServiceSettings(indices=(written.index,), api_keys=("old-key-1", "new-key-2"))
    assert "key-1" not in repr(settings)
    with TestClient(create_app(client, settings)) as service:
        assert service.post("/search", json={"query": "cats"}).status_code == 401
        for key in ("old-key", "new-key-2x", ""):
            wrong = service.post("/search", json={"query": "cats"}, headers={"Authorization": f"Bearer {key}"})
            assert (wrong.status_code, wrong.headers["www-authenticate"]) == (401, "Bearer")
        for key in settings.api_keys:
            right = service.post("/search", json={"query": "cats"}, headers={"Authorization": f"Bearer {key}"})
            assert right.status_code == 200
        assert service.get("/metrics").status_code == 401
        assert [service.get(path).status_code for path in ("/health", "/ready")] == [200, 200]
        authorization = {"Authorization": f"Bearer {settings.api_keys[0]}"}
        for path in ("/health", "/ready", "/metrics", "/openapi.json", "/nowhere"):
            for scheme in ("Bearer wrong", "Basic old-key-1", "old-key-1"):
                assert written.index not in service.get(path, headers={"Authorization": scheme}).text, path
        assert service.get("/ready").json() == {"ready": True}
        assert service.get("/ready", headers=authorization).json() == {"ready": True, "indices": [written.index]}
    assert "key-" not in caplog.text


def test_metrics_count_requests_batches_and_the_cache(service: TestClient, index: str) -> None:
    for _ in range(3):
        service.post("/search", json={"query": "warm stones"})
    service.post("/search", json={"query": ""})
    text = service.get("/metrics").text
    assert 'ksparse_requests_total{route="/search",status="200"} 3.0' in text
    assert 'ksparse_requests_total{route="/search",status="400"} 1.0' in text
    assert 'ksparse_queries_total{cached="yes"} 2.0' in text
    assert 'ksparse_batch_texts_count{task="query"} 4.0' in text


def test_the_openapi_document_describes_every_route(service: TestClient) -> None:
    document = service.get("/openapi.json").json()
    assert {"/search", "/encode/query", "/encode/document", "/health", "/ready", "/metrics"} <= set(document["paths"])
    search = document["paths"]["/search"]["post"]
    assert {"200", "400", "401", "409", "413", "503"} <= set(search["responses"])
    assert "hybrid" in document["components"]["schemas"]["Search"]["properties"]


def test_an_index_that_was_recreated_is_served_by_its_new_encoder(
    service: TestClient, client: OpenSearch, written: SparseIndex, encoder: TextEncoder
) -> None:
    before = service.post("/encode/query", json={"texts": ["cats"]}).json()["space"]
    client.indices.delete(index=written.index)
    other = SparseIndex(written.index, encoder=encoder, client=client)
    other.add([{"_id": "9", "text": "wolves run"}, *DOCUMENTS[:2]])
    space = other.retriever.schema.space
    assert space != before, "other documents, other statistics"
    fresh = service.post("/encode/document", json={"texts": ["cats"], "space": space})
    assert (fresh.status_code, fresh.json()["space"]) == (200, space)
    stale = service.post("/encode/document", json={"texts": ["cats"], "space": before})
    assert stale.status_code == 409 and f"ksparse connect {written.index}" in stale.json()["error"]


async def test_searches_and_vectors_of_a_recreated_index_share_one_encoder(
    client: OpenSearch, written: SparseIndex, encoder: TextEncoder
) -> None:
    with ThreadPoolExecutor(1) as executor:
        settings = ServiceSettings(recheck_s=0.0)
        served = ServedIndex(
            client, written.index, settings=settings, metrics=Metrics(), executors=(executor, executor)
        )
        client.indices.delete(index=written.index)
        assert not served.index.exists()  # its searches open another retriever
        SparseIndex(written.index, encoder=encoder, client=client).add(DOCUMENTS)
        assert served.index.search("cats")
        [vector] = await served.encode_queries([QueryText("cats")])
        assert served.retriever is served.index.retriever
        assert vector.opened is served.index.retriever.opened


def test_documents_are_encoded_for_the_index_that_an_alias_has_now(
    client: OpenSearch, written: SparseIndex, second: str, encoder: TextEncoder
) -> None:
    """Queries of the old encoder find nothing, but its documents would be written."""
    SparseIndex(second, encoder=encoder, client=client).add([{"_id": "9", "text": "wolves run"}, *DOCUMENTS[:2]])
    alias = f"{written.index}-alias"
    client.indices.put_alias(index=written.index, name=alias)
    with serving(client, alias, recheck_s=600.0) as service:
        before = service.post("/encode/document", json={"texts": ["cats"]}).json()["space"]
        switch = [
            {"remove": {"index": written.index, "alias": alias}},
            {"add": {"index": second, "alias": alias}},
        ]
        client.indices.update_aliases(body={"actions": switch})
        after = service.post("/encode/document", json={"texts": ["cats"]}).json()["space"]
    assert before == existing_schema(client, written.index).space
    assert after == existing_schema(client, second).space != before


def test_a_deleted_index_is_not_found_and_makes_room_for_another_one(
    client: OpenSearch, written: SparseIndex, second: str, encoder: TextEncoder
) -> None:
    SparseIndex(second, encoder=encoder, client=client).add(DOCUMENTS)
    settings = ServiceSettings(max_indices=1, recheck_s=0.3)
    with TestClient(create_app(client, settings), raise_server_exceptions=False) as service:

        def encode(index: str) -> int:
            return service.post("/encode/query", json={"index": index, "texts": ["cats sleep"]}).status_code

        assert (encode(written.index), encode(second)) == (200, 503)
        client.indices.delete(index=written.index)
        time.sleep(settings.recheck_s)
        assert [encode(written.index) for _ in range(3)] == [404] * 3
        assert (encode(second), encode(written.index)) == (200, 503)
        assert service.get("/ready").json()["indices"] == [second]


def test_a_server_that_is_unreachable_is_said_with_when_to_come_back(opensearch_url: str, written: SparseIndex) -> None:
    with fault_proxy(opensearch_url) as proxy:
        stack = ExitStack()
        client = stack.enter_context(connect(proxy.url))
        service = stack.enter_context(serving(client, written.index))
    with stack:  # and the server is gone
        reply = service.post("/search", json={"query": "cats"})
        assert (reply.status_code, reply.headers.get("retry-after")) == (503, "1"), reply.text
        encoded = service.post("/encode/query", json={"texts": ["cats"]})
        assert encoded.status_code == 200, "encoding needs no server"


def test_texts_above_the_limit_are_refused_with_retry_after(client: OpenSearch, written: SparseIndex) -> None:
    texts = {"texts": ["cats sleep on warm stones"] * 4}
    with serving(client, written.index, max_waiting=4, max_texts=4, max_batch=1) as service:
        with ThreadPoolExecutor(8) as callers:
            replies = [*callers.map(lambda _: service.post("/encode/document", json=texts), range(16))]
    refused = [reply for reply in replies if reply.status_code == 503]
    assert 0 < len(refused) < 16
    assert all(reply.headers["retry-after"] == "1" for reply in refused)
    assert "texts are queued for the encoder" in refused[0].json()["error"]


@pytest.mark.slow
def test_the_command_serves_answers_what_is_in_flight_and_stops(opensearch_url: str, written: SparseIndex) -> None:
    headers = {"Authorization": "Bearer a-secret-of-ours"}
    with service_process(opensearch_url, written.index, key="a-secret-of-ours") as (process, address):
        with httpx.Client(base_url=address, headers=headers, timeout=PATIENCE_S) as caller:
            assert caller.get("/ready").json() == {"ready": True, "indices": [written.index]}
            hits = caller.post("/search", json={"query": "cats sleep"}).json()["hits"]
            assert hits[0]["id"] == written.search("cats sleep")[0].doc_id
        process.send_signal(signal.SIGTERM)
        said, _ = process.communicate(timeout=PATIENCE_S)
        assert "Application shutdown complete" in said and process.returncode == -signal.SIGTERM
        assert "a-secret-of-ours" not in said


def test_only_clients_with_a_certificate_come_in(client: OpenSearch, written: SparseIndex) -> None:
    listener = Listener(certfile=TLS / "server.pem", client_ca=TLS / "client-ca.pem", grace_s=1)
    with serving_texts(client, written.index, listener=listener) as served:
        address = served.replace("127.0.0.1", "localhost")  # as the certificate has it
        trusting = ssl.create_default_context(cafile=TLS / "ca.pem")
        with httpx.Client(verify=trusting, timeout=PATIENCE_S) as stranger:
            with pytest.raises(httpx.TransportError):
                stranger.get(f"{address}/health")
        trusting.load_cert_chain(TLS / "client.pem", TLS / "client-key.pem")
        with httpx.Client(verify=trusting, timeout=PATIENCE_S) as known:
            assert known.post(f"{address}/search", json={"query": "cats"}).status_code == 200


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("docs", "--host", "0.0.0.0"), "--host 0.0.0.0 exposes the service to other machines: set KSPARSE_API_KEY"),
        (("docs", "--ssl-client-ca", __file__), "give --ssl-certfile as well"),
        (("docs", "--ssl-keyfile", __file__), "--ssl-keyfile needs TLS; give --ssl-certfile as well"),
        (("docs", "--max-texts", "1000"), "max_texts 1000 exceeds max_waiting 512"),
    ],
)
def test_what_cannot_be_served_is_said_at_once(
    arguments: tuple[str, ...], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KSPARSE_API_KEY", raising=False)
    result = CliRunner().invoke(cli, ["serve", *arguments])
    assert result.exit_code == 2
    assert message in " ".join(result.output.split())


def test_an_index_that_is_missing_is_one_line(workplace: Path) -> None:
    result = CliRunner().invoke(cli, ["serve", "never-made", "--port", "0"])
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == (
        "Error: There is no index 'never-made'. Create it with `ksparse ingest CORPUS --index never-made`.\n"
    )


@pytest.mark.parametrize("options", [[], ["--dry-run"]])
def test_nothing_to_disconnect_is_said(options: list[str], workplace: Path) -> None:
    result = CliRunner().invoke(cli, ["connect", "never-made", "--remove", *options])
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == "Nothing was connected as never-made.\n"


def test_an_encoder_that_cannot_be_loaded_is_said_without_a_traceback(
    opensearch_url: str, written: SparseIndex, tmp_path: Path
) -> None:
    options = ["--encoder", str(tmp_path / "nothing")]
    command = [sys.executable, "-c", "from connector.cli.main import cli; cli()", "serve", written.index, *options]
    ran = subprocess.run(
        [*command, "--port", "0"],
        env=os.environ | {"OPENSEARCH_URL": opensearch_url},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert ran.returncode != 0 and "Traceback" not in ran.stderr
    assert "nothing' is not a folder" in ran.stderr


def test_idle_connections_are_kept_for_longer_than_clients_reuse_them(client: OpenSearch) -> None:
    ml_commons_s = 60
    assert config(client, ServiceSettings(), Listener()).timeout_keep_alive > ml_commons_s


def test_keys_are_read_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("first\n\nsecond \n")
    assert read_keys(tmp_path / "keys") == ("first", "second")


def test_keys_are_read_with_a_byte_order_mark_and_an_unreadable_file_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "keys").write_bytes(b"\xef\xbb\xbffirst\r\nsecond\r\n")
    assert read_keys(tmp_path / "keys") == ("first", "second")
    (tmp_path / "keys").write_bytes("s3cret-é".encode("latin-1"))
    result = CliRunner().invoke(cli, ["serve", "docs", "--api-key-file", str(tmp_path / "keys")])
    assert result.exit_code == 1 and result.stderr.startswith("Error: ") and "is not UTF-8" in result.stderr
    assert "s3cret" not in result.output


@pytest.mark.parametrize(
    ("cert", "key", "ca", "reason"),
    [
        ("client.pem", None, None, "client.pem"),  # without its key
        ("client.pem", "server.pem", None, "KEY_VALUES_MISMATCH"),
        ("client.pem", "client-key-encrypted.pem", None, "client-key-encrypted.pem' is encrypted; decrypt it"),
        ("client-key.pem", "client-key.pem", None, "client-key.pem"),
        ("server.pem", None, "client-key.pem", "client-key.pem"),
    ],
)
def test_certificates_that_cannot_be_used_are_one_line_before_the_index_is_read(
    cert: str, key: str | None, ca: str | None, reason: str, workplace: Path
) -> None:
    options = ["--ssl-certfile", str(TLS / cert)]
    options += ["--ssl-keyfile", str(TLS / key)] if key is not None else []
    options += ["--ssl-client-ca", str(TLS / ca)] if ca is not None else []
    result = CliRunner().invoke(cli, ["serve", "never-made", "--port", "0", *options])
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("Error: The ") and reason in result.stderr and "never-made" not in result.stderr


def test_settings_that_are_saved_meanwhile_and_a_new_encoder_reach_a_running_service(
    client: OpenSearch, written: SparseIndex, encoder: TextEncoder
) -> None:
    with serving(client, written.index, recheck_s=0.0) as service:

        def window() -> int:
            reply = service.post("/encode/query", json={"texts": ["cats"]}).json()
            return int(reply["vectors"][0]["rescore"]["window_size"])

        assert window() == 100
        save_search_defaults(client, written.index, SearchSettings(2, 321))
        assert window() == 321
        before = service.post("/encode/document", json={"texts": ["cats"]}).json()["space"]
        client.indices.delete(index=written.index)
        other = SparseIndex(written.index, encoder=encoder, client=client)
        other.add([{"_id": "9", "text": "wolves run"}, *DOCUMENTS[:2]])
        after = service.post("/encode/document", json={"texts": ["cats"]}).json()["space"]
        assert (after, before == after) == (other.retriever.schema.space, False)


@pytest.mark.parametrize("hybrid", [False, True])
@pytest.mark.parametrize("code", [429, 503])
def test_back_pressure_of_opensearch_reaches_the_client_with_retry_after(
    client: OpenSearch, written: SparseIndex, monkeypatch: pytest.MonkeyPatch, code: int, hybrid: bool
) -> None:
    def busy(*_: object, **__: object) -> dict[str, Any]:
        error = {"type": "rejected_execution_exception", "reason": "the queue is full"}
        if not hybrid:
            raise TransportError(code, "rejected", {"error": error})
        return {"responses": [{"error": error, "status": code}] * 2}

    with serving(client, written.index) as service:
        with monkeypatch.context() as patch:
            patch.setattr(client, "msearch" if hybrid else "search", busy)
            reply = service.post("/search", json={"query": "cats", "hybrid": hybrid})
        assert (reply.status_code, reply.headers.get("retry-after")) == (503, "1"), reply.text
        assert "the queue is full" in reply.json()["error"]


@pytest.mark.parametrize("code", [429, 503, 500])
def test_a_server_that_cannot_read_a_mapping_now_is_no_error_of_the_service(
    client: OpenSearch, written: SparseIndex, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def busy(*_: object, **__: object) -> None:
        error = {"type": "cluster_block_exception", "reason": "blocked by: state not recovered"}
        raise TransportError(code, "cluster_block_exception", {"error": error})

    others = TestClient(create_app(client, ServiceSettings()), raise_server_exceptions=False)
    with serving(client, written.index, recheck_s=0.0) as service, others:
        monkeypatch.setattr(client.indices, "get_mapping", busy)
        replies = [service.post("/search", json={"query": "cats"})] if code == 500 else []
        replies.append(others.post("/search", json={"query": "cats", "index": written.index}))
        for reply in replies:
            assert reply.status_code == (502 if code == 500 else 503), reply.text
            assert reply.headers.get("retry-after") == (None if code == 500 else "1")
            assert "state not recovered" in reply.json()["error"]
        if code != 500:
            for request in ({"query": "cats"}, {"query": "cats", "filters": {"lang": "en"}}):
                assert service.post("/search", json=request).status_code == 200, "it is open"
            assert service.post("/encode/query", json={"texts": ["cats"]}).status_code == 200


@pytest.mark.parametrize("asked", [{"filters": {"lang": "en"}}, {"routing": "en"}, {"index": "alias"}])
def test_what_the_server_counts_slowly_for_one_query_holds_up_no_other(
    client: OpenSearch, written: SparseIndex, asked: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    counting, encoded, in_time = Event(), Event(), []
    alias = f"{written.index}-alias"
    client.indices.put_alias(index=written.index, name=alias)
    slowly = {"query": "cats", "index": written.index, **asked}
    if "index" in asked:
        slowly["index"] = alias

    def slow(*_: object) -> int:
        counting.set()
        in_time.append(encoded.wait(10))
        return len(DOCUMENTS)

    monkeypatch.setattr(KeptDocuments, "_count", slow)
    app = create_app(client, ServiceSettings(indices=(written.index, alias)))
    with TestClient(app, raise_server_exceptions=False) as service, ThreadPoolExecutor(1) as caller:
        counted = caller.submit(service.post, "/search", json=slowly)
        assert counting.wait(PATIENCE_S)
        assert service.post("/encode/query", json={"texts": ["wolves"], "index": written.index}).status_code == 200
        encoded.set()
        assert counted.result().status_code == 200
    assert all(in_time)


def test_features_that_the_server_counts_slowly_hold_up_no_other_query(
    client: OpenSearch, written: SparseIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    counting, encoded, in_time = Event(), Event(), []
    shares = DocumentFrequencies.shares

    def slow(frequencies: DocumentFrequencies, names: Iterable[str]) -> dict[str, float]:
        counting.set()
        in_time.append(encoded.wait(10))
        return shares(frequencies, names)

    monkeypatch.setattr(DocumentFrequencies, "shares", slow)
    budget = {"prune_type": "posting_budget", "prune_ratio": 3.0}
    with serving(client, written.index) as service, ThreadPoolExecutor(1) as caller:
        pruned = caller.submit(service.post, "/encode/query", json={"texts": ["cats"], **budget})
        assert counting.wait(PATIENCE_S)
        assert service.post("/encode/query", json={"texts": ["wolves"]}).status_code == 200
        encoded.set()
        assert pruned.result().status_code == 200, pruned.result().text
    assert all(in_time)


async def test_vectors_of_one_request_are_by_one_encoder(
    client: OpenSearch, written: SparseIndex, second: str, encoder: TextEncoder
) -> None:
    SparseIndex(second, encoder=encoder, client=client).add([{"_id": "9", "text": "wolves run"}, *DOCUMENTS[:2]])
    alias = f"{written.index}-alias"
    client.indices.put_alias(index=written.index, name=alias)
    with ThreadPoolExecutor(1) as executor:
        settings = ServiceSettings(max_batch=1, recheck_s=600.0)
        served = ServedIndex(client, alias, settings=settings, metrics=Metrics(), executors=(executor, executor))
        encode, batches = served._documents._work, []

        def switching(batch: list[str]) -> Sequence[DocumentVector | Exception]:
            batches.append(batch)
            if len(batches) == 2:
                switch = [
                    {"remove": {"index": written.index, "alias": alias}},
                    {"add": {"index": second, "alias": alias}},
                ]
                client.indices.update_aliases(body={"actions": switch})
                served.retriever.refresh()
            return encode(batch)

        served._documents._work = switching
        vectors = await served.encode_documents(["cats", "dogs"])
    assert {vector.opened.schema.space for vector in vectors} == {existing_schema(client, second).space}
