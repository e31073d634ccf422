"""JSON that is not in lines, and JSON that other tools wrapped documents in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from connector.corpus import json_values, read_corpus
from connector.corpus.parts import split_corpus
from connector.errors import CorpusError
from connector.types import Document, MalformedRecord

ROWS = [{"_id": f"d{row}", "text": f"text {row} ] }}, {{", "metadata": {"n": row}} for row in range(5)]
EXPECTED = [Document(f"d{row}", f"text {row} ] }}, {{", metadata={"n": row}) for row in range(5)]


def write(folder: Path, content: str | bytes, name: str = "c.json") -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.mark.parametrize("name", ["c.json", "c.jsonl", "c.ndjson"])
@pytest.mark.parametrize(
    "content",
    [
        json.dumps(ROWS),
        json.dumps(ROWS, indent=4),
        "\n  " + json.dumps(ROWS) + "\n\n",
        "\n".join(json.dumps(row, indent=2) for row in ROWS),
        "".join(json.dumps(row) + "\n" for row in ROWS),
        json.dumps(ROWS, indent=1).replace("\n", "\r\n"),
    ],
)
def test_json_is_read_however_it_is_broken_into_lines(tmp_path: Path, name: str, content: str) -> None:
    assert list(read_corpus(write(tmp_path, content, name))) == EXPECTED


@pytest.mark.parametrize("chunk", [1, 3, 64])
def test_an_array_is_read_a_chunk_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    monkeypatch.setattr(json_values, "_CHUNK_BYTES", chunk)
    assert list(read_corpus(write(tmp_path, json.dumps(ROWS, ensure_ascii=False)))) == EXPECTED


def test_an_element_that_is_no_document_keeps_its_place_and_its_text(tmp_path: Path) -> None:
    path = write(tmp_path, b'[{"_id": "d1", "text": "a"}, 12, {"_id": "d2", "text": ""}, '
                 b'{"_id": "\xe9", "text": "b"},\n'
                 b'{"_id": "d5", "_id": "d6", "text": "c"}]')  # fmt: skip
    first, number, empty, latin, doubled = read_corpus(path)
    assert first == Document("d1", "a")
    assert number == MalformedRecord(f"{path}:value 2", "not a JSON object but '12'", "12")
    assert isinstance(empty, MalformedRecord) and empty.raw == '{"_id": "d2", "text": ""}'
    assert isinstance(latin, MalformedRecord) and latin.reason.startswith("not UTF-8: byte 0xe9")
    assert isinstance(doubled, MalformedRecord) and doubled.location == f"{path}:value 5"


@pytest.mark.parametrize(
    ("content", "number", "fault"),
    [
        ('[{"_id": "d1", "text": "a"}, {"_id": ', 1, "Expecting value"),
        ('[{"_id": "d1", "text": "a"}', 1, "the array is not closed"),
        ('[{"_id": "d1", "text": "a"} {"_id": "d2", "text": "b"}]', 1, "',' expected"),
        ('[{"_id": "d1", "text": "a"}]{}', 1, "there is data after the end"),
        ("[[" * 100_000, 0, "recursion"),
    ],
)
def test_an_array_that_breaks_off_gives_what_came_before(tmp_path: Path, content: str, number: int, fault: str) -> None:
    path = write(tmp_path, content)
    with pytest.raises(CorpusError, match=f"not valid JSON after value {number}: .*{fault}"):
        assert list(read_corpus(path)) == []


@pytest.mark.parametrize(
    ("value", "advice"),
    [
        ({"took": 1, "hits": {"total": 1, "hits": [{"_id": "1", "_source": {"text": "a"}}]}}, "the reply of a search"),
        ({"data": [{"_id": "1", "text": "a"}], "count": 1}, "The records seem to be in 'data'; give that array alone"),
        ({"k1": {"text": "a"}, "k2": {"text": "b"}}, "The records seem to be the values of this object"),
        (
            {"operation": "index", "reason": "no", "attempts": 0, "raw": "{}"},
            "It is a dead letter; use `ksparse replay`",
        ),
    ],
)
def test_records_inside_of_another_value_are_named(tmp_path: Path, value: object, advice: str) -> None:
    (tmp_path / "c.json").write_text(json.dumps(value))
    [record] = read_corpus(tmp_path / "c.json")
    assert isinstance(record, MalformedRecord) and advice in record.reason


def test_an_empty_array_has_no_records(tmp_path: Path) -> None:
    assert list(read_corpus(write(tmp_path, " [ ]\n"))) == []


def test_a_dump_is_read_hit_by_hit(tmp_path: Path) -> None:
    hits: list[dict[str, Any]] = [
        {
            "_index": "old",
            "_id": "a1",
            "_score": 1,
            "_source": {"text": "Lime trees.", "title": "Lime", "year": 2020.0},
        },
        {"_index": "old", "_id": "a2", "_version": 4, "_routing": "r", "_source": {"text": "Oaks.", "lang": "en"}},
    ]
    expected = [
        Document("a1", "Lime trees.", "Lime", {"year": 2020}),
        Document("a2", "Oaks.", fields={"lang": "en"}, version=4, routing="r"),
    ]
    for content in ("".join(json.dumps(hit) + "\n" for hit in hits), json.dumps(hits, indent=1)):
        assert list(read_corpus(write(tmp_path, content, "dump.jsonl"), fields=["lang"])) == expected


def test_a_bulk_body_is_read_as_what_it_indexes(tmp_path: Path) -> None:
    lines = [
        '{"index":{"_index":"x","_id":"b1","routing":"r","version":3,"version_type":"external"}}',
        '{"text":"Salt keeps fish.","kind":"food"}',
        '{"create":{}}',
        '{"_id":"b2","text":"Smoke does, too."}',
        '{"delete":{"_id":"b3"}}',
        '{"update":{"_id":"b4"}}',
        '{"doc":{"text":"changed"}}',
        '{"index":{"_id":"b5"}}',
        "broken",
        '{"index":{"_id":"b6"}}',
        '{"text":"Ice."}',
        '{"index":{"_id":"b7"}}',
    ]
    path = write(tmp_path, "\n".join(lines), "bulk.jsonl")
    records = list(read_corpus(path))
    assert [record for record in records if isinstance(record, Document)] == [
        Document("b1", "Salt keeps fish.", metadata={"kind": "food"}, version=3, routing="r"),
        Document("b2", "Smoke does, too."),
        Document("b6", "Ice."),
    ]
    refused = {each.location: each.reason for each in records if isinstance(each, MalformedRecord)}
    assert [place.rpartition(":")[2] for place in refused] == ["5", "7", "9", "12"]
    assert "is a deletion of a bulk body" in refused[f"{path}:5"]
    assert "is an update of a bulk body" in refused[f"{path}:7"]
    assert "without a document" in refused[f"{path}:12"]


def test_a_record_with_one_key_of_an_action_is_still_a_record(tmp_path: Path) -> None:
    [found] = read_corpus(write(tmp_path, '{"index": {"title": "of a book"}}\n', "c.jsonl"))
    assert isinstance(found, MalformedRecord) and found.reason.startswith(
        "has no 'text' and no 'title'; it has 'index'"
    )


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        (json.dumps(ROWS), 1),
        ('{"index":{"_id":"b1"}}\n{"text":"Salt keeps fish."}\n' * 3, 1),
        ("".join(json.dumps(row) + "\r" for row in ROWS), 1),
        ("".join(json.dumps(row) + "\n" for row in ROWS).encode("utf-16"), 1),
        ("".join(json.dumps(row) + "\n" for row in ROWS), 11),
    ],
)
def test_only_lines_that_stand_alone_are_cut(tmp_path: Path, content: str | bytes, parts: int) -> None:
    path = write(tmp_path, content, "c.jsonl")
    assert len(list(split_corpus(path, part_bytes=30))) == parts


def test_a_dump_of_an_index_of_ours_has_the_metadata_as_given(tmp_path: Path) -> None:
    whole = {"lang": "en", "long": "x" * 40_000}
    source = {"text": "Lime trees.", "metadata": {"lang": "en"}, "unindexed": {"metadata": whole}}
    for content in (
        json.dumps({"_id": "a1", "_source": source}),
        json.dumps({"index": {"_id": "a1"}}) + "\n" + json.dumps(source),
    ):
        assert list(read_corpus(write(tmp_path, content))) == [Document("a1", "Lime trees.", metadata=whole)]
    foreign = json.dumps({"_id": "a1", "_source": {"text": "a", "unindexed": {"pages": 3}}})
    assert list(read_corpus(write(tmp_path, foreign))) == [Document("a1", "a", metadata={"unindexed": {"pages": 3}})]
