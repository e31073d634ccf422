from __future__ import annotations

import dataclasses
import datetime
import decimal
import json
import sys
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pytest

from connector.corpus import Layout, check_documents, count_records, read_corpus
from connector.corpus.check import RecordChecker
from connector.corpus.jsonl import read_document
from connector.corpus.layout import RecordMapper
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


def test_nan_is_no_value(tmp_path: Path) -> None:
    path = write(tmp_path, {"_id": ["d1"], "text": ["body"], "x": [float("nan")], "y": [[1.5, float("nan")]]})
    assert list(read_corpus(path)) == [Document("d1", "body", metadata={"y": [1.5, None]})]


def test_a_string_that_is_not_utf8_is_refused_alone(tmp_path: Path) -> None:
    arrow = pytest.importorskip("pyarrow")
    texts = arrow.array([b"good", b"caf\xe9"]).view(arrow.string())
    document, record = read_corpus(write(tmp_path, {"_id": ["d1", "d2"], "text": texts}))
    assert document == Document("d1", "good")
    assert isinstance(record, MalformedRecord) and record.reason.startswith("column 'text' cannot be read: not UTF-8")
    assert json.loads(record.raw) == {"_id": "d2", "text": "caf\\xe9"}


def test_a_table_without_text_is_refused_at_once(tmp_path: Path) -> None:
    path = write(tmp_path, {"_id": ["d1"], "body": ["x"]})
    with pytest.raises(CorpusError, match="has the columns '_id', 'body', but no text column 'text'"):
        read_corpus(path)


def test_a_file_that_is_no_parquet_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    (tmp_path / "c.parquet").write_bytes(b"text")
    with pytest.raises(CorpusError, match=r"c\.parquet is not a readable Parquet file"):
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


def test_a_compression_that_pyarrow_does_not_have_is_an_error_of_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, {"text": ["body"]}, compression="snappy")
    content = path.read_bytes()
    # The name of the column and its compression, as a footer writes them: from Snappy (1) to LZO (3).
    codec = b"\x19\x18\x04text\x15"
    assert content.count(codec + b"\x02") == 1
    path.write_bytes(content.replace(codec + b"\x02", codec + b"\x06"))
    with pytest.raises(CorpusError, match=r"c\.parquet cannot be read after row 0: .*(?i:lzo)"):
        read_corpus(path, generate_ids=True)


def test_without_pyarrow_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "c.parquet").touch()
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(CorpusError, match=r"needs pyarrow; pip install 'ksparse\[parquet\]'"):
        read_corpus(tmp_path / "c.parquet")


def test_rows_are_counted(tmp_path: Path) -> None:
    assert count_records(write(tmp_path, {"_id": ["d1", "d2"], "text": ["a", "b"]})) == 2


def read(folder: Path, columns: dict[str, Any], **options: Any) -> list[Document | MalformedRecord]:  # noqa: ANN401
    whole = {"_id": ["d1"], "text": ["body"]} | columns
    return list(read_corpus(write(folder, whole), **options))


@pytest.mark.skipif(not hasattr(pyarrow, "uuid"), reason="of pyarrow 18")
def test_a_uuid_is_an_id(tmp_path: Path) -> None:
    ids = pyarrow.array([uuid.UUID(int=1).bytes], pyarrow.uuid())
    assert read(tmp_path, {"_id": ids}) == [Document("00000000-0000-0000-0000-000000000001", "body")]


def test_integers_and_whole_floats_are_ids(tmp_path: Path) -> None:
    columns = {"_id": [1.0, 2.0, None], "text": ["a", "b", "c"], "_version": [7.0, None, 8.0]}
    first, second, missing = read(tmp_path, columns)
    assert (first, second) == (Document("1", "a", version=7), Document("2", "b"))
    assert isinstance(missing, MalformedRecord) and missing.reason.startswith("has no '_id'")


def test_whole_floats_are_integers(tmp_path: Path) -> None:
    [found] = read(tmp_path, {"year": [2020.0], "price": [1.5], "nested": [{"n": [3.0, None]}]})
    assert repr(found.metadata) == "{'year': 2020, 'price': 1.5, 'nested': {'n': [3, None]}}"  # type: ignore[union-attr]


def test_a_map_is_an_object_and_a_key_with_several_values_has_a_list(tmp_path: Path) -> None:
    kind = pyarrow.map_(pyarrow.string(), pyarrow.string())
    maps = pyarrow.array([[("k", "v"), ("a", "b"), ("a", "c"), ("a", "d")]], kind)
    assert read(tmp_path, {"m": maps}) == [Document("d1", "body", metadata={"m": {"k": "v", "a": ["b", "c", "d"]}})]
    assert read(tmp_path, {"metadata": pyarrow.array([[("k", "v")]], kind)}) == [
        Document("d1", "body", metadata={"k": "v"})
    ]
    counts = pyarrow.array([[(1, 2.0)]], pyarrow.map_(pyarrow.int64(), pyarrow.float64()))
    assert read(tmp_path, {"m": counts}) == [Document("d1", "body", metadata={"m": {"1": 2}})]


def test_durations_are_seconds(tmp_path: Path) -> None:
    lengths = [datetime.timedelta(seconds=5)]
    for unit in ("s", "ms", "us", "ns"):
        [found] = read(tmp_path, {"dur": pyarrow.array(lengths, pyarrow.duration(unit))})
        assert found == Document("d1", "body", metadata={"dur": 5})


@pytest.mark.parametrize(
    ("kind", "value", "written"),
    [
        (pyarrow.timestamp("ns"), 1_577_923_200_000_000_001, "2020-01-02T00:00:00"),
        (pyarrow.timestamp("us", "UTC"), 1_577_923_200_500_000, "2020-01-02T00:00:00.500000+00:00"),
        (pyarrow.date32(), 18263, "2020-01-02"),
        (pyarrow.time64("ns"), 3_600_000_000_001, "01:00:00"),
    ],
)
def test_times_are_iso_8601(tmp_path: Path, kind: Any, value: int, written: str) -> None:  # noqa: ANN401
    times = pyarrow.array([value], pyarrow.int32() if kind == pyarrow.date32() else pyarrow.int64()).cast(kind)
    assert read(tmp_path, {"when": times}) == [Document("d1", "body", metadata={"when": written})]


def test_bytes_are_left_out_by_name_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    ids = ["d1", "d2"]
    thumbs = {"thumb": [b"\x89PNG", b"\0"], "raw": [[b"\0"], []]}
    assert read(tmp_path, {"_id": ids, "text": ["a", "b"], **thumbs}) == [Document("d1", "a"), Document("d2", "b")]
    assert [record.getMessage().removeprefix(str(tmp_path)) for record in caplog.records] == [
        "/c.parquet: column 'thumb' contains bytes and is skipped.",
        "/c.parquet: column 'raw' contains bytes and is skipped.",
    ]
    caplog.clear()
    read(tmp_path, {"thumb": [b"\0"]}, layout=Layout(exclude=frozenset({"thumb"})))
    assert not caplog.records, "it was asked for"


def test_members_with_bytes_are_left_out_by_name_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    image = {"bytes": b"\0", "path": "a.png", "parts": [{"x": 1, "raw": b"\0"}], "only": {"raw": b"\0"}}
    columns = {"_id": ["d1", "d2"], "text": ["a", "b"], "image": [image, None]}
    assert read(tmp_path, columns) == [
        Document("d1", "a", metadata={"image": {"path": "a.png", "parts": [{"x": 1}]}}),
        Document("d2", "b"),
    ]
    assert [record.getMessage().removeprefix(str(tmp_path)) for record in caplog.records] == [
        "/c.parquet: column 'image', member 'parts.raw' contains bytes and is skipped.",
        "/c.parquet: column 'image', member 'bytes' contains bytes and is skipped.",
        "/c.parquet: column 'image', member 'only' contains bytes and is skipped.",
    ]
    metadata = [{"lang": "en", "raw": b"\0"}]
    assert read(tmp_path, {"metadata": metadata}) == [Document("d1", "body", metadata={"lang": "en"})]
    [found] = read(tmp_path, {"image": [{"bytes": b"\0", "path": "a.png"}]}, fields=["image"])
    assert found == Document("d1", "body", fields={"image": {"bytes": "AA==", "path": "a.png"}})


def test_an_empty_map_is_an_empty_object_and_an_empty_list_a_list(tmp_path: Path) -> None:
    kind = pyarrow.map_(pyarrow.string(), pyarrow.string())
    inside = pyarrow.array([{"m": [], "l": []}], pyarrow.struct([("m", kind), ("l", pyarrow.list_(kind))]))
    columns = {"m": pyarrow.array([[]], kind), "l": pyarrow.array([[]], pyarrow.list_(pyarrow.string())), "s": inside}
    columns["n"] = pyarrow.array([None], kind)
    assert read(tmp_path, columns) == [Document("d1", "body", metadata={"m": {}, "l": [], "s": {"m": {}, "l": []}})]


def test_a_map_of_bytes_is_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    maps = {
        "values": pyarrow.array([[("k", b"v")]], pyarrow.map_(pyarrow.string(), pyarrow.binary())),
        "keys": pyarrow.array([[(b"k", "v")]], pyarrow.map_(pyarrow.binary(), pyarrow.string())),
    }
    assert read(tmp_path, maps) == [Document("d1", "body")]
    assert [message.split("column ")[1] for message in caplog.messages] == [
        "'values' contains bytes and is skipped.",
        "'keys' contains bytes and is skipped.",
    ]


def test_nanoseconds_inside_lists_structs_and_maps_are_microseconds(tmp_path: Path) -> None:
    when = pyarrow.timestamp("ns")
    kind = pyarrow.struct([("at", when), ("all", pyarrow.list_(when)), ("by", pyarrow.map_(pyarrow.string(), when))])
    moment = 1_577_923_200_000_000_001
    times = pyarrow.array([{"at": moment, "all": [moment], "by": [("k", moment)]}], kind)
    written = "2020-01-02T00:00:00"
    assert read(tmp_path, {"s": times}) == [
        Document("d1", "body", metadata={"s": {"at": written, "all": [written], "by": {"k": written}}})
    ]


def test_bytes_of_a_declared_field_are_base64_and_of_a_text_are_text(tmp_path: Path) -> None:
    columns = {"_id": [b"d1"], "text": ["café".encode()], "thumb": [b"\x89PNG"]}
    assert read(tmp_path, columns, fields=["thumb"]) == [Document("d1", "café", fields={"thumb": "iVBORw=="})]


def test_a_cell_that_cannot_be_read_is_left_out_and_named_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    words = pyarrow.array([b"good", b"caf\xe9", b"\xff"]).view(pyarrow.string())
    times = pyarrow.array([0, 2**62, 10**6], pyarrow.int64()).cast(pyarrow.timestamp("us"))
    columns = {"_id": ["1", "2", "3"], "text": ["a", "b", "c"], "word": words, "when": times}
    columns |= {"x": [1.5, float("inf"), 2.5]}
    found = read(tmp_path, columns)
    assert [each.metadata for each in found if isinstance(each, Document)] == [
        {"word": "good", "when": "1970-01-01T00:00:00", "x": 1.5},
        {},
        {"when": "1970-01-01T00:00:01", "x": 2.5},
    ]
    messages = [record.getMessage() for record in caplog.records]
    assert [message.split("column ")[1].split(" has")[0] for message in messages] == ["'word'", "'when'", "'x'"]


@pytest.mark.parametrize("kind", ["dictionary", "large_string", "string_view"])
def test_any_kind_of_string_is_a_string(tmp_path: Path, kind: str) -> None:
    if kind == "string_view" and not hasattr(pyarrow, kind):
        pytest.skip("of pyarrow 16")
    texts = pyarrow.array(["body"])
    texts = texts.dictionary_encode() if kind == "dictionary" else texts.cast(getattr(pyarrow, kind)())
    assert read(tmp_path, {"text": texts, "lang": texts}) == [Document("d1", "body", metadata={"lang": "body"})]


def test_lists_and_structs_are_arrays_and_objects(tmp_path: Path) -> None:
    columns = {"tags": [["a", None]], "author": [{"name": "Li", "born": datetime.date(1999, 1, 2)}], "none": [None]}
    assert read(tmp_path, columns) == [
        Document("d1", "body", metadata={"tags": ["a", None], "author": {"name": "Li", "born": "1999-01-02"}})
    ]


def test_metadata_may_be_json_text(tmp_path: Path) -> None:
    assert read(tmp_path, {"metadata": ['{"a": 1.0}']}) == [Document("d1", "body", metadata={"a": 1})]


def test_row_numbers_of_pandas_are_left_out(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"_id": ["d1"], "text": ["body"], "year": [2020.0]}, index=[17])
    frame.to_parquet(tmp_path / "c.parquet")
    assert list(read_corpus(tmp_path / "c.parquet")) == [Document("d1", "body", metadata={"year": 2020})]


def test_a_name_with_a_dot_is_a_name(tmp_path: Path) -> None:
    assert read(tmp_path, {"a.b": ["x"], "thumb": [b"\0"]}) == [Document("d1", "body", metadata={"a.b": "x"})]


def test_tensors_are_left_out_by_name(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    kind = pyarrow.fixed_shape_tensor(pyarrow.float32(), (2,))
    tensors = pyarrow.ExtensionArray.from_storage(kind, pyarrow.array([[1.0, 2.0]], kind.storage_type))
    assert read(tmp_path, {"vec": tensors}) == [Document("d1", "body")]
    assert "column 'vec' has the type arrow.fixed_shape_tensor and is skipped" in caplog.text


def test_times_of_spark_may_be_beyond_what_nanoseconds_hold(tmp_path: Path) -> None:
    days = [datetime.datetime(9999, 12, 31), datetime.datetime(2020, 1, 2, 3, 4, 5, 6), datetime.datetime(1, 1, 1)]
    columns = {"_id": ["1", "2", "3"], "text": ["a", "b", "c"], "until": pyarrow.array(days, pyarrow.timestamp("us"))}
    path = write(tmp_path, columns, use_deprecated_int96_timestamps=True)
    found = [each.metadata["until"] for each in read_corpus(path) if isinstance(each, Document)]
    assert found == ["9999-12-31T00:00:00", "2020-01-02T03:04:05.000006", "0001-01-01T00:00:00"]


def test_a_time_zone_that_nobody_knows_costs_the_cells_and_not_the_rows(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    times = pyarrow.array([0], pyarrow.timestamp("us", "Nowhere/Land"))
    assert read(tmp_path, {"when": times}) == [Document("d1", "body")]
    assert "column 'when' has cells that cannot be read" in caplog.text
    assert read(tmp_path, {"_id": ["d2"], "text": [""], "when": times})[0].raw  # type: ignore[union-attr]


def test_decimals_are_ids_versions_and_routings(tmp_path: Path) -> None:
    numbers = pyarrow.array([decimal.Decimal(7)], pyarrow.decimal128(38, 0))
    assert read(tmp_path, {"_id": numbers, "_version": numbers, "_routing": numbers}) == [
        Document("7", "body", version=7, routing="7")
    ]


TIME = datetime.datetime(2020, 1, 1)
STRUCT = {"kept": None, "raw": b"\0", "price": 4.99}


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (TIME, pyarrow.timestamp("us")),
        (TIME, pyarrow.timestamp("ns")),
        (datetime.timedelta(seconds=90), pyarrow.duration("s")),
        (decimal.Decimal("2.00"), pyarrow.decimal128(5, 2)),
        (decimal.Decimal("2.50"), pyarrow.decimal128(5, 2)),
        ([("k", 1)], pyarrow.map_(pyarrow.string(), pyarrow.int64())),
        (STRUCT, pyarrow.struct([("kept", pyarrow.int64()), ("raw", pyarrow.binary()), ("price", pyarrow.float32())])),
        (float("nan"), pyarrow.float64()),
        (float("inf"), pyarrow.float64()),
        (4.99, pyarrow.float32()),
        ([0.5] * 63 + [float("nan")], pyarrow.list_(pyarrow.float64())),
        ([1.0] * 64, pyarrow.list_(pyarrow.float64())),
        ([0.5] * 64, pyarrow.list_(pyarrow.float32(), 64)),
        (None, pyarrow.string()),
        ("", pyarrow.string()),
    ],
)
@pytest.mark.parametrize("place", ["value", "declared"])
def test_a_malformed_row_that_is_corrected_is_read_as_a_valid_one(
    tmp_path: Path,
    value: Any,  # noqa: ANN401
    kind: Any,  # noqa: ANN401
    place: str,
) -> None:
    cells = pyarrow.array([value, value], kind)
    path = write(tmp_path, {"_id": ["d1", "d2"], "text": ["body", ""], place: cells})
    fields = {"declared": "double"}
    valid, malformed = read_corpus(path, fields=fields)
    if place == "declared" and value == float("inf"):
        assert isinstance(malformed, MalformedRecord) and "cannot be read: inf is not a JSON number" in malformed.reason
        return
    assert isinstance(valid, Document) and isinstance(malformed, MalformedRecord)
    assert (malformed.doc_id, malformed.flat) == ("d2", True)
    corrected = json.dumps(json.loads(malformed.raw) | {"text": "body"})
    mapper = RecordMapper(RecordChecker(fields), Layout())
    assert read_document(corrected, mapper, flat=True) == dataclasses.replace(valid, doc_id="d2")


def test_metadata_as_text_and_a_version_as_text_are_read_again_as_from_the_row(tmp_path: Path) -> None:
    columns = {"_id": ["d1"], "text": [""], "metadata": ['{"a": 1.0}'], "_version": ["7"], "_routing": [3]}
    [malformed] = read_corpus(write(tmp_path, columns))
    assert isinstance(malformed, MalformedRecord) and (malformed.doc_id, malformed.routing) == ("d1", "3")
    corrected = json.dumps(json.loads(malformed.raw) | {"text": "body"})
    mapper = RecordMapper(RecordChecker(), Layout())
    expected = Document("d1", "body", metadata={"a": 1}, version=7, routing="3")
    assert read_document(corrected, mapper, flat=True) == expected


def test_a_time_is_the_same_id_in_a_row_that_is_corrected(tmp_path: Path) -> None:
    columns = {"_id": pyarrow.array([TIME, TIME], pyarrow.timestamp("us")), "text": ["body", ""]}
    valid, malformed = read_corpus(write(tmp_path, columns), refuse_repeated=False)
    assert isinstance(valid, Document) and isinstance(malformed, MalformedRecord)
    assert valid.doc_id == malformed.doc_id == json.loads(malformed.raw)["_id"] == "2020-01-01T00:00:00"


def test_a_null_id_is_not_replaced_by_another_column_in_a_row_that_is_corrected(tmp_path: Path) -> None:
    [malformed] = read_corpus(write(tmp_path, {"_id": [None], "id": [7], "text": ["body"]}))
    assert isinstance(malformed, MalformedRecord) and malformed.doc_id is None
    with pytest.raises(ValueError, match="has no '_id'"):
        read_document(malformed.raw, RecordMapper(RecordChecker(), Layout()), flat=True)


def test_bytes_of_a_declared_field_are_text_unless_it_is_binary(tmp_path: Path) -> None:
    fields = {"lang": "keyword", "tags": "keyword", "thumb": "binary"}
    columns = {"lang": [b"en"], "tags": [["é".encode(), None]], "thumb": [b"en"]}
    expected = {"lang": "en", "tags": ["é", None], "thumb": "ZW4="}
    assert read(tmp_path, columns, fields=fields) == [Document("d1", "body", fields=expected)]
    [found] = read(tmp_path, {"lang": [b"caf\xe9"]}, fields=fields)
    assert isinstance(found, MalformedRecord) and found.doc_id == "d1"
    assert found.reason.startswith("column 'lang' cannot be read: not UTF-8")


@pytest.mark.parametrize("number", [0.25, 1.0])
@pytest.mark.parametrize(
    "kind",
    [
        pyarrow.list_(pyarrow.float32(), 128),
        pyarrow.list_(pyarrow.float32()),
        pyarrow.large_list(pyarrow.float64()),
        pyarrow.list_(pyarrow.float16(), 128),
    ],
)
def test_embeddings_are_left_out_by_name_once(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    kind: Any,  # noqa: ANN401
    number: float,
) -> None:
    given = np.float16(number) if pyarrow.types.is_float16(kind.value_type) else number
    numbers = pyarrow.array([[given] * 128] * 2, kind)
    columns = {"_id": ["d1", "d2"], "text": ["a", "b"], "emb": numbers, "place": [[1.5, 2.5, 3.5]] * 2}
    place = {"place": [1.5, 2.5, 3.5]}
    assert read(tmp_path, columns) == [Document("d1", "a", metadata=place), Document("d2", "b", metadata=place)]
    [message] = caplog.messages
    assert message.partition(": ")[2].startswith("column 'emb' holds embeddings (lists of 64 or more floats;")
    caplog.clear()
    [found, _] = read(tmp_path, columns, fields=["emb"])
    assert isinstance(found, Document) and found.fields == {"emb": [number] * 128} and not caplog.messages


def test_narrow_floats_are_their_shortest_decimals(tmp_path: Path) -> None:
    values = [0.1, 4.99, 2020]
    kind = pyarrow.struct([("all", pyarrow.list_(pyarrow.float32()))])
    columns = {
        "price": pyarrow.array([4.99], pyarrow.float32()),
        "half": pyarrow.array([np.float16(0.1)], pyarrow.float16()),
        "s": pyarrow.array([{"all": values}], kind),
        "m": pyarrow.array([[("k", 4.99)]], pyarrow.map_(pyarrow.string(), pyarrow.float32())),
        "d": pyarrow.array([4.99], pyarrow.float32()).dictionary_encode(),
    }
    expected = {"price": 4.99, "half": 0.1, "s": {"all": values}, "m": {"k": 4.99}, "d": 4.99}
    [found] = read(tmp_path, columns)
    assert isinstance(found, Document) and found.metadata == expected
    assert repr(found.metadata["s"]) == "{'all': [0.1, 4.99, 2020]}"
    [found] = check_documents([{"_id": "d1", "text": "body", "metadata": {"all": np.array(values, dtype="float32")}}])
    assert isinstance(found, Document) and found.metadata == {"all": values}
