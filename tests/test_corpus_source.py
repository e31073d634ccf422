"""Paths, folders and standard input: what is found there, and what is refused before a record is read."""

from __future__ import annotations

import gzip
import io
import sys
from pathlib import Path

import pytest

from connector.corpus import count_records, read_corpus
from connector.corpus.source import digest_source
from connector.errors import CorpusError
from connector.types import Document, MalformedRecord

GOOD = b'{"_id": "d1", "text": "body"}\n'


def feed(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(content))))


@pytest.mark.parametrize("name", ["c.jsonl", "c.ndjson", "C.JSONL", "a.b.jsonl"])
def test_suffixes_of_json_lines(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(GOOD)
    assert list(read_corpus(tmp_path / name)) == [Document("d1", "body")]


def test_gzip_is_recognised_without_its_suffix(tmp_path: Path) -> None:
    (tmp_path / "c.jsonl").write_bytes(gzip.compress(GOOD))
    assert list(read_corpus(str(tmp_path / "c.jsonl"))) == [Document("d1", "body")]


def test_the_format_overrules_the_suffix(tmp_path: Path) -> None:
    (tmp_path / "c.txt").write_bytes(GOOD)
    assert list(read_corpus(tmp_path / "c.txt", format="jsonl")) == [Document("d1", "body")]


def test_a_missing_file_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"none\.jsonl does not exist; give a file, a BEIR folder"):
        read_corpus(tmp_path / "none.jsonl")


@pytest.mark.parametrize("name", ["c.txt", "corpus", "c.gz", "c.parquet.gz"])
def test_an_unknown_suffix_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(GOOD)
    with pytest.raises(CorpusError, match=r"suffix that says no format; \.jsonl, \.ndjson, \.csv"):
        read_corpus(tmp_path / name)


def test_an_unknown_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="format 'xml' is unknown; choose one of jsonl, csv, tsv, parquet"):
        read_corpus(tmp_path, format="xml")  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["corpus.jsonl", "corpus.jsonl.gz"])
def test_a_folder_is_read_as_beir(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(gzip.compress(GOOD) if name.endswith(".gz") else GOOD)
    (tmp_path / "queries.jsonl").write_bytes(b"broken")
    assert list(read_corpus(tmp_path)) == [Document("d1", "body")]


def test_a_folder_of_other_files_names_them(tmp_path: Path) -> None:
    for name in ("b.jsonl", "a.jsonl.gz", "notes.txt"):
        (tmp_path / name).touch()
    with pytest.raises(CorpusError, match=r"found a\.jsonl\.gz, b\.jsonl; give the path of one of them"):
        read_corpus(tmp_path)


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="holds no corpus.jsonl or corpus.jsonl.gz, nor any other corpus file"):
        read_corpus(tmp_path)


def test_a_folder_with_a_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="is a folder, which is read as BEIR; give the path of a csv file"):
        read_corpus(tmp_path, format="csv")


def test_standard_input_is_read_as_json_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    feed(monkeypatch, GOOD + b"broken\n")
    document, record = read_corpus("-")
    assert document == Document("d1", "body")
    assert isinstance(record, MalformedRecord) and record.location == "<stdin>:2"


def test_standard_input_may_be_csv(monkeypatch: pytest.MonkeyPatch) -> None:
    feed(monkeypatch, b"_id,text\nd1,body\n")
    assert list(read_corpus("-", format="csv")) == [Document("d1", "body")]


def test_standard_input_may_be_packed(monkeypatch: pytest.MonkeyPatch) -> None:
    feed(monkeypatch, gzip.compress(GOOD))
    assert list(read_corpus("-")) == [Document("d1", "body")]


def test_standard_input_that_cannot_be_peeked_into_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    # click's CliRunner puts such a stream in its place.
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(GOOD)))
    assert list(read_corpus("-")) == [Document("d1", "body")]


def test_standard_input_stays_open(monkeypatch: pytest.MonkeyPatch) -> None:
    feed(monkeypatch, GOOD)
    list(read_corpus("-"))
    assert not sys.stdin.buffer.closed


def test_parquet_from_standard_input_is_refused() -> None:
    with pytest.raises(CorpusError, match="Parquet cannot be read from standard input"):
        read_corpus("-", format="parquet")


def test_standard_input_has_no_count() -> None:
    assert count_records("-") is None


def test_a_digest_tells_contents_apart(tmp_path: Path) -> None:
    path = tmp_path / "corpus.jsonl"
    path.write_bytes(b"a" * 3_000_000)
    first = digest_source(path)
    assert digest_source(path) == first and len(first) == 16
    for content in (b"a" * 3_000_001, b"b" + b"a" * 2_999_999, b"a" * 2_999_999 + b"b"):
        path.write_bytes(content)
        assert digest_source(path) != first
    (tmp_path / "other.jsonl").write_bytes(b"a" * 3_000_000)
    assert digest_source(tmp_path / "other.jsonl") == first, "the name does not count"
    with pytest.raises(CorpusError, match="Standard input cannot be read again"):
        digest_source("-")
