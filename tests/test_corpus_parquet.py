from __future__ import annotations

import datetime
import decimal
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from connector.corpus import count_records, read_corpus
from connector.errors import CorpusError
from connector.types import Document, MalformedRecord


def write(folder: Path, columns: dict[str, Any], **options: Any) -> Path:  # noqa: ANN401
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    path = folder / "c.parquet"
    parquet.write_table(arrow.table(columns), path, **options)
    return path


def test_columns_become_the_parts_of_a_document(tmp_path: Path) -> None:
    columns = {"_id": [1], "title": ["T"], "text": ["body"], "lang": ["en"], "year": [2020]}
    assert list(read_corpus(write(tmp_path, columns), fields=["lang"])) == [
        Document("1", "body", "T", {"year": 2020}, {"lang": "en"})
    ]


def test_a_struct_of_metadata_is_an_object(tmp_path: Path) -> None:
    path = write(tmp_path, {"_id": ["d1"], "text": ["body"], "metadata": [{"tags": ["a", "b"]}]})
    assert list(read_corpus(path)) == [Document("d1", "body", metadata={"tags": ["a", "b"]})]


def test_null_cells_leave_their_key_out(tmp_path: Path) -> None:
    path = write(tmp_path, {"_id": ["d1", "d2"], "text": ["body", "more"], "year": [None, 2020]})
    assert list(read_corpus(path)) == [Document("d1", "body"), Document("d2", "more", metadata={"year": 2020})]


def test_dates_and_decimals_become_strings(tmp_path: Path) -> None:
    columns = {
        "_id": ["d1"],
        "text": ["body"],
        "day": [datetime.date(2020, 1, 2)],
        "price": [decimal.Decimal("1.50")],
    }
    assert list(read_corpus(write(tmp_path, columns))) == [
        Document("d1", "body", metadata={"day": "2020-01-02", "price": "1.50"})
    ]


def test_a_bad_row_does_not_stop_the_rest(tmp_path: Path) -> None:
    path = write(tmp_path, {"_id": ["d1", "d2", "d3"], "text": ["a", "", "c"]})
    first, second, third = read_corpus(path)
    assert (first, third) == (Document("d1", "a"), Document("d3", "c"))
    assert isinstance(second, MalformedRecord) and second.location == f"{path}:row 2"
    assert json.loads(second.raw) == {"_id": "d2", "text": ""}


def test_rows_are_numbered_across_row_groups(tmp_path: Path) -> None:
    path = write(tmp_path, {"_id": ["d1", "d2", "d3", "d4", None], "text": ["x"] * 5}, row_group_size=2)
    *_, last = read_corpus(path)
    assert isinstance(last, MalformedRecord) and last.location == f"{path}:row 5"


def test_nan_is_refused(tmp_path: Path) -> None:
    [found] = read_corpus(write(tmp_path, {"_id": ["d1"], "text": ["body"], "x": [float("nan")]}))
    assert isinstance(found, MalformedRecord)
    assert found.reason.startswith("'metadata.x' cannot be written as JSON")


def test_a_string_that_is_not_utf8_is_refused_alone(tmp_path: Path) -> None:
    arrow = pytest.importorskip("pyarrow")
    texts = arrow.array([b"good", b"caf\xe9"]).view(arrow.string())
    document, record = read_corpus(write(tmp_path, {"_id": ["d1", "d2"], "text": texts}))
    assert document == Document("d1", "good")
    assert isinstance(record, MalformedRecord) and record.reason.startswith("column 'text' cannot be read: not UTF-8")
    assert json.loads(record.raw) == {"_id": "d2", "text": "caf\\xe9"}


def test_a_table_without_text_is_refused_at_once(tmp_path: Path) -> None:
    path = write(tmp_path, {"_id": ["d1"], "body": ["x"]})
    with pytest.raises(CorpusError, match="has the columns '_id', 'body' and none called 'text'"):
        read_corpus(path)


def test_a_file_that_is_no_parquet_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    (tmp_path / "c.parquet").write_bytes(b"text")
    with pytest.raises(CorpusError, match=r"c\.parquet is no readable Parquet file"):
        read_corpus(tmp_path / "c.parquet")


def test_a_file_damaged_in_the_middle_names_the_row(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        {"_id": [f"d{number}" for number in range(6)], "text": ["body"] * 6},
        row_group_size=3,
        compression="gzip",
        use_dictionary=False,
    )
    parquet = pytest.importorskip("pyarrow.parquet")
    with parquet.ParquetFile(path) as file:
        start = file.metadata.row_group(1).column(0).data_page_offset
    content = bytearray(path.read_bytes())
    content[start : start + 40] = b"\xff" * 40
    path.write_bytes(bytes(content))
    with pytest.raises(CorpusError, match=r"c\.parquet cannot be read after row \d"):
        list(read_corpus(path))


def test_without_pyarrow_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "c.parquet").touch()
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(CorpusError, match=r"needs pyarrow to be read; pip install 'ksparse\[parquet\]'"):
        read_corpus(tmp_path / "c.parquet")


def test_rows_are_counted(tmp_path: Path) -> None:
    assert count_records(write(tmp_path, {"_id": ["d1", "d2"], "text": ["a", "b"]})) == 2
