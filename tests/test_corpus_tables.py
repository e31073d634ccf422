from __future__ import annotations

import csv
import gzip
from pathlib import Path

import pytest

from connector.corpus import count_records, read_corpus
from connector.errors import CorpusError
from connector.types import Document, MalformedRecord


def write(folder: Path, content: str | bytes, name: str = "c.csv") -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def malformed(path: Path) -> MalformedRecord:
    [found] = (record for record in read_corpus(path) if isinstance(record, MalformedRecord))
    return found


def test_other_columns_become_metadata(tmp_path: Path) -> None:
    path = write(tmp_path, "_id,title,text,year\nd1,T,body,2020\n")
    assert list(read_corpus(path)) == [Document("d1", "body", "T", {"year": "2020"})]


def test_declared_columns_become_fields(tmp_path: Path) -> None:
    path = write(tmp_path, "_id,text,lang\nd1,body,en\n")
    assert list(read_corpus(path, fields=["lang"])) == [Document("d1", "body", fields={"lang": "en"})]


def test_empty_cells_leave_their_key_out(tmp_path: Path) -> None:
    path = write(tmp_path, "_id,text,year,lang\nd1,body,,\n")
    assert list(read_corpus(path, fields=["lang"])) == [Document("d1", "body")]


def test_a_column_id_stands_for_the_id(tmp_path: Path) -> None:
    assert list(read_corpus(write(tmp_path, "id,text\nd1,body\n"))) == [Document("d1", "body")]


def test_a_column_id_beside_the_id_is_metadata(tmp_path: Path) -> None:
    path = write(tmp_path, "_id,id,text\nd1,7,body\n")
    assert list(read_corpus(path)) == [Document("d1", "body", metadata={"id": "7"})]


def test_a_metadata_column_holds_an_object(tmp_path: Path) -> None:
    path = write(tmp_path, '_id,text,metadata,year\nd1,body,"{""a"": 1}",2020\n')
    assert list(read_corpus(path)) == [Document("d1", "body", metadata={"a": 1, "year": "2020"})]


def test_a_metadata_cell_that_is_no_json_is_refused(tmp_path: Path) -> None:
    found = malformed(write(tmp_path, "_id,text,metadata\nd1,body,oops\n"))
    assert found.reason == "'metadata' is not valid JSON: Expecting value at column 1"


def test_a_metadata_key_that_is_a_column_too_is_refused(tmp_path: Path) -> None:
    found = malformed(write(tmp_path, '_id,text,metadata,year\nd1,body,"{""year"": 1}",2020\n'))
    assert found.reason.startswith("key 'year' stands in the column 'metadata' and is a column as well")


def test_a_quoted_cell_may_hold_line_feeds(tmp_path: Path) -> None:
    path = write(tmp_path, '_id,text\r\nd1,"two\r\nlines"\r\nd2,\r\n')
    document, record = read_corpus(path)
    assert document == Document("d1", "two\r\nlines")
    assert isinstance(record, MalformedRecord) and record.location == f"{path}:4"


@pytest.mark.parametrize(("row", "count"), [("d1", 1), ("d1,body,extra", 3)])
def test_a_ragged_row_is_refused(tmp_path: Path, row: str, count: int) -> None:
    path = write(tmp_path, f"_id,text\n{row}\nd2,body\n")
    record, document = read_corpus(path)
    assert record == MalformedRecord(f"{path}:2", f"has {count} cells, the header has 2", row)
    assert document == Document("d2", "body")


def test_a_quote_that_is_not_doubled_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, '_id,text\nd1,"bo"dy\nd2,body\n')
    record, document = read_corpus(path)
    assert isinstance(record, MalformedRecord) and record.reason.startswith("not valid CSV: ',' expected after")
    assert document == Document("d2", "body")


def test_a_quote_that_never_closes_keeps_all_it_swallowed(tmp_path: Path) -> None:
    found = malformed(write(tmp_path, '_id,text\nd1,"body\nd2,more\n'))
    assert (found.reason, found.raw) == ("not valid CSV: unexpected end of data", 'd1,"body\nd2,more')


def test_a_row_that_is_not_utf8_does_not_stop_the_rest(tmp_path: Path) -> None:
    path = write(tmp_path, b'_id,text\nd1,"caf\xe9\nbar"\nd2,body\n')
    record, document = read_corpus(path)
    assert isinstance(record, MalformedRecord) and record.reason.startswith("not UTF-8: byte 0xe9")
    assert record.raw == 'd1,"caf\\xe9\nbar"'
    assert document == Document("d2", "body")


def test_a_nul_is_refused(tmp_path: Path) -> None:
    assert malformed(write(tmp_path, "_id,text\nd1,bo\0dy\n")).reason.startswith("holds a NUL character")


def test_a_cell_longer_than_the_modules_default_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = csv.field_size_limit(131_072)
    try:
        text = "x" * 200_000
        assert list(read_corpus(write(tmp_path, f"_id,text\nd1,{text}\n"))) == [Document("d1", text)]
    finally:
        csv.field_size_limit(before)


def test_blank_lines_are_skipped(tmp_path: Path) -> None:
    assert list(read_corpus(write(tmp_path, "_id,text\n\n  \nd1,body\n\n"))) == [Document("d1", "body")]


def test_a_row_of_empty_tsv_cells_is_no_blank_line(tmp_path: Path) -> None:
    found = malformed(write(tmp_path, "_id\ttext\n\t\nd1\tbody\n", "c.tsv"))
    assert found.reason.startswith("has no '_id'")


def test_tsv_is_split_by_tabs(tmp_path: Path) -> None:
    assert list(read_corpus(write(tmp_path, "_id\ttext\nd1\ta, b\n", "c.tsv"))) == [Document("d1", "a, b")]


def test_a_byte_order_mark_is_no_part_of_the_header(tmp_path: Path) -> None:
    assert list(read_corpus(write(tmp_path, b"\xef\xbb\xbf_id,text\nd1,body\n"))) == [Document("d1", "body")]


def test_gzip_is_read(tmp_path: Path) -> None:
    path = write(tmp_path, gzip.compress(b"_id,text\nd1,body\n"), "c.csv.gz")
    assert list(read_corpus(path)) == [Document("d1", "body")]


def test_rows_without_ids_get_generated_ones(tmp_path: Path) -> None:
    path = write(tmp_path, "text\nbody\n")
    [from_csv] = read_corpus(path, generate_ids=True)
    [from_jsonl] = read_corpus(write(tmp_path, '{"text": "body"}', "c.jsonl"), generate_ids=True)
    assert from_csv == from_jsonl


def test_a_table_without_text_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="has the columns '_id', 'body' and none called 'text'"):
        read_corpus(write(tmp_path, "_id,body\nd1,x\n"))


def test_a_table_without_ids_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="has the columns 'text' and none called '_id' or 'id'"):
        read_corpus(write(tmp_path, "text\nx\n"))


def test_a_column_without_a_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="column 1 has no name"):
        read_corpus(write(tmp_path, ",_id,text\n0,d1,x\n"))


def test_a_column_that_stands_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="'text' stands twice"):
        read_corpus(write(tmp_path, "_id,text,text\nd1,x,y\n"))


def test_an_empty_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"c\.csv is empty; its first line must name the columns"):
        read_corpus(write(tmp_path, ""))


def test_a_header_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"the header of .*c\.csv cannot be read: not UTF-8"):
        read_corpus(write(tmp_path, "_id,text".encode("utf-16")))


def test_a_table_has_no_count(tmp_path: Path) -> None:
    assert count_records(write(tmp_path, "_id,text\nd1,body\n")) is None
