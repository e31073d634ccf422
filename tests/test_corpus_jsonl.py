from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from connector.corpus import count_records, read_corpus
from connector.errors import CorpusError
from connector.types import Document, MalformedRecord

GOOD = b'{"_id": "d1", "text": "body"}\n'


def write(folder: Path, content: bytes, name: str = "c.jsonl") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def malformed(folder: Path, line: bytes) -> MalformedRecord:
    [found] = read_corpus(write(folder, line))
    assert isinstance(found, MalformedRecord)
    return found


def test_a_broken_line_does_not_stop_the_rest(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD + b'{"_id": "d2"\n' + b'{"_id": "d3", "text": "x"}')
    first, second, third = read_corpus(path)
    assert (first, third) == (Document("d1", "body"), Document("d3", "x"))
    assert second == MalformedRecord(
        f"{path}:2", "not valid JSON: Expecting ',' delimiter at column 13", '{"_id": "d2"'
    )


def test_blank_lines_are_skipped_and_still_numbered(tmp_path: Path) -> None:
    path = write(tmp_path, b"\n  \r\n" + GOOD + b"\nbroken\n")
    document, record = read_corpus(path)
    assert document == Document("d1", "body")
    assert isinstance(record, MalformedRecord) and record.location == f"{path}:5"


def test_a_line_that_is_not_utf8_names_the_byte_and_keeps_all(tmp_path: Path) -> None:
    found = malformed(tmp_path, '{"_id": "é", "text": "b"}\n'.encode("latin-1"))
    assert found.reason.startswith("not UTF-8: byte 0xe9 at position 9")
    assert found.raw == '{"_id": "\\xe9", "text": "b"}'


@pytest.mark.parametrize("line", [b'"text"', b"null", b"3"])
def test_a_line_that_is_no_object_is_refused(tmp_path: Path, line: bytes) -> None:
    assert malformed(tmp_path, line).reason == f"not a JSON object but {line.decode()!r}"


@pytest.mark.parametrize("constant", ["NaN", "Infinity", "-Infinity"])
def test_constants_that_json_lacks_are_refused(tmp_path: Path, constant: str) -> None:
    found = malformed(tmp_path, b'{"_id": "d", "text": "b", "metadata": {"x": %s}}' % constant.encode())
    assert found.reason == f"not valid JSON: {constant} is not a JSON number"


def test_a_number_that_overflows_to_infinity_is_refused(tmp_path: Path) -> None:
    found = malformed(tmp_path, b'{"_id": "d", "text": "b", "metadata": {"x": 1e999}}')
    assert found.reason.startswith("'metadata.x' cannot be written as JSON")


def test_a_number_of_too_many_digits_is_refused(tmp_path: Path) -> None:
    found = malformed(tmp_path, b'{"_id": "d", "text": "b", "metadata": {"x": %s}}' % (b"1" * 5000))
    assert "4300 digits" in found.reason


def test_an_escaped_lone_surrogate_is_refused(tmp_path: Path) -> None:
    found = malformed(tmp_path, rb'{"_id": "d", "text": "\ud800"}')
    assert found.reason.startswith("'text' cannot be sent as UTF-8")


def test_an_escaped_surrogate_pair_is_a_character(tmp_path: Path) -> None:
    [found] = read_corpus(write(tmp_path, rb'{"_id": "d", "text": "\ud83d\ude00"}'))
    assert found == Document("d", "\N{GRINNING FACE}")


def test_a_key_that_occurs_twice_is_refused(tmp_path: Path) -> None:
    found = malformed(tmp_path, b'{"_id": "a", "_id": "b", "text": "b"}')
    assert found.reason == "key '_id' occurs twice in an object; remove one"


def test_deep_nesting_is_refused(tmp_path: Path) -> None:
    assert "nested too deeply" in malformed(tmp_path, b'{"a":' + b"[" * 200_000).reason


def test_a_repeated_id_names_its_second_line(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD + GOOD)
    _, second = read_corpus(path)
    assert isinstance(second, MalformedRecord)
    assert (second.location, second.raw) == (f"{path}:2", GOOD.decode().strip())


def test_the_raw_line_is_kept_whole(tmp_path: Path) -> None:
    line = json.dumps({"_id": "", "text": "x" * 50_000})
    assert malformed(tmp_path, line.encode()).raw == line


def test_a_byte_order_mark_is_no_part_of_the_record(tmp_path: Path) -> None:
    assert list(read_corpus(write(tmp_path, b"\xef\xbb\xbf" + GOOD))) == [Document("d1", "body")]


def test_declared_fields_are_read(tmp_path: Path) -> None:
    path = write(tmp_path, b'{"_id": "d", "text": "b", "lang": "en"}')
    assert list(read_corpus(path, fields=["lang"])) == [Document("d", "b", fields={"lang": "en"})]


def test_gzip_is_read(tmp_path: Path) -> None:
    assert list(read_corpus(write(tmp_path, gzip.compress(GOOD), "c.jsonl.gz"))) == [Document("d1", "body")]


def test_a_gzip_file_cut_short_gives_what_came_before(tmp_path: Path) -> None:
    lines = b"".join(b'{"_id": "%d", "text": "body"}\n' % number for number in range(5000))
    records = read_corpus(write(tmp_path, gzip.compress(lines)[:-2000], "c.jsonl.gz"))
    read = []
    with pytest.raises(CorpusError, match=r"c\.jsonl\.gz cannot be read after line \d+") as caught:
        for record in records:
            read.append(record)
    assert read == [Document(str(number), "body") for number in range(len(read))]
    assert len(read) > 1000 and f"after line {len(read)}:" in str(caught.value)


def test_bytes_after_the_end_of_a_gzip_file_are_an_error(tmp_path: Path) -> None:
    path = write(tmp_path, gzip.compress(GOOD) + b"trailing", "c.jsonl.gz")
    with pytest.raises(CorpusError, match="Not a gzipped file"):
        list(read_corpus(path))


def test_an_empty_file_has_no_records(tmp_path: Path) -> None:
    assert list(read_corpus(write(tmp_path, b""))) == []


def test_records_are_counted_in_lines(tmp_path: Path) -> None:
    assert count_records(write(tmp_path, GOOD * 3 + GOOD.strip())) == 4


def test_records_of_a_gzip_file_are_counted(tmp_path: Path) -> None:
    assert count_records(write(tmp_path, gzip.compress(GOOD * 3), "c.jsonl.gz")) == 3


def test_a_broken_gzip_file_has_no_count(tmp_path: Path) -> None:
    assert count_records(write(tmp_path, gzip.compress(GOOD * 3)[:-9], "c.jsonl.gz")) is None


def test_records_that_are_not_on_a_line_each_are_not_counted_by_lines(tmp_path: Path) -> None:
    array = b"[" + b",".join([GOOD.strip()] * 3) + b"]"
    for content in (array, b"\n" + array.replace(b",", b",\n"), b'{\n"_id": "d1",\n"text": "body"\n}\n'):
        assert count_records(write(tmp_path, content)) is None
    assert count_records(write(tmp_path, (b'{"index": {}}\n' + GOOD) * 3)) == 3
    assert count_records(write(tmp_path, b"")) == 0


def test_objects_separated_by_commas_are_named_for_what_they_are(tmp_path: Path) -> None:
    (tmp_path / "c.jsonl").write_text('{"_id":"1","text":"rain"},\n{"_id":"2","text":"sun"}\n')
    bad, good = read_corpus(tmp_path / "c.jsonl")
    assert isinstance(bad, MalformedRecord) and isinstance(good, Document)
    assert (
        bad.reason == "not valid JSON: Extra data at column 26; write one object per line, without commas between them"
    )


@pytest.mark.parametrize("gap", ["", "\n  "])
def test_a_json_text_sequence_is_read(tmp_path: Path, gap: str) -> None:
    (tmp_path / "c.jsonl").write_text(f'\x1e{{{gap}"_id":"1","text":"rain"}}\n\x1e{{{gap}"_id":"2","text":"sun"}}\n')
    found = read_corpus(tmp_path / "c.jsonl")
    assert [(each.doc_id, each.text) for each in found if isinstance(each, Document)] == [("1", "rain"), ("2", "sun")]
