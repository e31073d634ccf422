from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

import pytest

from connector.errors import CorpusError
from connector.ingest.sample import Sampled
from connector.types import Document, MalformedRecord

BAD = MalformedRecord("line 2", "no text", "")


def stream(count: int) -> list[Document | MalformedRecord]:
    return [BAD if row == 1 else Document(str(row), f"text {row}") for row in range(count)]


def test_a_sampled_stream_is_still_whole() -> None:
    records = Sampled(stream(6))
    assert records.sample(3) == ["text 0", "text 2", "text 3"]
    assert records.sample(2) == ["text 0", "text 2"]
    assert records.sample(4) == ["text 0", "text 2", "text 3", "text 4"]
    assert list(records) == stream(6)


def test_a_short_stream_gives_what_it_has() -> None:
    records = Sampled(stream(3))
    assert records.sample() == ["text 0", "text 2"]
    assert list(records) == stream(3)


def test_no_more_is_read_than_requested() -> None:
    read = 0

    def counted() -> Iterator[Document | MalformedRecord]:
        nonlocal read
        for record in stream(100):
            read += 1
            yield record

    Sampled(counted()).sample(2)
    assert read == 3


def test_large_documents_make_a_small_sample() -> None:
    large = [Document(str(row), "x" * 2**20) for row in range(300)]
    assert len(Sampled(large).sample()) == 256


def test_metadata_and_fields_make_a_small_sample_as_well() -> None:
    kept = {"a": [{"b": "x" * 2**19}, 7]}
    large = [Document(str(row), "text", metadata=kept, fields=kept) for row in range(300)]
    assert len(Sampled(large).sample()) == 256


def test_what_is_malformed_takes_its_part_of_the_memory() -> None:
    read = 0

    def broken() -> Iterator[MalformedRecord]:
        nonlocal read
        while True:
            read += 1
            yield MalformedRecord(f"c.jsonl:{read}", "has no 'text'", "x" * 2**20)

    with pytest.raises(CorpusError, match=r"The first 256 records are malformed; the first one, c\.jsonl:1, has no"):
        Sampled(broken()).sample(1)
    records = Sampled(chain([Document("1", "text")], broken()))
    assert records.sample(2) == ["text"], "a small sample instead"
    assert next(iter(records)) == Document("1", "text")
