"""The programs of examples/, run as they are."""

from __future__ import annotations

import json
import re
import runpy
import sqlite3
import sys
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pytest
from opensearchpy import OpenSearch

import connector
from connector.encoders.text import TextEncoder
from connector.errors import BulkWriteError, ClusterError
from connector.index.searcher import Searcher
from tests.fault_proxy import Fault, Forward, Reply, fault_proxy, status
from tests.tiny import WORDS

pytestmark = pytest.mark.opensearch

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def tiny(encoder: TextEncoder, monkeypatch: pytest.MonkeyPatch) -> TextEncoder:
    """Replaces the shipped encoder by one whose features are words, which loads faster."""
    monkeypatch.setattr(connector, "load_encoder", lambda *_: encoder, raising=False)
    return encoder


def run(name: str, *arguments: str, main: bool = True) -> dict[str, Any]:
    """Run a program as Python does, and return its names."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [name, *arguments])
        return runpy.run_path(str(EXAMPLES / name), run_name="__main__" if main else "example")


def test_every_program_is_listed_and_tested() -> None:
    programs = {path.name for path in EXAMPLES.glob("*.py")}
    listed = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    here = Path(__file__).read_text(encoding="utf-8")
    assert len(programs) >= 5
    assert {name for name in programs if f"({name})" not in listed or f'"{name}"' not in here} == set()


def articles(path: Path, count: int) -> Path:
    """A database of articles, of which the last has no text."""
    random = np.random.default_rng(0)
    rows = [(f"{number:05}", "", " ".join(random.choice(WORDS, 6)), "en") for number in range(count - 1)]
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE articles (id TEXT PRIMARY KEY, title TEXT, body TEXT, lang TEXT)")
        database.executemany("INSERT INTO articles VALUES (?, ?, ?, ?)", [*rows, ("99999", "", None, "en")])
    database.close()
    return path


def refusal_after_2000_rows() -> Fault:
    """Refuse the second batch once the first one is written; they are sent concurrently, in any order."""
    first_batch_written = Event()

    def answer(body: bytes, forward: Forward) -> Reply:
        if re.search(rb'"_id": ?"0[23]\d{3}"', body):
            first_batch_written.wait(30)
            return status(403)(body, forward)
        reply = forward(body)
        if b'"01999"' in body:
            first_batch_written.set()
        return reply

    return answer


@pytest.mark.slow
def test_an_ingestion_job_resumes_where_it_was_stopped(
    index: str,
    client: OpenSearch,
    dense_folder: Path,
    opensearch_url: str,
    workplace: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    database = articles(workplace / "articles.db", 3_100)
    command = ("ingest_from_database.py", str(database), "--index", index, "--encoder", str(dense_folder))
    with fault_proxy(opensearch_url) as proxy:
        monkeypatch.setenv("OPENSEARCH_URL", proxy.url)
        proxy.always = refusal_after_2000_rows()
        with pytest.raises((BulkWriteError, ClusterError)):
            run(*command)
    assert (workplace / f"{index}.checkpoint.json").is_file()
    client.indices.refresh(index=index)
    first = client.count(index=index)["count"]
    assert first == 2_000

    with fault_proxy(opensearch_url) as proxy:
        monkeypatch.setenv("OPENSEARCH_URL", proxy.url)
        with pytest.raises(SystemExit) as ended:
            run(*command, "--resume")
        written = b"".join(proxy.bulks)
    assert ended.value.code == 3
    assert capsys.readouterr().out == "3100 rows: 3099 indexed, 1 in the dead letters\n"
    assert client.count(index=index)["count"] == 3_099
    assert b'"03050"' in written and b'"00000"' not in written, "what the first run had done was sent again"
    [letter] = (workplace / f"{index}.dead-letters.jsonl").read_text().splitlines()
    assert json.loads(letter)["reason"].startswith("has an empty 'text'")
    assert not (workplace / f"{index}.checkpoint.json").exists()


def write(client: OpenSearch, index: str, texts: dict[str, tuple[str, str]]) -> None:
    """Index texts of a language with the encoder that the programs load."""
    documents = [connector.Document(doc_id, text, metadata={"lang": lang}) for doc_id, (text, lang) in texts.items()]
    sample = [document.content for document in documents]
    encoder = connector.prepare_encoder(client, index, connector.load_encoder(), sample=sample)
    connector.ingest_documents(documents, encoder, connector.BulkWriter(client, index))


TEXTS = {
    "1": ("plants eat light with green leaves", "en"),
    "2": ("cats sleep on warm stones", "en"),
    "3": ("plants eat light", "de"),
}


@pytest.mark.usefixtures("tiny", "workplace")
def test_a_search_service_answers_with_hits_and_status_codes(
    index: str, client: OpenSearch, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(client, index, TEXTS)
    monkeypatch.setenv("INDEX", index)
    service = run("search_service.py", main=False)["create_app"]().test_client()
    [best, *_] = service.get("/search?q=cats+sleep").json
    assert (best["id"], best["text"]) == ("2", "cats sleep on warm stones") and best["score"] > 0
    assert [hit["id"] for hit in service.get("/search?q=plants&lang=de").json] == ["3"]
    assert len(service.get("/search?q=plants+eat&top_k=1").json) == 1
    refused = service.get("/search")
    assert refused.status_code == 400 and "empty" in refused.json["error"]


@pytest.mark.usefixtures("tiny", "workplace")
def test_a_search_service_whose_server_is_unreachable_reports_it(
    index: str, client: OpenSearch, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_arguments: object, **_options: object) -> None:
        raise ClusterError("no OpenSearch answers")

    write(client, index, TEXTS)
    service = run("search_service.py", main=False)["create_app"](index).test_client()
    monkeypatch.setattr(Searcher, "search", away)
    reply = service.get("/search?q=cats")
    assert (reply.status_code, reply.json) == (503, {"error": "search is not available"})


@pytest.mark.slow
def test_an_own_model_gets_a_head_and_is_searched(
    index: str, dense_folder: Path, workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    random = np.random.default_rng(0)
    records = [
        {"_id": str(number), "text": f"{' '.join(random.choice(WORDS, 5))}. {' '.join(random.choice(WORDS, 5))}."}
        for number in range(300)
    ]
    records[7]["text"] = "cats sleep on warm stones. rivers carry sand."
    (workplace / "corpus.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    arguments = ("--model", str(dense_folder), "--index", index, "--minutes", "0.05", "--query", records[7]["text"])
    run("own_model.py", "corpus.jsonl", *arguments)
    learned, indexed, best, *_ = capsys.readouterr().out.splitlines()
    assert learned.startswith("my-head: ") and learned.endswith(" of dense NDCG@10 on held-out sentences")
    assert indexed == "300 of 300 records indexed"
    assert best.split(maxsplit=2)[1:] == ["7", records[7]["text"]]
    assert (workplace / "my-head" / "model.safetensors").is_file()


@pytest.mark.usefixtures("workplace")
def test_a_rag_chain_puts_the_passages_that_matter_into_the_prompt(
    index: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run("langchain_rag.py", "how do plants make sugar?", "--index", index)
    system, *rest = capsys.readouterr().out.splitlines()
    assert system == "System: Answer from these passages alone, and cite them by their names."
    assert rest[0] == "[photosynthesis] Plants make sugar from light, water and carbon dioxide."
    assert rest[-1] == "Human: how do plants make sugar?"
    assert not any("photosynthese]" in line for line in rest), "the filter leaves German out"


@pytest.mark.usefixtures("workplace")
def test_long_texts_are_found_once_by_their_best_passage(
    index: str, client: OpenSearch, capsys: pytest.CaptureFixture[str]
) -> None:
    filler = "The road went on through the hills, and nobody spoke a word until the evening. "
    Path("travel.txt").write_text(40 * filler + 6 * "Plants make sugar from light in their leaves. " + 40 * filler)
    Path("candy.txt").write_text("Sugar melts when it is heated, and plants are not needed to make candy of it.")
    arguments = ("passages.py", "how do plants make sugar?", "--index", index, "travel.txt", "candy.txt")
    run(*arguments)
    found = {line.split()[1].partition("#")[0]: line.split()[1] for line in capsys.readouterr().out.splitlines()}
    assert set(found) == {"travel.txt", "candy.txt"}
    [best] = client.search(index=index, body={"query": {"ids": {"values": [found["travel.txt"]]}}})["hits"]["hits"]
    assert "Plants make sugar" in best["_source"]["text"] and len(best["_source"]["text"].split()) <= 150
    passages = client.count(index=index)["count"]
    assert passages > 8
    Path("travel.txt").write_text(20 * filler)
    run(*arguments)
    assert 1 < client.count(index=index)["count"] < passages / 2, "passages of the longer version are gone"


@pytest.mark.usefixtures("workplace")
def test_hybrid_search_among_documents_that_match(index: str, capsys: pytest.CaptureFixture[str]) -> None:
    run("hybrid_with_filters.py", "--index", index)
    found = dict(line.split(": ") for line in capsys.readouterr().out.splitlines())
    assert found["hybrid"].split()[0] == "2", "the word is rare, and both rankings know it"
    assert set(found["hybrid, English, since 2020"].split()) <= {"2", "3"}
    assert len(found["features"].split()) == 3


@pytest.mark.usefixtures("tiny", "workplace")
def test_every_request_to_aws_is_signed(
    index: str,
    client: OpenSearch,
    opensearch_url: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write(client, index, TEXTS)
    signed: list[str] = []

    def stub_signer(service: str) -> Any:  # noqa: ANN401
        def sign(method: str, url: str, body: object = None) -> dict[str, str]:
            signed.append(f"{service} {method} {url.partition('?')[0].rpartition('/')[2]}")
            return {"Authorization": "AWS4-HMAC-SHA256 stub"}

        return sign

    monkeypatch.setattr("connector.connection.aws.aws_signer", stub_signer)
    with fault_proxy(opensearch_url) as proxy:
        run("aws_signed.py", proxy.url, "cats sleep", "--index", index)
        assert len(signed) == len(proxy.paths) >= 2
    assert {"es GET _mapping", "es POST _search"} <= set(signed)
    assert capsys.readouterr().out.splitlines()[0].endswith(" 2 cats sleep on warm stones")
