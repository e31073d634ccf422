"""Routing is kept through everything that writes, and a document is found whatever it is routed by."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from opensearchpy import OpenSearch

from connector.cli.main import cli
from connector.encoders.load import load_encoder
from connector.encoders.text import TextEncoder
from connector.errors import IndexMappingError
from connector.index.lookup import Place
from connector.index.new_index import NewIndex
from connector.index.writer import BulkWriter
from connector.ingest.ledger import IngestResult
from connector.ingest.pipeline import IngestJob
from connector.ingest.prepare import prepare_encoder
from connector.ingest.update import Change, DocumentUpdater
from connector.integrations.store import IndexStore
from connector.search.reencode import compare_indices
from connector.search.retriever import Retriever
from connector.search.sparse_index import SparseIndex
from connector.types import Deletion, Document, SparseVectors

pytestmark = pytest.mark.opensearch

SHARDS = {"number_of_shards": 5, "number_of_replicas": 0}
REQUIRED = {"_routing": {"required": True}}


class Counting:
    """Counts the texts that are encoded."""

    def __init__(self, encoder: TextEncoder) -> None:
        self._encoder = encoder
        self.encoded = 0

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        return getattr(self._encoder, name)

    def encode_document(self, texts: Sequence[str], *, batch_size: int = 32) -> SparseVectors:
        self.encoded += len(texts)
        return self._encoder.encode_document(texts, batch_size=batch_size)


@pytest.fixture
def routed(client: OpenSearch, index: str, encoder: TextEncoder) -> Iterator[str]:
    """Five shards, and d0 to d9 by the routings t0 and t1."""
    prepare_encoder(client, index, encoder, new=NewIndex(settings=SHARDS, code_bits=None))
    documents = [
        Document(f"d{row}", f"cats sleep {row}", f"Title {row}", {"row": row}, routing=f"t{row % 2}")
        for row in range(10)
    ]
    assert write(client, index, encoder, *documents).indexed == 10
    yield index
    client.indices.delete(index=f"{index}-*", ignore_unavailable=True)


def write(client: OpenSearch, index: str, encoder: TextEncoder, *records: Document | Deletion) -> IngestResult:
    with IngestJob(BulkWriter(client, index), encoder) as job:
        job.add(records)
    return job.result


def held(client: OpenSearch, index: str) -> list[tuple[str, str | None, str]]:
    """Id, routing and text of all documents, copies of an id and all."""
    client.indices.refresh(index=index)
    hits = client.search(index=index, body={"size": 100})["hits"]["hits"]
    found = [(hit["_id"], hit.get("_routing"), hit["_source"]["text"]) for hit in hits]
    return sorted(found, key=lambda each: (each[0], each[1] or ""))


def expected(**changed: str | None) -> list[tuple[str, str | None, str]]:
    rows = {f"d{row}": (f"t{row % 2}", f"cats sleep {row}") for row in range(10)}
    found = [(name, routing, changed.get(name, text)) for name, (routing, text) in rows.items()]
    return sorted((name, routing, text) for name, routing, text in found if text is not None)


def run(*arguments: str, input: str | None = None) -> Result:
    return CliRunner().invoke(cli, [*arguments, "--quiet"], input=input)


def updater(client: OpenSearch, index: str, encoder: TextEncoder, **options: Any) -> DocumentUpdater:  # noqa: ANN401
    return DocumentUpdater(client, BulkWriter(client, index), encoder, **options)


def test_a_routing_in_jsonl_is_kept(client: OpenSearch, index: str, head_folder: Path, workplace: Path) -> None:
    (workplace / "routing.jsonl").write_text('{"_id":"1","text":"Routed text.","_routing":"t1"}\n')
    done = run("ingest", "routing.jsonl", "--index", index, "--encoder", str(head_folder), "--shards", "5")
    assert done.exit_code == 0, done.output
    assert held(client, index) == [("1", "t1", "Routed text.")]


@pytest.mark.parametrize("upsert", [False, True])
@pytest.mark.parametrize("named", [None, "t1"])
def test_an_update_keeps_the_routing_and_makes_no_second_copy(
    client: OpenSearch, routed: str, encoder: TextEncoder, upsert: bool, named: str | None
) -> None:
    result = updater(client, routed, encoder, upsert=upsert).update([Change("d3", {"text": "dogs"}, routing=named)])
    assert result.indexed == 1
    assert held(client, routed) == expected(d3="dogs")


def test_an_update_by_another_routing_is_a_dead_letter(client: OpenSearch, routed: str, encoder: TextEncoder) -> None:
    result = updater(client, routed, encoder, upsert=True).update([Change("d3", {"text": "dogs"}, routing="t0")])
    assert result.reasons == ("document 'd3': the document has the routing 't1', not 't0'",)
    assert held(client, routed) == expected()


def test_an_update_by_filter_keeps_the_routings(
    client: OpenSearch, routed: str, head_folder: Path, workplace: Path
) -> None:
    done = run("update", "--index", routed, "--encoder", str(head_folder), "--filter", "row=3", "--set", "row=x")
    assert done.exit_code == 0 and "1 indexed" in done.stdout, done.output
    assert held(client, routed) == expected()


def test_a_document_written_again_without_a_routing_keeps_its_own(
    client: OpenSearch, routed: str, encoder: TextEncoder
) -> None:
    result = write(client, routed, encoder, Document("d3", "dogs"), Document("new", "stars burn"))
    assert result.indexed == 2
    assert held(client, routed) == sorted([*expected(d3="dogs"), ("new", None, "stars burn")])


def test_a_deletion_without_a_routing_deletes_the_document_wherever_it_lies(
    client: OpenSearch, routed: str, encoder: TextEncoder
) -> None:
    result = write(client, routed, encoder, Deletion("d3"), Deletion("d4"), Deletion("never"))
    assert (result.deleted, result.not_found, result.dead_lettered) == (2, 1, 0)
    assert held(client, routed) == expected(d3=None, d4=None)


@pytest.mark.parametrize("shards", [1, 5])
def test_a_document_with_a_routing_is_found_before_a_refresh(
    client: OpenSearch, index: str, encoder: TextEncoder, shards: int
) -> None:
    new = NewIndex(settings={"number_of_shards": shards, "refresh_interval": "-1"}, code_bits=None)
    docs = SparseIndex(index, client=client, encoder=encoder, new=new)
    fresh = [Document("1", "cats", routing="a"), Document("2", "cats", routing="b")]
    assert docs.add(fresh, refresh=False).indexed == 2
    assert docs.add([Document("1", "dogs")], refresh=False).indexed == 1
    assert docs.delete(["2"]) == 1
    assert held(client, index) == [("1", "a", "dogs")]


def test_the_first_document_with_a_routing_of_another_job_is_found_later(
    client: OpenSearch, index: str, encoder: TextEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare_encoder(client, index, encoder, new=NewIndex(settings=SHARDS, code_bits=None))
    lookup, search, asked = BulkWriter(client, index).lookup, client.search, list[Any]()

    def counted(**request: Any) -> Any:  # noqa: ANN401
        asked.append(request)
        return search(**request)

    monkeypatch.setattr(client, "search", counted)
    for _ in range(3):
        assert lookup.resolve([Deletion("1")]) == [Deletion("1")]
    assert len(asked) == 1, "not for each batch"
    write(client, index, encoder, Document("1", "cats", routing="a"))
    monkeypatch.setattr("connector.index.lookup._ASK_AGAIN_S", 0.0)
    assert lookup.resolve([Deletion("1")]) == [Deletion("1", routing="a")]


def test_what_was_written_by_a_routing_in_the_same_job_is_deleted(
    client: OpenSearch, index: str, encoder: TextEncoder
) -> None:
    prepare_encoder(client, index, encoder, new=NewIndex(settings=SHARDS, code_bits=None))
    result = write(client, index, encoder, Document("d1", "cats", routing="t1"), Deletion("d1"))
    assert (result.indexed, result.deleted) == (1, 1)
    assert held(client, index) == []


def test_documents_are_read_by_their_ids_whatever_they_are_routed_by(
    client: OpenSearch, routed: str, encoder: TextEncoder
) -> None:
    names = {f"d{row}": f"Title {row}" for row in range(10)}
    found_by_id = client.mget(index=routed, body={"ids": list(names)})["docs"]
    assert not all(each["found"] for each in found_by_id), "the routings should lead to other shards than the ids"
    for found in (
        SparseIndex(routed, client=client, encoder=encoder).get([*names, "never"]),
        IndexStore(routed, client=client, encoder=encoder).get([*names, "never"]),
    ):
        assert {doc_id: source["title"] for doc_id, source in found.items()} == names


def elsewhere(client: OpenSearch, index: str, routing: str) -> str:
    """A routing that leads to another shard."""

    def shard(name: str) -> int:
        [[copy, *_]] = client.search_shards(index=index, routing=name)["shards"]
        return int(copy["shard"])

    return next(name for name in map(str, range(100)) if shard(name) != shard(routing))


def test_delete_counts_what_the_server_deleted(client: OpenSearch, routed: str, workplace: Path) -> None:
    wrong = run("delete", "--index", routed, "--id", "d3", "--routing", elsewhere(client, routed, "t1"))
    assert wrong.exit_code == 0 and "0 deleted + 1 not found + 0 dead-lettered = 1 read" in wrong.stdout, wrong.output
    assert held(client, routed) == expected()
    done = run("delete", "--index", routed, "--id", "d5", "--ids", "-", input="never there\n")
    assert "1 deleted + 1 not found + 0 dead-lettered = 2 read" in done.stdout
    assert held(client, routed) == expected(d5=None)


def test_an_id_of_several_documents_is_not_guessed(client: OpenSearch, routed: str, encoder: TextEncoder) -> None:
    other = elsewhere(client, routed, "t1")
    client.index(index=routed, id="d3", routing=other, body={"text": "second"})
    result = write(client, routed, encoder, Deletion("d3"), Document("d3", "third"))
    assert result.dead_lettered == 2
    assert "the index has 2 documents with the id 'd3', with routings" in result.reasons[0]
    assert write(client, routed, encoder, Deletion("d3", routing=other)).deleted == 1
    assert held(client, routed) == expected()


def test_a_change_of_one_of_two_documents_with_an_id_names_it(
    client: OpenSearch, routed: str, encoder: TextEncoder
) -> None:
    other = elsewhere(client, routed, "d3")
    client.index(index=routed, id="d3", body={"text": "second"})
    client.index(index=routed, id="d3", routing=other, body={"text": "third"})
    before = held(client, routed)
    refused = updater(client, routed, encoder).update([Change("d3", {"text": "dogs"})])
    assert (refused.indexed, refused.dead_lettered) == (0, 1)
    assert "documents with the id 'd3', with routings none" in refused.reasons[0]
    assert held(client, routed) == before
    by_filter = updater(client, routed, encoder).update_matching([{"ids": {"values": ["d3"]}}], {"text": "dogs"})
    copies = [each for each in before if each[0] == "d3"]
    assert (by_filter.indexed, by_filter.dead_lettered) == (len(copies), 0)
    assert [each for each in held(client, routed) if each[0] == "d3"] == [(*each[:2], "dogs") for each in copies]


@pytest.fixture
def required(client: OpenSearch, index: str, encoder: TextEncoder) -> str:
    """An index that takes no document without a routing."""
    prepare_encoder(client, index, encoder, new=NewIndex(settings=SHARDS, mappings=REQUIRED, code_bits=None))
    return index


def test_documents_are_read_where_a_routing_is_required(
    client: OpenSearch, required: str, encoder: TextEncoder
) -> None:
    assert write(client, required, encoder, Document("1", "cats sleep", routing="t1")).indexed == 1
    found = SparseIndex(required, client=client, encoder=encoder).get(["1", "2"])
    assert {doc_id: source["text"] for doc_id, source in found.items()} == {"1": "cats sleep"}


def test_a_document_without_the_required_routing_is_refused_before_it_is_encoded(
    client: OpenSearch, required: str, encoder: TextEncoder
) -> None:
    counting = Counting(encoder)
    result = write(client, required, counting, Document("a", "cats", routing="t1"), Document("b", "dogs"))  # type: ignore[arg-type]
    assert (result.indexed, result.dead_lettered, counting.encoded) == (1, 1, 1)
    assert result.reasons == (f"document 'b': has no '_routing', which the index {required!r} requires",)
    again = write(client, required, encoder, Document("a", "cats run"))
    assert again.indexed == 1, "the index knows how this one is routed"
    assert held(client, required) == [("a", "t1", "cats run")]
    changed = updater(client, required, encoder).update([Change("a", {"text": "cats eat"}), Change("z", {"text": "x"})])
    assert (changed.indexed, changed.dead_lettered) == (1, 1)
    assert write(client, required, encoder, Deletion("a")).deleted == 1
    assert held(client, required) == []


@pytest.fixture
def alias(client: OpenSearch, required: str) -> Iterator[str]:
    """Writes and searches by the routing t1."""
    name = f"{required}-t1"
    client.indices.put_alias(index=required, name=name, body={"routing": "t1"})
    yield name


def test_an_alias_with_a_routing_works_in_every_verb(
    client: OpenSearch, required: str, alias: str, head_folder: Path, workplace: Path
) -> None:
    (workplace / "corpus.jsonl").write_text(
        "".join(json.dumps({"_id": f"d{row}", "text": f"cats sleep {row}"}) + "\n" for row in range(4))
    )
    options = ("--index", alias, "--encoder", str(head_folder))
    assert run("ingest", "corpus.jsonl", *options).exit_code == 0
    assert [routing for _, routing, _ in held(client, required)] == ["t1"] * 4
    (workplace / "changes.jsonl").write_text('{"_id": "d1", "text": "dogs"}\n{"_id": "new", "text": "stars"}\n')
    done = run("update", "changes.jsonl", *options, "--upsert")
    assert done.exit_code == 0 and "2 indexed" in done.stdout, done.output
    deleted = run("delete", "--index", alias, "--id", "d2")
    assert "1 deleted + 0 dead-lettered = 1 read" in deleted.stdout, deleted.output
    assert held(client, required) == [
        ("d0", "t1", "cats sleep 0"),
        ("d1", "t1", "dogs"),
        ("d3", "t1", "cats sleep 3"),
        ("new", "t1", "stars"),
    ]


def test_another_routing_than_the_alias_has_is_refused_before_anything_is_encoded(
    client: OpenSearch, required: str, alias: str, encoder: TextEncoder
) -> None:
    counting = Counting(encoder)
    result = write(client, alias, counting, Document("a", "cats", routing="t2"))  # type: ignore[arg-type]
    assert (result.dead_lettered, counting.encoded) == (1, 0)
    assert f"'_routing' is 't2', but the alias {alias!r} writes by 't1'" in result.reasons[0]


def test_a_dead_letter_of_an_alias_keeps_its_routing_for_the_index_itself(
    client: OpenSearch, required: str, alias: str, head_folder: Path, workplace: Path
) -> None:
    line = {"_id": "a", "text": "cats", "metadata": {"k": 10**3_999}}
    (workplace / "corpus.jsonl").write_text(json.dumps(line))
    refused = run("ingest", "corpus.jsonl", "--index", alias, "--encoder", str(head_folder))
    assert refused.exit_code == 3, refused.output
    letters = Path(f"{alias}.dead-letters.jsonl")
    letter = json.loads(letters.read_text())
    assert letter["document"]["_routing"] == "t1"
    letters.write_text(json.dumps(letter | {"document": letter["document"] | {"metadata": {}}}) + "\n")
    done = run("replay", str(letters), "--index", required, "--encoder", str(head_folder))
    assert done.exit_code == 0, done.output
    assert held(client, required) == [("a", "t1", "cats")]


def test_reencode_keeps_routings_and_what_the_alias_says(
    client: OpenSearch, required: str, encoder: TextEncoder, head_folder: Path, workplace: Path
) -> None:
    documents = [Document(f"d{row}", f"cats sleep {row}", routing=f"t{row % 3}") for row in range(9)]
    assert write(client, required, encoder, *documents).indexed == 9
    name, target = f"{required}-alias", f"{required}-2"
    client.indices.put_alias(index=required, name=name, body={"routing": "t1", "filter": {"exists": {"field": "text"}}})
    options = ("--to", target, "--encoder", str(head_folder))
    done = run("reencode", name, *options)
    assert done.exit_code == 0, done.output
    assert "9 documents compared: 0 differ" in done.stdout
    assert held(client, target) == sorted((each.doc_id, each.routing, each.text) for each in documents)
    [kept] = client.indices.get_alias(name=name).values()
    assert kept["aliases"][name] == {
        "filter": {"exists": {"field": "text"}},
        "index_routing": "t1",
        "search_routing": "t1",
        "is_write_index": True,
    }
    assert client.indices.get_mapping(index=target)[target]["mappings"]["_routing"] == {"required": True}


def test_reencode_reports_a_document_of_another_routing(
    client: OpenSearch, routed: str, head_folder: Path, workplace: Path
) -> None:
    options = ("--to", f"{routed}-2", "--encoder", str(head_folder))
    assert run("reencode", routed, *options, "--no-switch").exit_code == 0
    client.delete(index=f"{routed}-2", id="d3", routing="t1")
    client.index(
        index=f"{routed}-2", id="d3", routing="t7", body=client.get(index=routed, id="d3", routing="t1")["_source"]
    )
    client.indices.refresh(index=f"{routed}-2")

    head = load_encoder(str(head_folder))
    compared = compare_indices(client, Retriever(client, routed, head), Retriever(client, f"{routed}-2", head))
    assert compared.differing == ("d3",)


@pytest.fixture
def joined(client: OpenSearch, index: str, encoder: TextEncoder) -> Iterator[str]:
    """An alias of two indices; the second is the write index, the first contains d1."""
    for number in (1, 2):
        prepare_encoder(client, f"{index}-{number}", encoder, new=NewIndex(code_bits=None))
        client.indices.put_alias(index=f"{index}-{number}", name=index, body={"is_write_index": number == 2})
    write(client, f"{index}-1", encoder, Document("d1", "cats sleep"))
    yield index
    client.indices.delete(index=f"{index}-*")


def test_a_change_by_id_names_one_index(
    client: OpenSearch, joined: str, encoder: TextEncoder, head_folder: Path, workplace: Path
) -> None:
    with pytest.raises(IndexMappingError, match=f"{joined} spans 2 indices, but a document is changed by id in one"):
        updater(client, joined, encoder, upsert=True)
    deleted = run("delete", "--index", joined, "--id", "d1")
    assert deleted.exit_code == 1 and f"name the one that has it: {joined}-1, {joined}-2" in deleted.stderr
    assert write(client, joined, encoder, Document("d2", "dogs")).indexed == 1
    assert held(client, f"{joined}-2") == [("d2", None, "dogs")]


def test_an_alias_with_a_filter_changes_and_deletes_what_it_shows_alone(
    client: OpenSearch, index: str, encoder: TextEncoder
) -> None:
    prepare_encoder(client, index, encoder, new=NewIndex(code_bits=None))
    mine, other = (
        Document("a1", "cats", metadata={"tenant": "alpha"}),
        Document("b1", "dogs", metadata={"tenant": "beta"}),
    )
    write(client, index, encoder, mine, other)
    name = f"{index}-alpha"
    client.indices.put_alias(index=index, name=name, body={"filter": {"term": {"metadata.tenant": "alpha"}}})
    changes = [Change(doc_id, {"text": "stars"}) for doc_id in ("a1", "b1")]
    result = updater(client, name, encoder, upsert=True).update(changes)
    assert (result.indexed, result.dead_lettered) == (1, 1)
    gone = write(client, name, encoder, Deletion("a1"), Deletion("b1"))
    assert (gone.deleted, gone.not_found, gone.dead_lettered) == (1, 1, 0)
    assert held(client, index) == [("b1", None, "dogs")]


@pytest.mark.parametrize("routing", [None, "beta"])
def test_an_alias_with_a_filter_writes_over_no_document_that_it_hides(
    client: OpenSearch, index: str, encoder: TextEncoder, routing: str | None
) -> None:
    prepare_encoder(client, index, encoder, new=NewIndex(code_bits=None, settings={"number_of_shards": 3}))
    write(client, index, encoder, Document("b1", "dogs", metadata={"tenant": "beta"}, routing=routing))
    name = f"{index}-alpha"
    client.indices.put_alias(index=index, name=name, body={"filter": {"term": {"metadata.tenant": "alpha"}}})
    mine = {"tenant": "alpha"}
    result = write(client, name, encoder, Document("b1", "cats", metadata=mine), Document("a1", "cats", metadata=mine))
    assert (result.indexed, result.dead_lettered) == (1, 1)
    assert f"the alias {name!r} cannot write this id: it belongs to a document" in result.reasons[0]
    made = updater(client, name, encoder, upsert=True).update([Change("b1", {"text": "stars"})])
    assert (made.indexed, made.dead_lettered) == (0, 1)
    assert "cannot write this id" in made.reasons[0]
    assert write(client, name, encoder, Document("a1", "stars", metadata=mine)).indexed == 1
    assert held(client, index) == [("a1", None, "stars"), ("b1", routing, "dogs")]


def test_looking_for_hidden_documents_refreshes_once(
    client: OpenSearch, index: str, encoder: TextEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare_encoder(client, index, encoder, new=NewIndex(code_bits=None))
    name = f"{index}-alpha"
    client.indices.put_alias(index=index, name=name, body={"filter": {"term": {"metadata.tenant": "alpha"}}})
    for doc_id, tenant in (("a1", "alpha"), ("b1", "beta")):
        client.index(index=index, id=doc_id, body={"text": "cats", "metadata": {"tenant": tenant}})
    refresh, refreshed = client.indices.refresh, list[str]()

    def counted(**request: Any) -> Any:  # noqa: ANN401
        refreshed.append(request["index"])
        return refresh(**request)

    monkeypatch.setattr(client.indices, "refresh", counted)
    places = [Place(doc_id, None) for doc_id in ("a1", "b1", "c1")]
    assert BulkWriter(client, name).lookup.hidden(places) == {Place("b1", None)}
    assert refreshed == [index]


def test_an_alias_with_a_filter_deletes_the_copy_that_it_shows(
    client: OpenSearch, routed: str, encoder: TextEncoder
) -> None:
    other = elsewhere(client, routed, "t1")
    client.index(index=routed, id="d3", routing=other, body={"text": "second", "metadata": {"tenant": "beta"}})
    name = f"{routed}-alpha"
    client.indices.put_alias(index=routed, name=name, body={"filter": {"exists": {"field": "metadata.row"}}})
    refused = write(client, name, encoder, Deletion("d3", routing=other), Document("d3", "third", routing=other))
    assert (refused.not_found, refused.dead_lettered) == (1, 1)
    assert write(client, name, encoder, Deletion("d3")).deleted == 1
    assert held(client, routed) == sorted([*expected(d3=None), ("d3", other, "second")])


@pytest.fixture
def searched(client: OpenSearch, routed: str) -> str:
    """An alias that searches by t1 and writes by any routing; it shows d1, d3, ... and hides d0, d2, ..."""
    name = f"{routed}-searched"
    client.indices.put_alias(index=routed, name=name, body={"search_routing": "t1"})
    seen = client.search(index=name, body={"size": 100})["hits"]["hits"]
    assert sorted(hit["_id"] for hit in seen) == [f"d{row}" for row in range(1, 10, 2)]
    return name


def test_an_alias_with_a_search_routing_deletes_what_it_shows_alone(
    client: OpenSearch, routed: str, searched: str, encoder: TextEncoder, workplace: Path
) -> None:
    index = SparseIndex(searched, client=client, encoder=encoder)
    assert set(index.get([f"d{row}" for row in range(10)])) == {f"d{row}" for row in range(1, 10, 2)}
    assert index.delete(["d1", "d2", "never"]) == 1
    result = write(client, searched, encoder, Deletion("d4", routing="t0"), Deletion("d5", routing="t1"))
    assert (result.deleted, result.not_found, result.dead_lettered) == (1, 1, 0)
    done = run("delete", "--index", searched, "--id", "d6", "--id", "d7")
    assert done.exit_code == 0 and "1 deleted + 1 not found" in done.stdout, done.output
    assert index.delete(filters={"row": [8, 9]}) == 1
    IndexStore(searched, client=client, encoder=encoder).delete(["d8"])
    assert held(client, routed) == expected(d1=None, d5=None, d7=None, d9=None)


def test_an_alias_with_a_search_routing_changes_what_it_shows_alone(
    client: OpenSearch, routed: str, searched: str, encoder: TextEncoder
) -> None:
    result = write(
        client,
        searched,
        encoder,
        Document("d1", "new"),
        Document("d2", "new"),
        Document("d4", "new", routing="t0"),
        Document("mine", "stars", routing="t1"),
    )
    assert (result.indexed, result.dead_lettered) == (2, 2)
    assert f"the alias {searched!r} cannot write this id: it belongs to a document that the alias" in result.reasons[0]
    changes = [Change(doc_id, {"text": "changed"}) for doc_id in ("d3", "d6")]
    changes.append(Change("d8", {"text": "changed"}, routing="t0"))
    for upsert in (False, True):
        made = updater(client, searched, encoder, upsert=upsert).update(changes)
        assert (made.indexed, made.dead_lettered) == (1, 2)
    assert held(client, routed) == sorted([*expected(d1="new", d3="changed"), ("mine", "t1", "stars")])


def test_a_replay_through_an_alias_deletes_no_document_that_it_hides(
    client: OpenSearch, routed: str, searched: str, head_folder: Path, workplace: Path
) -> None:
    failed = {"operation": "delete", "status": 429, "type": "busy", "reason": "busy", "attempts": 1}
    letters = [failed | {"deletion": {"_id": "d2"}}, failed | {"deletion": {"_id": "d4", "_routing": "t0"}}]
    (workplace / "letters.jsonl").write_text("".join(json.dumps(letter) + "\n" for letter in letters))
    done = run("replay", "letters.jsonl", "--index", searched, "--encoder", str(head_folder))
    assert "2 not found" in done.stdout, done.output
    assert held(client, routed) == expected()


def test_an_alias_that_searches_elsewhere_than_it_writes_deletes_nothing(
    client: OpenSearch, routed: str, encoder: TextEncoder
) -> None:
    name = f"{routed}-crossed"
    client.indices.put_alias(index=routed, name=name, body={"search_routing": "t1", "index_routing": "t0"})
    result = write(client, name, encoder, Deletion("d2"), Document("d4", "new"), Document("d1", "mine"))
    assert (result.not_found, result.dead_lettered, result.indexed) == (1, 1, 1)
    assert held(client, routed) == sorted([*expected(), ("d1", "t0", "mine")])


def test_tenants_with_the_same_ids_write_by_their_routings(
    client: OpenSearch, routed: str, encoder: TextEncoder
) -> None:
    name = f"{routed}-t1"
    body = {"routing": "t1", "filter": {"term": {"metadata.tenant": "t1"}}}
    client.indices.put_alias(index=routed, name=name, body=body)
    result = write(client, name, encoder, Document("d2", "mine", metadata={"tenant": "t1"}), Document("d3", "new"))
    assert (result.indexed, result.dead_lettered) == (1, 1)
    assert held(client, routed) == sorted([*expected(), ("d2", "t1", "mine")])


def test_a_deletion_of_what_is_missing_is_no_error_where_a_routing_is_required(
    client: OpenSearch, required: str, encoder: TextEncoder
) -> None:
    write(client, required, encoder, Document("a", "cats", routing="t1"))
    result = write(client, required, encoder, Deletion("never"), Deletion("a"))
    assert (result.deleted, result.not_found, result.dead_lettered) == (1, 1, 0)


def test_a_document_that_the_alias_does_not_show_is_counted_behind_a_pipeline(
    client: OpenSearch, index: str, encoder: TextEncoder
) -> None:
    name, pipeline = f"{index}-alpha", f"{index}-pipeline"
    client.ingest.put_pipeline(id=pipeline, body={"processors": [{"set": {"field": "metadata.seen", "value": True}}]})
    try:
        settings = {"default_pipeline": pipeline}
        prepare_encoder(client, index, encoder, new=NewIndex(code_bits=None, settings=settings))
        client.indices.put_alias(index=index, name=name, body={"filter": {"term": {"metadata.tenant": "alpha"}}})
        result = write(client, name, encoder, Document("b1", "dogs", metadata={"tenant": "beta"}))
        assert (result.indexed, result.dead_lettered) == (1, 0)
    finally:
        client.indices.put_settings(index=index, body={"index.default_pipeline": "_none"})
        client.ingest.delete_pipeline(id=pipeline)
