"""The number of records of large corpora, from which the size of a dictionary follows."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from connector.corpus import estimate, read
from connector.corpus.estimate import estimate_records
from connector.corpus.layout import Layout

COUNT = 50_000
RECORDS = [
    {"_id": str(row), "text": f"{digits}\n{digits[:20]}."}
    for row, digits in enumerate(np.random.default_rng(0).bytes(25 * COUNT).hex(" ", 25).split())
]
JSON_LINES = "".join(json.dumps(record) + "\n" for record in RECORDS)
BULK = "".join(f'{{"index": {{"_id": "{each["_id"]}"}}}}\n{json.dumps({"text": each["text"]})}\n' for each in RECORDS)
CSV = "_id,text\n" + "".join(f'{record["_id"]},"{record["text"]}"\n' for record in RECORDS)

CORPORA = {
    "c.jsonl": JSON_LINES.encode(),
    "c.jsonl.gz": gzip.compress(JSON_LINES.encode()),
    "bulk.jsonl": BULK.encode(),
    "c.csv": CSV.encode(),
    "c.csv.gz": gzip.compress(CSV.encode()),
    "semicolons.csv": CSV.replace(",", ";").encode(),
    "c.tsv": CSV.replace(",", "\t").encode(),
    "c.json": json.dumps(RECORDS).encode(),
}


@pytest.mark.parametrize("name", CORPORA)
def test_the_rest_is_extrapolated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(read, "_MAX_COUNTED_BYTES", 10)  # as if it were large
    (tmp_path / name).write_bytes(CORPORA[name])
    # Files are read ahead, by up to a megabyte of an array.
    assert estimate_records(tmp_path / name) == pytest.approx(COUNT, rel=0.3 if name == "c.json" else 0.1)


@pytest.mark.parametrize("name", CORPORA)
def test_what_is_read_completely_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(estimate, "_SAMPLED", 2 * COUNT)
    monkeypatch.setattr(read, "_MAX_COUNTED_BYTES", 10)
    (tmp_path / name).write_bytes(CORPORA[name])
    assert estimate_records(tmp_path / name) == COUNT


def test_further_files_are_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimate, "_SAMPLED", COUNT)
    monkeypatch.setattr(read, "_MAX_COUNTED_BYTES", 10)
    for number in range(4):
        (tmp_path / f"part-{number}.jsonl").write_text(JSON_LINES)
    (tmp_path / "part-3.jsonl").write_bytes(b"\0" * len(JSON_LINES))
    assert estimate_records(tmp_path) == pytest.approx(4 * COUNT, rel=0.02)


def test_what_is_counted_needs_no_estimate(tmp_path: Path) -> None:
    (tmp_path / "c.jsonl").write_text(JSON_LINES)
    assert estimate_records(tmp_path / "c.jsonl") == COUNT
    assert estimate_records("-") is None


def test_an_encoding_is_that_of_the_layout(tmp_path: Path) -> None:
    (tmp_path / "c.csv").write_bytes(CSV.encode("utf-16-le"))
    assert estimate_records(tmp_path / "c.csv", layout=Layout(encoding="utf-16-le")) == pytest.approx(COUNT, rel=0.1)


def test_a_file_that_cannot_be_read_is_left_to_the_reader(tmp_path: Path) -> None:
    (tmp_path / "c.csv.gz").write_bytes(gzip.compress(CSV.encode())[:2_000])
    assert estimate_records(tmp_path / "c.csv.gz") == 0
