"""The commands that talk to OpenSearch, on a real node and with the tiny encoder."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from opensearchpy import OpenSearch

from connector.cli.main import cli
from connector.evaluation.runs import read_run
from connector.index.schema import existing_schema
from connector.query.pruning import Pruning
from connector.query.settings import SearchSettings
from tests.beir import write_beir
from tests.fault_proxy import fault_proxy, passed, status
from tests.never import never
from tests.tiny import MAX_TOKENS, WORDS, build_head, build_splade

pytestmark = pytest.mark.opensearch

Command = Callable[..., Result]

CORPUS = [
    {"_id": "plants", "title": "Plants", "text": "eat light with green leaves", "metadata": {"lang": "en"}},
    {"_id": "cats", "text": "cats sleep on warm stones", "metadata": {"lang": "de"}},
    {"_id": "rivers", "text": "rivers carry sand to the sea", "metadata": {"lang": "en"}},
]
CATS = "cats sleep on warm stones"


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    path = tmp_path / "corpus.jsonl"
    path.write_text("".join(json.dumps(document) + "\n" for document in CORPUS))
    return path


@pytest.fixture
def command(index: str, head_folder: Path, workplace: Path) -> Command:
    """Runs `ksparse NAME ...` with --index and --encoder in a temporary folder; `None` omits an option."""

    def run(*arguments: str, index: str | None = index, encoder: Path = head_folder, input: Any = None) -> Result:  # noqa: ANN401
        options = [] if index is None else ["--index", index]
        return CliRunner().invoke(cli, [*arguments, *options, "--encoder", str(encoder)], input=input)

    return run


def one_line(result: Result, exit_code: int) -> str:
    """The only line on standard error."""
    assert result.exit_code == exit_code, (result.output, result.exception)
    assert result.stdout == ""
    [line] = result.stderr.splitlines()
    return line.removeprefix("Error: ")


@pytest.fixture
def ingested(command: Command, corpus: Path) -> None:
    assert command("ingest", str(corpus), "--quiet").exit_code == 0


def test_ingest_accounts_for_every_document(command: Command, corpus: Path, client: OpenSearch, index: str) -> None:
    result = command("ingest", str(corpus))
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith(f"{index}: 3 indexed + 0 dead-lettered = 3 read in ")
    assert "documents/s" in result.stdout
    assert client.count(index=index)["count"] == 3
    assert client.get(index=index, id="plants")["_source"] == {
        name: value for name, value in CORPUS[0].items() if name != "_id"
    }


def test_ingest_prints_json(command: Command, corpus: Path, index: str) -> None:
    result = command("ingest", str(corpus), "--json", "--quiet")
    summary = json.loads(result.stdout)
    assert {name: summary[name] for name in ("index", "read", "indexed", "dead_lettered", "reasons")} == {
        "index": index,
        "read": 3,
        "indexed": 3,
        "dead_lettered": 0,
        "reasons": [],
    }
    assert summary["elapsed_s"] > 0
    assert result.stderr == ""


def test_ingest_reads_csv_with_a_declared_field(
    command: Command, tmp_path: Path, client: OpenSearch, index: str
) -> None:
    (tmp_path / "c.csv").write_text("_id,text,year,lang\nd1,stars burn,1999,en\nd2,cats sleep,2001,de\n")
    assert command("ingest", "c.csv", "--field", "year:integer").exit_code == 0
    assert client.get(index=index, id="d1")["_source"]["metadata"] == {"lang": "en"}
    found = json.loads(command("search", "stars burn", "--filter", "year=2001", "--json").stdout)
    assert all(hit["doc_id"] == "d2" for hit in found["hits"])
    assert command("search", "stars burn", "--filter", "year=1999").stdout.count("d1") == 1


def test_ingest_reads_standard_input(command: Command, corpus: Path) -> None:
    result = command("ingest", "-", input=corpus.read_text())
    assert result.exit_code == 0, result.output
    assert "3 indexed + 0 dead-lettered = 3 read" in result.stdout


def test_ingest_reads_a_beir_folder(command: Command, corpus: Path) -> None:
    assert "3 indexed + 0 dead-lettered = 3 read" in command("ingest", str(corpus.parent)).stdout


def test_dead_letters_are_counted_named_and_kept(command: Command, corpus: Path, index: str, tmp_path: Path) -> None:
    with corpus.open("a") as file:
        file.write('{"_id": "broken"\n{"_id": "cats", "text": "twice"}\n')
    result = command("ingest", str(corpus), "--quiet")
    assert result.exit_code == 3
    assert "3 indexed + 2 dead-lettered = 5 read" in result.stdout
    first, second, kept = result.stderr.splitlines()
    assert first.startswith(f"dead-lettered: {corpus}:4: not valid JSON")
    assert second.startswith(f"dead-lettered: {corpus}:5: '_id' 'cats' is repeated")
    letters = f"{index}.dead-letters.jsonl"
    assert kept == (
        f"2 dead letters are kept in {letters}. Correct the cause, then run: ksparse replay {letters} --index {index}"
    )
    assert len((tmp_path / f"{index}.dead-letters.jsonl").read_text().splitlines()) == 2


def test_dead_letters_go_where_they_are_asked_to(command: Command, tmp_path: Path) -> None:
    result = command("ingest", "-", "--dead-letters", "dead.jsonl", "--json", input="broken\n")
    assert result.exit_code == 3
    summary = json.loads(result.stdout)
    assert (summary["dead_letters"], summary["indexed"] + summary["dead_lettered"]) == ("dead.jsonl", summary["read"])
    assert (tmp_path / "dead.jsonl").exists()


def test_strict_stops_with_one_line(command: Command, corpus: Path) -> None:
    with corpus.open("a") as file:
        file.write("broken\n")
    line = one_line(command("ingest", str(corpus), "--strict", "--quiet"), 1)
    assert line.startswith(f"Stopped at the first failure: {corpus}:4: not valid JSON")


def test_another_encoder_is_refused_before_encoding(
    ingested: None, command: Command, corpus: Path, dense_folder: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    build_head(str(dense_folder), seed=9).save(str(other))
    line = one_line(command("ingest", str(corpus), encoder=other), 5)
    assert "was written by encoder" in line and line.count("top 8 of 64") == 2
    assert "features do not match" in one_line(command("search", CATS, encoder=other), 5)
    assert "keeps 8 features per document, not 4" in one_line(command("ingest", str(corpus), "--k", "4"), 5)


def test_search_uses_the_k_of_the_index(command: Command, corpus: Path) -> None:
    assert command("ingest", str(corpus), "--k", "6", "--quiet").exit_code == 0
    assert "cats" in command("search", CATS).stdout


def test_an_index_of_somebody_else_is_refused_before_encoding(
    command: Command, corpus: Path, client: OpenSearch, index: str
) -> None:
    client.indices.create(index=index)
    assert "was not created by ksparse" in one_line(command("ingest", str(corpus)), 1)
    assert "was not created by ksparse" in one_line(command("search", CATS), 1)


def test_a_blocked_index_is_refused_before_encoding(
    ingested: None, command: Command, corpus: Path, client: OpenSearch, index: str
) -> None:
    client.indices.put_settings(index=index, body={"index.blocks.write": True})
    assert "cannot be written to" in one_line(command("ingest", str(corpus)), 1)


def test_a_write_that_is_refused_can_be_run_again(
    command: Command, corpus: Path, opensearch_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with fault_proxy(opensearch_url) as proxy:
        monkeypatch.setenv("OPENSEARCH_URL", proxy.url)
        # The first asks whether the new index takes documents.
        proxy.faults += [passed, status(400, "not today")]
        line = one_line(command("ingest", str(corpus), "--quiet"), 4)
    assert "refused a write" in line and "not today" in line and "rerun; no document is duplicated" in line


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing.jsonl"], "missing.jsonl does not exist"),
        (["corpus.txt"], "has an unknown suffix"),
    ],
)
def test_a_corpus_that_cannot_be_read_is_one_line(
    command: Command, tmp_path: Path, arguments: list[str], message: str, client: OpenSearch, index: str
) -> None:
    (tmp_path / "corpus.txt").write_text("x")
    assert message in one_line(command("ingest", *arguments), 1)
    assert not client.indices.exists(index=index)


def test_bad_names_are_one_line(command: Command, corpus: Path) -> None:
    assert "must be lowercase" in one_line(command("ingest", str(corpus), index="Upper"), 1)
    assert "No handler for type [nothing]" in one_line(command("ingest", str(corpus), "--field", "x:nothing"), 1)


def test_a_field_that_is_taken_is_one_line(command: Command, corpus: Path) -> None:
    result = command("ingest", str(corpus), "--field", "title:keyword")
    assert result.exit_code in (1, 2)
    assert "'title' cannot be declared" in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["--k", "0"],
        ["--field", "year"],
        ["--field", ":integer"],
        ["--format", "xml"],
        ["--batch-size", "0"],
        ["--chunk-size", "x"],
        ["--nothing"],
    ],
)
def test_wrong_usage_of_ingest_is_exit_status_2(command: Command, corpus: Path, arguments: list[str]) -> None:
    result = command("ingest", str(corpus), *arguments)
    assert result.exit_code == 2
    assert result.stderr.startswith("Usage: ")


def test_search_prints_a_table_with_snippets(ingested: None, command: Command) -> None:
    result = command("search", CATS)
    assert (result.exit_code, result.stderr) == (0, "")
    header, first, *_ = result.stdout.splitlines()
    assert header.split() == ["score", "id", "text"]
    score, doc_id, text = first.split(maxsplit=2)
    assert (float(score) > 0, doc_id, text.strip()) == (True, "cats", CATS)
    assert "Plants eat light" in command("search", "plants eat light").stdout


def test_a_long_text_is_shortened_in_the_table(command: Command) -> None:
    document = json.dumps({"_id": "long", "text": "stars burn\n" + "and " * 100})
    assert command("ingest", "-", "--quiet", input=document).exit_code == 0
    table = " ".join(command("search", "stars burn").stdout.split())
    assert "stars burn and and" in table
    assert "…" in table
    assert table.count("and") < 60


def test_a_document_gives_no_commands_to_the_terminal(command: Command) -> None:
    document = json.dumps({"_id": "evil\x1b[2J", "text": "stars burn \x1b]0;owned\x07 [/red]"})
    assert command("ingest", "-", "--quiet", input=document).exit_code == 0
    for shown in (command("search", "stars burn"), command("search", "-", input="[/b] stars burn\x1b[1m\n")):
        assert shown.exit_code == 0, shown.output
        assert "evil [2J" in shown.stdout and "[/red]" in shown.stdout
        assert "\x1b" not in shown.stdout and "\x07" not in shown.stdout


def test_search_prints_json(ingested: None, command: Command) -> None:
    found = json.loads(command("search", CATS, "--json", "--top-k", "1").stdout)
    [hit] = found["hits"]
    assert found["query"] == CATS
    assert (hit["doc_id"], hit["source"]) == ("cats", {"text": CATS, "metadata": {"lang": "de"}})
    assert hit["score"] > 0


def test_search_filters(ingested: None, command: Command) -> None:
    def ids(*filters: str) -> set[str]:
        options = [part for each in filters for part in ("--filter", each)]
        hits = json.loads(command("search", "cats sleep and plants eat", "--json", *options).stdout)["hits"]
        return {hit["doc_id"] for hit in hits}

    assert ids("lang=de") <= {"cats"}
    assert ids("lang=en") <= {"plants", "rivers"}
    assert ids("lang=en", "lang=de") == set()
    alone = command("search", CATS, "--json", "--filter", "_id=cats")
    assert [hit["doc_id"] for hit in json.loads(alone.stdout)["hits"]] == ["cats"] and alone.stderr == ""
    assert "No hits." in command("search", CATS, "--filter", "lang=xx").stdout


def test_search_reads_a_query_a_line(ingested: None, command: Command) -> None:
    result = command("search", "-", "--json", "--top-k", "1", input=f"{CATS}\n\nrivers carry sand\n")
    found = [json.loads(line) for line in result.stdout.splitlines()]
    assert [each["query"] for each in found] == [CATS, "rivers carry sand"]
    assert [each["hits"][0]["doc_id"] for each in found] == ["cats", "rivers"]
    assert command("search", "-", input=f"{CATS}\n").stdout.startswith(CATS)


def test_an_empty_query_is_one_line(command: Command) -> None:
    for query in ("", "  "):
        assert one_line(command("search", query), 1) == "The query is empty; enter a search text."


def test_an_overlong_query_is_one_line(ingested: None, command: Command) -> None:
    line = one_line(command("search", "cats " * 100), 1)
    assert line == f"The query has 102 tokens, but the encoder reads at most {MAX_TOKENS}; shorten it."


def test_a_missing_index_is_one_line(command: Command, index: str) -> None:
    assert one_line(command("search", CATS), 1) == (
        f"There is no index '{index}'. Create it with `ksparse ingest CORPUS --index {index}`."
    )


def test_a_filter_of_whole_text_is_refused(command: Command, corpus: Path) -> None:
    assert command("ingest", str(corpus), "--field", "author:text", "--quiet").exit_code == 0
    result = command("search", CATS, "--filter", "author=Ada")
    assert result.exit_code == 2 and result.stderr.startswith("Usage: "), result.output
    assert "the field 'author' has the type 'text'" in " ".join(result.stderr.split())


def test_a_filter_that_the_server_refuses_is_one_line(command: Command) -> None:
    assert (
        command("ingest", "-", "--field", "year:integer", "--quiet", input='{"_id": "a", "text": "b"}').exit_code == 0
    )
    assert 'For input string: "soon"' in one_line(command("search", CATS, "--filter", "year=soon"), 1)


@pytest.mark.parametrize(
    "arguments", [["--filter", "lang"], ["--top-k", "0"], ["--top-k", "10001"], ["--k-query", "0"]]
)
def test_wrong_usage_of_search_is_exit_status_2(ingested: None, command: Command, arguments: list[str]) -> None:
    result = command("search", CATS, *arguments)
    assert result.exit_code == 2
    assert result.stderr.startswith("Usage: ")


def test_an_unknown_encoder_is_one_line(command: Command, corpus: Path, tmp_path: Path) -> None:
    assert "'nobody/nothing' is not a folder" in one_line(
        command("ingest", str(corpus), encoder=Path("nobody/nothing")), 1
    )
    (tmp_path / "empty").mkdir()
    assert "is neither a head" in one_line(command("ingest", str(corpus), encoder=tmp_path / "empty"), 1)


@pytest.fixture
def dataset(corpus: Path) -> Path:
    queries = {"q1": "cats sleep on warm stones", "q2": "rivers carry sand"}
    return write_beir(corpus.parent, CORPUS, queries, test=[("q1", "cats"), ("q2", "rivers"), ("q2", "plants")])


def test_evaluate_measures_sparse_beside_dense_and_leaves_nothing(
    command: Command, dataset: Path, client: OpenSearch, tmp_path: Path
) -> None:
    result = command("evaluate", str(dataset), "--json", "--quiet", "--run", "run.trec", index=None)
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert (found["dataset"], found["split"]) == (dataset.name, "test")
    dense = found["exact dense"]
    assert dense["recall@100"] == 1.0
    assert found["k-sparse"]["mrr@10"] == 1.0
    # Recomputed by hand from the run: q1 has its document first, q2 its two at their ranks.
    run = read_run(tmp_path / "run.trec")
    gains = [1 / math.log2(rank + 2) for rank, hit in enumerate(run["q2"]) if hit.doc_id in ("rivers", "plants")]
    assert run["q1"][0].doc_id == "cats"
    assert found["k-sparse"]["ndcg@10"] == pytest.approx((1 + sum(gains) / (1 + 1 / math.log2(3))) / 2, abs=1e-4)
    for metric, value in found["share of dense"].items():
        assert value == pytest.approx(found["k-sparse"][metric] / dense[metric])
    assert not client.indices.exists(index="ksparse-evaluate-*", allow_no_indices=False)


def test_evaluate_prints_a_table(command: Command, dataset: Path) -> None:
    table = command("evaluate", str(dataset), "--quiet", index=None).stdout
    title = f"{dataset.name}, test: 2 queries, 3 documents"
    assert " ".join(table.split()).startswith(f"{title} system ndcg@10 mrr@10 recall@100 k-sparse ")
    assert [line.split("  ")[0] for line in table.splitlines()[-3:]] == ["k-sparse", "exact dense", "share of dense"]


def test_evaluate_uses_an_index_that_is_there(
    ingested: None, command: Command, dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = json.loads(command("evaluate", str(dataset), "--json", "--quiet", index=None).stdout)
    # Not even a refresh, for which an account that only reads has no permission.
    monkeypatch.setattr("connector.search.evaluate.BulkWriter", never("a writer was opened"))
    assert json.loads(command("evaluate", str(dataset), "--json", "--quiet").stdout) == alone


def test_evaluate_reads_the_fields_that_the_index_declares(command: Command, dataset: Path) -> None:
    (dataset / "corpus.jsonl").write_text("".join(json.dumps(each | {"year": 1999}) + "\n" for each in CORPUS))
    assert command("ingest", str(dataset), "--field", "year:integer", "--quiet").exit_code == 0
    result = command("evaluate", str(dataset), "--json", "--quiet", "--filter", "year=1999")
    assert (result.exit_code, result.stderr) == (0, ""), result.output
    figures = json.loads(result.stdout)
    assert figures["documents"] == len(CORPUS) and figures["exact dense"]["recall@100"] == 1.0


def test_evaluate_filters_what_it_compares_with(command: Command, dataset: Path, tmp_path: Path) -> None:
    """The document of q1 matches none of these filters, one or both of q2's do."""
    for filtered, documents, kept in (("lang=en", 2, {"plants", "rivers"}), ("_id=rivers", 1, {"rivers"})):
        options = ("--json", "--quiet", "--run", "run.trec", "--filter", filtered)
        result = command("evaluate", str(dataset), *options, index=None)
        assert (result.exit_code, result.stderr) == (0, ""), result.output
        figures = json.loads(result.stdout)
        assert (figures["queries"], figures["left_out"], figures["documents"]) == (1, 1, documents)
        assert figures["exact dense"]["recall@100"] == 1.0
        run = read_run(tmp_path / "run.trec")
        assert set(run) == {"q2"} and {hit.doc_id for hit in run["q2"]} <= kept
    table = command("evaluate", str(dataset), "--quiet", "--filter", "lang=de", index=None).stdout
    assert "1 queries (1 without a relevant document skipped), 1 documents" in " ".join(table.split())


def test_evaluate_with_a_filter_that_leaves_nothing_to_measure_is_one_line(
    ingested: None, command: Command, dataset: Path, client: OpenSearch
) -> None:
    said = f"The filters match 0 documents, none of which is relevant to a query of {dataset.name}; there is nothing"
    assert said in one_line(command("evaluate", str(dataset), "--quiet", "--filter", "_id=nowhere"), 1)
    assert not client.indices.exists(index="ksparse-evaluate-*", allow_no_indices=False)


def test_evaluate_with_fewer_features_of_a_query(command: Command, dataset: Path) -> None:
    result = command("evaluate", str(dataset), "--json", "--quiet", "--k-query", "1", index=None)
    assert 0 < json.loads(result.stdout)["k-sparse"]["ndcg@10"] <= 1


def test_a_failed_evaluation_leaves_nothing(
    command: Command, dataset: Path, client: OpenSearch, opensearch_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with fault_proxy(opensearch_url) as proxy:
        monkeypatch.setenv("OPENSEARCH_URL", proxy.url)
        proxy.always = status(400, "not today")
        assert "not today" in one_line(command("evaluate", str(dataset), "--quiet", index=None), 1)
    assert not client.indices.exists(index="ksparse-evaluate-*", allow_no_indices=False)


def test_evaluate_of_a_missing_index_or_split_is_one_line(command: Command, dataset: Path, index: str) -> None:
    assert f"There is no index '{index}'" in one_line(command("evaluate", str(dataset), "--quiet"), 1)
    assert "has no split 'dev'" in one_line(command("evaluate", str(dataset), "--split", "dev"), 1)


def test_evaluate_of_an_empty_corpus_searches_an_index_and_refuses_to_make_one(
    ingested: None, command: Command, dataset: Path, client: OpenSearch, index: str
) -> None:
    whole = json.loads(command("evaluate", str(dataset), "--json", "--quiet").stdout)
    (dataset / "corpus.jsonl").write_text("")
    assert f"{dataset} contains no documents to search" in one_line(
        command("evaluate", str(dataset), "--quiet", index=None), 1
    )
    there = command("evaluate", str(dataset), "--json", "--quiet")
    assert there.exit_code == 0 and there.stderr == f"{dataset} contains no documents: exact dense search is skipped.\n"
    figures = json.loads(there.stdout)
    assert (figures["documents"], figures["k-sparse"]) == (0, whole["k-sparse"])
    assert {"exact dense", "share of dense"}.isdisjoint(figures)
    client.delete_by_query(index=index, body={"query": {"match_all": {}}}, params={"refresh": "true"})
    of_nothing = json.loads(command("evaluate", str(dataset), "--json", "--quiet").stdout)
    assert set(of_nothing["k-sparse"].values()) == {0.0}


def test_ingest_ray_says_that_there_is_no_encoder_before_ray_starts(
    command: Command, corpus: Path, client: OpenSearch, index: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("connector.cli.ingest_ray._join", never("Ray was started"))
    said = one_line(command("ingest-ray", str(corpus), "--actors", "1", encoder=Path("nosuch")), 1)
    assert said.startswith("The model 'nosuch' is not a folder and cannot be fetched from the model hub")
    assert not client.indices.exists(index=index)


def test_ingest_ray_says_that_an_option_does_not_apply_before_ray_starts(
    command: Command, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("connector.cli.ingest_ray._join", never("Ray was started"))
    said = one_line(command("ingest-ray", str(corpus), "--actors", "1", "--separator", ";"), 1)
    assert said == "separator ';' applies to CSV and TSV; the corpus is jsonl."


def test_evaluate_says_that_the_corpus_has_malformed_records(command: Command, dataset: Path) -> None:
    with (dataset / "corpus.jsonl").open("a") as file:
        file.write("broken\n")
    result = command("evaluate", str(dataset), "--quiet", index=None)
    assert result.exit_code == 0 and "corpus.jsonl:4" in result.stderr, result.output


@pytest.fixture
def large_corpus(tmp_path: Path) -> Path:
    path = tmp_path / "large.jsonl"
    random = np.random.default_rng(0)
    texts = [" ".join(random.choice(WORDS, 8)) for _ in range(260)]
    path.write_text("".join(json.dumps({"_id": str(row), "text": text}) + "\n" for row, text in enumerate(texts)))
    return path


def test_ingest_fits_a_head_first_and_search_takes_it(command: Command, large_corpus: Path, tmp_path: Path) -> None:
    first = command("ingest", str(large_corpus), "--fit", "mine", "--fit-minutes", "0.05", "--quiet")
    assert first.exit_code == 0, first.output
    assert re.search(r"mine: fitted to 2\d\d documents in 0\.", first.stderr), first.stderr
    assert "of dense NDCG@10" in first.stderr and "before" in first.stderr
    assert "260 indexed + 0 dead-lettered = 260 read" in first.stdout
    written = (tmp_path / "mine" / "model.safetensors").read_bytes()
    text = json.loads(large_corpus.read_text().splitlines()[7])["text"]
    found = command("search", text, "--json", "--k-query", "8", encoder=tmp_path / "mine")
    assert "7" in [hit["doc_id"] for hit in json.loads(found.stdout)["hits"]]
    again = command("ingest", str(large_corpus), "--fit", "mine", "--quiet")
    assert again.exit_code == 0, again.output
    assert "fitted" not in again.stderr, "a head that is there is taken"
    assert (tmp_path / "mine" / "model.safetensors").read_bytes() == written
    other = command("ingest", str(large_corpus), "--fit", "other", "--quiet")
    assert "a head fitted now would be a different encoder" in one_line(other, 1)
    assert not (tmp_path / "other").exists()


def test_too_few_documents_cannot_be_fitted_to(command: Command, corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("connector.encoders.load.load_encoder", never("a model was loaded"))
    result = command("ingest", str(corpus), "--fit", "mine", "--quiet")
    assert "3 documents are too few to train a head; at least 200 are needed" in one_line(result, 1)


def test_calibration_is_for_new_indices_and_can_be_left_out(
    command: Command, client: OpenSearch, index: str, large_corpus: Path
) -> None:
    assert command("ingest", str(large_corpus), "--no-calibrate", "--quiet").exit_code == 0
    assert "statistics" not in client.indices.get_mapping(index=index)[index]["mappings"]["_meta"]["ksparse"]
    assert command("ingest", str(large_corpus), "--quiet").exit_code == 0, "written to as it is"
    client.indices.delete(index=index)
    assert command("ingest", str(large_corpus), "--quiet").exit_code == 0
    assert "statistics" in client.indices.get_mapping(index=index)[index]["mappings"]["_meta"]["ksparse"]
    text = json.loads(large_corpus.read_text().splitlines()[9])["text"]
    found = command("search", text, "--json", "--k-query", "8")
    assert "9" in [hit["doc_id"] for hit in json.loads(found.stdout)["hits"]]


def test_hits_are_rescored_by_the_codes_of_the_index(command: Command, large_corpus: Path) -> None:
    assert command("ingest", str(large_corpus), "--code-bits", "4", "--quiet").exit_code == 0
    text = json.loads(large_corpus.read_text().splitlines()[9])["text"]
    [first, *_] = json.loads(command("search", text, "--json", "--k-query", "8").stdout)["hits"]
    assert first["doc_id"] == "9" and first["score"] == pytest.approx(2.0, abs=0.1), "1 plus the cosine"
    alone = json.loads(command("search", text, "--json", "--k-query", "8", "--window", "0").stdout)["hits"]
    assert alone[0]["score"] != pytest.approx(first["score"], rel=1e-3)


@pytest.fixture
def splade_folder(tmp_path: Path) -> Path:
    build_splade(tmp_path / "transformer").save_pretrained(str(tmp_path / "splade"))
    return tmp_path / "splade"


def test_an_index_of_a_splade_notes_idf_and_a_budget_and_searches_need_not(
    command: Command, corpus: Path, splade_folder: Path, client: OpenSearch, index: str
) -> None:
    options = ("--idf", "--posting-budget", "0.5", "--quiet")
    assert command("ingest", str(corpus), *options, encoder=splade_folder).exit_code == 0
    schema = existing_schema(client, index)
    assert schema.search == SearchSettings(None, 100, Pruning("posting_budget", 0.5))
    assert schema.statistics is not None and len(set(schema.statistics.token_weights.tolist())) > 1
    found = command("search", CATS, "--json", encoder=splade_folder)
    assert found.exit_code == 0, found.output
    everything = command("search", CATS, "--json", "--prune-type", "none", encoder=splade_folder)
    scores = [json.loads(each.stdout)["hits"][0]["score"] for each in (found, everything)]
    assert scores[0] < scores[1], "a feature of all three documents does not fit into half of them"


def test_idf_is_for_splades(command: Command, corpus: Path) -> None:
    said = one_line(command("ingest", str(corpus), "--idf"), exit_code=1)
    assert (
        "the queries of a SPLADE can be weighted by IDF once; this model has" in said and "KSparseAutoEncoder" in said
    )


def test_evaluate_weights_a_splades_queries(command: Command, dataset: Path, splade_folder: Path) -> None:
    options = ("--idf", "--posting-budget", "0.5", "--json", "--quiet")
    result = command("evaluate", str(dataset), *options, index=None, encoder=splade_folder)
    assert result.exit_code == 0, result.output
    assert 0 <= json.loads(result.stdout)["sparse"]["ndcg@10"] <= 1
