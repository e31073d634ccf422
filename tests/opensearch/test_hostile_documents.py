"""Hostile documents, each between two good ones: stored as given or dead-lettered, and the run continues."""

from __future__ import annotations

import gc
import json
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from opensearchpy import OpenSearch

from connector.cli.main import cli
from connector.encoders.text import TextEncoder
from connector.index.meta import IndexMeta
from connector.index.schema import prepare_index
from connector.index.writer import BulkWriter
from connector.ingest.pipeline import IngestJob
from connector.limits import MAX_DEPTH
from connector.types import Document, restored

pytestmark = pytest.mark.opensearch


@pytest.fixture(autouse=True)
def no_collection() -> Iterator[None]:
    """At the recursion limit, which some documents reach, finalizers of other tests' clients would fail."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


MB = 1_000_000
GOOD = [b'{"_id": "good1", "text": "cats sleep"}', b'{"_id": "good2", "text": "stars burn"}']
WORDS = "cats sleep on warm stones "


def record(metadata: str = "{}", *, text: str = '"cats sleep"', doc_id: str = '"bad"', more: str = "") -> bytes:
    return f'{{"_id": {doc_id}, "text": {text}, "metadata": {metadata}{more}}}'.encode()


def objects(depth: int) -> str:
    return '{"a":' * depth + "1" + "}" * depth


def arrays(depth: int) -> str:
    return '{"a":' + "[" * (depth - 1) + "1" + "]" * (depth - 1) + "}"


STORED = {
    "nested deeper than the server's limit of a mapping": record(objects(25)),
    "as many objects as may be": record(objects(MAX_DEPTH)),
    "as many arrays as may be": record(arrays(MAX_DEPTH)),
    "control characters": record(
        r'{"a\u0000b": "c\u0000\u001b[2J"}', text=r'"cats \u0000\u0001\u001f\u007f\u0085 sleep"'
    ),
    "nothing but a control character": record(text=r'"\u0001"'),
    "50,000 keys": record(json.dumps({f"k{number}": number for number in range(50_000)})),
    "keys with dots": record('{"a.b": 1, "a": {"b": 2}, ".": 3, "c..d": 4, ".e": 5, "f.": 6}'),
    "empty and blank keys": record('{"": 1, " ": 2}'),
    "keys of the server": record('{"_id": 1, "_source": {"a": 1}, "__proto__": {"b": 2}, "features": {"1": 2}}'),
    "a key just below the limit": record(json.dumps({"k" * 32_000: "v"})),
    "a key of 40,000 bytes": record(json.dumps({"k" * 40_000: 1, "l": [1, {"k" * 40_000: None}]})),
    "a value of 40,000 bytes": record(json.dumps({"k": "v" * 40_000, "l": ["a", {"b": "é" * 20_000}], "m": 1})),
    "a fraction of 5,000 digits": record(f'{{"a": 0.{"1" * 5_000}}}'),
    "a number that vanishes": record('{"a": 1e-400}'),
    "an integer beyond 64 bits": record('{"a": 123456789012345678901234567890}'),
    "nothing in many shapes": record('{"a": null, "b": [], "c": {}, "d": [null, [[]]]}'),
    "an id of odd characters": record(doc_id=r'"\u0000\n../a?b#c%d\u202e"'),
    "an id of 512 bytes": record(doc_id='"' + "é" * 256 + '"'),
    "the largest version": record(more=', "_version": 9223372036854775807'),
    "letters that change the direction": record(text='"\u202e\u2028\u200b😀"'),
    "a word of 20,000 letters": record(text='"' + "x" * 20_000 + '"'),
}

REFUSED = {
    "objects nested 10,000 deep": (record(objects(10_000)), "nested too deeply"),
    "arrays nested 10,000 deep": (record(arrays(10_000)), "nested too deeply"),
    # 940 of them ended a node.
    "objects nested 900 deep": (record(objects(900)), "'metadata' is nested deeper than 100 arrays and objects"),
    "one object too many": (record(objects(MAX_DEPTH + 1)), "nested deeper than 100"),
    "one array too many": (record(arrays(MAX_DEPTH + 1)), "nested deeper than 100"),
    "a raw control character": (record(text='"cats \x01"'), "Invalid control character"),
    "half of a pair": (record(text=r'"\ud800"'), "'text' cannot be sent as UTF-8"),
    "half of a pair in a key": (record(r'{"\ud800": 1}'), "cannot be sent as UTF-8"),
    "half of a pair in an id": (record(doc_id=r'"\udfff"'), "'_id' cannot be sent as UTF-8"),
    "50,000 fields": (
        json.dumps({"_id": "bad", "text": "cats"} | {f"k{number}": 1 for number in range(50_000)}).encode(),
        "field 'k0' is not in the mapping",
    ),
    "an integer of 5,000 digits": (record(f'{{"a": {"1" * 5_000}}}'), "value has 5000 digits"),
    "an integer of 4,000 digits": (record(f'{{"a": {"1" * 4_000}}}'), "Number value length (4000) exceeds"),
    "an id of 5,000 digits": (record(doc_id="1" * 5_000), "value has 5000 digits"),
    "NaN": (record('{"a": NaN}'), "NaN is not a JSON number"),
    "infinity": (record('{"a": -Infinity}'), "-Infinity is not a JSON number"),
    "a number that becomes infinity": (record('{"a": 1e400}'), "cannot be written as JSON"),
    "a key twice": (record('{"a": 1, "a": 2}'), "key 'a' occurs twice"),
    "a byte order mark inside of the file": (b"\xef\xbb\xbf" + record(), "byte order mark at column 1"),
    "an array": (b"[1, 2]", "not a JSON object"),
    "bytes that are no UTF-8": (b'{"_id": "bad", "text": "caf\xe9"}', "not UTF-8: byte 0xe9"),
    "NUL bytes": (b"\x00\x00", "not valid JSON"),
    "a line that breaks off": (b'{"_id": "bad", "text": "a', "Unterminated string"),
    "an id of 513 bytes": (record(doc_id='"' + "x" * 513 + '"'), "513 bytes long"),
    "a blank id": (record(doc_id='" "'), "has no '_id'"),
    "a version beyond 64 bits": (record(more=', "_version": 9223372036854775808'), "the server allows 0 to"),
    "a version below 0": (record(more=', "_version": -1'), "the server allows 0 to"),
    "a version that is not an integer": (record(more=', "_version": 1e3'), "'_version' is a float"),
    "features of its own": (record(more=', "features": {"1": 2}'), "field 'features' is not in the mapping"),
}


def ingest(lines: Iterator[bytes] | list[bytes], index: str, head_folder: Path) -> dict[str, Any]:
    """Write the lines to a file, ingest it, and return the summary."""
    with Path("c.jsonl").open("wb") as file:
        file.writelines(line + b"\n" for line in lines)
    options = ["--index", index, "--encoder", str(head_folder), "--quiet", "--json"]
    result = CliRunner().invoke(cli, ["ingest", "c.jsonl", *options], catch_exceptions=False)
    summary: dict[str, Any] = json.loads(result.stdout)
    assert summary["read"] == summary["indexed"] + summary["dead_lettered"]
    assert result.exit_code == (3 if summary["dead_lettered"] else 0)
    return summary


def between(hostile: bytes) -> list[bytes]:
    return [GOOD[0], hostile, GOOD[1]]


def stored(client: OpenSearch, index: str) -> dict[str, Any]:
    hits = client.search(index=index, body={"size": 1_000, "query": {"match_all": {}}})["hits"]["hits"]
    return {hit["_id"]: hit["_source"] for hit in hits}


def dead_letters(index: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(f"{index}.dead-letters.jsonl").read_text("utf-8").split("\n") if line]


def test_what_is_odd_and_harmless_is_stored_as_given(
    workplace: Path, client: OpenSearch, index: str, head_folder: Path
) -> None:
    lines = [GOOD[0]]
    expected = {}
    for number, (name, line) in enumerate(STORED.items()):
        given = json.loads(line)
        # Some only have an odd id.
        given["_id"] = given["_id"] if given["_id"] != "bad" else f"{number} {name}"
        lines += [json.dumps(given).encode(), f'{{"_id": "after {number}", "text": "stars"}}'.encode()]
        doc_id = given.pop("_id")
        expected[doc_id] = {key: value for key, value in given.items() if value and key != "_version"}
        expected[f"after {number}"] = {"text": "stars"}
    summary = ingest(lines, index, head_folder)
    assert (summary["indexed"], summary["dead_lettered"]) == (2 * len(STORED) + 1, 0), summary["reasons"]
    found = stored(client, index)
    for doc_id, source in expected.items():
        assert restored(found[doc_id]) == source, doc_id


def test_what_cannot_be_stored_is_dead_lettered_with_its_reason_and_its_bytes(
    workplace: Path, client: OpenSearch, index: str, head_folder: Path
) -> None:
    lines = [GOOD[0]]
    for number, (line, _) in enumerate(REFUSED.values()):
        lines += [line.replace(b'"bad"', f'"bad {number}"'.encode()), f'{{"_id": "{number}", "text": "a"}}'.encode()]
    summary = ingest(lines, index, head_folder)
    assert (summary["indexed"], summary["dead_lettered"]) == (len(REFUSED) + 1, len(REFUSED))
    assert set(stored(client, index)) == {"good1", *map(str, range(len(REFUSED)))}
    letters = {letter.get("_id") or letter["location"]: letter for letter in dead_letters(index)}
    for number, (name, (_, reason)) in enumerate(REFUSED.items()):
        letter = letters.get(f"bad {number}") or letters[f"c.jsonl:{2 * number + 2}"]
        assert reason in letter["reason"], name
        kept = letter["raw"] if "raw" in letter else json.dumps(letter["document"])
        assert len(kept) >= len(lines[2 * number + 1]) - 20, name


def test_a_dead_letter_of_any_kind_can_be_read_again_by_replay(
    workplace: Path, client: OpenSearch, index: str, head_folder: Path
) -> None:
    hostile = [line for line, _ in REFUSED.values()] + [record(json.dumps({"k": "\u2028\u0085"}), more=', "x": 1')]
    lines = [GOOD[0], *(line.replace(b'"bad"', f'"bad {number}"'.encode()) for number, line in enumerate(hostile))]
    assert ingest(lines, index, head_folder)["dead_lettered"] == len(hostile)
    options = ["--index", index, "--encoder", str(head_folder), "--quiet", "--json"]
    result = CliRunner().invoke(cli, ["replay", f"{index}.dead-letters.jsonl", *options], catch_exceptions=False)
    summary = json.loads(result.stdout)
    assert (summary["read"], summary["dead_lettered"]) == (len(hostile), len(hostile)), summary


@pytest.mark.slow
def test_a_text_of_100_mb_is_dead_lettered_in_bounded_memory(
    workplace: Path, client: OpenSearch, index: str, head_folder: Path
) -> None:
    text = WORDS * (105 * MB // len(WORDS))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    summary = ingest(between(record(text=f'"{text}"')), index, head_folder)
    # Line, text, record, canonical JSON and request are a copy each; the tokenizer alone took 15 GB once.
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1_500_000, "KiB more than before"
    [reason] = summary["reasons"]
    assert reason.endswith("exceed the server's limit for one request (http.max_content_length)")
    assert set(stored(client, index)) == {"good1", "good2"}
    [letter] = dead_letters(index)
    assert letter["document"]["text"] == text


CIRCULAR: dict[str, Any] = {}
CIRCULAR["self"] = CIRCULAR


def deep(depth: int) -> dict[str, Any]:
    nested: dict[str, Any] = {"a": 1}
    for _ in range(depth - 1):
        nested = {"a": nested}
    return nested


DOCUMENTS = {
    "nested too deeply for the server": Document("bad", "cats", metadata=deep(900)),
    "nested too deeply for JSON": Document("bad", "cats", metadata=deep(100_000)),
    "holding itself": Document("bad", "cats", metadata=CIRCULAR),
    "half of a pair in the text": Document("bad", "cats \ud800"),
    "half of a pair in a key": Document("bad", "cats", metadata={"\udfff": 1}),
    "NaN": Document("bad", "cats", metadata={"a": float("nan")}),
    "an integer of 5,000 digits": Document("bad", "cats", metadata={"a": 10**5_000}),
    "no JSON": Document("bad", "cats", metadata={"a": object()}),
    "a key that is not a string": Document("bad", "cats", metadata={("a", 1): 1}),  # type: ignore[dict-item]
    "an integer of 4,000 digits": Document("bad", "cats", metadata={"a": 10**4_000}),
    "a version below 0": Document("bad", "cats", version=-1),
    "a version beyond 64 bits": Document("bad", "cats", version=2**63),
    "a version that is not an integer": Document("bad", "cats", version="1"),  # type: ignore[arg-type]
    "a field that is unknown": Document("bad", "cats", fields={"features": {"1": 1}, "x": 1}),
}


def test_documents_that_nobody_checked_end_in_the_dead_letters_alone(
    workplace: Path, client: OpenSearch, index: str, encoder: TextEncoder
) -> None:
    prepare_index(client, index, IndexMeta(encoder.fingerprint))
    for number, (name, document) in enumerate(DOCUMENTS.items()):
        with IngestJob(BulkWriter(client, index), encoder, dead_letters=Path(f"{number}.jsonl")) as job:
            job.add([Document(f"{number} before", "cats"), document, Document(f"{number} after", "stars")])
        assert (job.result.indexed, job.result.dead_lettered) == (2, 1), name
        [letter] = [json.loads(line) for line in Path(f"{number}.jsonl").read_text("utf-8").splitlines()]
        assert letter["_id"] == "bad" and letter["reason"], name
        assert letter["document"]["text"] == document.text, name
    assert client.count(index=index)["count"] == 2 * len(DOCUMENTS)
