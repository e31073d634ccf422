"""Dead letters that are done again: in their own way, never over something newer, and gone from the file then."""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from opensearchpy import OpenSearch

from connector.cli.main import cli
from connector.connection.client import connect
from connector.corpus.layout import Layout
from connector.corpus.read import check_documents
from connector.encoders.base import Encoder
from connector.encoders.text import TextEncoder
from connector.errors import BulkWriteError
from connector.index.new_index import NewIndex
from connector.index.writer import BulkWriter
from connector.ingest.ledger import IngestResult
from connector.ingest.pipeline import IngestJob
from connector.ingest.prepare import prepare_encoder
from connector.ingest.replay import LetterReplayer
from connector.ingest.update import Change, DocumentUpdater
from connector.types import Deletion, Document, SparseVectors
from tests.fault_proxy import fault_proxy, passed, status

pytestmark = pytest.mark.opensearch

FIELDS = {"year": "integer"}
Job = Callable[..., IngestResult]


class Workshop:
    """An index, a file of its dead letters, and writers of both."""

    def __init__(self, client: OpenSearch, index: str, encoder: Encoder, letters: Path) -> None:
        self.client, self.index, self.encoder, self.letters = client, index, encoder, letters

    def ingest(self, *records: Document | Deletion | Mapping[str, Any]) -> IngestResult:
        checked = [
            record if isinstance(record, Deletion) else next(check_documents([record], fields=FIELDS))
            for record in records
        ]
        with IngestJob(BulkWriter(self.client, self.index), self.encoder, dead_letters=self.letters) as job:
            job.add(checked)
        return job.result

    def update(self, *changes: Change, upsert: bool = False) -> IngestResult:
        writer = BulkWriter(self.client, self.index)
        updater = DocumentUpdater(
            self.client, writer, self.encoder, fields=tuple(FIELDS), upsert=upsert, dead_letters=self.letters
        )
        return updater.update(changes)

    def replay(self, client: OpenSearch | None = None, **options: Any) -> IngestResult:  # noqa: ANN401
        writer = BulkWriter(client or self.client, self.index, initial_backoff=0.01, retry_deadline_s=1.0)
        return LetterReplayer(writer, self.encoder, fields=tuple(FIELDS), **options).replay(self.letters)

    def edit(self, old: str, new: str) -> None:
        content = self.letters.read_text()
        assert old in content
        self.letters.write_text(content.replace(old, new))

    def kept(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.letters.read_text().splitlines()] if self.letters.exists() else []

    def source(self, doc_id: str) -> dict[str, Any] | None:
        reply = self.client.get(index=self.index, id=doc_id, ignore=404)
        return dict(reply["_source"]) if reply["found"] else None


@pytest.fixture
def shop(client: OpenSearch, index: str, encoder: TextEncoder, tmp_path: Path) -> Workshop:
    prepare_encoder(
        client, index, encoder, new=NewIndex(fields=FIELDS, settings={"number_of_replicas": 0}, code_bits=None)
    )
    return Workshop(client, index, encoder, tmp_path / "letters.jsonl")


def refused(doc_id: str, text: str = "cats sleep", **more: Any) -> Document:  # noqa: ANN401
    """A document that the index refuses, until its year is edited."""
    return Document(doc_id, text, fields={"year": "soon"}, **more)


def counts(result: IngestResult) -> tuple[int, int, int, int]:
    assert result.read == (
        result.indexed + result.deleted + result.not_found + result.superseded + result.dead_lettered
    )
    return result.read, result.indexed, result.superseded, result.dead_lettered


def test_a_letter_that_is_corrected_is_written_and_leaves_the_file(shop: Workshop) -> None:
    assert counts(shop.ingest(refused("a"), refused("b"), Document("c", "dogs"))) == (3, 1, 0, 2)
    document = {"_id": "a", "title": "", "text": "cats sleep", "metadata": {}, "year": "soon"}
    shop.edit(json.dumps(document), '{"_id": "a", "text": "x"}')
    assert counts(shop.replay()) == (2, 1, 0, 1)
    assert shop.source("a") == {"text": "x"}
    [left] = shop.kept()
    assert (left["_id"], left["attempts"]) == ("b", 2)
    shop.edit('"soon"', "1999")
    assert counts(shop.replay()) == (1, 1, 0, 0)
    assert not shop.letters.exists()


def test_a_letter_is_never_written_over_what_came_after_it(shop: Workshop) -> None:
    shop.ingest(Document("changed", "first"), Document("gone", "first"), Document("same", "first"))
    shop.ingest(*(refused(doc_id, "second") for doc_id in ("new", "changed", "gone", "same", "late")))
    shop.ingest(Document("changed", "third"), Deletion("gone"), Document("late", "third"))
    shop.edit('"soon"', "1999")
    assert counts(shop.replay()) == (5, 2, 3, 0)
    texts = {name: (shop.source(name) or {}).get("text") for name in ("new", "changed", "gone", "same", "late")}
    assert texts == {"new": "second", "changed": "third", "gone": None, "same": "second", "late": "third"}
    assert not shop.letters.exists()


def test_a_letter_with_a_version_is_compared_by_it(shop: Workshop) -> None:
    shop.ingest(refused("older", version=3), refused("newer", version=7))
    shop.ingest(Document("older", "other", version=5), Document("newer", "other", version=5))
    shop.edit('"soon"', "1999")
    assert counts(shop.replay()) == (2, 1, 1, 0)
    assert (shop.source("older") or {})["text"] == "other"
    assert (shop.source("newer") or {})["text"] == "cats sleep"


def test_of_two_letters_of_a_document_the_later_one_is_written(shop: Workshop) -> None:
    shop.ingest(refused("a", "first"))
    shop.ingest(refused("a", "second"))
    shop.edit('"soon"', "1999")
    assert counts(shop.replay()) == (2, 1, 1, 0)
    assert shop.source("a") == {"text": "second", "year": 1999}


def test_a_change_is_replayed_as_a_change(shop: Workshop) -> None:
    shop.ingest(Document("a", "cats sleep", "Cats", {"lang": "en"}, {"year": 1990}))
    assert counts(shop.update(Change("a", {"year": "soon", "metadata": {"by": "me"}}))) == (1, 0, 0, 1)
    [letter] = shop.kept()
    assert (letter["operation"], letter["change"]) == ("update", {"_id": "a", "year": "soon", "metadata": {"by": "me"}})
    shop.edit('"soon"', "1999")
    assert counts(shop.replay()) == (1, 1, 0, 0)
    assert shop.source("a") == {
        "text": "cats sleep",
        "title": "Cats",
        "metadata": {"lang": "en", "by": "me"},
        "year": 1999,
    }


@pytest.mark.parametrize("upsert", [False, True])
def test_a_change_of_a_document_that_is_not_there_makes_one_only_if_it_was_to(shop: Workshop, upsert: bool) -> None:
    shop.update(Change("a", {"text": "cats", "year": "soon"}), upsert=upsert)
    shop.edit('"soon"', "1999")
    result = shop.replay()
    if upsert:
        assert counts(result) == (1, 1, 0, 0) and shop.source("a") == {"text": "cats", "year": 1999}
        return
    assert counts(result) == (1, 0, 0, 1) and shop.source("a") is None
    assert shop.kept()[0]["reason"] == (
        "the document does not exist, and the update was made without upsert; ingest the document, or remove the letter"
    )
    shop.ingest(Document("a", "dogs", "Title"))
    assert counts(shop.replay()) == (1, 1, 0, 0)
    assert shop.source("a") == {"text": "cats", "title": "Title", "year": 1999}


def test_a_change_is_superseded_if_what_it_replaces_was_changed_since(shop: Workshop) -> None:
    shop.ingest(Document("a", "cats", "First"), Document("b", "cats", "First"))
    shop.update(*(Change(doc_id, {"title": "Second", "year": "soon"}) for doc_id in ("a", "b")))
    assert counts(shop.update(Change("a", {"title": "Third"}), Change("b", {"metadata": {"x": 1}}))) == (2, 2, 0, 0)
    shop.edit('"soon"', "1999")
    assert counts(shop.replay()) == (2, 1, 1, 0)
    assert shop.source("a") == {"text": "cats", "title": "Third"}
    assert shop.source("b") == {"text": "cats", "title": "Second", "metadata": {"x": 1}, "year": 1999}


def test_a_document_and_its_changes_are_replayed_together(shop: Workshop) -> None:
    shop.ingest(refused("a", "first"))
    shop.update(Change("a", {"title": "Title"}), Change("a", {"metadata": {"x": 1}}))
    shop.edit('"soon"', "1999")
    assert counts(shop.replay()) == (3, 1, 2, 0)
    assert shop.source("a") == {"text": "first", "title": "Title", "metadata": {"x": 1}, "year": 1999}


def test_a_deletion_is_replayed(shop: Workshop) -> None:
    shop.ingest(Document("b", "cats"), Document("c", "cats"))
    rest = {"status": 429, "type": "t", "reason": "r", "attempts": 1}
    lines = [
        {"_id": doc_id, **rest, "deletion": {"doc_id": doc_id, "version": version}}
        for doc_id, version in (("b", 9), ("z", None), ("c", None))
    ]
    shop.letters.write_text("".join(json.dumps(line) + "\n" for line in lines))
    result = shop.replay()
    assert (result.deleted, result.not_found, result.dead_lettered) == (1, 1, 1)
    assert shop.source("b") is None and shop.source("c") is not None
    assert "does not tell which one is newer" in shop.kept()[0]["reason"], "a letter of 0.1 notes nothing"


def test_a_document_of_the_first_version_is_not_written_over_another_one(shop: Workshop) -> None:
    shop.ingest(Document("held", "newer, or older"), Document("same", "the same"))
    rest = {"status": 400, "type": "t", "reason": "r", "attempts": 1}
    letters = [
        {"_id": doc_id, **rest, "document": {"_id": doc_id, "text": text}}
        for doc_id, text in (("held", "letter"), ("new", "letter"), ("same", "the same"))
    ]
    shop.letters.write_text("".join(json.dumps(line) + "\n" for line in letters))
    assert counts(shop.replay()) == (3, 1, 1, 1)
    assert [letter["_id"] for letter in shop.kept()] == ["held"]
    assert (shop.source("held") or {})["text"] == "newer, or older"


def test_letters_are_not_compared_with_another_index_of_the_same_name(
    shop: Workshop, client: OpenSearch, encoder: TextEncoder
) -> None:
    shop.ingest(refused("a", "old"))
    client.indices.delete(index=shop.index)
    prepare_encoder(client, shop.index, encoder, new=NewIndex(fields=FIELDS, code_bits=None))
    shop.ingest(Document("a", "new"))
    shop.edit('"soon"', "1999")
    assert counts(shop.replay()) == (1, 0, 0, 1)
    assert (shop.source("a") or {})["text"] == "new"


def test_a_malformed_record_is_known_by_its_id(shop: Workshop) -> None:
    shop.ingest({"_id": "a", "text": "", "title": None}, {"_id": "b", "text": ""})
    shop.ingest(Document("a", "newer"))
    shop.edit('\\"text\\": \\"\\"', '\\"text\\": \\"corrected\\"')
    assert counts(shop.replay()) == (2, 1, 1, 0)
    assert (shop.source("a"), shop.source("b")) == ({"text": "newer"}, {"text": "corrected"})


def test_a_record_that_was_repaired_is_written_once(
    shop: Workshop, client: OpenSearch, opensearch_url: str, workplace: Path
) -> None:
    """The id of malformed JSON is unknown, so a repaired record is new, but only at its first replay."""
    shop.ingest(Document("a", "held"))
    line = {"operation": "index", "location": "c:1", "status": 0, "type": "malformed_record", "reason": "no JSON"}
    shop.letters.write_text(json.dumps(line | {"attempts": 0, "raw": '{"_id": "a", "text": "repaired"'}) + "\n")
    assert counts(shop.replay()) == (1, 0, 0, 1)
    shop.edit('repaired\\"', 'repaired\\"}')
    before = shop.letters.read_text()
    with fault_proxy(opensearch_url) as proxy, connect(proxy.url) as through:
        proxy.always = status(400, "not today")
        with pytest.raises(BulkWriteError, match="not today"):
            shop.replay(through)
    assert shop.letters.read_text() != before, "it notes what it is to replace"
    noted = shop.letters.read_text()
    assert counts(shop.replay()) == (1, 1, 0, 0) and shop.source("a") == {"text": "repaired"}
    shop.ingest(Document("a", "newest"))
    shop.letters.write_text(noted)  # as after a crash before the letter left the file
    assert counts(shop.replay()) == (1, 0, 1, 0)
    assert shop.source("a") == {"text": "newest"}


def test_a_repeated_id_is_not_written_over_the_first_one(shop: Workshop, head_folder: Path, workplace: Path) -> None:
    (workplace / "c.jsonl").write_text('{"_id": "a", "text": "first"}\n{"_id": "a", "text": "second"}\n')
    options = ("--index", shop.index, "--encoder", str(head_folder), "--quiet")
    CliRunner().invoke(cli, ["ingest", "c.jsonl", *options, "--dead-letters", str(shop.letters)])
    for _ in range(2):
        assert counts(shop.replay()) == (1, 0, 0, 1)
        assert shop.source("a") == {"text": "first"}
    shop.edit('\\"a\\"', '\\"b\\"')
    assert counts(shop.replay()) == (1, 1, 0, 0)
    assert shop.source("b") == {"text": "second"}


SKU = ("--id-field", "sku")


def test_a_repeated_id_of_another_field_is_not_written_over_the_first_one(
    shop: Workshop, head_folder: Path, workplace: Path
) -> None:
    (workplace / "c.jsonl").write_text('{"sku": "a", "text": "first"}\n{"sku": "a", "text": "second"}\n')
    options = ("--index", shop.index, "--encoder", str(head_folder), "--quiet", *SKU)
    CliRunner().invoke(cli, ["ingest", "c.jsonl", *options, "--dead-letters", str(shop.letters)])
    replayed = CliRunner().invoke(cli, ["replay", str(shop.letters), *options])
    assert replayed.exit_code == 3, replayed.output
    assert shop.source("a") == {"text": "first"}
    [letter] = shop.kept()
    line = {key: value for key, value in letter.items() if key != "held"}
    shop.letters.write_text(json.dumps(line) + "\n")  # as of a version that did not know the id
    assert counts(shop.replay(layout=Layout(id_field="sku"))) == (1, 0, 0, 1)
    assert shop.source("a") == {"text": "first"}
    shop.edit('\\"a\\"', '\\"b\\"')
    assert counts(shop.replay(layout=Layout(id_field="sku"))) == (1, 1, 0, 0)
    assert shop.source("b") == {"text": "second"}


@pytest.mark.parametrize(
    ("name", "content", "correction"),
    [
        ("c.jsonl", '{"sku": "a", "text": "old", "colour": "red"}', '{"sku": "a", "text": "old"}'),
        ("c.csv", "sku,text,year\na,old,1999.5", '{"sku": "a", "text": "old", "year": "1999"}'),
    ],
)
def test_a_malformed_record_with_an_id_of_another_field_is_not_written_over_a_newer_document(
    shop: Workshop, head_folder: Path, workplace: Path, name: str, content: str, correction: str
) -> None:
    (workplace / name).write_text(content + "\n")
    options = ("--index", shop.index, "--encoder", str(head_folder), "--quiet", *SKU)
    CliRunner().invoke(cli, ["ingest", name, *options, "--dead-letters", str(shop.letters)])
    shop.ingest(Document("a", "newer"))
    [letter] = shop.kept()
    shop.letters.write_text(json.dumps(letter | {"raw": correction}) + "\n")
    assert counts(shop.replay(layout=Layout(id_field="sku"))) == (1, 0, 1, 0)
    assert shop.source("a") == {"text": "newer"}


@pytest.fixture
def tenants(shop: Workshop, client: OpenSearch, encoder: TextEncoder) -> tuple[str, str]:
    """Two routings of different shards of the index."""
    client.indices.delete(index=shop.index)
    new = NewIndex(fields=FIELDS, settings={"number_of_shards": 2, "number_of_replicas": 0}, code_bits=None)
    prepare_encoder(client, shop.index, encoder, new=new)
    shards = {
        routing: client.search_shards(index=shop.index, routing=routing)["shards"][0][0]["shard"]
        for routing in "abcdefgh"
    }
    return "a", next(routing for routing, shard in shards.items() if shard != shards["a"])


def texts_of(shop: Workshop, tenants: tuple[str, str]) -> list[str]:
    """The text of document 1 by each routing."""
    return [shop.client.get(index=shop.index, id="1", routing=each)["_source"]["text"] for each in tenants]


def test_letters_of_two_documents_that_share_an_id_are_both_written(shop: Workshop, tenants: tuple[str, str]) -> None:
    one, other = tenants
    shop.ingest(refused("1", "cats sleep", routing=one))
    shop.ingest(refused("1", "dogs run", routing=other))
    shop.edit('"soon"', "1999")
    assert counts(shop.replay()) == (2, 2, 0, 0)
    assert texts_of(shop, tenants) == ["cats sleep", "dogs run"]


def test_a_letter_is_written_beside_a_document_of_another_routing(shop: Workshop, tenants: tuple[str, str]) -> None:
    one, other = tenants
    shop.ingest(Document("1", "cats sleep", routing=one))
    shop.ingest(refused("1", "dogs run", routing=other))
    shop.edit('"soon"', "1999")
    assert counts(shop.replay()) == (1, 1, 0, 0)
    assert texts_of(shop, tenants) == ["cats sleep", "dogs run"]


def test_a_letter_without_a_routing_needs_one_if_others_name_several(shop: Workshop, tenants: tuple[str, str]) -> None:
    shop.ingest(refused("1", "cats sleep", routing=tenants[0]))
    shop.update(Change("1", {"title": "Cats"}))
    shop.ingest(refused("2", "cats sleep", routing=tenants[0]))
    shop.ingest(refused("2", "dogs run", routing=tenants[1]))
    shop.update(Change("2", {"title": "Dogs"}))
    shop.edit('"soon"', "1999")
    assert counts(shop.replay()) == (5, 3, 1, 1)
    [left] = shop.kept()
    assert left["change"] == {"_id": "2", "title": "Dogs"}
    named = ", ".join(map(repr, sorted(tenants)))
    assert left["reason"] == f"other letters of this id name the routings {named}; name one as '_routing'"
    found = shop.client.get(index=shop.index, id="1", routing=tenants[0])["_source"]
    assert found == {"text": "cats sleep", "title": "Cats", "year": 1999}


class Interrupted(BaseException):
    """As by Ctrl-C."""


class Interrupting:
    """Encodes so many times, and is interrupted then."""

    def __init__(self, encoder: Encoder, times: int) -> None:
        self._encoder, self._left = encoder, times

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        return getattr(self._encoder, name)

    def encode_document(self, texts: Sequence[str], *, batch_size: int = 32) -> SparseVectors:
        if not self._left:
            raise Interrupted
        self._left -= 1
        return self._encoder.encode_document(texts, batch_size=batch_size)


def test_what_was_done_before_an_interrupt_leaves_the_file(
    shop: Workshop, client: OpenSearch, encoder: TextEncoder
) -> None:
    shop.ingest(*(refused(f"d{row}") for row in range(6)))
    shop.edit('"soon"', "1999")
    writer = BulkWriter(client, shop.index)
    interrupted = LetterReplayer(writer, Interrupting(encoder, 2), fields=tuple(FIELDS), write_size=2)
    with pytest.raises(Interrupted):
        interrupted.replay(shop.letters)
    assert [letter["_id"] for letter in shop.kept()] == ["d4", "d5"]
    assert counts(shop.replay()) == (2, 2, 0, 0)


def test_letters_that_a_crash_left_in_the_file_are_superseded_by_what_they_wrote(shop: Workshop) -> None:
    shop.ingest(Document("b", "cats", "First"))
    shop.ingest(refused("a"))
    shop.update(Change("b", {"title": "Second", "year": "soon"}))
    shop.edit('"soon"', "1999")
    before = shop.letters.read_text()
    assert counts(shop.replay()) == (2, 2, 0, 0)
    shop.ingest(Document("a", "newer"))
    shop.letters.write_text(before)
    assert counts(shop.replay()) == (2, 0, 2, 0)
    assert (shop.source("a"), (shop.source("b") or {})["title"]) == ({"text": "newer"}, "Second")


def test_letters_that_come_while_others_are_replayed_stay(shop: Workshop, client: OpenSearch) -> None:
    shop.ingest(refused("a"))
    shop.edit('"soon"', "1999")
    encode = shop.encoder

    class Meddling(Interrupting):
        def encode_document(self, texts: Sequence[str], *, batch_size: int = 32) -> SparseVectors:
            Workshop(client, shop.index, encode, shop.letters).ingest(refused("b"))
            return encode.encode_document(texts, batch_size=batch_size)

    shop.encoder = Meddling(encode, 9)
    assert counts(shop.replay()) == (1, 1, 0, 0)
    assert [letter["_id"] for letter in shop.kept()] == ["b"]


def test_what_fails_again_is_moved_to_another_file_if_one_is_named(shop: Workshop, tmp_path: Path) -> None:
    shop.ingest(refused("a"), refused("b"))
    again = tmp_path / "again.jsonl"
    assert counts(shop.replay(dead_letters=again)) == (2, 0, 0, 2)
    assert not shop.letters.exists()
    assert [json.loads(line)["_id"] for line in again.read_text().splitlines()] == ["a", "b"]


@pytest.fixture
def command(shop: Workshop, head_folder: Path, workplace: Path) -> Iterator[Callable[..., Result]]:
    options = ("--index", shop.index, "--encoder", str(head_folder), "--quiet")
    yield lambda *arguments: CliRunner().invoke(cli, [*arguments, *options])


def test_the_last_line_of_a_run_is_the_command_that_replays_its_letters(
    command: Callable[..., Result], shop: Workshop, workplace: Path
) -> None:
    (workplace / "my corpus.jsonl").write_text('{"_id": "a", "text": "cats", "year": "soon"}\n')
    first = command("ingest", "my corpus.jsonl", "--dead-letters", "my letters.jsonl")
    assert first.exit_code == 3
    named = f"ksparse replay 'my letters.jsonl' --index {shop.index}"
    assert first.stderr.splitlines()[-1] == (
        f"1 dead letter is kept in my letters.jsonl. Correct the cause, then run: {named}"
    )
    again = command("replay", "my letters.jsonl")
    assert again.exit_code == 3 and again.stderr.splitlines()[-1].endswith(named)
    assert "0 indexed + 1 dead-lettered = 1 read" in again.stdout
    letters = Path("my letters.jsonl")
    letters.write_text(letters.read_text().replace('"soon"', "1999"))
    done = command("replay", "my letters.jsonl", "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["indexed"] == 1 and not letters.exists()


def test_the_command_of_the_last_line_works_as_it_is(shop: Workshop, head_folder: Path, workplace: Path) -> None:
    shutil.copytree(head_folder, workplace / "a copy")
    Path("corpus.csv").write_text("Nr;Body;skip\n7;cats sleep;x\n;dogs run;y\n8;;z\n", encoding="utf-16")
    layout = ("--id-field", "Nr", "--text-field", "Body", "--exclude-field", "skip")
    read = ("--encoding", "utf-16", "--separator", ";", "--generate-ids")
    how = ("--encoder", "a copy", "--threads", "1", "--device", "cpu", "--proxy", "", "--batch-size", "4")
    ingested = CliRunner().invoke(cli, ["ingest", "corpus.csv", "--index", shop.index, *layout, *read, *how, "--quiet"])
    assert ingested.exit_code == 3, ingested.output
    letters = Path(f"{shop.index}.dead-letters.jsonl")
    line = json.loads(letters.read_text())
    letters.write_text(json.dumps(line | {"raw": '{"Nr": 8, "Body": "stars burn", "skip": "z"}'}) + "\n")
    words = shlex.split(ingested.stderr.splitlines()[-1].partition("then run: ")[2])
    assert words[:5] == ["ksparse", "replay", str(letters), "--index", shop.index]
    passed_on = [*how, *layout, "--generate-ids"]
    assert sorted(words[5:]) == sorted(passed_on)
    replayed = CliRunner().invoke(cli, [*words[1:], "--quiet"])
    assert replayed.exit_code == 0, replayed.output
    assert shop.source("8") == {"text": "stars burn"}


def test_a_replay_that_stops_reports_it_and_resumes(
    command: Callable[..., Result], shop: Workshop, opensearch_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.ingest(refused("a"))
    shop.edit('"soon"', "1999")
    with fault_proxy(opensearch_url) as proxy:
        monkeypatch.setenv("OPENSEARCH_URL", proxy.url)
        proxy.faults.extend([status(401, "who are you"), passed])
        stopped = command("replay", str(shop.letters))
        assert stopped.exit_code == 4, stopped.output
        assert len(shop.kept()) == 1
        assert command("replay", str(shop.letters)).exit_code == 0
    assert shop.source("a") == {"text": "cats sleep", "year": 1999}
