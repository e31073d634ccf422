"""Parts of a corpus together are the corpus."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from connector.corpus.check import RecordChecker
from connector.corpus.layout import Layout, RecordMapper
from connector.corpus.parts import Part, read_part, split_corpus
from connector.corpus.read import CorpusRecord, read_corpus
from connector.errors import CorpusError
from connector.types import Document, MalformedRecord


def lines(count: int, *, prefix: str = "d") -> str:
    return "".join(
        json.dumps({"_id": f"{prefix}{row}", "text": "stars " * (row % 7 + 1)}) + "\n" for row in range(count)
    )


def records(parts: list[Part]) -> list[CorpusRecord]:
    mapper = RecordMapper(RecordChecker(), Layout())
    return [record for part in parts for record in read_part(part, mapper)]


@pytest.mark.parametrize("part_bytes", range(1, 120, 7))
def test_every_line_is_in_one_part_wherever_the_cuts_are(tmp_path: Path, part_bytes: int) -> None:
    path = tmp_path / "c.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + lines(5).encode() + b"\n\r\n" + lines(4, prefix="e").rstrip().encode())
    parts = list(split_corpus(path, part_bytes=part_bytes))
    assert len(parts) == -(-path.stat().st_size // part_bytes)
    assert records(parts) == list(read_corpus(path))


def test_a_malformed_line_of_a_part_is_located_by_its_first_byte(tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"
    path.write_text(lines(3) + "{broken\n" + lines(1, prefix="e"))
    found = [each for each in records(list(split_corpus(path, part_bytes=40))) if isinstance(each, MalformedRecord)]
    [broken] = found
    assert broken.location == f"{path}:byte {len(lines(3))}"
    assert broken.raw == "{broken"


@pytest.mark.parametrize("part_rows", [1, 3, 4, 100])
def test_every_row_is_in_one_part_wherever_the_cuts_are(tmp_path: Path, part_rows: int) -> None:
    path = tmp_path / "c.parquet"
    rows = [{"_id": f"d{row}", "text": "" if row == 6 else f"stars {row}"} for row in range(11)]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path, row_group_size=4)
    assert records(list(split_corpus(path, part_rows=part_rows))) == list(read_corpus(path)), "locations included"


def test_what_is_packed_or_csv_is_one_part(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id,text\n1,cats\n2,dogs\n")
    (tmp_path / "b.jsonl").write_bytes(gzip.compress(lines(50).encode()))
    parts = list(split_corpus(tmp_path, part_bytes=10))
    assert [(Path(part.path).name, part.stop) for part in parts] == [("a.csv", None), ("b.jsonl", None)]
    assert len(records(parts)) == 52


def test_a_folder_is_all_its_corpus_files_by_name(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    for name in ("b.jsonl", "a.jsonl", "deep/c.jsonl.gz", "_SUCCESS", ".hidden.jsonl", "readme.md"):
        content = lines(1, prefix=name).encode()
        (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    found = [each.doc_id for each in records(list(split_corpus(tmp_path))) if isinstance(each, Document)]
    assert found == ["a.jsonl0", "b.jsonl0", "deep/c.jsonl.gz0"]


def test_the_corpus_of_a_beir_folder_is_read_and_not_its_queries(tmp_path: Path) -> None:
    for name in ("corpus.jsonl", "queries.jsonl"):
        (tmp_path / name).write_text(lines(2))
    assert [Path(part.path).name for part in split_corpus(tmp_path)] == ["corpus.jsonl"]


def test_a_folder_without_corpus_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "readme.md").write_text("words")
    with pytest.raises(CorpusError, match=r"contains no corpus file; known suffixes: \.jsonl, "):
        list(split_corpus(tmp_path))


def test_standard_input_is_refused() -> None:
    with pytest.raises(CorpusError, match="Several machines cannot read standard input"):
        list(split_corpus("-"))


def test_a_part_whose_file_is_gone_is_an_error(tmp_path: Path) -> None:
    part = Part(str(tmp_path / "gone.jsonl"), "jsonl", 0, 10)
    with pytest.raises(CorpusError, match="gone.jsonl cannot be read after byte 0"):
        list(read_part(part, RecordMapper(RecordChecker(), Layout())))
