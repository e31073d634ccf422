"""An index that takes the place of another one, on a real node."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from opensearchpy import OpenSearch
from opensearchpy.exceptions import TransportError

from connector.cli.main import cli
from connector.connection.client import connect
from connector.encoders.text import TextEncoder
from connector.errors import ClusterError, EncoderMismatchError
from connector.index.new_index import NewIndex
from connector.index.schema import existing_schema, save_search_defaults
from connector.ingest.update import matching_changes
from connector.query.settings import SearchSettings
from connector.search.reencode import Comparison, compare_indices, read_index, switch_alias
from connector.search.retriever import Retriever
from connector.search.sparse_index import SparseIndex
from connector.types import Document
from tests.fault_proxy import broken_before, fault_proxy, status
from tests.tenants import ALPHA, fill
from tests.tiny import WORDS, build_head

pytestmark = pytest.mark.opensearch

COUNT = 30
Command = Callable[..., Result]


@pytest.fixture
def other_head(dense_folder: Path, tmp_path: Path) -> Path:
    """Another head in front of the same dense model."""
    folder = tmp_path / "other"
    folder.mkdir()
    build_head(str(dense_folder), seed=1).save(str(folder))
    return folder


@pytest.fixture
def command(index: str, head_folder: Path, workplace: Path) -> Command:
    """Runs `ksparse NAME ...`, on 30 documents in the index INDEX-1 with the alias INDEX."""
    words = sorted(WORDS)
    records = [
        {"_id": f"d{row}", "text": " ".join(words[(row + step) % len(words)] for step in (0, 1, 3)), "_version": 5}
        for row in range(COUNT)
    ]
    (workplace / "corpus.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(cli, list(arguments))

    filled = run("ingest", "corpus.jsonl", "--index", f"{index}-1", "--encoder", str(head_folder), "--quiet")
    assert filled.exit_code == 0, filled.output
    return run


@pytest.fixture
def alias(client: OpenSearch, index: str, command: Command) -> Iterator[str]:
    client.indices.put_alias(index=f"{index}-1", name=index)
    yield index
    client.indices.delete(index=f"{index}-*")


def named(client: OpenSearch, alias: str) -> list[str]:
    return sorted(client.indices.get_alias(name=alias))


def test_a_new_index_takes_the_place_of_the_old_one(
    command: Command, client: OpenSearch, alias: str, head_folder: Path, other_head: Path, encoder: TextEncoder
) -> None:
    before = Retriever(client, alias, encoder)
    options = ("--to", f"{alias}-2", "--encoder", str(other_head), "--old-encoder", str(head_folder), "--quiet")
    looked = command("reencode", alias, *options, "--no-switch", "--tolerance", "1")
    assert looked.exit_code == 0, looked.output
    assert named(client, alias) == [f"{alias}-1"]
    done = command("reencode", alias, *options, "--tolerance", "1")
    assert done.exit_code == 0, done.output
    assert "30 documents compared: 0 differ" in done.stdout
    assert f"{alias} is now {alias}-2; {alias}-1 is kept" in done.stdout
    assert named(client, alias) == [f"{alias}-2"]
    assert client.get(index=alias, id="d1")["_version"] == 5, "documents keep their versions"
    found = command("search", "cats sleep", "--index", alias, "--encoder", str(other_head))
    assert found.exit_code == 0, found.output
    with pytest.raises(EncoderMismatchError, match=f"Index '{alias}' was written by encoder"):
        before.search("cats sleep")


def test_tuned_settings_are_copied_only_for_the_same_weights(
    command: Command, client: OpenSearch, alias: str, head_folder: Path, other_head: Path
) -> None:
    tuned = SearchSettings(3, 200)
    save_search_defaults(client, alias, tuned)
    options = ("--old-encoder", str(head_folder), "--quiet", "--tolerance", "1", "--no-switch")
    for name, changed, expected in (
        ("same", (), tuned),
        ("k", ("--k", "6"), tuned),
        ("other", ("--encoder", str(other_head)), None),
    ):
        done = command("reencode", alias, "--to", f"{alias}-{name}", *options, *changed)
        assert done.exit_code == 0, done.output
        assert existing_schema(client, f"{alias}-{name}").search == expected


def test_a_field_with_its_own_normalizer_or_similarity_is_created_filtered_and_copied(
    command: Command, client: OpenSearch, alias: str, encoder: TextEncoder, head_folder: Path
) -> None:
    low = {"type": "keyword", "normalizer": "low"}
    properties = {"tag": low, "note": {"type": "text", "similarity": "flat"}}
    settings = {
        "analysis": {"normalizer": {"low": {"type": "custom", "filter": ["lowercase"]}}},
        "similarity": {"flat": {"type": "BM25", "b": 0.0}},
        "mapping": {"total_fields": {"limit": 1_200}},
    }
    new = NewIndex(mappings={"properties": properties}, settings=settings)
    docs = SparseIndex(f"{alias}-tagged", client=client, encoder=encoder, new=new)
    docs.add([{"_id": "1", "text": "cats sleep", "tag": "Cats"}, {"_id": "2", "text": "cats sleep", "tag": "dogs"}])
    done = command(
        "reencode", docs.index, "--to", f"{alias}-2", "--no-switch", "--quiet", "--old-encoder", str(head_folder)
    )
    assert done.exit_code == 0, done.output
    copy = SparseIndex(f"{alias}-2", client=client, encoder=encoder)
    for index in (docs, copy):
        assert [hit.id for hit in index.search("cats sleep", filters={"tag": "cats"})] == ["1"]
    copied = client.indices.get(index=copy.index)[copy.index]
    assert copied["mappings"]["properties"]["tag"] == low
    assert copied["mappings"]["properties"]["note"]["similarity"] == "flat"
    assert copied["settings"]["index"]["mapping"]["total_fields"]["limit"] == "1200"


def test_a_new_index_has_the_settings_of_the_old_one_and_its_pipeline_for_new_documents(
    command: Command, client: OpenSearch, alias: str, head_folder: Path, other_head: Path
) -> None:
    client.ingest.put_pipeline(id=alias, body={"processors": [{"set": {"field": "title", "value": "stamped"}}]})
    settings = {"refresh_interval": "30s", "max_result_window": "20000", "mapping.total_fields.limit": "1500"}
    settings |= {"default_pipeline": alias}
    client.indices.put_settings(index=f"{alias}-1", body={"index": settings})
    try:
        options = ("--encoder", str(other_head), "--old-encoder", str(head_folder), "--tolerance", "1", "--quiet")
        done = command("reencode", alias, "--to", f"{alias}-2", *options)
        assert done.exit_code == 0, done.output
        found = client.indices.get_settings(index=f"{alias}-2", params={"flat_settings": "true"})
        own = found[f"{alias}-2"]["settings"]
        assert {name: own.get(f"index.{name}") for name in settings} == settings
        assert "title" not in client.get(index=alias, id="d1")["_source"], "the pipeline did not process the copies"
    finally:
        client.indices.put_settings(index=f"{alias}-*", body={"index.default_pipeline": "_none"})
        client.ingest.delete_pipeline(id=alias)


def test_a_copy_with_its_own_dictionary_is_resumed_by_the_same_command(
    command: Command, client: OpenSearch, alias: str
) -> None:
    options = ("--to", f"{alias}-2", "--encoder", "own", "--quiet")
    looked = command("reencode", alias, *options, "--no-switch")
    assert looked.exit_code == 0, looked.output
    done = command("reencode", alias, *options)
    assert done.exit_code == 0, done.output
    assert named(client, alias) == [f"{alias}-2"]
    # 30 documents are too few for a dictionary.
    assert f"--encoder own has no effect: index {alias}-2 exists and keeps its encoder, " in done.stderr


def test_a_document_that_is_newer_in_the_new_index_stays(
    command: Command, client: OpenSearch, alias: str, other_head: Path, head_folder: Path
) -> None:
    options = ("--to", f"{alias}-2", "--encoder", str(other_head), "--old-encoder", str(head_folder), "--quiet")
    assert command("reencode", alias, *options, "--no-switch", "--tolerance", "1").exit_code == 0
    Path("new.jsonl").write_text('{"_id": "d1", "text": "cats run", "_version": 6}\n')
    for name, head in ((f"{alias}-2", other_head), (f"{alias}-1", head_folder)):
        written = command("ingest", "new.jsonl", "--index", name, "--encoder", str(head), "--quiet")
        assert written.exit_code == 0, written.output
    again = command("reencode", alias, *options, "--tolerance", "1")
    assert again.exit_code == 0, again.output
    assert client.get(index=alias, id="d1")["_source"]["text"] == "cats run"


def test_a_document_that_was_deleted_and_written_again_is_not_lost(
    command: Command, client: OpenSearch, alias: str, head_folder: Path
) -> None:
    options = ("--to", f"{alias}-2", "--encoder", str(head_folder), "--quiet", "--sample", "1", "--tolerance", "1")
    assert command("reencode", alias, *options, "--no-switch").exit_code == 0
    client.indices.put_settings(index=f"{alias}-1", body={"index.gc_deletes": "0s"})
    client.delete(index=f"{alias}-1", id="d5", params={"refresh": "true"})
    time.sleep(1.5)  # the server keeps the version for as long as its clock shows the same time
    Path("new.jsonl").write_text('{"_id": "d5", "text": "cats run"}\n')
    command("ingest", "new.jsonl", "--index", f"{alias}-1", "--encoder", str(head_folder), "--quiet")
    assert client.get(index=f"{alias}-1", id="d5")["_version"] == 1
    refused = command("reencode", alias, *options)
    assert refused.exit_code == 1, refused.output
    assert "it keeps newer versions of 1 documents (d5), which differ" in refused.stderr
    assert named(client, alias) == [f"{alias}-1"]


def test_an_index_that_differs_does_not_take_the_place(
    command: Command, client: OpenSearch, alias: str, head_folder: Path
) -> None:
    options = ("--to", f"{alias}-2", "--encoder", str(head_folder), "--quiet")
    copied = command("reencode", alias, *options, "--no-switch")
    assert copied.exit_code == 0, copied.output
    Path("new.jsonl").write_text(
        '{"_id": "extra", "text": "cats run"}\n{"_id": "d1", "text": "cats run", "_version": 9}\n'
    )
    command("ingest", "new.jsonl", "--index", f"{alias}-2", "--encoder", str(head_folder), "--quiet")
    refused = command("reencode", alias, *options)
    assert refused.exit_code == 1, refused.output
    assert "it holds 31 documents instead of 30" in refused.stderr
    assert "1 of 30 sampled documents are missing or differ (d1)" in refused.stderr
    assert named(client, alias) == [f"{alias}-1"]


def test_an_index_that_refuses_a_newer_version_does_not_take_the_place(
    command: Command, client: OpenSearch, alias: str, head_folder: Path
) -> None:
    options = ("--to", f"{alias}-2", "--encoder", str(head_folder), "--quiet")
    assert command("reencode", alias, *options, "--no-switch").exit_code == 0
    refuses = {"fail": {"if": "ctx._id == 'd1'", "message": "d1 is finished"}}
    client.ingest.put_pipeline(id=alias, body={"processors": [refuses]})
    client.indices.put_settings(index=f"{alias}-2", body={"index.default_pipeline": alias})
    try:
        again = command("reencode", alias, *options)
        assert again.exit_code == 3, again.output
        assert "1 documents, which it holds already, are dead letters now" in again.stderr
        assert named(client, alias) == [f"{alias}-1"]
    finally:
        client.indices.put_settings(index=f"{alias}-2", body={"index.default_pipeline": None})
        client.ingest.delete_pipeline(id=alias)


def test_an_index_gives_its_name_to_an_alias_only_if_it_may_be_deleted(
    command: Command, client: OpenSearch, alias: str, head_folder: Path
) -> None:
    old = f"{alias}-1"
    options = ("--to", f"{alias}-2", "--encoder", str(head_folder), "--quiet")
    refused = command("reencode", old, *options)
    assert refused.exit_code == 1
    assert f"{old} is an index, so no alias can take its name while it exists" in refused.stderr
    done = command("reencode", old, *options, "--delete-old")
    assert done.exit_code == 0 and f"{old} is now {alias}-2; {old} is deleted" in done.stdout, done.output
    assert named(client, old) == [f"{alias}-2"]


def test_a_search_continues_in_the_index_that_took_the_place(
    command: Command, client: OpenSearch, alias: str, head_folder: Path, encoder: TextEncoder
) -> None:
    before = Retriever(client, alias, encoder)
    options = ("--to", f"{alias}-2", "--encoder", str(head_folder), "--quiet", "--delete-old")
    assert command("reencode", alias, *options).exit_code == 0
    assert not client.indices.exists(index=f"{alias}-1")
    assert before.search("cats sleep")


def test_a_worse_index_is_objected_to() -> None:
    found = Comparison(200, 200, 200, (), found=0.9, new_found=0.8, lost=20, gained=0)
    assert found.objections(0.1) == []
    assert found.objections(0.05) == ["its known-item recall is 80.0%, that of the old index 90.0%"]


def test_a_drop_that_chance_explains_is_no_objection() -> None:
    other = Comparison(900, 900, 200, (), found=0.25, new_found=0.2, lost=25, gained=15)
    assert other.drop_error == pytest.approx(np.sqrt(25 + 15 - 10**2 / 200) / 200)
    assert other.objections(0.02) == []
    worse = replace(other, lost=10, gained=0)  # as large a drop, but no document is found instead
    assert worse.objections(0.02) == ["its known-item recall is 20.0%, that of the old index 25.0%"]


def test_an_index_that_finds_nothing_is_objected_to_however_few_documents_there_are() -> None:
    assert Comparison(2, 2, 2, (), found=1, new_found=0, lost=2, gained=0).objections(0.02)


def test_documents_that_take_longer_than_the_server_keeps_a_search_open_are_an_error(
    client: OpenSearch, index: str, lexical: TextEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(client, index, lexical, code_bits=None)
    monkeypatch.setattr("connector.index.hits._PAGE", 2)
    reading = iter(read_index(client, index))
    next(reading)
    contexts = client.nodes.stats(metric="indices", index_metric="search")["nodes"].values()
    assert any(node["indices"]["search"]["point_in_time_current"] for node in contexts)
    client.delete_all_pits()
    with pytest.raises(ClusterError, match=f"Reading '{index}' was interrupted: .*Run it again"):
        list(reading)


def test_a_server_that_is_busy_for_a_while_does_not_end_reading(
    opensearch_url: str, client: OpenSearch, index: str, lexical: TextEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    documents = [Document(str(row), f"{WORDS[0]} {row}", metadata={"of": "all"}) for row in range(7)]
    fill(client, index, lexical, documents, code_bits=None)
    monkeypatch.setattr("connector.index.hits._PAGE", 2)
    with fault_proxy(opensearch_url) as proxy, connect(proxy.url) as through:
        readings: tuple[Callable[[], list[str | None]], ...] = (
            lambda: [each.doc_id for each in read_index(through, index)],
            lambda: [each.doc_id for each in matching_changes(through, index, [{"exists": {"field": "text"}}], {})],
        )
        for read in readings:
            faults = iter([None, status(429), None, status(503), broken_before])
            proxy.reads = lambda _, path, faults=faults: next(faults, None) if path.startswith("/_search?") else None
            proxy.paths.clear()
            assert sorted(map(str, read())) == [document.doc_id for document in documents]
            assert sum(path.startswith("/_search?") for path in proxy.paths) == 4 + 3, "pages, and repeated ones"
    assert client.get_all_pits()["pits"] == []


def test_an_alias_that_names_the_new_index_already_keeps_its_filter(
    client: OpenSearch, index: str, lexical: TextEncoder
) -> None:
    fill(client, index, lexical, code_bits=None)
    alias = f"{index}-alpha"
    client.indices.put_alias(index=index, name=alias, body=ALPHA)
    assert switch_alias(client, alias, index) == []
    assert client.indices.get_alias(name=alias)[index]["aliases"][alias] == ALPHA | {"is_write_index": True}


@pytest.mark.parametrize("connected", [True, False])
def test_an_index_that_takes_the_place_takes_no_document_of_others_without_features(
    connected: bool, command: Command, client: OpenSearch, alias: str, head_folder: Path, other_head: Path
) -> None:
    """`ksparse connect` made the pipeline of the alias; another one stays with its index."""
    pipeline = f"ksparse-{alias}" if connected else f"{alias}-theirs"
    needs = {"fail": {"if": "ctx.features == null", "message": "this pipeline encodes for another index"}}
    client.ingest.put_pipeline(id=pipeline, body={"processors": [needs]})
    client.indices.put_settings(index=f"{alias}-1", body={"index.final_pipeline": pipeline})
    options = ("--to", f"{alias}-2", "--encoder", str(other_head), "--old-encoder", str(head_folder), "--quiet")
    try:
        done = command("reencode", alias, *options, "--tolerance", "1")
        assert done.exit_code == 0, done.output
        assert (f"run `ksparse connect {alias}` again" in done.stderr) is connected
        settings = client.indices.get_settings(index=f"{alias}-2")[f"{alias}-2"]["settings"]["index"]
        assert settings.get("final_pipeline") == (pipeline if connected else None)
        if connected:
            with pytest.raises(TransportError, match="encodes for another index"):
                client.index(index=alias, id="plain", body={"text": "cats sleep"})
    finally:
        client.indices.put_settings(index=f"{alias}-*", body={"index.final_pipeline": None})
        client.ingest.delete_pipeline(id=pipeline)


def test_other_aliases_of_a_deleted_index_write_as_before(client: OpenSearch, index: str, lexical: TextEncoder) -> None:
    """An alias that writes elsewhere would have two write indices, which the server refuses."""
    names = [f"{index}-{number}" for number in range(3)]
    try:
        for name in names:
            fill(client, name, lexical, code_bits=None)
        old, other, new = names
        for name, alias, writes in (
            (old, "main", None),
            (old, "elsewhere", None),
            (other, "elsewhere", True),
            (old, "nowhere", None),
            (other, "nowhere", None),
            (old, "here", True),
            (other, "here", None),
        ):
            body = {} if writes is None else {"is_write_index": writes}
            client.indices.put_alias(index=name, name=f"{index}-{alias}", body=body)
        assert switch_alias(client, f"{index}-main", new, delete_old=True) == [old]
        moved = client.indices.get_alias(index=new)[new]["aliases"]
        assert moved == {
            f"{index}-main": {"is_write_index": True},
            f"{index}-elsewhere": {},
            f"{index}-nowhere": {},
            f"{index}-here": {"is_write_index": True},
        }
    finally:
        client.indices.delete(index=f"{index}-*")


def test_documents_without_words_are_no_queries_of_a_comparison(
    client: OpenSearch, index: str, lexical: TextEncoder
) -> None:
    encoder = fill(client, index, lexical, code_bits=None)
    client.index(index=index, id="empty", body={"text": ""}, refresh=True)
    retriever = Retriever(client, index, encoder)
    found = compare_indices(client, retriever, retriever)
    assert (found.sampled, found.differing) == (5, ())
    assert found.found == found.new_found > 0
