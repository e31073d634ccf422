from __future__ import annotations

import json
import resource
from datetime import date
from pathlib import Path

import pytest

from connector.index.outcome import Refusal
from connector.ingest.dead_letters import DeadLetters
from connector.types import Document, MalformedRecord, SparseDocument


def refusal(doc_id: str, reason: str = "no such field") -> Refusal:
    return Refusal(SparseDocument(doc_id, {"7": 1.0}), 400, "mapper_parsing_exception", reason, 2)


def test_a_refused_document_is_kept_whole(tmp_path: Path) -> None:
    document = Document("d1", "body", "head", {"lang": "de"}, {"year": 1999})
    letters = DeadLetters(tmp_path / "dead.jsonl")
    letters.add_refusal(document, refusal("d1"))
    assert json.loads((tmp_path / "dead.jsonl").read_text()) == {
        "operation": "index",
        "_id": "d1",
        "status": 400,
        "type": "mapper_parsing_exception",
        "reason": "no such field",
        "attempts": 2,
        "document": {"_id": "d1", "title": "head", "text": "body", "metadata": {"lang": "de"}, "year": 1999},
    }


def test_a_malformed_record_is_kept_as_it_was_read(tmp_path: Path) -> None:
    letters = DeadLetters(tmp_path / "dead.jsonl")
    letters.add_malformed(MalformedRecord("c.jsonl:4", "not UTF-8", '{"_id": "é\\xff"'))
    assert json.loads((tmp_path / "dead.jsonl").read_text(encoding="utf-8")) == {
        "operation": "index",
        "location": "c.jsonl:4",
        "status": 0,
        "type": "malformed_record",
        "reason": "not UTF-8",
        "attempts": 0,
        "raw": '{"_id": "é\\xff"',
    }


def test_what_json_or_utf_8_cannot_store_is_still_kept(tmp_path: Path) -> None:
    letters = DeadLetters(tmp_path / "dead.jsonl")
    letters.add_refusal(Document("d1", "half \ud800 a pair", metadata={"day": date(2026, 1, 2)}), refusal("d1"))
    kept = json.loads((tmp_path / "dead.jsonl").read_text(encoding="utf-8"))["document"]
    assert kept["metadata"] == {"day": "2026-01-02"}
    assert kept["text"] == "half \ud800 a pair"


def test_the_file_is_made_at_the_first_failure_and_each_line_is_there_at_once(tmp_path: Path) -> None:
    path = tmp_path / "dead.jsonl"
    letters = DeadLetters(path)
    assert not path.exists()
    for number in range(3):
        letters.add_refusal(Document(f"d{number}", "body"), refusal(f"d{number}"))
        assert len(path.read_text().splitlines()) == number + 1


def test_what_an_earlier_run_kept_stays(tmp_path: Path) -> None:
    path = tmp_path / "dead.jsonl"
    for doc_id in ("d1", "d2"):
        letters = DeadLetters(path)
        letters.add_refusal(Document(doc_id, "body"), refusal(doc_id))
    assert [json.loads(line)["_id"] for line in path.read_text().splitlines()] == ["d1", "d2"]


def test_without_a_path_failures_are_counted_only() -> None:
    letters = DeadLetters(None)
    letters.add_refusal(Document("d1", "body"), refusal("d1"))
    assert (letters.count, letters.reasons) == (1, ["document 'd1': no such field"])


def test_a_summary_names_the_first_ten(tmp_path: Path) -> None:
    letters = DeadLetters(tmp_path / "dead.jsonl")
    for number in range(12):
        letters.add_malformed(MalformedRecord(f"c.jsonl:{number}", "broken", ""))
    assert (letters.count, len(letters.reasons)) == (12, 10)
    assert letters.reasons[-1] == "c.jsonl:9: broken"
    assert len((tmp_path / "dead.jsonl").read_text().splitlines()) == 12


def test_a_line_that_does_not_fit_leaves_no_half_of_it(tmp_path: Path) -> None:
    path = tmp_path / "dead.jsonl"
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    letters = DeadLetters(path)
    letters.add_malformed(MalformedRecord("c.jsonl:1", "not UTF-8", "x"))
    kept = path.read_text()
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(kept) + 50, before[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            letters.add_malformed(MalformedRecord("c.jsonl:2", "not UTF-8", "x"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert path.read_text() == kept
