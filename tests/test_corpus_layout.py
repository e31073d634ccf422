"""Names of keys and columns: the same rules in all formats."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from connector.corpus import Layout, check_documents, read_corpus
from connector.errors import CorpusError
from connector.types import Document, MalformedRecord

FORMATS = ("jsonl", "json", "csv", "tsv", "parquet")


def write(folder: Path, rows: list[dict[str, Any]], suffix: str) -> Path:
    """The same rows in a file of any format."""
    path = folder / f"c.{suffix}"
    if suffix == "parquet":
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    elif suffix == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    elif suffix == "json":
        path.write_text(json.dumps(rows, indent=2))
    else:
        separator = {"csv": ",", "tsv": "\t"}[suffix]
        lines = [[*rows[0]], *([*row.values()] for row in rows)]
        path.write_text("".join(separator.join(map(str, line)) + "\n" for line in lines))
    return path


@pytest.mark.parametrize("suffix", FORMATS)
def test_pyserini_is_read_as_it_is(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path, [{"id": "doc1", "contents": "Mallards dabble."}], suffix)
    assert list(read_corpus(path, layout=Layout(text_fields=("contents",)))) == [Document("doc1", "Mallards dabble.")]


@pytest.mark.parametrize("suffix", FORMATS)
def test_each_part_may_have_another_name(tmp_path: Path, suffix: str) -> None:
    rows = [{"sku": "d1", "body": "two", "name": "T", "abstract": "one", "internal": "x"}]
    layout = Layout(
        id_field="sku", title_field="name", text_fields=("abstract", "body"), exclude=frozenset({"internal"})
    )
    assert list(read_corpus(write(tmp_path, rows, suffix), layout=layout)) == [Document("d1", "one\ntwo", "T")]


@pytest.mark.parametrize("suffix", FORMATS)
def test_id_replaces_the_id_unless_there_is_one_or_it_is_declared(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path, [{"id": "d1", "text": "body"}], suffix)
    assert list(read_corpus(path)) == [Document("d1", "body")]
    [found] = read_corpus(path, fields=["id"], generate_ids=True)
    assert isinstance(found, Document) and found.fields == {"id": "d1"} and len(found.doc_id) == 64
    path = write(tmp_path, [{"_id": "d1", "text": "body", "id": "7"}], suffix)
    assert list(read_corpus(path, layout=Layout(exclude=frozenset({"id"})))) == [Document("d1", "body")]


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_record_without_text_says_what_it_has(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path, [{"id": "d1", "contents": "body"}], suffix)
    if suffix.startswith("json"):
        [found] = read_corpus(path)
        assert isinstance(found, MalformedRecord)
        assert found.reason == ("has no 'text' and no 'title'; it has 'id', 'contents'. Set the text field")
    else:
        with pytest.raises(
            CorpusError, match="columns 'id', 'contents', but no text column 'text'.*Set the text field"
        ):
            read_corpus(path)


@pytest.mark.parametrize("suffix", ("csv", "tsv", "parquet"))
@pytest.mark.parametrize(
    ("layout", "message"),
    [
        (Layout(id_field="sku"), "no id column 'sku'. Set the id field"),
        (Layout(title_field="name"), "no title column 'name'"),
        (Layout(text_fields=("text", "abstract")), "no text column 'abstract'"),
    ],
)
def test_a_column_that_was_named_must_be_there(tmp_path: Path, suffix: str, layout: Layout, message: str) -> None:
    path = write(tmp_path, [{"id": "d1", "text": "body"}], suffix)
    with pytest.raises(CorpusError, match=message):
        read_corpus(path, layout=layout, generate_ids=True)


def test_a_text_beside_the_one_that_was_named_is_metadata_of_a_table_and_refused_in_json(tmp_path: Path) -> None:
    rows = [{"id": "d1", "text": "old", "body": "new"}]
    layout = Layout(text_fields=("body",))
    assert list(read_corpus(write(tmp_path, rows, "csv"), layout=layout)) == [
        Document("d1", "new", metadata={"text": "old"})
    ]
    [found] = read_corpus(write(tmp_path, rows, "jsonl"), layout=layout)
    assert isinstance(found, MalformedRecord) and found.reason.startswith("has the key 'text' in addition to the one")


def test_a_title_may_be_the_text(tmp_path: Path) -> None:
    path = write(tmp_path, [{"id": "d1", "title": "Only a title"}], "csv")
    assert list(read_corpus(path, layout=Layout(text_fields=("title",)))) == [Document("d1", "Only a title")]


def test_a_part_of_the_text_that_is_no_string_is_refused() -> None:
    [found] = check_documents([{"id": "d1", "a": "x", "b": 1}], layout=Layout(text_fields=("a", "b")))
    assert isinstance(found, MalformedRecord) and "has a text field with 1" in found.reason


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"id_field": "a", "text_fields": ("a",)}, "'a' is named twice"),
        ({"text_fields": ("a",), "exclude": {"a"}}, "'a' is both named and excluded"),
        ({"text_fields": "abc"}, "text_fields must be a collection of names, got the string 'abc'"),
        ({"exclude": "abc"}, "exclude must be a collection of names"),
        ({"separator": "||"}, r"separator '\|\|' must be one character"),
        ({"separator": '"'}, "must be one character, but not a quote"),
        ({"encoding": "latin-99"}, "encoding 'latin-99' is unknown; try utf-16, cp1252"),
        ({"encoding": "base64"}, "encoding 'base64' is unknown; try utf-16, cp1252"),
    ],
)
def test_a_layout_that_says_two_things_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Layout(**options)


def test_a_record_without_the_id_that_was_named_reports_it() -> None:
    [found] = check_documents([{"id": "d1", "text": "body"}], layout=Layout(id_field="sku"))
    assert isinstance(found, MalformedRecord)
    assert found.reason == "has no id field 'sku'; it has 'id', 'text'"


def test_embeddings_of_a_dump_are_left_out_by_name_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    numbers = [0, 0.5] * 32
    source = {"text": "body", "embedding": numbers, "short": numbers[:63], "years": list(range(2000, 2064))}
    hits = [{"_id": name, "_source": source} for name in ("d1", "d2")]
    (tmp_path / "c.jsonl").write_text("".join(json.dumps(hit) + "\n" for hit in hits))
    kept = {"short": source["short"], "years": source["years"]}
    assert list(read_corpus(tmp_path / "c.jsonl")) == [Document(name, "body", metadata=kept) for name in ("d1", "d2")]
    assert caplog.messages == [
        "Key 'embedding' holds embeddings (lists of 64 or more floats; to store them, declare it as a field); such "
        "values are skipped."
    ]
    declared = list(read_corpus(tmp_path / "c.jsonl", fields=["embedding"]))
    assert isinstance(declared[0], Document) and declared[0].fields == {"embedding": numbers}


@pytest.mark.parametrize(
    ("name", "content", "place"),
    [
        ("c.jsonl", '{"sku": "a", "text": "", "_routing": "r"}', ("a", "r")),
        ("c.jsonl", '{"sku": "a", "text": "body", "colour": "red"}', ("a", None)),
        ("c.jsonl", '{"_id": "own", "_routing": "r", "_source": {"sku": "a", "text": ""}}', ("a", "r")),
        ("c.jsonl", '{"sku": "a", "text": "body"', (None, None)),
        ("c.csv", "sku,text,_routing\na,,r", ("a", "r")),
        ("c.csv", "sku,text\na", (None, None)),
        ("c.tsv", "text\tsku\n\ta", ("a", None)),
    ],
)
def test_a_malformed_record_of_a_file_has_the_id_of_its_layout(
    tmp_path: Path, name: str, content: str, place: tuple[str | None, str | None]
) -> None:
    (tmp_path / name).write_text(content + "\n")
    [found] = read_corpus(tmp_path / name, layout=Layout(id_field="sku"))
    assert isinstance(found, MalformedRecord) and (found.doc_id, found.routing) == place
