"""Lines that come and go while others write, and what one letter holds."""

from __future__ import annotations

import json
import multiprocessing
import threading
from pathlib import Path

import pytest

from connector.index.lookup import Held
from connector.ingest.letter_file import LetterFile
from connector.ingest.letters import Letter, id_of
from connector.types import MalformedRecord, StoredState


def lines(path: Path) -> list[bytes]:
    return path.read_bytes().split(b"\n")[:-1] if path.exists() else []


def test_lines_are_taken_out_in_any_order_and_once_each(tmp_path: Path) -> None:
    file = LetterFile(tmp_path / "letters")
    for line in (b"a", b"b", b"a", b"c"):
        file.append(line + b"\n")
    file.take_out([b"a", b"c", b"never there"])
    assert lines(file.path) == [b"b", b"a"]
    file.take_out([b"a", b"b"], [b"A\n"])
    assert lines(file.path) == [b"A"], "the first is replaced, the second taken out"
    file.take_out([b"A"])
    assert list(tmp_path.iterdir()) == [], "the last line takes the file along"


def test_lines_of_a_linked_file_are_taken_out_of_it_and_the_link_stays(tmp_path: Path) -> None:
    link, target = tmp_path / "letters", tmp_path / "elsewhere" / "letters"
    link.symlink_to(target)
    for _ in range(2):
        for line in (b"a", b"b"):
            LetterFile(link).append(line + b"\n")
        LetterFile(link).take_out([b"a"])
        assert link.is_symlink() and lines(target) == [b"b"]
        LetterFile(link).take_out([b"b"])
        assert link.is_symlink() and not target.exists()


def append_many(path: Path, name: str) -> None:
    file = LetterFile(path)
    for number in range(300):
        file.append(f"{name}-{number}\n".encode())


def test_what_several_processes_append_while_lines_are_taken_out_is_not_lost(tmp_path: Path) -> None:
    path = tmp_path / "letters"
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=append_many, args=(path, name)) for name in ("x", "y")]
    for writer in writers:
        writer.start()
    taken: list[bytes] = []
    while any(writer.is_alive() for writer in writers):
        some = [line for line in LetterFile(path).read() if line]
        LetterFile(path).take_out(some)
        taken += some
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0, 0]
    everything = sorted([*taken, *lines(path)])
    assert everything == sorted(f"{name}-{number}".encode() for name in ("x", "y") for number in range(300))


def test_two_that_take_out_the_same_lines_leave_the_others(tmp_path: Path) -> None:
    file = LetterFile(tmp_path / "letters")
    for number in range(200):
        file.append(f"{number}\n".encode())
    threads = [
        threading.Thread(target=LetterFile(file.path).take_out, args=([f"{number}".encode() for number in range(150)],))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert lines(file.path) == [f"{number}".encode() for number in range(150, 200)]


def test_a_file_that_lines_were_taken_out_of_is_not_cut(tmp_path: Path) -> None:
    """A resumed run knows the length of the file, unless a replay has replaced it."""
    file = LetterFile(tmp_path / "letters")
    for line in (b"first\n", b"second\n"):
        file.append(line)
    size, identity = file.size, file.identity
    file.append(b"third\n")
    other = LetterFile(tmp_path / "other")
    other.path.write_bytes(file.path.read_bytes() + b"half a li")
    file.cut(size, identity)
    assert lines(file.path) == [b"first", b"second"]
    other.cut(size, identity)
    assert lines(other.path) == [b"first", b"second", b"third"]


@pytest.mark.parametrize(
    "letter",
    [
        Letter(operation="index", reason="no", doc_id="a", record={"_id": "a", "text": "x", "_routing": "r"}),
        Letter(operation="index", reason="no", doc_id="a", record={"_id": "a"}, held=Held("u", StoredState(7, 2))),
        Letter(operation="index", reason="no", raw="{", location="c.jsonl:1"),
        Letter(operation="index", reason="no", raw='{"_id": "a"}', doc_id="a", location="c.jsonl:1"),
        Letter(operation="delete", reason="no", doc_id="a", record={"_id": "a", "_version": 3}),
        Letter(operation="update", reason="no", doc_id="a", record={"_id": "a", "x": 1}, upsert=True, replaced="ab"),
        Letter(operation="update", reason="no", raw="no json", location="c.jsonl:7", kind="malformed_record"),
    ],
)
def test_a_letter_is_read_as_it_was_kept(letter: Letter) -> None:
    assert Letter.from_line(letter.to_line().decode()) == letter


def test_letters_of_the_first_version_are_read() -> None:
    rest = {"status": 400, "type": "t", "reason": "r", "attempts": 1}
    document = Letter.from_line(json.dumps({"_id": "a", **rest, "document": {"_id": "a", "text": "x"}}))
    assert (document.operation, document.doc_id, document.current) == ("index", "a", False)
    deletion = Letter.from_line(json.dumps({"_id": "a", **rest, "deletion": {"doc_id": "a", "version": 3}}))
    assert (deletion.operation, deletion.record) == ("delete", {"_id": "a", "_version": 3})
    change = Letter.from_line(json.dumps({"location": "change of 'a'", **rest, "raw": '{"_id": "a", "title": "x"}'}))
    assert (change.operation, change.upsert) == ("update", False)


@pytest.mark.parametrize("line", ["{}", "[]", "no json", '{"_id": "a", "text": "x"}', '{"operation": "index"}'])
def test_what_is_no_letter_is_not_taken_for_one(line: str) -> None:
    with pytest.raises((ValueError, KeyError, TypeError, AttributeError)):
        Letter.from_line(line)


@pytest.mark.parametrize(
    ("raw", "found"),
    [
        ('{"_id": "a", "text": 7}', ("a", None)),
        ('{"_id": 7, "_routing": "r"}', ("7", "r")),
        ('{"_id": "a", "_routing": []}', None),
        ('{"index": {"_id": "a", "routing": "r"}}\nbroken', ("a", "r")),
        ('{"create": {}}\n{"_id": "a"}', ("a", None)),
        ('{"create": {}}\nbroken', None),
        ('{\n"_id": "a"}', ("a", None)),
        ('{"_id": true}', None),
        ('{"_id": ""}', None),
        ('{"_id": "' + "x" * 513 + '"}', None),
        ('{"_id": "\\ud800"}', None),
        ("[1]", None),
        ("no json", None),
    ],
)
def test_the_id_of_a_malformed_record_is_read_where_it_can_be_requested(
    raw: str, found: tuple[str, str | None] | None
) -> None:
    assert id_of(MalformedRecord("c.jsonl:1", "no", raw)) == found
    assert id_of(MalformedRecord("c.jsonl:1", "no", raw, doc_id="b", routing="s")) == ("b", "s"), "by its layout"
