"""Realistic corpus files, from the command to the hits of a search."""

from __future__ import annotations

import datetime
import json
import os
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.dataset
import pyarrow.parquet
import pytest
from click.testing import CliRunner, Result
from opensearchpy import OpenSearch

from connector.cli.main import cli
from connector.corpus.read import check_documents
from connector.encoders.text import TextEncoder
from connector.search.sparse_index import SparseIndex
from connector.types import Document
from tests.fault_proxy import fault_proxy, passed, status

pytestmark = pytest.mark.opensearch

Command = Callable[..., Result]


@pytest.fixture
def command(index: str, head_folder: Path, workplace: Path) -> Command:
    """Runs `ksparse NAME ...` with --index and, if supported, --encoder in a temporary folder."""

    def run(name: str, *arguments: str, input: Any = None) -> Result:  # noqa: ANN401
        options = ["--index", index] + ([] if name == "delete" else ["--encoder", str(head_folder)])
        return CliRunner().invoke(cli, [name, *arguments, *options], input=input)

    return run


def ingest(command: Command, name: str, *options: str) -> dict[str, Any]:
    """The counts of an ingestion in which nothing is refused."""
    result = command("ingest", name, *options, "--json", "--quiet")
    assert result.exit_code == 0, (result.output, result.exception)
    counts: dict[str, Any] = json.loads(result.stdout)
    assert counts["read"] == counts["indexed"]
    return counts


def found(command: Command, query: str, *options: str) -> set[str]:
    result = command("search", query, *options, "--json")
    assert result.exit_code == 0, (result.output, result.exception)
    return {hit["doc_id"] for line in result.stdout.splitlines() for hit in json.loads(line)["hits"]}


def stored(client: OpenSearch, index: str) -> dict[str, dict[str, Any]]:
    client.indices.refresh(index=index)
    hits = client.search(index=index, body={"size": 100})["hits"]["hits"]
    return {hit["_id"]: hit["_source"] for hit in hits}


def write_parquet(name: str, **columns: Any) -> None:  # noqa: ANN401
    whole = {"_id": ["1", "2", "3"], "text": ["stars burn", "cats sleep", "rivers carry"]} | columns
    pyarrow.parquet.write_table(pyarrow.table(whole), name)


@pytest.mark.parametrize("options", [[], ["--field", "year:integer"], ["--field", "year:keyword"]])
def test_a_year_that_is_a_float_is_found_as_a_year(command: Command, options: list[str]) -> None:
    write_parquet("c.parquet", year=pyarrow.array([2020.0, None, 2022.0]))
    assert ingest(command, "c.parquet", *options)["indexed"] == 3
    for year in ("2020", "2020.0"):
        assert found(command, "stars burn", "--filter", f"year={year}") == {"1"}
    assert found(command, "stars burn", "--filter", "year=2021") == set()


def test_several_files_are_one_corpus(command: Command, workplace: Path) -> None:
    for name in "ab":
        Path(f"{name}.jsonl").write_text(f'{{"_id": "{name}", "text": "stars burn"}}\n')
    result = command("ingest", "a.jsonl", "b.jsonl", "--json", "--quiet")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["indexed"] == 2
    assert found(command, "stars burn") == {"a", "b"}
    result = command("ingest", "a.jsonl", "-", "--quiet", input="")
    assert result.exit_code != 0 and "Standard input (-) cannot be combined with other paths" in result.output


def test_a_number_is_found_however_a_file_wrote_it(command: Command, workplace: Path) -> None:
    Path("a.jsonl").write_text(
        '{"_id": "1", "text": "stars burn", "metadata": {"n": 2020.0, "m": 1e3}}\n'
        '{"_id": "2", "text": "stars burn", "metadata": {"n": 2020, "m": 1000}}\n'
    )
    Path("b.csv").write_text("_id,text,n,m\n3,stars burn,2020.0,1000\n4,stars burn,2021,007\n")
    for name in ("a.jsonl", "b.csv"):
        ingest(command, name)
    for number in ("2020", "2020.0"):
        assert found(command, "stars burn", "--filter", f"n={number}") == {"1", "2", "3"}
    assert found(command, "stars burn", "--filter", "m=1000") == {"1", "2", "3"}
    assert found(command, "stars burn", "--filter", "m=7") == set(), "a code is not a number"
    assert found(command, "stars burn", "--filter", "m=007") == {"4"}


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        ({"_id": pyarrow.array([uuid.UUID(int=n).bytes for n in range(3)], pyarrow.uuid())}, None),
        ({"thumb": [b"\x89PNG", b"\0", None]}, {}),
        ({"dur": [datetime.timedelta(seconds=5)] * 3}, {"dur": 5}),
        (
            {
                "m": pyarrow.array(
                    [[("k", "v")], [("a", "b"), ("a", "c")], None], pyarrow.map_(pyarrow.string(), pyarrow.string())
                )
            },
            {"m": {"k": "v"}},
        ),
    ],
    ids=["uuid", "bytes", "duration", "map"],
)
def test_no_row_of_parquet_is_refused_for_the_kind_of_a_column(
    command: Command, client: OpenSearch, index: str, column: dict[str, Any], expected: dict[str, Any] | None
) -> None:
    write_parquet("c.parquet", **column)
    result = command("ingest", "c.parquet", "--json", "--quiet")
    assert result.exit_code == 0 and json.loads(result.stdout)["indexed"] == 3, result.output
    warned = ["c.parquet: column 'thumb' contains bytes and is skipped."] if "thumb" in column else []
    assert result.stderr.splitlines() == warned
    kept = stored(client, index)
    if expected is None:
        assert set(kept) == {f"00000000-0000-0000-0000-00000000000{n}" for n in range(3)}
    else:
        assert kept["1"] == {"text": "stars burn"} | ({"metadata": expected} if expected else {})
    if "m" in column:
        assert found(command, "cats sleep", "--filter", "m.a=c") == {"2"}


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        (
            "tsv_silent.tsv",
            "_id\ttitle\ttext\n1\tFerns\tFerns like shade and wet soil.\n"
            '3\tHail\t"Hail is frozen rain, the farmer said.\n4\tSnow\tSnow covers the barley field.\n'
            '5\tSleet\tSleet is half rain and half snow."\n6\tFrost\tFrost forms on cold clear nights.\n',
            {"1", "3", "4", "5", "6"},
        ),
        ("semicolon.csv", '\ufeff_id;text;lang\r\n1;Rain in Spain;en\r\n2;"Plain; mainly";en\r\n', {"1", "2"}),
        ("cr.csv", "_id,text\r1,Old Mac line ends\r2,second row\r", {"1", "2"}),
        ("excel.csv", "sep=;\r\n_id;text\r\n1;a,b\r\n", {"1"}),
        (
            "dump.jsonl",
            '{"_index":"old","_id":"a1","_score":1,"_source":{"text":"Lime trees flower.","title":"Lime"}}\n'
            '{"_index":"old","_id":"a2","_score":1,"_source":{"text":"Oak galls hold tannin."}}\n',
            {"a1", "a2"},
        ),
        ("bulkfmt.jsonl", '{"index":{"_index":"x","_id":"b1"}}\n{"text":"Salt keeps fish."}\n', {"b1"}),
        ("array.json", '[{"id": 7, "text": "stars"},\n {"id": 8, "text": "cats"}]', {"7", "8"}),
    ],
)
def test_a_file_is_read_as_what_it_is(
    command: Command, client: OpenSearch, index: str, name: str, content: str, expected: set[str]
) -> None:
    Path(name).write_text(content, newline="")
    assert ingest(command, name)["indexed"] == len(expected)
    assert set(stored(client, index)) == expected


def test_other_names_are_options(command: Command, client: OpenSearch, index: str) -> None:
    Path("pyserini.jsonl").write_text('{"id":"doc1","contents":"Mallards dabble."}\n{"id":"doc2","contents":"Teal."}\n')
    ingest(command, "pyserini.jsonl", "--text-field", "contents")
    assert stored(client, index)["doc2"] == {"text": "Teal."}
    Path("c.csv").write_bytes("sku|a|b|x\n1|caf\xe9|bar|secret\n".encode("latin-1"))
    options = ["--id-field", "sku", "--text-field", "a", "--text-field", "b", "--exclude-field", "x"]
    ingest(command, "c.csv", *options, "--separator", "|", "--encoding", "latin-1")
    assert stored(client, index)["1"] == {"text": "café\nbar"}


def test_a_folder_of_partitions_keeps_what_its_folders_say(command: Command, client: OpenSearch, index: str) -> None:
    rows = [{"_id": "1", "text": "Otters dive.", "lang": "en"}, {"_id": "2", "text": "Biber bauen.", "lang": "de"}]
    pyarrow.dataset.write_dataset(
        pyarrow.Table.from_pylist(rows), "hive", format="parquet", partitioning=["lang"], partitioning_flavor="hive"
    )
    assert ingest(command, "hive")["indexed"] == 2
    assert stored(client, index)["2"] == {"text": "Biber bauen.", "metadata": {"lang": "de"}}
    assert found(command, "Otters dive.", "--filter", "lang=en") == {"1"}


@pytest.mark.parametrize("content", [b"\xef\xbb\xbfk1\r\nk2", " k1\n\nk2\t\n".encode("utf-16"), b"k1\rk2\r"])
def test_ids_are_read_as_people_save_them(command: Command, client: OpenSearch, index: str, content: bytes) -> None:
    Path("c.csv").write_text("_id,text\nk1,stars\nk2,cats\nk3,sea\n")
    ingest(command, "c.csv")
    Path("ids.txt").write_bytes(content)
    result = command("delete", "--ids", "ids.txt", "--quiet")
    assert result.exit_code == 0 and "2 deleted" in result.stdout, result.output
    assert set(stored(client, index)) == {"k3"}


def test_ids_in_another_encoding_delete_nothing_until_it_is_named(
    command: Command, client: OpenSearch, index: str
) -> None:
    Path("c.csv").write_text("_id,text\ncafé,stars\nk2,cats\n")
    ingest(command, "c.csv")
    Path("ids.txt").write_bytes(b"k2\ncaf\xe9\n")
    result = command("delete", "--ids", "ids.txt", "--quiet")
    assert result.exit_code == 1 and result.stderr.startswith("Error: ids.txt:2 is not UTF-8: byte 0xe9"), result.output
    assert set(stored(client, index)) == {"café", "k2"}
    assert command("delete", "--ids", "ids.txt", "--encoding", "cp1252", "--quiet").exit_code == 0
    assert stored(client, index) == {}


def test_queries_in_another_encoding_are_one_line_until_it_is_named(command: Command) -> None:
    Path("c.csv").write_text("_id,text\n1,café au lait\n2,plain query\n")
    ingest(command, "c.csv")
    queries = b"caf\xe9 au lait\nplain query\n"
    result = command("search", "-", input=queries)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.count("\n") == 1 and result.stderr.startswith("Error: <stdin>:1 is not UTF-8: byte 0xe9")
    for content, options in ((queries, ["--encoding", "latin-1"]), ("\ufeffcafé au lait\r\n plain query".encode(), [])):
        result = command("search", "-", "--json", *options, input=content)
        assert [json.loads(line)["query"] for line in result.stdout.splitlines()] == ["café au lait", "plain query"]
    result = command("search", "caf\udce9")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "Error: The query is not valid Unicode: '\\udce9' at position 3. Give it as UTF-8.\n"


def test_no_field_is_advised_for_a_new_index_that_none_can_have(
    client: OpenSearch, index: str, encoder: TextEncoder, workplace: Path
) -> None:
    SparseIndex(index, client=client, encoder=encoder).add([{"_id": "1", "text": "cats"}])
    (workplace / "c.jsonl").write_text('{"_id": "1", "text": "cats"}\n')
    result = CliRunner().invoke(cli, ["ingest", "c.jsonl", "--index", index, "--field", "_id:keyword"])
    assert result.exit_code != 0 and "field '_id' cannot be declared" in result.stderr
    assert "new index" not in result.stderr
    copied = CliRunner().invoke(cli, ["reencode", index, "--to", "BAD_Name"])
    assert copied.exit_code == 1 and "Invalid index name 'BAD_Name': it must be lowercase" in copied.stderr


def test_no_name_is_advised_that_cannot_be_made(workplace: Path, opensearch_url: str, head_folder: Path) -> None:
    arguments = ["search", "x", "--index", "a:b", "--encoder", str(head_folder)]
    result = CliRunner().invoke(cli, arguments)
    assert result.exit_code == 1
    assert result.stderr == "Error: There is no index 'a:b', and none can have that name: it must not contain ':'.\n"


def judged_folder(ids: tuple[str, str] = ("d1", "d2")) -> Path:
    folder = Path("set")
    (folder / "qrels").mkdir(parents=True)
    lines = [{"_id": doc_id, "text": text} for doc_id, text in zip(ids, ("stars burn", "cats sleep"), strict=True)]
    (folder / "corpus.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "queries.jsonl").write_text('{"_id": "q1", "text": "stars burn"}\n{"_id": "q2", "text": "cats"}\n')
    (folder / "qrels" / "test.tsv").write_text(
        f"query-id\tcorpus-id\tscore\nq1\t{ids[0]}\t1.0\nq1\t{ids[1]}\t0.0\nq2\t{ids[1]}\t0\n"
    )
    return folder


def evaluate(head_folder: Path, *options: str) -> Result:
    return CliRunner().invoke(cli, ["evaluate", "set", "--encoder", str(head_folder), "--quiet", *options])


def test_queries_with_nothing_relevant_are_left_out_and_counted(
    workplace: Path, opensearch_url: str, head_folder: Path
) -> None:
    judged_folder()
    result = evaluate(head_folder, "--json")
    assert result.exit_code == 0, (result.output, result.exception)
    figures = json.loads(result.stdout)
    assert (figures["queries"], figures["left_out"], figures["documents"]) == (1, 1, 2)
    assert figures["k-sparse"]["recall@100"] == 1.0
    assert "1 queries (1 without a relevant document skipped), 2 documents" in evaluate(head_folder).stdout


def test_a_query_that_is_a_document_does_not_find_itself(
    workplace: Path, opensearch_url: str, head_folder: Path
) -> None:
    (workplace / "set" / "qrels").mkdir(parents=True)
    texts = ("stars burn", "stars burn", "cats sleep")
    lines = [json.dumps({"_id": f"d{number}", "text": text}) + "\n" for number, text in enumerate(texts)]
    Path("set", "corpus.jsonl").write_text("".join(lines))
    Path("set", "queries.jsonl").write_text(lines[0])
    Path("set", "qrels", "test.tsv").write_text("d0\td1\t1\n")
    figures = json.loads(evaluate(head_folder, "--json", "--run", "run.trec").stdout)
    assert figures["k-sparse"]["ndcg@10"] == figures["exact dense"]["ndcg@10"] == 1.0
    assert " d1 1 " in Path("run.trec").read_text() and " d0 " not in Path("run.trec").read_text()
    hybrid = evaluate(head_folder, "--json", "--hybrid", "--rank-window-size", "100")
    assert json.loads(hybrid.stdout)["k-sparse"]["ndcg@10"] == 1.0
    Path("set", "qrels", "test.tsv").write_text("d0\td0\t1\n")
    assert json.loads(evaluate(head_folder, "--json").stdout)["k-sparse"]["recall@100"] == 1.0


def test_a_run_that_cannot_be_written_is_refused_before_anything_is_encoded(
    workplace: Path, opensearch_url: str
) -> None:
    judged_folder(("d 1", "d2"))
    # Loading this encoder would be an error.
    (workplace / "no-encoder").mkdir()
    (workplace / "no-encoder" / "config.json").write_text("{}")
    result = evaluate(Path("no-encoder"), "--run", "run.trec")
    assert result.exit_code == 2
    assert "--run run.trec cannot be written: document id 'd 1' is empty or contains whitespace" in result.stderr
    result = evaluate(Path("no-encoder"), "--run", "none/run.trec")
    assert result.exit_code == 2 and "there is no folder" in result.stderr


def test_ids_with_spaces_have_metrics(workplace: Path, opensearch_url: str, head_folder: Path) -> None:
    judged_folder(("d 1", "d2"))
    assert json.loads(evaluate(head_folder, "--json").stdout)["k-sparse"]["recall@100"] == 1.0


def test_metrics_are_printed_before_a_run_that_fails(
    workplace: Path, opensearch_url: str, head_folder: Path, command: Command, index: str
) -> None:
    judged_folder()
    Path("more.csv").write_text("_id,text\nd1,stars burn\nd2,cats sleep\nd 3,stars burn\n")
    ingest(command, "more.csv")
    result = evaluate(head_folder, "--json", "--index", index, "--run", "run.trec")
    assert result.exit_code == 2 and "document id 'd 3' is empty or contains whitespace" in result.stderr
    assert json.loads(result.stdout)["k-sparse"]["recall@100"] == 1.0
    assert not Path("run.trec").exists()


def test_records_of_another_form_are_replayed_as_they_were_read(
    command: Command, client: OpenSearch, index: str
) -> None:
    Path("c.jsonl").write_text(
        '{"id": 1, "contents": ""}\n{"_id": "2", "_source": {"contents": " ", "year": 1999.0}}\n'
        '{"id": 3, "contents": "sea"}\n'
    )
    Path("c.csv").write_text("id,contents\n4\n")
    for name in ("c.jsonl", "c.csv"):
        assert command("ingest", name, "--text-field", "contents", "--quiet").exit_code == 3
    letters = Path(f"{index}.dead-letters.jsonl")
    lines = [json.loads(line) for line in letters.read_text().splitlines()]
    for line in lines[:2]:
        line["raw"] = line["raw"].replace('""', '"stars"').replace('" "', '"cats"')
    letters.write_text("".join(json.dumps(line) + "\n" for line in lines))
    result = command("replay", str(letters), "--text-field", "contents", "--json", "--quiet")
    assert json.loads(result.stdout)["indexed"] == 2, result.output
    assert stored(client, index) == {
        "1": {"text": "stars"},
        "2": {"text": "cats", "metadata": {"year": 1999}},
        "3": {"text": "sea"},
    }
    [line] = [json.loads(line) for line in letters.read_text().splitlines()]
    assert line["raw"] == "4" and line["reason"].endswith("rewrite a row of a table as a JSON object")


def test_a_record_of_a_partition_is_replayed_with_the_values_of_its_folders(
    command: Command, client: OpenSearch, index: str
) -> None:
    folder = Path("hive/lang=de/year=2020")
    folder.mkdir(parents=True)
    (folder / "a.jsonl").write_text('{"_id": "1", "text": ""}\n{"_id": "2", "text": "cats"}\n')
    (folder / "b.csv").write_text("_id,text\n3\n")
    write_parquet(str(folder / "c.parquet"), _id=["4"], text=[" "])
    assert command("ingest", "hive", "--field", "year:integer", "--quiet").exit_code == 3
    letters = Path(f"{index}.dead-letters.jsonl")
    lines = [json.loads(line) for line in letters.read_text().splitlines()]
    for line, doc_id in zip(lines, "134", strict=True):
        line["raw"] = json.dumps({"_id": doc_id, "text": "stars"})
    letters.write_text("".join(json.dumps(line) + "\n" for line in lines))
    result = command("replay", str(letters), "--json", "--quiet")
    assert json.loads(result.stdout)["indexed"] == 3, result.output
    rest = {"metadata": {"lang": "de"}, "year": 2020}
    texts = {"1": "stars", "2": "cats", "3": "stars", "4": "stars"}
    assert stored(client, index) == {doc_id: {"text": text, **rest} for doc_id, text in texts.items()}


def test_a_document_of_a_bulk_body_is_kept_and_replayed_with_its_id(
    command: Command, client: OpenSearch, index: str
) -> None:
    lines = [
        '{"index": {"_id": "1", "routing": "r"}}',
        '{"text": "", "kind": "light"}',
        '{"index": {"_id": "2"}}',
        "broken",
        '{"update": {"_id": "1"}}',
        '{"doc": {"title": "T"}}',
        '{"index": {"_id": "3"}}',
        '{"text": "sea"}',
    ]
    Path("bulk.jsonl").write_text("\n".join(lines))
    assert command("ingest", "bulk.jsonl", "--quiet").exit_code == 3
    letters = Path(f"{index}.dead-letters.jsonl")
    kept = [json.loads(line) for line in letters.read_text().splitlines()]
    assert [line["raw"] for line in kept] == ["\n".join(lines[start : start + 2]) for start in (0, 2, 4)]
    assert [line["held"]["_id"] for line in kept] == ["1", "2", "1"]
    advice = "for `ksparse update`, write its _id and the keys of its doc in one object"
    assert advice in kept[2]["reason"]
    kept[0]["raw"] = kept[0]["raw"].replace('""', '"stars"')
    kept[1]["raw"] = kept[1]["raw"].replace("broken", '{"text": "cats"}')
    letters.write_text("".join(json.dumps(line) + "\n" for line in kept[:2]))
    result = command("replay", str(letters), "--json", "--quiet")
    assert json.loads(result.stdout)["indexed"] == 2, result.output
    assert client.get(index=index, id="1", routing="r")["_source"] == {"text": "stars", "metadata": {"kind": "light"}}
    assert client.get(index=index, id="2")["_source"] == {"text": "cats"}
    Path("changes.jsonl").write_text('{"update": {"_id": "1"}}\n{"doc": {"title": "T"}}\n{"_id": "1", "title": "T"}\n')
    result = command("update", "changes.jsonl", "--json", "--quiet")
    counts = json.loads(result.stdout)
    assert (counts["indexed"], counts["dead_lettered"]) == (1, 2)
    assert counts["reasons"][0] == f"changes.jsonl:1: is part of a bulk body, not a change; {advice}"
    assert counts["reasons"][1] == f"changes.jsonl:2: is part of a bulk body, not a change; {advice}"


def test_a_record_without_an_id_is_replayed_with_the_digest_of_its_content(
    command: Command, client: OpenSearch, index: str
) -> None:
    Path("c.jsonl").write_text('{"text": ""}\n{"text": "cats"}\n')
    assert command("ingest", "c.jsonl", "--generate-ids", "--quiet").exit_code == 3
    letters = Path(f"{index}.dead-letters.jsonl")
    letters.write_text(letters.read_text().replace(r"\"\"", r"\"stars\""))
    without = command("replay", str(letters), "--quiet")
    assert without.exit_code == 3 and "has no '_id'; add one, or generate ids from the content" in without.stderr
    result = command("replay", str(letters), "--generate-ids", "--json", "--quiet")
    assert json.loads(result.stdout)["indexed"] == 1, result.output
    expected = check_documents([{"text": "stars"}, {"text": "cats"}], generate_ids=True)
    assert set(stored(client, index)) == {each.doc_id for each in expected if isinstance(each, Document)}


def test_changes_have_the_ids_of_records(command: Command, client: OpenSearch, index: str) -> None:
    Path("c.csv").write_text("id,text\n1,stars\n2,cats\n3,sea\n")
    ingest(command, "c.csv")
    changes = [{"id": 1, "title": "T"}, {"_id": 2, "title": "U"}, {"_id": "3", "title": "V"}]
    Path("changes.jsonl").write_text(json.dumps(changes), encoding="utf-16")
    result = command("update", "changes.jsonl", "--quiet")
    assert result.exit_code == 0, result.output
    titles = {doc_id: source["title"] for doc_id, source in stored(client, index).items()}
    assert titles == {"1": "T", "2": "U", "3": "V"}


def test_a_row_of_a_table_is_replayed_with_all_its_columns(command: Command, client: OpenSearch, index: str) -> None:
    write_parquet("c.parquet", _id=["1", "2", "3"], text=["", "cats sleep", "rivers"], year=[1999, 2000, 2001])
    Path("c.csv").write_text("_id,text,lang\n4,,de\n")
    for name in ("c.parquet", "c.csv"):
        assert command("ingest", name, "--quiet").exit_code == 3
    letters = Path(f"{index}.dead-letters.jsonl")
    row, line = (json.loads(each) for each in letters.read_text().splitlines())
    row["raw"] = row["raw"].replace('""', '"stars"')
    line["raw"] = '{"_id": "4", "text": "sea", "lang": "de"}'
    # A mark, as some editors add it.
    letters.write_text(f"\ufeff{json.dumps(row)}\n{json.dumps(line)}\n")
    result = command("replay", str(letters), "--json", "--quiet")
    assert json.loads(result.stdout)["indexed"] == 2, result.output
    found = stored(client, index)
    assert found["1"] == {"text": "stars", "metadata": {"year": 1999}}
    assert found["4"] == {"text": "sea", "metadata": {"lang": "de"}}
    assert not letters.exists()


def test_a_file_is_not_read_and_written(command: Command, index: str) -> None:
    content = '{"_id": "1", "text": ""}\n{"_id": "2", "text": "cats"}\n'
    Path("c.jsonl").write_text(content)
    assert command("ingest", "c.jsonl", "--quiet").exit_code == 3
    letters = f"{index}.dead-letters.jsonl"
    for arguments, option in (
        (["ingest", letters], "--dead-letters"),
        (["update", letters], "--dead-letters"),
        (["ingest", "c.jsonl", "--dead-letters", "./c.jsonl"], "--dead-letters"),
        (["ingest", "c.jsonl", "--checkpoint", "c.jsonl"], "--checkpoint"),
        (["update", "c.jsonl", "--dead-letters", "c.jsonl"], "--dead-letters"),
    ):
        result = command(*arguments)
        assert result.exit_code == 2, result.output
        assert f"is read, so it cannot be written; name another file by {option}." in result.stderr
    os.mkfifo("device")  # in place of /dev/null, which a checkpoint would replace
    for option in ("--dead-letters", "--checkpoint"):
        result = command("ingest", "c.jsonl", option, "device")
        assert result.exit_code == 2 and f"{option} device is not a regular file" in result.stderr
    assert command("ingest", "c.jsonl", "--dead-letters", "new/folder/letters.jsonl", "--quiet").exit_code == 3
    assert Path("new/folder/letters.jsonl").read_text().count("\n") == 1
    assert Path("c.jsonl").read_text() == content and Path(letters).read_text().count("\n") == 1


def test_what_a_run_writes_is_no_part_of_the_folder_that_it_reads(
    command: Command, index: str, opensearch_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("c.jsonl").write_text('{"_id": "1", "text": ""}\n{"_id": "2", "text": "cats"}\n')
    with fault_proxy(opensearch_url) as proxy:
        monkeypatch.setenv("OPENSEARCH_URL", proxy.url)
        proxy.faults.extend([passed, status(400, "not today")])  # the check whether the new index accepts documents
        assert command("ingest", ".", "--quiet").exit_code == 4
    monkeypatch.setenv("OPENSEARCH_URL", opensearch_url)
    assert Path(f"{index}.checkpoint.json").exists()
    for options in (["--resume"], []):
        result = command("ingest", ".", "--quiet", "--json", *options)
        assert result.exit_code == 3, result.output
        counts = json.loads(result.stdout)
        assert (counts["read"], counts["indexed"], counts["dead_lettered"]) == (2, 1, 1)
    assert Path(f"{index}.dead-letters.jsonl").read_text().count("\n") == 2


def test_changes_come_from_standard_input_and_not_from_tables(command: Command, client: OpenSearch, index: str) -> None:
    Path("c.csv").write_text("_id,text\n1,stars\n")
    ingest(command, "c.csv")
    result = command("update", "-", "--quiet", "--json", input='{"_id": "1", "title": "T"}\n')
    assert json.loads(result.stdout)["indexed"] == 1, result.output
    assert stored(client, index)["1"] == {"text": "stars", "title": "T"}
    result = command("update", "c.csv")
    assert result.exit_code == 2 and "c.csv is csv; changes are JSON lines" in result.stderr
    assert not Path(f"{index}.dead-letters.jsonl").exists()
    os.mkfifo("pipe")
    for name in ("replay", "update"):
        result = command(name, "pipe")
        assert result.exit_code != 0 and "pipe is not a file" in result.stderr


def test_an_empty_name_of_a_corpus_is_refused(command: Command) -> None:
    Path("c.jsonl").write_text('{"_id": "1", "text": "cats"}\n')
    result = command("ingest", "")
    assert result.exit_code == 1 and "The path of the corpus is empty; give a file" in result.stderr


def test_truth_values_are_found_however_a_file_wrote_them(command: Command, client: OpenSearch, index: str) -> None:
    Path("c.csv").write_text("_id,text,new,old\n1,stars,True,True\n2,cats,False,False\n")
    ingest(command, "c.csv", "--field", "old:boolean")
    Path("d.jsonl").write_text('{"_id": "3", "text": "rain", "old": true, "metadata": {"new": true}}\n')
    ingest(command, "d.jsonl")
    assert stored(client, index)["1"] == {"text": "stars", "old": True, "metadata": {"new": "True"}}
    for value in ("true", "True"):
        for name in ("new", "old"):
            assert found(command, "stars", "--filter", f"{name}={value}", "--min-score", "-9") <= {"1", "3"}
        assert found(command, "stars", "--filter", f"old={value}") >= {"1"}
        assert found(command, "rain", "--filter", f"new={value}") >= {"3"}


def test_fields_of_any_form_are_printed(command: Command) -> None:
    metadata = {"a.b": "dotted", "c": {"d": "nested"}, "e": [{"f": "one"}, {"f": "two"}]}
    Path("c.jsonl").write_text(json.dumps({"_id": "1", "text": "stars burn", "metadata": metadata}))
    ingest(command, "c.jsonl")
    names = "metadata.a.b,metadata.c.d,metadata.e.f,metadata.c.*"
    printed = " ".join(command("search", "stars burn", "--fields", names).stdout.split())
    for value in ("dotted", "nested", '["one", "two"]', '{"d": "nested"}'):
        assert value in printed, printed


def test_judgements_of_another_corpus_are_refused_and_missing_documents_counted(
    workplace: Path, opensearch_url: str, head_folder: Path
) -> None:
    folder = judged_folder()
    qrels = folder / "qrels" / "test.tsv"
    qrels.write_text("q1\t1\t1\nq2\t2\t1\n")
    result = evaluate(head_folder)
    assert result.exit_code == 1
    assert "2 of 2 relevant documents, e.g. '1', are not in the corpus, which has ids such as 'd" in result.stderr
    qrels.write_text("q1\td1\t1\nq2\t2\t1\n")
    result = evaluate(head_folder)
    assert result.exit_code == 0, result.output
    assert "1 of 2 relevant documents, e.g. '2', are not in the corpus; the metrics count them" in result.stderr


def test_a_dump_of_an_index_is_the_same_index_again(command: Command, client: OpenSearch, index: str) -> None:
    metadata = {"lang": "en", "long": "x" * 40_000}
    Path("c.jsonl").write_text(json.dumps({"_id": "1", "text": "stars burn", "metadata": metadata}))
    ingest(command, "c.jsonl")
    client.indices.refresh(index=index)
    before = stored(client, index)
    [hit] = client.search(index=index)["hits"]["hits"]
    Path("dump.jsonl").write_text(json.dumps(hit))
    ingest(command, "dump.jsonl")
    assert stored(client, index) == before


def test_any_encoding_of_the_output_is_taken(command: Command, index: str) -> None:
    Path("c.jsonl").write_text(json.dumps({"_id": "1", "text": "caf\u00e9 \u4e2d \U0001f600"}))
    ingest(command, "c.jsonl")
    arguments = ["search", "caf\u00e9", "--index", index]
    runner = CliRunner(charset="latin-1")
    result = runner.invoke(cli, arguments)
    assert result.exit_code == 0 and "caf\u00e9 \\u4e2d \\U0001f600" in result.stdout, result.output
    [line] = runner.invoke(cli, [*arguments, "--json"]).stdout.splitlines()
    assert json.loads(line)["hits"][0]["source"]["text"] == "caf\u00e9 \u4e2d \U0001f600"
