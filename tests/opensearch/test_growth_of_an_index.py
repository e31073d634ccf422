"""Indices that begin small or change their subject: what is said, and what a new dictionary restores."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from opensearchpy import OpenSearch

from connector import Document, NewIndex, SearchSettings, SparseIndex
from connector.cli.main import cli
from connector.encoders.text import TextEncoder
from connector.index.schema import existing_schema
from connector.search.reencode import RandomTexts
from tests.tiny import WORDS

pytestmark = pytest.mark.opensearch

RANDOM = np.random.default_rng(11)
HALF = len(WORDS) // 2


def texts_of(words: list[str], count: int) -> list[str]:
    return [" ".join(RANDOM.choice(words, 6)) for _ in range(count)]


FIRST, LATER = texts_of(WORDS[:HALF], 1_000), texts_of(WORDS[HALF:], 4_000)
"""Two subjects without a common word."""


def run(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(cli, list(arguments))
    return result.exit_code, result.stdout, result.stderr


def write(workplace: Path, texts: list[str], *, start: int = 0) -> None:
    lines = [json.dumps({"_id": str(row), "text": text}) for row, text in enumerate(texts, start=start)]
    (workplace / "corpus.jsonl").write_text("\n".join(lines))


@pytest.mark.parametrize(
    ("count", "said"), [(1, "1 document is"), (10, "10 documents are"), (100, "100 documents are")]
)
def test_documents_too_few_for_a_dictionary_are_said(
    client: OpenSearch, named: str, workplace: Path, count: int, said: str
) -> None:
    write(workplace, FIRST[:count])
    status, _, errors = run("ingest", "corpus.jsonl", "--index", named)
    assert status == 0
    assert f"{named}: {said} too few for a dictionary, which needs 1,000; the shipped encoder is used." in errors
    assert f"`ksparse reencode {named} --to NEW --encoder own`" in errors
    assert existing_schema(client, named).dictionary is None
    with SparseIndex(named, client=client) as docs:
        assert FIRST[0] in {hit.text for hit in docs.search(FIRST[0], top_k=10)}


@pytest.mark.usefixtures("small_dictionaries")
def test_an_index_that_has_grown_is_advised_to_build_one(client: OpenSearch, named: str, workplace: Path) -> None:
    write(workplace, FIRST[:100])
    run("ingest", "corpus.jsonl", "--index", named)
    write(workplace, FIRST[100:300], start=100)
    _, _, errors = run("ingest", "corpus.jsonl", "--index", named)
    advice = "The 300 documents are enough for a dictionary of their own"
    assert f"{named}: {advice}" in errors
    assert advice in run("doctor", "--index", named, "--recall", "0.01")[1]
    assert run("reencode", named, "--to", f"{named}-2", "--encoder", "own", "--delete-old", "--quiet")[0] == 0
    assert existing_schema(client, named).dictionary is not None
    assert "Nothing to do." in run("doctor", "--index", named, "--recall", "0.01")[1]


def test_a_thousand_documents_need_no_advice(client: OpenSearch, named: str, workplace: Path) -> None:
    write(workplace, FIRST)
    _, _, errors = run("ingest", "corpus.jsonl", "--index", named)
    assert "dictionary, which needs" not in errors and "reencode" not in errors
    assert existing_schema(client, named).dictionary is not None


def test_a_table_gets_a_dictionary_for_all_of_its_rows(
    client: OpenSearch, named: str, workplace: Path, dense_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("connector.ingest.sample.MAX_SAMPLED", 500)  # of which a stream's dictionary is made
    rows = "".join(f"{row},{text}\n" for row, text in enumerate(LATER[:1_500]))
    (workplace / "corpus.csv").write_text(f"_id,text\n{rows}")
    status, _, errors = run("ingest", "corpus.csv", "--index", named, "--encoder", str(dense_folder))
    assert status == 0
    said = "estimated 1,500 documents from the size of the files; the dictionary is built for that number."
    assert f"{named}: {said} If it is wrong, give --documents." in errors
    assert json.loads(run("doctor", "--index", named, "--recall", "0.01", "--json")[1])["cells"] == 0.6 * 1_500


def test_the_number_of_documents_is_for_a_dictionary(workplace: Path, named: str, head_folder: Path) -> None:
    write(workplace, FIRST[:3])
    fixed = ("--encoder", str(head_folder), "--documents", "5000")
    status, _, errors = run("ingest", "corpus.jsonl", "--index", named, *fixed)
    assert status == 2 and "--documents sets the size of a dictionary, and this run builds none" in errors


async def test_a_stream_gets_a_dictionary(client: OpenSearch, named: str, encoder: TextEncoder) -> None:
    async def arriving() -> AsyncIterator[Document]:
        for row, text in enumerate(FIRST):
            yield Document(str(row), text)

    with SparseIndex(named, client=client, encoder=encoder, new=NewIndex(dictionary=True)) as docs:
        assert (await docs.add_async(arriving())).indexed == len(FIRST)
    assert existing_schema(client, named).dictionary is not None


def test_a_new_dictionary_restores_what_a_changed_subject_lost(
    client: OpenSearch, named: str, workplace: Path, head_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The random sample depends on the UUID of an index.
    drawn = {"ids": {"values": [f"later{row}" for row in range(1_000)]}}
    monkeypatch.setattr("connector.search.doctor.at_random", lambda *_args, **_options: drawn)
    new = NewIndex(dictionary=True, search=SearchSettings(window=20))
    with SparseIndex(named, client=client, encoder=str(head_folder), new=new) as docs:
        docs.add([Document(str(row), text) for row, text in enumerate(FIRST)])
        docs.add([Document(f"later{row}", text) for row, text in enumerate(LATER)])

    def doctor(*options: str) -> tuple[int, str]:
        return run("doctor", "--index", named, "--recall", "0.8", "--sample", "300", *options)[:2]

    status, said = doctor()
    advice = ["ksparse", "reencode", named, "--to", "NEW", "--encoder", "own"]
    assert status == 1
    assert f"`{' '.join(advice)}`" in said
    shown = re.search(r"find ([\d.]+)% of the nearest ten", said)
    assert shown is not None, said
    before = float(shown[1]) / 100 + 0.0005  # it is rounded
    followed = [f"{named}-2" if word == "NEW" else word for word in advice[1:]]
    assert run(*followed, "--delete-old", "--quiet")[0] == 0
    status, said = doctor("--json")
    after = json.loads(said)["recall"]
    assert status == 0, (before, after)
    assert after > before + 0.03


def test_the_sample_of_a_new_dictionary_comes_from_the_whole_index(
    client: OpenSearch, named: str, head_folder: Path
) -> None:
    with SparseIndex(named, client=client, encoder=str(head_folder)) as docs:
        docs.add([Document(str(row), text) for row, text in enumerate(FIRST[:300] + LATER[:600])])
    drawn = RandomTexts(client, named)
    texts = drawn(150)
    assert texts == drawn(150)
    assert len(texts) == 150
    later = set(LATER[:600])
    assert sum(text in later for text in texts) == pytest.approx(100, abs=25), "two of three"
    assert sorted(drawn()) == sorted(FIRST[:300] + LATER[:600])
