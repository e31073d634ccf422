"""Only what an index holds under its own id is counted, whatever ingest pipelines, templates and aliases do to it."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from opensearchpy import OpenSearch

from connector.cli.main import cli
from connector.connection.client import connect
from connector.errors import BulkWriteError, ClusterError
from connector.index.meta import IndexMeta
from connector.index.new_index import NewIndex
from connector.index.schema import index_body, prepare_index
from connector.index.writer import BulkWriter
from connector.types import Deletion, EncoderFingerprint, SparseDocument
from tests.fault_proxy import Forward, Reply, busy_for, fault_proxy, passed, status

pytestmark = pytest.mark.opensearch

Pipeline = Callable[..., str]
Template = Callable[..., None]
DROP = {"drop": {"if": "ctx.text.contains('SECRET')"}}


@pytest.fixture
def pipeline(client: OpenSearch, index: str) -> Iterator[Pipeline]:
    """Makes an ingest pipeline of processors, and returns its name."""
    names: list[str] = []

    def make(*processors: dict[str, Any]) -> str:
        names.append(f"{index}-pipeline-{len(names)}")
        client.ingest.put_pipeline(id=names[-1], body={"processors": list(processors)})
        return names[-1]

    yield make
    client.indices.delete(index=f"{index}*", ignore_unavailable=True)
    for name in names:
        client.ingest.delete_pipeline(id=name)


@pytest.fixture
def template(client: OpenSearch, index: str) -> Iterator[Template]:
    """Gives new indices of the test some settings and mappings."""

    def make(**content: Any) -> None:  # noqa: ANN401
        body = {"index_patterns": [f"{index}*"], "priority": 900, "template": content}
        client.indices.put_index_template(name=index, body=body)

    yield make
    client.indices.delete_index_template(name=index)


def made(client: OpenSearch, index: str, fingerprint: EncoderFingerprint, **settings: Any) -> str:  # noqa: ANN401
    prepare_index(client, index, IndexMeta(fingerprint), NewIndex(settings={"number_of_replicas": 0, **settings}))
    return index


def documents(*ids: str, text: str = "text") -> list[SparseDocument]:
    return [SparseDocument(doc_id, {"3": 0.5}, {"text": f"{text} of {doc_id}"}) for doc_id in ids]


def ids_in(client: OpenSearch, index: str) -> set[str]:
    client.indices.refresh(index=index)
    return {hit["_id"] for hit in client.search(index=index, body={"size": 100})["hits"]["hits"]}


@pytest.mark.parametrize("kind", ["default_pipeline", "final_pipeline"])
def test_what_a_pipeline_drops_is_refused(
    client: OpenSearch, index: str, fingerprint: EncoderFingerprint, pipeline: Pipeline, kind: str
) -> None:
    made(client, index, fingerprint, **{kind: pipeline(DROP)})
    result = BulkWriter(client, index).write([*documents("a"), *documents("b", text="SECRET"), *documents("c")])
    assert result.indexed == 2 and ids_in(client, index) == {"a", "c"}
    [refusal] = result.refused
    assert (refusal.document.doc_id, refusal.status, refusal.kind) == ("b", 200, "stored_elsewhere")
    assert refusal.reason == "an ingest pipeline dropped it"


def test_what_a_pipeline_stores_in_another_index_is_refused(
    client: OpenSearch, index: str, fingerprint: EncoderFingerprint, pipeline: Pipeline
) -> None:
    elsewhere = {"set": {"field": "_index", "value": f"{index}-other", "if": "ctx.text.contains('SECRET')"}}
    made(client, index, fingerprint, default_pipeline=pipeline(elsewhere))
    result = BulkWriter(client, index).write([*documents("a"), *documents("b", text="SECRET")])
    assert result.indexed == 1 and ids_in(client, index) == {"a"}
    assert [each.reason for each in result.refused] == [
        f"an ingest pipeline has stored it in the index '{index}-other'"
    ]


def test_what_a_pipeline_stores_under_another_id_is_refused(
    client: OpenSearch, index: str, fingerprint: EncoderFingerprint, pipeline: Pipeline
) -> None:
    same_id = {"set": {"field": "_id", "value": "same", "if": "ctx._id != 'a'"}}
    made(client, index, fingerprint, default_pipeline=pipeline(same_id))
    result = BulkWriter(client, index).write(documents("a", "b", "c"))
    assert result.indexed == 1 and ids_in(client, index) == {"a", "same"}
    assert {each.reason for each in result.refused} == {"an ingest pipeline has stored it under the id 'same'"}


@pytest.mark.parametrize("shards", [1, 5])
def test_what_a_pipeline_stores_by_another_routing_is_refused(
    client: OpenSearch, index: str, fingerprint: EncoderFingerprint, pipeline: Pipeline, shards: int
) -> None:
    routed = {"set": {"field": "_routing", "value": "r", "if": "ctx._id != 'a'"}}
    made(client, index, fingerprint, default_pipeline=pipeline(routed), number_of_shards=shards)
    result = BulkWriter(client, index).write(documents("a", "b", "c"))
    assert result.indexed == 1
    assert {each.document.doc_id for each in result.refused} == {"b", "c"}
    for refusal in result.refused:
        assert refusal.reason in ("an ingest pipeline stored it by the routing 'r'", "it is not in the index")


def test_what_a_pipeline_only_adds_to_is_stored(
    client: OpenSearch, index: str, fingerprint: EncoderFingerprint, pipeline: Pipeline
) -> None:
    made(client, index, fingerprint, default_pipeline=pipeline({"set": {"field": "metadata.by", "value": "pipeline"}}))
    assert BulkWriter(client, index).write(documents("a", "b")).indexed == 2
    assert client.get(index=index, id="a")["_source"]["metadata"] == {"by": "pipeline"}
    assert BulkWriter(client, index).write([Deletion("a"), Deletion("z")]).deleted == 1


@pytest.mark.parametrize(
    ("processor", "reason"),
    [
        ({"fail": {"message": "not this", "if": "ctx._id == 'b'"}}, "not this"),
        ({"dissect": {"field": "text", "pattern": "%{x} - %{y}", "if": "ctx._id == 'b'"}}, "Unable to find match"),
        ({"convert": {"field": "text", "type": "integer", "if": "ctx._id == 'b'"}}, "unable to convert"),
    ],
)
def test_a_document_that_a_pipeline_cannot_take_is_refused_and_not_sent_for_ever(
    client: OpenSearch,
    index: str,
    fingerprint: EncoderFingerprint,
    pipeline: Pipeline,
    processor: dict[str, Any],
    reason: str,
) -> None:
    """The server says 500 of the first two, as of a shard that fails."""
    made(client, index, fingerprint, default_pipeline=pipeline(processor))
    writer = BulkWriter(client, index, initial_backoff=0.01, max_backoff=0.02)
    result = writer.write(documents("a", "b", "c"))
    assert result.indexed == 2
    [refusal] = result.refused
    assert refusal.document.doc_id == "b" and reason in refusal.reason


def test_ingest_keeps_what_a_pipeline_drops_as_dead_letters(
    client: OpenSearch,
    index: str,
    pipeline: Pipeline,
    template: Template,
    head_folder: Path,
    workplace: Path,
) -> None:
    template(settings={"index": {"default_pipeline": pipeline(DROP)}})
    lines = [
        {"_id": "1", "text": "Bread rises because yeast makes gas.", "metadata": {"lang": "en"}},
        {"_id": "2", "text": "SECRET draft of a contract.", "metadata": {"lang": "en"}},
        {"_id": "3", "text": "Brot geht auf.", "metadata": {"lang": "de"}},
    ]
    (workplace / "three.jsonl").write_text("\n".join(map(json.dumps, lines)))
    result = CliRunner().invoke(
        cli, ["ingest", "three.jsonl", "--index", index, "--encoder", str(head_folder), "--quiet"]
    )
    assert result.exit_code == 3, result.output
    assert "2 indexed + 1 dead-lettered = 3 read" in result.stdout
    assert "document '2': an ingest pipeline dropped it" in result.stderr
    letters = f"{index}.dead-letters.jsonl"
    assert result.stderr.splitlines()[-1].endswith(f"then run: ksparse replay {letters} --index {index}")
    assert ids_in(client, index) == {"1", "3"}


def ingest(index: str, head_folder: Path, workplace: Path, *options: str) -> Result:
    (workplace / "corpus.jsonl").write_text('{"_id": "1", "text": "cats sleep"}\n{"_id": "2", "text": "cats run"}\n')
    arguments = ["ingest", "corpus.jsonl", "--index", index, "--encoder", str(head_folder), "--quiet", *options]
    return CliRunner().invoke(cli, arguments)


@pytest.mark.parametrize("block", ["write", "read_only", "read_only_allow_delete"])
def test_a_block_that_a_template_sets_is_said_at_once(
    client: OpenSearch, index: str, template: Template, head_folder: Path, workplace: Path, block: str
) -> None:
    template(settings={"index": {"blocks": {block: True}}})
    result = ingest(index, head_folder, workplace)
    if block == "read_only":  # which cannot even be deleted
        client.indices.put_settings(index=index, body={f"index.blocks.{block}": None})
    else:
        assert not client.indices.exists(index=index), "it leaves an index behind"
    assert result.exit_code == 1, result.output
    assert f"Index {index!r} was created, and cannot be written to: index [{index}] blocked by" in result.stderr
    assert f"Index template {index!r} applies to this name: correct it" in result.stderr


def test_a_pipeline_that_does_not_exist_is_said_at_once(
    client: OpenSearch, index: str, template: Template, head_folder: Path, workplace: Path
) -> None:
    template(settings={"index": {"default_pipeline": "nosuch"}})
    result = ingest(index, head_folder, workplace)
    assert result.exit_code == 1, result.output
    assert "cannot be written to: pipeline with id [nosuch] does not exist. Index template" in result.stderr


@pytest.mark.parametrize("block", ["write", "read_only_allow_delete"])
def test_a_block_of_an_index_that_is_there_is_said_at_once(
    client: OpenSearch, index: str, fingerprint: EncoderFingerprint, block: str
) -> None:
    made(client, index, fingerprint)
    client.indices.put_settings(index=index, body={f"index.blocks.{block}": True})
    with pytest.raises(ClusterError, match=f"Index '{index}' cannot be written to: .* Lift the block"):
        prepare_index(client, index, IndexMeta(fingerprint))
    client.indices.put_settings(index=index, body={f"index.blocks.{block}": None})
    prepare_index(client, index, IndexMeta(fingerprint))
    assert ids_in(client, index) == set(), "the question leaves nothing behind"


def test_an_index_that_is_closed_while_it_is_written_ends_the_write_and_refuses_no_document(
    client: OpenSearch, index: str, fingerprint: EncoderFingerprint
) -> None:
    writer = BulkWriter(client, made(client, index, fingerprint))
    client.indices.close(index=index)
    with pytest.raises(BulkWriteError, match=f"Index '{index}' accepts no documents: closed"):
        writer.write(documents("a", "b"))
    client.indices.open(index=index)


def test_a_pipeline_that_is_taken_away_ends_the_write_and_refuses_no_document(
    client: OpenSearch, index: str, fingerprint: EncoderFingerprint
) -> None:
    writer = BulkWriter(client, made(client, index, fingerprint))
    client.indices.put_settings(index=index, body={"index.default_pipeline": "nosuch"})
    with pytest.raises(BulkWriteError, match="accepts no documents: pipeline with id"):
        writer.write(documents("a"))


@pytest.fixture
def aliased(client: OpenSearch, index: str, fingerprint: EncoderFingerprint) -> Iterator[str]:
    """An alias of two indices, of which the second is the write index."""
    for number in (1, 2):
        made(client, f"{index}-{number}", fingerprint)
        client.indices.put_alias(index=f"{index}-{number}", name=index, body={"is_write_index": number == 2})
    yield index
    client.indices.delete(index=f"{index}-*")


def test_what_an_alias_writes_into_its_write_index_is_counted(client: OpenSearch, aliased: str) -> None:
    writer = BulkWriter(client, aliased)
    assert writer.write(documents("a", "b")).indexed == 2
    assert ids_in(client, f"{aliased}-2") == {"a", "b"}


def test_a_pipeline_that_stores_in_another_index_of_the_alias_is_noticed(
    client: OpenSearch, aliased: str, pipeline: Pipeline
) -> None:
    name = pipeline({"set": {"field": "_index", "value": f"{aliased}-1"}})
    client.indices.put_settings(index=f"{aliased}-2", body={"index.default_pipeline": name})
    [refusal] = BulkWriter(client, aliased).write(documents("a")).refused
    assert refusal.reason == f"an ingest pipeline would have stored it in the index '{aliased}-1'"


def test_a_rollover_while_an_alias_is_written_is_followed(
    client: OpenSearch, aliased: str, fingerprint: EncoderFingerprint
) -> None:
    writer = BulkWriter(client, aliased)
    assert writer.write(documents("a")).indexed == 1
    made(client, f"{aliased}-3", fingerprint)
    actions = [
        {"add": {"index": f"{aliased}-2", "alias": aliased, "is_write_index": False}},
        {"add": {"index": f"{aliased}-3", "alias": aliased, "is_write_index": True}},
    ]
    client.indices.update_aliases(body={"actions": actions})
    assert writer.write(documents("b")).indexed == 1
    assert ids_in(client, f"{aliased}-3") == {"b"}


def test_a_rollover_while_a_request_is_in_flight_is_no_pipeline(
    client: OpenSearch, aliased: str, fingerprint: EncoderFingerprint, opensearch_url: str
) -> None:

    made(client, f"{aliased}-3", fingerprint)
    actions = [
        {"add": {"index": f"{aliased}-2", "alias": aliased, "is_write_index": False}},
        {"add": {"index": f"{aliased}-3", "alias": aliased, "is_write_index": True}},
    ]

    def rolled_over_first(body: bytes, forward: Forward) -> Reply:
        client.indices.update_aliases(body={"actions": actions})
        return forward(body)

    with fault_proxy(opensearch_url) as proxy, connect(proxy.url) as through:
        writer = BulkWriter(through, aliased)
        proxy.faults.append(rolled_over_first)
        result = writer.write(documents("a"))
    assert (result.indexed, result.refused) == (1, ())


def test_a_rollover_to_an_index_of_another_kind_ends_the_write(
    client: OpenSearch, aliased: str, fingerprint: EncoderFingerprint
) -> None:
    writer = BulkWriter(client, aliased)
    client.indices.create(index=f"{aliased}-3")
    actions = [
        {"add": {"index": f"{aliased}-2", "alias": aliased, "is_write_index": False}},
        {"add": {"index": f"{aliased}-3", "alias": aliased, "is_write_index": True}},
    ]
    client.indices.update_aliases(body={"actions": actions})
    with pytest.raises(BulkWriteError, match=f"now writes to index '{aliased}-3', which has another encoder"):
        writer.write(documents("a"))
    assert ids_in(client, f"{aliased}-3") == set()


def test_an_alias_that_is_taken_away_does_not_come_back_as_an_index(
    client: OpenSearch, aliased: str, opensearch_url: str
) -> None:

    def removed_first(body: bytes, forward: Forward) -> Reply:
        client.indices.delete_alias(index=f"{aliased}-*", name=aliased)
        return forward(body)

    with fault_proxy(opensearch_url) as proxy, connect(proxy.url) as through:
        writer = BulkWriter(through, aliased)
        proxy.faults.append(removed_first)
        with pytest.raises(BulkWriteError, match=f"Index '{aliased}' was deleted"):
            writer.write(documents("a"))
    assert not client.indices.exists(index=aliased)


def test_an_alias_without_a_write_index_is_refused_before_anything_is_encoded(
    client: OpenSearch, aliased: str, fingerprint: EncoderFingerprint
) -> None:
    client.indices.put_alias(index=f"{aliased}-2", name=aliased, body={"is_write_index": False})
    with pytest.raises(ClusterError, match="no write index is defined for alias.*or an alias with a write index"):
        prepare_index(client, aliased, IndexMeta(fingerprint))
    with pytest.raises(BulkWriteError, match="accepts no documents: no write index is defined"):
        BulkWriter(client, aliased).write(documents("a"))


def test_a_data_stream_is_refused_before_anything_is_encoded(
    client: OpenSearch, index: str, fingerprint: EncoderFingerprint
) -> None:

    mappings = index_body(IndexMeta(fingerprint))["mappings"]
    mappings["properties"]["@timestamp"] = {"type": "date"}
    body = {
        "index_patterns": [f"{index}*"],
        "priority": 901,
        "data_stream": {},
        "template": {"mappings": mappings, "settings": {"number_of_replicas": 0}},
    }
    client.indices.put_index_template(name=f"{index}-stream", body=body)
    client.indices.create_data_stream(name=index)
    try:
        with pytest.raises(ClusterError, match="only write ops with an op_type of create are allowed in data streams"):
            prepare_index(client, index, IndexMeta(fingerprint))
    finally:
        client.indices.delete_data_stream(name=index)
        client.indices.delete_index_template(name=f"{index}-stream")


def test_a_wait_says_its_cause_once_and_every_attempt_is_logged(
    client: OpenSearch,
    index: str,
    fingerprint: EncoderFingerprint,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("connector.index.patience._SAID_AFTER_S", 0.3)
    caplog.set_level(logging.INFO, "ksparse")
    writer = BulkWriter(client, made(client, index, fingerprint), initial_backoff=0.05, max_backoff=0.1)
    client.indices.put_settings(index=index, body={"index.blocks.write": True})
    timer = threading.Timer(
        1.0, client.indices.put_settings, kwargs={"index": index, "body": {"index.blocks.write": None}}
    )
    timer.start()
    assert writer.write(documents("a")).indexed == 1
    timer.join()
    said = [each for each in caplog.records if each.name == "ksparse.index"]
    warned = [each.getMessage() for each in said if each.levelno == logging.WARNING]
    assert len(warned) == 2, warned
    assert warned[0].startswith(
        f"Writing into '{index}' is waiting: cluster_block_exception: index [{index}] blocked by"
    )
    assert warned[0].endswith("Retrying for up to 600 s.")
    assert warned[1] == f"Writing into '{index}' continues after 1 s."
    retries = [each for each in said if each.levelno == logging.INFO and "retrying in" in each.getMessage()]
    assert len(retries) > 3


def test_a_server_that_is_busy_halves_the_requests_with_a_warning(
    index: str,
    client: OpenSearch,
    fingerprint: EncoderFingerprint,
    opensearch_url: str,
    caplog: pytest.LogCaptureFixture,
) -> None:

    made(client, index, fingerprint)
    with fault_proxy(opensearch_url) as proxy, connect(proxy.url) as through:
        writer = BulkWriter(through, index, initial_backoff=0.01, max_in_flight=4)
        proxy.faults.extend([status(429, "busy"), busy_for("a"), status(429, "busy")])
        writer.write(documents("a", "b"))
    warned = [each.getMessage() for each in caplog.records if each.name == "ksparse.index"]
    assert warned == [
        "The server is busy (status 429: busy): 2 concurrent requests instead of 4.",
        "The server is busy (rejected_execution_exception: queue is full): 1 concurrent requests instead of 2.",
    ]


def test_a_command_that_waits_says_why_on_standard_error(
    client: OpenSearch,
    index: str,
    head_folder: Path,
    workplace: Path,
    opensearch_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("connector.index.patience._SAID_AFTER_S", 0.2)
    assert ingest(index, head_folder, workplace).exit_code == 0
    block = {"index": index, "body": {"index.blocks.write": True}}
    timer = threading.Timer(1.5, client.indices.put_settings, kwargs=block | {"body": {"index.blocks.write": None}})

    def blocked(body: bytes, forward: Forward) -> Reply:
        client.indices.put_settings(**block)
        timer.start()
        return forward(body)

    with fault_proxy(opensearch_url) as proxy:
        monkeypatch.setenv("OPENSEARCH_URL", proxy.url)
        proxy.faults.extend([passed, blocked])  # the first asks whether the index can be written to
        result = CliRunner().invoke(cli, ["delete", "--index", index, "--id", "1", "--quiet"])
    timer.join()
    assert result.exit_code == 0, result.output
    assert result.stderr.count("is waiting: cluster_block_exception") == 1
    assert "1 deleted + 0 dead-lettered = 1 read" in result.stdout
