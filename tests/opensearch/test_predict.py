"""Predictions of a run, compared with the run, on a real node."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from opensearchpy import OpenSearch

from connector.cli.main import cli
from connector.encoders.text import TextEncoder
from connector.index.new_index import NewIndex
from connector.index.writer import BulkWriter
from connector.ingest.pipeline import ingest_documents
from connector.ingest.predict import predict
from connector.ingest.prepare import prepare_encoder
from connector.types import Document, MalformedRecord
from tests.tiny import WORDS

pytestmark = pytest.mark.opensearch


def corpus(count: int) -> list[Document]:
    random = np.random.default_rng(0)
    return [Document(f"document-{row}", " ".join(random.choice(WORDS, 12))) for row in range(count)]


def test_the_size_of_an_index_is_predicted_within_a_tenth(client: OpenSearch, index: str, lexical: TextEncoder) -> None:
    documents = corpus(6_000)
    shares: list[int] = []
    prediction = predict(
        client, lexical, documents, new=NewIndex(code_bits=4), sample_size=1_000, progress=shares.append
    )
    assert (prediction.documents, prediction.sampled, prediction.requests) == (6_000, 1_000, 6)
    assert shares == list(range(1, 6_001))
    assert not client.indices.exists(index="ksparse-dry-run-*", params={"allow_no_indices": "false"})
    settings = {"number_of_shards": 1, "number_of_replicas": 0, "store.stats_refresh_interval": "0s"}
    texts = [document.content for document in documents[:1_000]]
    calibrated = prepare_encoder(client, index, lexical, sample=texts, new=NewIndex(code_bits=4, settings=settings))
    ingest_documents(documents, calibrated, BulkWriter(client, index))
    client.indices.forcemerge(index=index, max_num_segments=1)
    client.indices.flush(index=index, force=True)
    client.indices.refresh(index=index)
    stats = client.indices.stats(index=index, metric="store")
    assert prediction.index_bytes == pytest.approx(stats["_all"]["primaries"]["store"]["size_in_bytes"], rel=0.1)


def test_failures_are_foreseen(client: OpenSearch, encoder: TextEncoder) -> None:
    documents: list[Document | MalformedRecord] = [*corpus(20), MalformedRecord("c.jsonl:9", "not valid JSON", "{")]
    documents.append(Document("bad", "text", fields={"colour": "red"}))
    prediction = predict(client, encoder, documents, new=NewIndex(code_bits=None))
    assert (prediction.documents, prediction.malformed, prediction.refused) == (21, 1, 1)
    assert prediction.reasons[0] == "c.jsonl:9: not valid JSON"
    assert prediction.reasons[1].startswith("document 'bad': ")


def test_empty_input_gives_empty_output(client: OpenSearch, encoder: TextEncoder) -> None:
    prediction = predict(client, encoder, [], new=NewIndex(code_bits=None))
    assert (prediction.documents, prediction.index_bytes, prediction.requests, prediction.seconds) == (0, 0, 0, 0.0)


def test_the_command_writes_nothing(client: OpenSearch, index: str, head_folder: Path, workplace: Path) -> None:
    lines = [json.dumps({"_id": each.doc_id, "text": each.text}) for each in corpus(30)] + ["no json"]
    (workplace / "corpus.jsonl").write_text("\n".join(lines))
    options = ["ingest", "corpus.jsonl", "--index", index, "--encoder", str(head_folder), "--dry-run", "--quiet"]
    shown = CliRunner().invoke(cli, options, catch_exceptions=False)
    assert shown.exit_code == 0, shown.output
    assert "30 documents in 1 requests" in shown.stdout and "Nothing was written." in shown.stdout
    assert "would be dead-lettered: corpus.jsonl:31: not valid JSON" in shown.stderr
    found = json.loads(CliRunner().invoke(cli, [*options, "--json"], catch_exceptions=False).stdout)
    assert (found["documents"], found["malformed"]) == (30, 1) and found["index_bytes"] > 1_000
    fitted = CliRunner().invoke(cli, [*options, "--fit", "my-head"])
    assert fitted.exit_code == 2 and "--fit would write a head" in fitted.output
    assert not client.indices.exists(index=index)
    assert sorted(path.name for path in workplace.iterdir()) == ["corpus.jsonl"]


def test_an_existing_index_is_imitated_with_its_whole_mapping_and_its_analysis(
    client: OpenSearch, index: str, encoder: TextEncoder, head_folder: Path, workplace: Path
) -> None:
    properties = {
        "day": {"type": "date", "format": "dd/MM/yyyy"},
        "price": {"type": "scaled_float", "scaling_factor": 100},
        "by": {"properties": {"name": {"type": "text", "analyzer": "own"}}},
    }
    analysis = {"analyzer": {"own": {"type": "custom", "tokenizer": "whitespace"}}}
    new = NewIndex(mappings={"properties": properties}, settings={"analysis": analysis}, code_bits=None)
    prepare_encoder(client, index, encoder, new=new)
    record = {"_id": "1", "text": "cats sleep", "day": "31/12/2020", "price": 4.99, "by": {"name": "Li"}}
    (workplace / "corpus.jsonl").write_text("".join(json.dumps(each) + "\n" for each in (record, record | {"_id": 2})))
    options = [
        "ingest",
        "corpus.jsonl",
        "--index",
        index,
        "--encoder",
        str(head_folder),
        "--dry-run",
        "--json",
        "--quiet",
    ]
    shown = CliRunner().invoke(cli, options, catch_exceptions=False)
    assert shown.exit_code == 0, shown.output
    found = json.loads(shown.stdout)
    assert (found["sampled"], found["refused"], found["reasons"]) == (2, 0, [])
    client.indices.put_alias(index=index, name=f"{index}-alias")
    options[options.index(index)] = f"{index}-alias"
    shown = CliRunner().invoke(cli, options, catch_exceptions=False)
    assert json.loads(shown.stdout)["refused"] == 0
