"""Documents that are changed and deleted, by id and by filter, on a real node."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from opensearchpy import OpenSearch

from connector.cli.main import cli
from connector.encoders.text import TextEncoder
from connector.errors import IndexMappingError
from connector.index.delete import delete_matching
from connector.index.new_index import NewIndex
from connector.index.searcher import Searcher
from connector.index.sizes import count_matching
from connector.index.writer import BulkWriter
from connector.ingest.letters import Letter
from connector.ingest.pipeline import IngestJob
from connector.ingest.prepare import prepare_encoder
from connector.ingest.update import Change, DocumentUpdater
from connector.query.body import parse_filter, without_features
from connector.types import Deletion, Document, SparseVectors

pytestmark = pytest.mark.opensearch

DOCUMENTS = [
    Document("plants", "eat light with green leaves", "Plants", {"lang": "en", "kind": "life"}, {"year": 1999}, 3),
    Document("cats", "cats sleep on warm stones", metadata={"lang": "de"}),
    Document("rivers", "rivers carry sand to the sea", metadata={"lang": "de"}),
]
FIELDS = {"year": "integer"}
Command = Callable[..., Result]


@pytest.fixture
def filled(client: OpenSearch, index: str, encoder: TextEncoder) -> str:
    prepare_encoder(client, index, encoder, new=NewIndex(fields=FIELDS, code_bits=None))
    with IngestJob(BulkWriter(client, index), encoder) as job:
        job.add(DOCUMENTS)
    return index


@pytest.fixture
def command(filled: str, workplace: Path) -> Command:
    return lambda *arguments, **options: CliRunner().invoke(cli, [*arguments, "--index", filled], **options)


def updater(client: OpenSearch, index: str, encoder: TextEncoder, **options: Any) -> DocumentUpdater:  # noqa: ANN401
    return DocumentUpdater(client, BulkWriter(client, index), encoder, fields=tuple(FIELDS), **options)


def source(client: OpenSearch, index: str, doc_id: str) -> dict[str, Any]:
    return dict(client.get(index=index, id=doc_id)["_source"])


def assert_found_by(client: OpenSearch, index: str, encoder: TextEncoder, text: str, doc_id: str) -> None:
    """A document holds the features of a text: its score is the text's product with itself."""
    [features] = encoder.encode_document([text]).as_mappings()
    [hit, *_] = Searcher(client, index).search(features)
    assert hit.doc_id == doc_id
    assert hit.score == pytest.approx(sum(weight**2 for weight in features.values()), rel=2**-8)


def test_what_a_change_does_not_name_stays(client: OpenSearch, filled: str, encoder: TextEncoder) -> None:
    change = Change("plants", {"text": "drink water", "metadata": {"kind": None, "new": "x"}})
    result = updater(client, filled, encoder).update([change])
    assert (result.read, result.indexed, result.dead_lettered) == (1, 1, 0)
    assert source(client, filled, "plants") == {
        "title": "Plants",
        "text": "drink water",
        "metadata": {"lang": "en", "new": "x"},
        "year": 1999,
    }
    assert_found_by(client, filled, encoder, "Plants drink water", "plants")


def test_a_document_keeps_its_features_when_only_its_metadata_changes(
    client: OpenSearch, filled: str, encoder: TextEncoder
) -> None:
    updater(client, filled, encoder).update([Change("cats", {"metadata": {"lang": "fr"}})])
    assert client.count(index=filled, body={"query": without_features()})["count"] == 0
    assert_found_by(client, filled, encoder, DOCUMENTS[1].content, "cats")


def test_changes_of_one_document_follow_each_other(client: OpenSearch, filled: str, encoder: TextEncoder) -> None:
    changes = [Change("cats", {"title": "A"}), Change("cats", {"metadata": {"x": 1}}), Change("cats", {"title": "B"})]
    assert updater(client, filled, encoder).update(changes).indexed == 3
    assert source(client, filled, "cats")["title"] == "B" and source(client, filled, "cats")["metadata"]["x"] == 1


def test_a_document_that_is_not_there_is_a_dead_letter_or_made(
    client: OpenSearch, filled: str, encoder: TextEncoder, tmp_path: Path
) -> None:
    change = Change("new", {"text": "mountains are high"})
    refused = updater(client, filled, encoder, dead_letters=tmp_path / "letters.jsonl").update([change])
    assert refused.reasons == ("document 'new': the document does not exist; update with upsert to create it",)
    letter = json.loads((tmp_path / "letters.jsonl").read_text())
    assert (letter["operation"], letter["upsert"]) == ("update", False)
    assert letter["change"] == {"_id": "new", "text": "mountains are high"}
    assert updater(client, filled, encoder, upsert=True).update([change]).indexed == 1
    assert source(client, filled, "new") == {"text": "mountains are high"}


class Meddling:
    """Encodes, while another writer changes the document that was just read: so many times."""

    def __init__(self, encoder: TextEncoder, meddle: Callable[[], object], times: int) -> None:
        self._encoder, self._meddle, self._left = encoder, meddle, times

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        return getattr(self._encoder, name)

    def encode_document(self, texts: Sequence[str], *, batch_size: int = 32) -> SparseVectors:
        if self._left:
            self._left -= 1
            self._meddle()
        return self._encoder.encode_document(texts, batch_size=batch_size)


@pytest.mark.parametrize(("times", "indexed"), [(2, 1), (9, 0)])
def test_what_another_writer_changes_meanwhile_is_not_lost(
    client: OpenSearch, filled: str, encoder: TextEncoder, times: int, indexed: int
) -> None:
    def meddle() -> None:
        client.index(index=filled, id="cats", body={"text": "cats sleep", "metadata": {"by": "another"}})

    meddling = Meddling(encoder, meddle, times)
    result = updater(client, filled, meddling).update([Change("cats", {"metadata": {"lang": "fr"}})])  # type: ignore[arg-type]
    assert (result.indexed, result.dead_lettered) == (indexed, 1 - indexed)
    mine = {"lang": "fr"} if indexed else {}
    assert source(client, filled, "cats") == {"text": "cats sleep", "metadata": {"by": "another", **mine}}


def test_a_document_that_appears_meanwhile_is_not_overwritten(
    client: OpenSearch, filled: str, encoder: TextEncoder
) -> None:
    meddling = Meddling(encoder, lambda: client.index(index=filled, id="new", body={"text": "a", "title": "T"}), 1)
    result = updater(client, filled, meddling, upsert=True).update([Change("new", {"text": "b"})])  # type: ignore[arg-type]
    assert result.indexed == 1
    assert source(client, filled, "new") == {"text": "b", "title": "T"}


def test_an_older_change_is_superseded(client: OpenSearch, filled: str, encoder: TextEncoder) -> None:
    old, new = Change("plants", {"title": "old"}, version=2), Change("plants", {"title": "new"}, version=4)
    result = updater(client, filled, encoder).update([old, new])
    assert (result.read, result.indexed, result.superseded) == (2, 1, 1)
    assert source(client, filled, "plants")["title"] == "new"


def test_update_reads_changes_from_a_file(command: Command, client: OpenSearch, filled: str, head_folder: Path) -> None:
    lines = ['{"_id": "cats", "title": "Cats"}', '{"_id": "rivers"}', "no json", '{"title": "x"}']
    Path("changes.jsonl").write_text("\n".join(lines))
    result = command("update", "changes.jsonl", "--encoder", str(head_folder), "--json", "--quiet")
    assert result.exit_code == 3, result.output
    found = json.loads(result.stdout)
    assert (found["read"], found["indexed"], found["dead_lettered"]) == (4, 1, 3)
    assert "changes.jsonl:2: has only an '_id'" in result.stderr
    assert "changes.jsonl:4: '_id' is None" in result.stderr
    assert source(client, filled, "cats")["title"] == "Cats"


def test_update_changes_what_a_filter_matches(
    command: Command, client: OpenSearch, filled: str, head_folder: Path
) -> None:
    options = ("--filter", "lang=de", "--set", "lang=de-AT", "--set", "year=2000", "--encoder", str(head_folder))
    result = command("update", *options, "--quiet")
    assert result.exit_code == 0 and "2 indexed + 0 dead-lettered = 2 read" in result.stdout, result.output
    assert source(client, filled, "cats")["metadata"] == {"lang": "de-AT"}
    assert source(client, filled, "rivers")["year"] == "2000"
    assert "year" in source(client, filled, "plants") and source(client, filled, "plants")["year"] == 1999


@pytest.mark.parametrize(("times", "indexed"), [(1, 2), (9, 1)])
def test_a_document_that_is_changed_meanwhile_and_still_matches_is_updated(
    client: OpenSearch, filled: str, encoder: TextEncoder, times: int, indexed: int
) -> None:
    def meddle() -> None:
        client.index(index=filled, id="cats", body={"text": "cats sleep", "metadata": {"lang": "de"}})

    meddling = updater(client, filled, Meddling(encoder, meddle, times))  # type: ignore[arg-type]
    result = meddling.update_matching([{"term": {"metadata.lang": "de"}}], {"metadata": {"lang": "fr"}})
    assert (result.read, result.indexed, result.superseded, result.dead_lettered) == (2, indexed, 0, 2 - indexed)
    assert source(client, filled, "cats") == {
        "text": "cats sleep",
        "metadata": {"lang": "fr" if indexed == 2 else "de"},
    }
    assert source(client, filled, "rivers")["metadata"] == {"lang": "fr"}


def test_a_filter_matches_what_was_just_written(
    command: Command, client: OpenSearch, filled: str, encoder: TextEncoder, head_folder: Path
) -> None:
    client.indices.put_settings(index=filled, body={"index.refresh_interval": "-1"})
    client.index(index=filled, id="new", body={"text": "wolves run", "metadata": {"lang": "nl"}})
    result = command("update", "--filter", "lang=nl", "--set", "lang=fr", "--encoder", str(head_folder), "--quiet")
    assert "1 indexed + 0 dead-lettered = 1 read" in result.stdout, result.output
    client.index(index=filled, id="newer", body={"text": "wolves run", "metadata": {"lang": "nl"}})
    changed = updater(client, filled, encoder).update_matching([{"term": {"metadata.lang": "nl"}}], {"title": "x"})
    assert changed.indexed == 1


def test_a_document_that_no_longer_matches_a_filter_is_not_updated(
    client: OpenSearch, filled: str, encoder: TextEncoder
) -> None:
    other = {"text": "cats sleep", "metadata": {"lang": "nl"}}
    meddling = updater(client, filled, Meddling(encoder, lambda: client.index(index=filled, id="cats", body=other), 1))  # type: ignore[arg-type]
    result = meddling.update_matching([{"term": {"metadata.lang": "de"}}], {"metadata": {"reviewed": "yes"}})
    assert (result.read, result.indexed, result.superseded, result.dead_lettered) == (2, 1, 1, 0)
    assert source(client, filled, "cats") == other
    assert source(client, filled, "rivers")["metadata"] == {"lang": "de", "reviewed": "yes"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "Give a file of changes, or --filter with --set."),
        (("--filter", "lang=de"), "Give a file of changes, or --filter with --set."),
        (("--filter", "lang=de", "--set", "lang"), "--set 'lang' is not of the form NAME=VALUE"),
        (("--filter", "lang", "--set", "a=b"), "filter 'lang' is not of the form NAME=VALUE"),
        (("--filter", "lang=de", "--set", "a=b", "--upsert"), "--upsert needs a file of changes"),
    ],
)
def test_update_says_how_it_is_used(
    command: Command, head_folder: Path, arguments: tuple[str, ...], message: str
) -> None:
    result = command("update", *arguments, "--encoder", str(head_folder))
    assert result.exit_code == 2 and message in result.stderr


def test_delete_takes_documents_out_by_id(command: Command, client: OpenSearch, filled: str) -> None:
    result = command("delete", "--id", "cats", "--ids", "-", "--quiet", input="rivers\n\nnever there\n")
    assert result.exit_code == 0, result.output
    assert "2 deleted + 1 not found + 0 dead-lettered = 3 read" in result.stdout
    assert client.count(index=filled)["count"] == 1


def test_delete_asks_before_it_deletes_what_a_filter_matches(command: Command, client: OpenSearch, filled: str) -> None:
    refused = command("delete", "--filter", "lang=de", input="n\n")
    assert refused.exit_code == 1 and f"Delete 2 documents of {filled}?" in refused.output
    assert client.count(index=filled)["count"] == 3
    done = command("delete", "--filter", "lang=de", "--yes", "--quiet")
    assert done.exit_code == 0 and f"{filled}: 2 deleted" in done.output
    assert client.count(index=filled)["count"] == 1


def test_delete_takes_a_document_out_by_a_filter_for_its_id(command: Command, client: OpenSearch, filled: str) -> None:
    done = command("delete", "--filter", "_id=cats", "--yes", "--quiet")
    assert (done.exit_code, done.stdout, done.stderr) == (0, f"{filled}: 1 deleted\n", "")
    assert not client.exists(index=filled, id="cats") and client.count(index=filled)["count"] == 2


def test_a_deletion_by_filter_that_the_server_stops_is_an_error(
    command: Command, client: OpenSearch, filled: str
) -> None:
    client.indices.put_settings(index=filled, body={"index.blocks.write": True})
    result = command("delete", "--filter", "lang=de", "--yes", "--quiet")
    assert (result.exit_code, result.stdout) == (1, ""), result.output
    said = f"Error: Deleting from '{filled}' stopped after 0 of 2 documents: index [{filled}] blocked by: [FORBIDDEN/8/"
    assert result.stderr.startswith(said) and result.stderr.count("\n") == 1
    client.indices.put_settings(index=filled, body={"index.blocks.write": False})
    assert f"{filled}: 2 deleted\n" in command("delete", "--filter", "lang=de", "--yes", "--quiet").output


def test_delete_says_how_it_is_used(command: Command) -> None:
    for arguments in ((), ("--id", "a", "--filter", "lang=de")):
        result = command("delete", *arguments)
        assert result.exit_code == 2 and "not both" in result.stderr


@pytest.mark.parametrize("name", ["_id", "_routing", "_version"])
def test_what_a_document_keeps_cannot_be_set(command: Command, name: str) -> None:
    result = command("update", "--filter", "lang=de", "--set", f"{name}=3")
    assert result.exit_code == 2 and f"--set {name} is not possible: a document keeps its {name}" in result.stderr


def test_a_blank_id_deletes_nothing_and_leaves_no_letter(command: Command, workplace: Path) -> None:
    result = command("delete", "--id", " ")
    assert result.exit_code == 2 and "--id is blank" in result.stderr
    assert not list(workplace.iterdir())


@pytest.mark.parametrize("kind", ["index", "id"])
def test_a_change_that_a_pipeline_sends_elsewhere_says_so_at_once(
    client: OpenSearch, filled: str, encoder: TextEncoder, kind: str
) -> None:
    where = {"index": ("_index", f"{filled}-other", "in the index"), "id": ("_id", "new", "under the id")}[kind]
    name = f"{filled}-elsewhere"
    client.ingest.put_pipeline(id=name, body={"processors": [{"set": {"field": where[0], "value": where[1]}}]})
    client.indices.put_settings(index=filled, body={"index.default_pipeline": name})
    try:
        result = updater(client, filled, encoder).update([Change("cats", {"metadata": {"seen": True}})])
        assert (result.indexed, result.dead_lettered) == (0, 1)
        assert f"an ingest pipeline would have stored it {where[2]} {where[1]!r}: " in result.reasons[0]
        assert source(client, filled, "cats")["metadata"] == {"lang": "de"}
    finally:
        client.indices.put_settings(index=filled, body={"index.default_pipeline": "_none"})
        client.ingest.delete_pipeline(id=name)
        client.indices.delete(index=f"{filled}-other", ignore_unavailable=True)


def test_an_index_that_is_not_there_has_nothing_to_delete(client: OpenSearch) -> None:
    clauses = [parse_filter("lang=de")]
    created = "Create it with `ksparse ingest CORPUS --index never-made`"
    with pytest.raises(IndexMappingError, match=f"There is no index 'never-made'. {created}"):
        count_matching(client, "never-made", clauses)
    with pytest.raises(IndexMappingError, match="There is no index 'never-made'"):
        delete_matching(client, "never-made", clauses)
    with pytest.raises(ValueError, match="this filter matches every document"):
        delete_matching(client, "never-made", [])


def test_nothing_to_update_is_said_before_a_model_is_loaded(
    command: Command, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("connector.cli.encoder.load_index_encoder", None)
    (workplace / "changes.jsonl").write_text("")
    done = command("update", "changes.jsonl")
    assert (done.exit_code, done.stderr) == (0, "changes.jsonl contains no changes; there is nothing to update.\n")
    done = command("update", "--filter", "lang=fr", "--set", "kind=x")
    assert done.exit_code == 0 and "matches; there is nothing to update." in done.stderr, done.output
    assert "0 indexed + 0 dead-lettered = 0 read" in done.stdout


def test_an_id_that_is_not_unicode_stops_no_other_change(
    command: Command, workplace: Path, client: OpenSearch, filled: str, encoder: TextEncoder
) -> None:
    (workplace / "changes.jsonl").write_text('{"_id": "\\ud800", "title": "T"}\n{"_id": "cats", "title": "T"}\n')
    done = command("update", "changes.jsonl", "--json", "--quiet")
    assert done.exit_code == 3 and source(client, filled, "cats")["title"] == "T", done.output
    assert json.loads(done.stdout)["reasons"] == ["changes.jsonl:1: '_id' is '\\ud800', not a document id"]
    done = command("delete", "--id", "\udcff", "--id", "cats")
    assert done.exit_code == 2 and "--id '\\udcff' is not an id: it cannot be sent as UTF-8" in done.stderr
    for arguments in (("update", "changes.jsonl"), ("delete", "--id", "cats")):
        done = CliRunner().invoke(cli, [*arguments, "--index", "\udcff"])
        said = "Error: There is no index '\\udcff': the name is not valid Unicode. Give it as UTF-8.\n"
        assert (done.exit_code, done.stderr) == (1, said)
    with IngestJob(BulkWriter(client, filled), encoder, dead_letters=workplace / "letters.jsonl") as job:
        job.add([Deletion("\ud800"), Document("\ud800", "stars"), Deletion("cats")])
    assert (job.result.deleted, job.result.dead_lettered) == (1, 2)


def test_an_alias_of_several_indices_is_refused_before_a_model_is_loaded(
    client: OpenSearch, filled: str, encoder: TextEncoder, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare_encoder(client, f"{filled}-2", encoder, new=NewIndex(fields=FIELDS, code_bits=None))
    try:
        client.indices.put_alias(index=filled, name=f"{filled}-both", body={"is_write_index": True})
        client.indices.put_alias(index=f"{filled}-2", name=f"{filled}-both")
        monkeypatch.setattr("connector.cli.encoder.load_index_encoder", None)
        (workplace / "changes.jsonl").write_text('{"_id": "cats", "title": "T"}\n')
        letter = Letter(operation="update", reason="no", doc_id="cats", record={"_id": "cats", "title": "T"})
        (workplace / "letters.jsonl").write_bytes(letter.to_line())
        for arguments in (("update", "changes.jsonl"), ("replay", "letters.jsonl")):
            done = CliRunner().invoke(cli, [*arguments, "--index", f"{filled}-both", "--quiet"])
            said = (
                f"Error: {filled}-both spans 2 indices, but a document is changed by id in one; name the one that has"
            )
            assert done.exit_code == 1 and done.stderr.startswith(said), (done.output, done.exception)
    finally:
        client.indices.delete(index=f"{filled}-2")
