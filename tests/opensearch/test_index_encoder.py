"""An index knows its encoder: commands need no option for it, and options for new indices are refused."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from opensearchpy import OpenSearch

from connector.cli.main import cli
from connector.index.schema import existing_schema
from tests.never import never
from tests.tiny import WORDS, build_head

pytestmark = pytest.mark.opensearch

Command = Callable[..., Result]
TEXTS = [" ".join(sorted(WORDS)[(row + step) % len(WORDS)] for step in (0, 1, 3, 7)) for row in range(12)]


def write_corpus(folder: Path) -> None:
    lines = (json.dumps({"_id": f"d{row}", "text": text}) for row, text in enumerate(TEXTS))
    (folder / "corpus.jsonl").write_text("".join(f"{line}\n" for line in lines))


@pytest.fixture
def command(index: str, workplace: Path) -> Command:
    """Runs `ksparse NAME ... --index INDEX`, and says nothing of the encoder."""
    write_corpus(workplace)

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(cli, [*arguments, "--index", index])

    return run


@pytest.fixture(scope="module")
def original(
    client: OpenSearch, opensearch_url: str, head_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """An index with codes, six features a document, and a head that is named by a relative path."""
    name, folder = f"test-{uuid.uuid4().hex[:12]}", tmp_path_factory.mktemp("original")
    write_corpus(folder)
    (folder / "my-head").symlink_to(head_folder)
    options = ("--index", name, "--encoder", "my-head", "--k", "6", "--code-bits", "4", "--quiet")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPENSEARCH_URL", opensearch_url)
        patch.chdir(folder)
        made = CliRunner().invoke(cli, ["ingest", "corpus.jsonl", *options])
    assert made.exit_code == 0, made.output
    client.indices.put_settings(index=name, body={"index.blocks.write": True})
    yield name
    client.indices.delete(index=name)


@pytest.fixture
def ingested(command: Command, client: OpenSearch, index: str, original: str, head_folder: Path) -> Path:
    """The index, a copy of the original, and its head under the same relative path."""
    client.indices.clone(index=original, target=index, body={"settings": {"index.blocks.write": None}})
    link = Path("my-head")
    link.symlink_to(head_folder)
    return link


def test_the_index_keeps_where_its_encoder_is(
    ingested: Path, client: OpenSearch, index: str, head_folder: Path
) -> None:
    assert existing_schema(client, index).encoder_name == str(head_folder.resolve())


@pytest.mark.usefixtures("few_trials")
@pytest.mark.parametrize(
    "arguments",
    [
        ("search", TEXTS[0]),
        ("search", TEXTS[0], "--hybrid"),
        ("explain", TEXTS[0]),
        ("tune", "--quiet"),
        ("ingest", "corpus.jsonl", "--quiet"),
        ("ingest", "corpus.jsonl", "--dry-run", "--quiet"),
        ("ingest", "corpus.jsonl", "--k", "6", "--code-bits", "4", "--calibrate", "--quiet"),
        ("update", "--filter", "lang=en", "--set", "lang=de", "--quiet"),
        ("evaluate", ".", "--quiet"),
        ("label", "many.jsonl", "--output", "labels", "--quiet"),
    ],
    ids=lambda arguments: " ".join(arguments[:3]),
)
def test_no_command_needs_the_encoder(
    ingested: Path, command: Command, arguments: tuple[str, ...], tmp_path: Path
) -> None:
    many = [" ".join(np.random.default_rng(row).choice(WORDS, 5)) for row in range(300)]
    Path("many.jsonl").write_text(
        "".join(json.dumps({"_id": str(row), "text": text}) + "\n" for row, text in enumerate(many))
    )
    qrels = tmp_path / "qrels"
    qrels.mkdir()
    (tmp_path / "queries.jsonl").write_text(json.dumps({"_id": "q1", "text": TEXTS[0]}) + "\n")
    (qrels / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq1\td0\t1\n")
    ingested.unlink()  # a name in the folder in which the index was made is nothing to go by
    result = command(*arguments)
    assert result.exit_code == 0, (result.output, result.exception)


def test_replay_takes_the_encoder_of_the_index(ingested: Path, command: Command) -> None:
    Path("bad.jsonl").write_text('{"_id": "broken"\n')
    assert command("ingest", "bad.jsonl", "--dead-letters", "letters.jsonl", "--quiet").exit_code == 3
    letter = json.loads(Path("letters.jsonl").read_text())
    Path("letters.jsonl").write_text(json.dumps(letter | {"raw": '{"_id": "mended", "text": "stars burn"}'}) + "\n")
    result = command("replay", "letters.jsonl", "--quiet")
    assert result.exit_code == 0 and "1 indexed" in result.stdout, result.output


def test_an_encoder_that_is_gone_is_named(command: Command, dense_folder: Path, tmp_path: Path, index: str) -> None:
    moved, there = tmp_path / "moved", tmp_path / "there"
    there.mkdir()
    build_head(str(dense_folder), seed=5).save(str(there))
    assert command("ingest", "corpus.jsonl", "--encoder", str(there), "--quiet").exit_code == 0
    there.rename(moved)
    result = command("search", TEXTS[0])
    assert result.exit_code == 1
    assert f"'{index}' was written by the encoder {there}, which cannot be loaded here" in result.stderr
    assert command("search", TEXTS[0], "--encoder", str(moved)).exit_code == 0, "a copy of it elsewhere"


def test_another_head_in_its_place_is_another_encoder(command: Command, dense_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "head-here"
    folder.mkdir()
    build_head(str(dense_folder), seed=5).save(str(folder))
    assert command("ingest", "corpus.jsonl", "--encoder", str(folder), "--quiet").exit_code == 0
    build_head(str(dense_folder), seed=6).save(str(folder))
    result = command("search", TEXTS[0])
    assert result.exit_code == 5 and "their features do not match" in result.stderr


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--code-bits", "2"), "--code-bits 2 (it has codes of 4 bits)"),
        (("--code-bits", "none"), "--code-bits none (it has codes of 4 bits)"),
        (("--shards", "3"), "--shards 3 (it has 1)"),
        (("--idf",), "--idf (its queries are not weighted)"),
        (("--field", "year:integer"), "does not declare year:integer"),
    ],
)
def test_what_only_a_new_index_can_have_is_refused(
    ingested: Path, command: Command, options: tuple[str, ...], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("connector.encoders.load.load_encoder", never("an encoder was loaded"))
    result = command("ingest", "corpus.jsonl", *options)
    assert result.exit_code == 1 and said in result.stderr, (result.output, result.exception)
    assert len(result.stderr.splitlines()) == 1


def test_another_k_is_another_encoder(ingested: Path, command: Command, index: str) -> None:
    result = command("ingest", "corpus.jsonl", "--k", "8")
    assert result.exit_code == 5
    assert "keeps 6 features per document, not 8. Leave --k out" in result.stderr
    assert f"`ksparse reencode {index} --to NEW --k 8 --no-switch`" in result.stderr


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--replicas", "3"), "--replicas 3 has no effect: index {index} exists and keeps its 1."),
        (("--posting-budget", "0.5"), "--posting-budget 0.5 has no effect: index {index} exists and searches without"),
        (("--no-calibrate",), "--no-calibrate has no effect: index {index} exists and keeps its statistics."),
    ],
)
def test_what_can_be_changed_elsewhere_is_warned_of(
    ingested: Path, command: Command, index: str, options: tuple[str, ...], said: str
) -> None:
    result = command("ingest", "corpus.jsonl", "--quiet", *options)
    assert result.exit_code == 0, result.output
    [line] = result.stderr.splitlines()
    assert line.startswith(said.format(index=index))


def test_evaluate_refuses_what_the_index_does_not_have(ingested: Path, command: Command) -> None:
    (Path("qrels")).mkdir()
    Path("queries.jsonl").write_text(json.dumps({"_id": "q1", "text": TEXTS[0]}) + "\n")
    Path("qrels/test.tsv").write_text("query-id\tcorpus-id\tscore\nq1\td0\t1\n")
    result = command("evaluate", ".", "--code-bits", "2")
    assert result.exit_code == 1 and "only a new index can have --code-bits 2" in result.stderr


@pytest.mark.usefixtures("few_trials")
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("search", "stars", "--window", "50"), "stores no codes, so it cannot rescore 50 hits"),
        (("explain", "stars", "--window", "50"), "stores no codes, so it cannot rescore 50 hits"),
        (("tune",), "stores no codes to compare hits with"),
    ],
)
def test_advice_for_an_index_without_codes_works(
    command: Command, head_folder: Path, client: OpenSearch, index: str, arguments: tuple[str, ...], said: str
) -> None:
    plain = ("--encoder", str(head_folder), "--code-bits", "none", "--quiet")
    assert command("ingest", "corpus.jsonl", *plain).exit_code == 0
    result = command(*arguments)
    assert result.exit_code == 1 and said in result.stderr, result.output
    advice = result.stderr.partition("`ksparse ")[2].partition("`")[0]
    new = f"{index}-codes"
    try:
        done = CliRunner().invoke(cli, [*advice.replace("NEW", new).split(), "--quiet"])
        assert done.exit_code == 0, (advice, done.output)
        again = CliRunner().invoke(cli, [*arguments, "--index", new])
        assert again.exit_code == 0, again.output
    finally:
        client.indices.delete(index=new, ignore_unavailable=True)


def test_a_first_ingestion_without_a_document_leaves_no_index(
    command: Command, head_folder: Path, client: OpenSearch, index: str
) -> None:
    Path("bad.jsonl").write_text('{"_id": "broken"\n{"_id": "no text"}\n')
    result = command("ingest", "bad.jsonl", "--encoder", str(head_folder), "--quiet")
    assert result.exit_code == 3
    assert "0 indexed + 2 dead-lettered = 2 read" in result.stdout
    assert f"Index {index} was not created: the input contains no documents." in result.stderr
    assert result.stderr.splitlines()[-1].endswith("Correct the input, then ingest it again.")
    assert not client.indices.exists(index=index)
    assert len(Path(f"{index}.dead-letters.jsonl").read_text().splitlines()) == 2
    assert command("ingest", "corpus.jsonl", "--encoder", str(head_folder), "--quiet").exit_code == 0
    assert existing_schema(client, index).statistics is not None, "the first documents that come calibrate it"


def test_an_empty_corpus_is_an_index_that_is_not_made(command: Command, client: OpenSearch, index: str) -> None:
    Path("empty.jsonl").write_text("")
    result = command("ingest", "empty.jsonl", "--quiet")
    assert result.exit_code == 0 and "0 indexed + 0 dead-lettered = 0 read" in result.stdout, result.output
    assert not client.indices.exists(index=index)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--fit-minutes", "3"), "--fit-minutes needs --fit"),
        (("--dry-run", "--resume"), "leave --resume and --checkpoint out"),
        (("--dry-run", "--fit", "nothing-here"), "choose one"),
    ],
)
def test_options_without_effect_are_refused(command: Command, options: tuple[str, ...], said: str) -> None:
    result = command("ingest", "corpus.jsonl", *options)
    assert result.exit_code == 2 and said in result.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("ingest", "corpus.jsonl", "--field", "year:int"), "No handler for type [int] declared on field [year]"),
        (("ingest", "corpus.jsonl", "--field", "title:text"), "'title' cannot be declared"),
        (("ingest", "missing.jsonl"), "missing.jsonl does not exist"),
        (("ingest", "corpus.jsonl", "--resume"), "to resume. Leave --resume out"),
        (("evaluate", "."), "has no split 'test'"),
        (("search", "stars", "--filter", "lang"), "There is no index"),
    ],
)
def test_what_needs_no_model_is_said_before_one_is_loaded(
    command: Command, arguments: tuple[str, ...], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("connector.encoders.load.load_encoder", never("an encoder was loaded"))
    result = command(*arguments)
    assert result.exit_code in (1, 2) and said in result.stderr, (result.output, result.exception)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("search", "a", "--fields", "nosuch"), "has title, text, metadata; name a metadata key as metadata.nosuch"),
        (("search", "a", "--min-score", "nan"), "--min-score must be a number, got nan"),
        (("search", "a", "--bm25-weight", "inf"), "--bm25-weight must be a number above 0, got inf"),
        (("search", "a", "--rank-window-size", "50"), "--rank-window-size needs --hybrid"),
        (("search", "a", "--hybrid", "--rank-window-size", "5"), "is below --top-k 10"),
        (("search", "a", "--prune-type", "max_ratio"), "needs --prune-ratio"),
        (("update", "--filter", "a=b", "--set", "text=x"), "--set text would give all documents the same text"),
    ],
)
def test_a_wrong_option_is_said_before_a_model_is_loaded(
    ingested: Path, command: Command, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], said: str
) -> None:
    monkeypatch.setattr("connector.encoders.load.load_encoder", None)
    result = command(*arguments)
    assert result.exit_code == 2 and said in " ".join(result.stderr.split())


@pytest.mark.parametrize(
    "arguments",
    [("search", TEXTS[0]), ("delete", "--yes"), ("update", "--set", "a=b", "--quiet")],
    ids=lambda arguments: arguments[0],
)
def test_a_filter_by_what_no_document_has_is_said(ingested: Path, command: Command, arguments: tuple[str, ...]) -> None:
    result = command(*arguments, "--filter", "nosuch=1")
    assert result.exit_code == 0, result.output
    assert "has the metadata key 'nosuch', which a filter names" in result.stderr
    result = command(*arguments, "--filter", f"text={TEXTS[0]}")
    assert result.exit_code == 1 and "the field 'text' is indexed by words" in result.stderr


def test_a_filter_by_what_documents_have_is_not_remarked(command: Command) -> None:
    line = {"_id": "1", "text": TEXTS[0], "year": 2020, "metadata": {"author": {"user": "kim"}, "two.one": "x"}}
    Path("corpus.jsonl").write_text(json.dumps(line) + "\n")
    assert command("ingest", "corpus.jsonl", "--field", "year:integer", "--quiet").exit_code == 0
    for expression in ("year=2020", "author.user=kim", "two.one=x"):
        result = command("search", TEXTS[0], "--filter", expression, "--fields", "year, metadata.author.user")
        assert result.exit_code == 0 and result.stderr == "", result.output
        assert "2020" in result.stdout and "kim" in result.stdout


def test_the_depth_of_a_fusion_is_an_option_of_its_own(ingested: Path, command: Command) -> None:
    deep = command(
        "search", TEXTS[0], "--hybrid", "--top-k", "2", "--rank-window-size", "30", "--window", "0", "--json"
    )
    flat = command("search", TEXTS[0], "--hybrid", "--top-k", "2", "--rank-window-size", "2", "--window", "0", "--json")
    scores = [[hit["score"] for hit in json.loads(each.stdout)["hits"]] for each in (deep, flat)]
    assert all(more >= less for more, less in zip(*scores, strict=True))


def test_a_device_that_is_not_here_is_not_a_missing_encoder(ingested: Path, command: Command) -> None:
    result = command("search", TEXTS[0], "--device", "nosuch")
    assert result.exit_code == 1 and result.stderr.startswith("Error: Device 'nosuch' is not available")
