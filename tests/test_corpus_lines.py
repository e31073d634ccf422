"""Encodings and line ends of text files."""

from __future__ import annotations

import codecs
import gzip
import io
import os
import sys
from pathlib import Path

import pytest

from connector.corpus import Layout, read_corpus
from connector.corpus.lines import read_entries, read_lines
from connector.errors import CorpusError
from connector.types import Document, MalformedRecord

CSV = "_id,text\nd1,café\nd2,größer\n"
JSONL = '{"_id": "d1", "text": "café"}\n{"_id": "d2", "text": "größer"}\n'
DOCUMENTS = [Document("d1", "café"), Document("d2", "größer")]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-8-sig", "utf-32"])
@pytest.mark.parametrize(("name", "content"), [("c.csv", CSV), ("c.jsonl", JSONL), ("c.jsonl.gz", JSONL)])
def test_a_byte_order_mark_says_the_encoding(tmp_path: Path, encoding: str, name: str, content: str) -> None:
    marks = {"utf-16-le": codecs.BOM_UTF16_LE, "utf-16-be": codecs.BOM_UTF16_BE}
    written = marks.get(encoding, b"") + content.encode(encoding)
    (tmp_path / name).write_bytes(gzip.compress(written) if name.endswith(".gz") else written)
    assert list(read_corpus(tmp_path / name)) == DOCUMENTS


@pytest.mark.parametrize("encoding", ["cp1252", "latin-1", "utf-16-le"])
@pytest.mark.parametrize(("name", "content"), [("c.csv", CSV), ("c.jsonl", JSONL)])
def test_an_encoding_may_be_named(tmp_path: Path, encoding: str, name: str, content: str) -> None:
    (tmp_path / name).write_bytes(content.encode(encoding))
    assert list(read_corpus(tmp_path / name, layout=Layout(encoding=encoding))) == DOCUMENTS


def test_a_byte_order_mark_counts_more_than_what_is_named(tmp_path: Path) -> None:
    (tmp_path / "c.csv").write_bytes(CSV.encode("utf-8-sig"))
    assert list(read_corpus(tmp_path / "c.csv", layout=Layout(encoding="cp1252"))) == DOCUMENTS


def test_a_file_that_is_not_in_the_encoding_named_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "c.csv").write_bytes(b"_id,text\nd1,caf\x81\n")
    with pytest.raises(CorpusError, match=r"c\.csv cannot be decoded after line 0: .*byte 0x81.*\. Set its encoding"):
        read_corpus(tmp_path / "c.csv", layout=Layout(encoding="cp1252"))


def test_a_row_in_another_encoding_says_what_may_be_done(tmp_path: Path) -> None:
    (tmp_path / "c.csv").write_bytes(b"_id,text\nd1,caf\xe9\nd2,plain\n")
    record, document = read_corpus(tmp_path / "c.csv")
    assert document == Document("d2", "plain")
    assert isinstance(record, MalformedRecord)
    assert record.reason.endswith("convert the file, or set its encoding, e.g. cp1252")


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize(("name", "content"), [("c.csv", CSV), ("c.jsonl", JSONL), ("c.jsonl.gz", JSONL)])
def test_any_line_ends_are_read(tmp_path: Path, end: str, name: str, content: str) -> None:
    written = content.replace("\n", end).encode()
    (tmp_path / name).write_bytes(gzip.compress(written) if name.endswith(".gz") else written)
    assert list(read_corpus(tmp_path / name)) == DOCUMENTS


def test_carriage_returns_in_utf16_are_line_ends(tmp_path: Path) -> None:
    (tmp_path / "c.csv").write_bytes(CSV.replace("\n", "\r").encode("utf-16"))
    assert list(read_corpus(tmp_path / "c.csv")) == DOCUMENTS


def test_a_carriage_return_inside_of_a_cell_ends_no_line(tmp_path: Path) -> None:
    (tmp_path / "c.csv").write_bytes(b'_id,text\nd1,"a\rb"\nd2,x\n')
    assert list(read_corpus(tmp_path / "c.csv")) == [Document("d1", "a\rb"), Document("d2", "x")]


def test_lines_that_end_with_carriage_returns_are_numbered(tmp_path: Path) -> None:
    (tmp_path / "c.txt").write_bytes(b"one\rtwo\r\rlast")
    assert list(read_lines(tmp_path / "c.txt")) == [(1, b"one\r"), (2, b"two\r"), (3, b"\r"), (4, b"last")]


def test_a_long_file_is_read_to_its_end(tmp_path: Path) -> None:
    lines = [f"line {number} é\r".encode() for number in range(50_000)]
    (tmp_path / "c.txt").write_bytes(b"".join(lines))
    assert [line for _, line in read_lines(tmp_path / "c.txt")] == lines


@pytest.mark.parametrize(
    "content", [b"\xef\xbb\xbfk1\nk2\n", b"  k1\t\r\n\r\n k2", "k1\nk2".encode("utf-16"), b"k1\rk2\r"]
)
def test_entries_are_one_a_line_without_what_surrounds_them(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "ids.txt").write_bytes(content)
    assert list(read_entries(tmp_path / "ids.txt")) == ["k1", "k2"]


def test_an_entry_in_another_encoding_names_its_line(tmp_path: Path) -> None:
    (tmp_path / "ids.txt").write_bytes(b"one\ncaf\xe9\n")
    with pytest.raises(CorpusError, match=r"ids\.txt:2 is not UTF-8: byte 0xe9 at position 3.*e\.g\. cp1252\.$"):
        list(read_entries(tmp_path / "ids.txt"))
    assert list(read_entries(tmp_path / "ids.txt", "latin-1")) == ["one", "café"]


def test_a_line_that_came_through_a_pipe_is_there_before_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    receiving, sending = os.pipe()
    with os.fdopen(receiving, "rb") as stream, os.fdopen(sending, "wb", buffering=0) as other:
        stdin = io.TextIOWrapper(stream)
        monkeypatch.setattr(sys, "stdin", stdin)
        other.write(b'{"_id": "d1", "text": "body"}\n')
        records = read_corpus("-")
        assert next(records) == Document("d1", "body")
        other.write(b'{"_id": "d2", "text": "more"}\n')
        other.close()
        assert list(records) == [Document("d2", "more")]
        stdin.detach()
