from __future__ import annotations

import csv
import gzip
import re
from pathlib import Path

import pytest

from connector.corpus import Layout, count_records, read_corpus
from connector.errors import CorpusError
from connector.types import Document, MalformedRecord
from tests.never import never


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


def test_a_column_id_replaces_the_id(tmp_path: Path) -> None:
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
    assert found.reason.startswith("key 'year' occurs both in 'metadata' and at the top level")


def test_a_quoted_cell_may_contain_line_feeds(tmp_path: Path) -> None:
    path = write(tmp_path, '_id,text\r\nd1,"two\r\nlines"\r\nd2,\r\n')
    document, record = read_corpus(path)
    assert document == Document("d1", "two\r\nlines")
    assert isinstance(record, MalformedRecord) and record.location == f"{path}:4"


@pytest.mark.parametrize(("row", "count"), [("d1", 1), ("d1,body,extra", 3)])
def test_a_ragged_row_is_refused(tmp_path: Path, row: str, count: int) -> None:
    path = write(tmp_path, f"_id,text\n{row}\nd2,body\n")
    record, document = read_corpus(path)
    assert record == MalformedRecord(f"{path}:2", f"has {count} cells, the header has 2", row, flat=True)
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
    assert malformed(write(tmp_path, "_id,text\nd1,bo\0dy\n")).reason.startswith("contains a NUL character")


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


def test_a_row_of_another_width_is_not_searched_for_a_closing_quote(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each would read 10,000 lines ahead: a day for ten million rows that end with a tab."""
    monkeypatch.setattr("connector.corpus.rows._lines_of_quote", never("searched"))
    rows = "".join(f"d{number}\tbody\t\n" for number in range(50))
    found = list(read_corpus(write(tmp_path, f"_id\ttext\n{rows}d50\n", "c.tsv")))
    assert found[:50] == [Document(f"d{number}", "body") for number in range(50)]
    assert isinstance(found[50], MalformedRecord) and "has 1 cells, the header has 2" in found[50].reason


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
    with pytest.raises(CorpusError, match="has the columns '_id', 'body', but no text column 'text'"):
        read_corpus(write(tmp_path, "_id,body\nd1,x\n"))


def test_a_table_without_ids_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="has the columns 'text', but no id column '_id' or 'id'"):
        read_corpus(write(tmp_path, "text\nx\n"))


@pytest.mark.parametrize("name", ["", "Unnamed: 0", "__index_level_0__"])
def test_row_numbers_of_pandas_are_left_out_and_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    path = write(tmp_path, f"{name},_id,text,\n0,d1,x,\n1,d2,y,\n")
    assert list(read_corpus(path)) == [Document("d1", "x"), Document("d2", "y")]
    first = f"column {name!r}" if name else "column 1, which has no name,"
    assert [record.getMessage() for record in caplog.records] == [
        f"{path}: {first} is skipped.",
        f"{path}: column 4, which has no name, is skipped.",
    ]


def test_a_column_that_occurs_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="'text' occurs twice"):
        read_corpus(write(tmp_path, "_id,text,text\nd1,x,y\n"))


def test_an_empty_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"c\.csv is empty; its first line must name the columns"):
        read_corpus(write(tmp_path, ""))


def test_a_header_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"the header of .*c\.csv cannot be read: not UTF-8.*set its encoding"):
        read_corpus(write(tmp_path, "_id,text,prénom".encode("latin-1")))


def test_a_table_has_no_count(tmp_path: Path) -> None:
    assert count_records(write(tmp_path, "_id,text\nd1,body\n")) is None


QUOTES = (
    "_id\ttitle\ttext\n"
    "1\tFerns\tFerns like shade.\n"
    '3\tHail\t"Hail is frozen rain, the farmer said.\n'
    "4\tSnow\tSnow covers the barley field.\n"
    '5\tSleet\tSleet is half rain and half snow."\n'
    '6\tFrost\t"Frost" forms on "clear" nights.\n'
    '7\t"Mist\tMist is 5" of fog\n'
    '8\tDew\t"Dew ""settles"" at night."\n'
)


def test_quotes_in_a_table_separated_by_tabs_lose_no_row(tmp_path: Path) -> None:
    assert list(read_corpus(write(tmp_path, QUOTES, "c.tsv"))) == [
        Document("1", "Ferns like shade.", "Ferns"),
        Document("3", '"Hail is frozen rain, the farmer said.', "Hail"),
        Document("4", "Snow covers the barley field.", "Snow"),
        Document("5", 'Sleet is half rain and half snow."', "Sleet"),
        Document("6", '"Frost" forms on "clear" nights.', "Frost"),
        Document("7", 'Mist is 5" of fog', '"Mist'),
        Document("8", 'Dew "settles" at night.', "Dew"),
    ]


def test_cells_of_a_table_separated_by_tabs_may_be_quoted(tmp_path: Path) -> None:
    # As pandas and Excel write cells that hold tabs, line feeds or quotes.
    rows = [["_id", "title", "text"], ["1", "a\tb", 'two\nlines, "quoted"\n\nof text'], ["2", "", "plain"]]
    path = tmp_path / "c.tsv"
    with path.open("w", newline="") as file:
        csv.writer(file, delimiter="\t").writerows(rows)
    assert list(read_corpus(path)) == [
        Document("1", 'two\nlines, "quoted"\n\nof text', "a\tb"),
        Document("2", "plain"),
    ]


def test_a_quoted_cell_of_a_table_separated_by_tabs_may_hold_lines_with_tabs(tmp_path: Path) -> None:
    indented = write(tmp_path, '_id\ttext\n1\t"def f():\n\treturn 1\n"\n2\tok\n', "c.tsv")
    assert list(read_corpus(indented)) == [Document("1", "def f():\n\treturn 1\n"), Document("2", "ok")]
    aligned = write(tmp_path, 'text\tid\n"x = 1\tone\ny = 2\ttwo"\t7\nok\t8\n', "c.tsv")
    assert list(read_corpus(aligned)) == [Document("7", "x = 1\tone\ny = 2\ttwo"), Document("8", "ok")]


def test_a_quoted_cell_of_a_table_with_one_column_may_hold_several_lines(tmp_path: Path) -> None:
    path = write(tmp_path, 'text\n"one\ntwo"\nthree\n"Hail," he said.\n"open\n', "c.tsv")
    found = [record.text for record in read_corpus(path, generate_ids=True) if isinstance(record, Document)]
    assert found == ["one\ntwo", "three", '"Hail," he said.', '"open']


@pytest.mark.parametrize(
    "ids", [("a1b", "c22", "0de"), ("x-1", "y-2", "zz-3"), ("9f3e-ab", "11-2", "7-c0d"), ("one", "two", "three")]
)
def test_a_row_is_told_from_a_line_of_a_quote_by_its_id(tmp_path: Path, ids: tuple[str, ...]) -> None:
    path = write(tmp_path, f'_id\ttext\n{ids[0]}\t"open\n{ids[1]}\tmiddle\n{ids[2]}\tclosed"\n', "c.tsv")
    expected = [Document(ids[0], '"open'), Document(ids[1], "middle"), Document(ids[2], 'closed"')]
    assert list(read_corpus(path)) == expected


def test_without_ids_a_line_with_all_cells_is_a_row(tmp_path: Path) -> None:
    path = write(tmp_path, 'title\ttext\nHail 1\t"open\nSnow\tclosed"\n', "c.tsv")
    found = [record.title for record in read_corpus(path, generate_ids=True) if isinstance(record, Document)]
    assert found == ["Hail 1", "Snow"]


def test_a_quote_that_never_closes_before_the_end_is_a_part_of_its_cell(tmp_path: Path) -> None:
    path = write(tmp_path, '_id\ttext\n1\t"open\n', "c.tsv")
    assert list(read_corpus(path)) == [Document("1", '"open')]
    first, ragged, last = read_corpus(write(tmp_path, '_id\ttext\n1\t"open\nragged\n2\tx\n', "c.tsv"))
    assert (first, last) == (Document("1", '"open'), Document("2", "x"))
    assert ragged == MalformedRecord(f"{tmp_path / 'c.tsv'}:3", "has 1 cells, the header has 2", "ragged", flat=True)


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("name", ["c.csv", "c.tsv"])
def test_the_header_says_what_separates_the_cells(tmp_path: Path, separator: str, name: str) -> None:
    lines = [["_id", "text", "lang"], ["1", "Rain in Spain", "en"], ["2", f'"Plain{separator} mainly"', "en"]]
    path = write(tmp_path, "\ufeff" + "".join(separator.join(line) + "\r\n" for line in lines), name)
    assert list(read_corpus(path)) == [
        Document("1", "Rain in Spain", metadata={"lang": "en"}),
        Document("2", f"Plain{separator} mainly", metadata={"lang": "en"}),
    ]


@pytest.mark.parametrize("line", ["sep=;", "SEP=;", '"sep=;"', "\nsep=;"])
def test_excels_line_about_the_separator_is_no_header(tmp_path: Path, line: str) -> None:
    path = write(tmp_path, f"{line}\n_id;text\n1;a,b\n")
    assert list(read_corpus(path)) == [Document("1", "a,b")]


def test_a_separator_may_be_named(tmp_path: Path) -> None:
    path = write(tmp_path, "_id~text\n1~a,b;c\n")
    with pytest.raises(CorpusError, match="seems to be separated by '~'"):
        read_corpus(path)
    assert list(read_corpus(path, layout=Layout(separator="~"))) == [Document("1", "a,b;c")]


def test_a_header_that_lacks_the_text_names_the_separator_that_it_seems_to_have(tmp_path: Path) -> None:
    path = write(tmp_path, "ID;Inhalt;Sprache\n1;Regen;de\n")
    with pytest.raises(CorpusError, match=r"c\.csv \(separated by ';'\) has the columns 'ID', 'Inhalt', 'Sprache'"):
        read_corpus(path)


@pytest.mark.parametrize("separator", [":", " ", "~", "\x01"])
def test_an_unusual_separator_is_named_and_may_be_given(tmp_path: Path, separator: str) -> None:
    (tmp_path / "c.csv").write_text(f"_id{separator}text\n1{separator}cats\n")
    with pytest.raises(
        CorpusError, match=re.escape(f"c.csv seems to be separated by {separator!r}; set it as the separator")
    ):
        read_corpus(tmp_path / "c.csv")
    [record] = read_corpus(tmp_path / "c.csv", layout=Layout(separator=separator))
    assert isinstance(record, Document) and (record.doc_id, record.text) == ("1", "cats")


def test_a_table_with_one_column_has_no_separator(tmp_path: Path) -> None:
    records = list(read_corpus(write(tmp_path, "text\nOne, two; three\n"), generate_ids=True))
    assert isinstance(records[0], MalformedRecord), "a comma separates cells that the header lacks"
    [found] = read_corpus(write(tmp_path, "text\nOne, two; three\n", "c.tsv"), generate_ids=True)
    assert isinstance(found, Document) and found.text == "One, two; three"


def test_rows_that_a_quote_swallows_are_an_error_and_not_lost(tmp_path: Path) -> None:
    content = '_id,title,text\n1,Fern,Shade\n3,Hail,"Hail is frozen\n4,Snow,Cold\n5,Sleet,half snow."\n6,Frost,Nights\n'
    path = write(tmp_path, content)
    first, swallowed, last = read_corpus(path)
    assert (first, last) == (Document("1", "Shade", "Fern"), Document("6", "Nights", "Frost"))
    assert isinstance(swallowed, MalformedRecord) and swallowed.location == f"{path}:3"
    assert swallowed.reason.startswith("has a cell of 3 lines, each of which looks like a separate row")
    assert swallowed.raw == '3,Hail,"Hail is frozen\n4,Snow,Cold\n5,Sleet,half snow."'


@pytest.mark.parametrize("text", ["Main Street,\nSpringfield, IL, 62701", "1\n2\n3", "a,b\nc,d"])
def test_a_text_of_several_lines_is_no_swallowed_row(tmp_path: Path, text: str) -> None:
    path = tmp_path / "c.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([["_id", "title", "text"], ["d1", "T", text]])
    assert list(read_corpus(path)) == [Document("d1", text, "T")]


def test_empty_cells_beyond_the_header_are_no_cells(tmp_path: Path) -> None:
    path = write(tmp_path, "_id,text\nd1,body,,\nd2,more\n")
    assert list(read_corpus(path)) == [Document("d1", "body"), Document("d2", "more")]


def test_a_header_alone_has_no_records(tmp_path: Path) -> None:
    assert list(read_corpus(write(tmp_path, "_id,text"))) == []


def test_text_stays_what_is_written(tmp_path: Path) -> None:
    path = write(tmp_path, "_id,text,year,zip,when,n\n007,1.0,2020.0,01234,2020-01-02,1e3\n")
    assert list(read_corpus(path)) == [
        Document("007", "1.0", metadata={"year": "2020.0", "zip": "01234", "when": "2020-01-02", "n": "1e3"})
    ]


def test_a_space_behind_each_separator_belongs_to_no_cell(tmp_path: Path) -> None:
    path = write(tmp_path, '_id, text, lang\n1, "Rain, in Spain", en\n2, plain,en\n')
    assert list(read_corpus(path)) == [
        Document("1", "Rain, in Spain", metadata={"lang": "en"}),
        Document("2", "plain", metadata={"lang": "en"}),
    ]


def test_the_null_of_databases_is_no_value(tmp_path: Path) -> None:
    document, record = read_corpus(write(tmp_path, "_id\ttext\tlang\n1\tbody\t\\N\n2\t\\N\ten\n", "c.tsv"))
    assert document == Document("1", "body")
    assert isinstance(record, MalformedRecord) and record.reason.startswith("has no 'text' and no 'title'")


@pytest.mark.parametrize("again", ["_id,text", "\ufeff_id,text", " _id, text"])
def test_the_header_of_a_file_that_was_joined_is_no_row(tmp_path: Path, again: str) -> None:
    first, header, last = read_corpus(write(tmp_path, f"_id,text\n1,body\n{again}\n2,more\n"))
    assert (first, last) == (Document("1", "body"), Document("2", "more"))
    assert isinstance(header, MalformedRecord) and header.reason.startswith("repeats the header")


def test_quotes_that_backslashes_escape_are_named(tmp_path: Path) -> None:
    path = write(tmp_path, '_id,text\n1,"He said \\"hi\\" twice"\n2,more\n')
    record, document = read_corpus(path)
    assert document == Document("2", "more")
    assert isinstance(record, MalformedRecord)
    assert record.reason.endswith("double the quotes that backslashes escape")


def test_a_column_to_be_left_out_that_is_not_there_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write(tmp_path, "_id,text\n1,body\n")
    assert list(read_corpus(path, layout=Layout(exclude=frozenset({"nosuch"})))) == [Document("1", "body")]
    assert caplog.messages == [f"{path} has no column 'nosuch', which should be excluded."]


def test_a_fraction_in_an_integer_column_is_refused(tmp_path: Path) -> None:
    whole, fraction = read_corpus(write(tmp_path, "_id,text,year\n1,a,2020\n2,a,2020.7\n"), fields={"year": "integer"})
    assert whole == Document("1", "a", fields={"year": "2020"})
    assert isinstance(fraction, MalformedRecord)
    assert fraction.reason == "field 'year' is an integer in the index, got 2020.7; round it, or declare it as double"


def test_a_version_is_a_number_although_a_table_holds_text(tmp_path: Path) -> None:
    (tmp_path / "c.csv").write_text("_id,text,_version\n1,rain,3\n2,sun,4.0\n3,hail,\n4,fog,new\n")
    *found, bad = read_corpus(tmp_path / "c.csv")
    assert found == [Document("1", "rain", version=3), Document("2", "sun", version=4), Document("3", "hail")]
    assert isinstance(bad, MalformedRecord) and bad.reason == "'_version' is a string, not an integer"


def test_a_table_without_a_header_is_named_for_what_it_seems_to_be(tmp_path: Path) -> None:
    (tmp_path / "collection.tsv").write_text("0\tThe presence of communication\n1\tThe Manhattan Project\n")
    with pytest.raises(CorpusError, match="no text column 'text'.* If the first line is a record, add a line with"):
        list(read_corpus(tmp_path / "collection.tsv"))


def test_columns_of_flattened_metadata_are_its_keys(tmp_path: Path) -> None:
    path = write(tmp_path, "_id,text,metadata.lang,metadata.a.b,year\n1,body,en,x,2020\n")
    assert list(read_corpus(path)) == [Document("1", "body", metadata={"lang": "en", "a.b": "x", "year": "2020"})]
    [both] = read_corpus(write(tmp_path, "_id,text,metadata.lang,lang\n1,body,en,de\n"))
    assert isinstance(both, MalformedRecord)
    assert both.reason == "key 'lang' occurs both in 'metadata' and at the top level; remove one"
