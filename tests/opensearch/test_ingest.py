"""From documents to an index and back, with the tiny encoder."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from opensearchpy import OpenSearch

from connector.connection.client import connect
from connector.corpus import check_documents, read_corpus
from connector.encoders.text import TextEncoder
from connector.errors import BulkWriteError, CorpusError
from connector.index.meta import IndexMeta
from connector.index.new_index import NewIndex
from connector.index.schema import prepare_index
from connector.index.searcher import Searcher
from connector.index.writer import BulkWriter
from connector.ingest.ledger import IngestResult
from connector.ingest.pipeline import ingest_documents
from connector.types import Document, MalformedRecord, SparseVectors
from connector.vectors.storage import round_to_stored
from tests.fault_proxy import fault_proxy, status

pytestmark = pytest.mark.opensearch

WORDS = "plants eat light cats sleep warm stones rivers carry sand sea stars burn music".split()


def corpus(count: int) -> list[Document]:
    random = np.random.default_rng(0)
    return [
        Document(f"d{number}", " ".join(random.choice(WORDS, 6)), metadata={"even": number % 2 == 0})
        for number in range(count)
    ]


def run(
    records: Sequence[Document | MalformedRecord] | Iterator[Document | MalformedRecord],
    encoder: TextEncoder,
    client: OpenSearch,
    index: str,
    *,
    dead_letters: Path | None = None,
    strict: bool = False,
) -> IngestResult:
    writer = BulkWriter(client, index, chunk_size=7)
    return ingest_documents(
        records, encoder, writer, dead_letters=dead_letters, strict=strict, write_size=10, max_in_flight=2
    )


def test_every_document_can_be_found_by_its_own_vector(encoder: TextEncoder, client: OpenSearch, index: str) -> None:
    prepare_index(client, index, IndexMeta(encoder.fingerprint))
    documents = corpus(50)
    result = run(documents, encoder, client, index)
    assert (result.read, result.indexed, result.dead_lettered) == (50, 50, 0)
    vectors = encoder.encode_document([document.content for document in documents])
    rounded = SparseVectors(vectors.features, round_to_stored(vectors.weights))
    found = Searcher(client, index).search_many(rounded.as_mappings(), top_k=50)
    for document, hits, features in zip(documents, found, rounded.as_mappings(), strict=True):
        [own] = [hit for hit in hits if hit.doc_id == document.doc_id]
        assert own.source == {"text": document.text, "metadata": dict(document.metadata)}
        # Weights of a batch differ in the last bits from those of another, and so may their rounding.
        assert own.score == pytest.approx(sum(weight**2 for weight in features.values()), rel=2**-7)


def test_read_is_indexed_and_dead_lettered_for_a_mixed_corpus(
    encoder: TextEncoder, client: OpenSearch, index: str, tmp_path: Path
) -> None:
    prepare_index(client, index, IndexMeta(encoder.fingerprint), NewIndex(fields={"year": "integer"}))
    lines = [
        b'{"_id": "good1", "text": "stars burn", "year": 1999}',
        b'{"_id": "broken"',
        b'{"text": "no id"}',
        b'{"_id": "good1", "text": "twice"}',
        b'{"_id": "empty", "text": " "}',
        b'{"_id": "latin", "text": "caf\xe9"}',
        b'{"_id": "unknown", "text": "x", "colour": "red"}',
        b'{"_id": "no-year", "text": "x", "year": "soon"}',
        b'{"_id": "long-number", "text": "x", "metadata": {"a": ' + b"1" * 4_000 + b"}}",
        b'{"_id": "good2", "title": "Cats", "text": "cats sleep", "metadata": {"a": null, "b": [1, {"c": "d"}]}}',
    ]
    (tmp_path / "c.jsonl").write_bytes(b"\n".join(lines))
    records = read_corpus(tmp_path / "c.jsonl", fields=["year"])
    result = run(records, encoder, client, index, dead_letters=tmp_path / "dead.jsonl")
    assert (result.read, result.indexed, result.dead_lettered) == (10, 2, 8)
    assert client.count(index=index)["count"] == 2
    kept = [json.loads(line) for line in (tmp_path / "dead.jsonl").read_text().splitlines()]
    by_name = {(line.get("_id") or line["location"]).rpartition("/")[2]: line for line in kept}
    assert set(by_name) == {*(f"c.jsonl:{number}" for number in range(2, 8)), "no-year", "long-number"}
    assert "'colour' is not in the mapping" in by_name["c.jsonl:7"]["reason"]
    assert by_name["no-year"]["type"] == "mapper_parsing_exception"
    assert by_name["no-year"]["document"]["year"] == "soon"
    assert all(len(reason) < 1_000 for reason in result.reasons), "a summary of one line each"


def test_a_field_that_the_mapping_does_not_know_is_dead_lettered(
    encoder: TextEncoder, client: OpenSearch, index: str, tmp_path: Path
) -> None:
    """Where a document was not checked before, the strict mapping refuses it."""
    prepare_index(client, index, IndexMeta(encoder.fingerprint))
    records = [Document("d1", "stars"), Document("d2", "stars", fields={"colour": "red"})]
    result = run(records, encoder, client, index, dead_letters=tmp_path / "dead.jsonl")
    assert (result.indexed, result.dead_lettered) == (1, 1)
    [line] = (tmp_path / "dead.jsonl").read_text().splitlines()
    assert json.loads(line)["type"] == "strict_dynamic_mapping_exception"


def test_dead_letters_can_be_corrected_and_sent_again(
    encoder: TextEncoder, client: OpenSearch, index: str, tmp_path: Path
) -> None:
    prepare_index(client, index, IndexMeta(encoder.fingerprint), NewIndex(fields={"year": "integer"}))
    run([Document("d1", "stars", fields={"year": "x"})], encoder, client, index, dead_letters=tmp_path / "dead.jsonl")
    mended = json.loads((tmp_path / "dead.jsonl").read_text())["document"] | {"year": 1999}
    records = check_documents([mended], fields=["year"])
    assert run(records, encoder, client, index).indexed == 1
    assert client.get(index=index, id="d1")["_source"]["year"] == 1999


def test_strict_stops_at_what_the_server_refuses(encoder: TextEncoder, client: OpenSearch, index: str) -> None:
    prepare_index(client, index, IndexMeta(encoder.fingerprint))
    records = [Document("d1", "stars", fields={"colour": "red"}), *corpus(100)]
    with pytest.raises(CorpusError, match="Stopped at the first failure: document 'd1': .*colour"):
        run(records, encoder, client, index, strict=True)
    client.indices.refresh(index=index)
    assert client.count(index=index)["count"] < 100


def test_a_text_without_any_feature_is_dead_lettered(encoder: TextEncoder, client: OpenSearch, index: str) -> None:
    class Mute(TextEncoder):
        def encode_document(self, texts: Sequence[str], *, batch_size: int = 32) -> SparseVectors:
            vectors = super().encode_document(texts, batch_size=batch_size)
            vectors.weights[1] = 0.0
            return vectors

    prepare_index(client, index, IndexMeta(encoder.fingerprint))
    result = run(corpus(3), Mute(encoder.model), client, index)
    assert (result.indexed, result.dead_lettered) == (2, 1)
    assert result.reasons == ("document 'd1': the vector has no features; encode a non-empty text.",)


def test_ingesting_again_changes_nothing(encoder: TextEncoder, client: OpenSearch, index: str) -> None:
    for _ in range(2):
        prepare_index(client, index, IndexMeta(encoder.fingerprint))
        assert run(corpus(30), encoder, client, index).indexed == 30
    assert client.count(index=index)["count"] == 30


def test_a_run_that_broke_off_can_be_run_again(
    encoder: TextEncoder, client: OpenSearch, index: str, opensearch_url: str
) -> None:
    prepare_index(client, index, IndexMeta(encoder.fingerprint))
    with fault_proxy(opensearch_url) as proxy, connect(proxy.url) as through:
        proxy.faults.extend([lambda body, forward: forward(body)] * 3)
        proxy.always = status(400, "no more")
        with pytest.raises(BulkWriteError, match="no more.*no document is duplicated"):
            run(corpus(50), encoder, through, index)
    client.indices.refresh(index=index)
    assert 0 < client.count(index=index)["count"] < 50
    assert run(corpus(50), encoder, client, index).indexed == 50
    assert client.count(index=index)["count"] == 50
