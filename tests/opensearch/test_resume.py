"""Stopped and resumed runs, and replayed dead letters: real processes, a real node."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from opensearchpy import OpenSearch

from connector.cli.main import cli
from tests.fault_proxy import FaultProxy, fault_proxy, passed, slow, status
from tests.patience import PATIENCE_S, process, wait_until

pytestmark = pytest.mark.opensearch

COUNT = 1_000
OTHERS = {"gone", "mended"}


def text_of(row: int) -> str:
    return f"cats sleep {row} " + "deep " * 70


@pytest.fixture
def corpus(workplace: Path) -> Path:
    """1,000 documents, every hundredth without a text, and each long enough for batches of 500."""
    records = [{"_id": f"d{row}", "text": text_of(row) if row % 100 else ""} for row in range(COUNT)]
    path = workplace / "corpus.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


@pytest.fixture
def options(index: str, head_folder: Path) -> list[str]:
    return ["--index", index, "--encoder", str(head_folder), "--quiet"]


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, list(arguments), catch_exceptions=False)


def contents(client: OpenSearch, index: str) -> dict[str, str]:
    client.indices.refresh(index=index)
    hits = client.search(index=index, body={"size": 2 * COUNT, "query": {"match_all": {}}})["hits"]["hits"]
    return {hit["_id"]: hit["_source"]["text"] for hit in hits}


@pytest.fixture
def silenced(opensearch_url: str) -> Iterator[FaultProxy]:
    """The bulks of the first batch are answered; then the node gets bulks, but no reply comes back."""
    with fault_proxy(opensearch_url) as proxy:
        proxy.faults.extend([passed] * 15)
        proxy.always = slow(PATIENCE_S)
        yield proxy


def read(checkpoint: Path) -> int:
    """Records that a run has accounted for; none in the checkpoint that precedes its first dead letters."""
    return int(json.loads(checkpoint.read_text())["watermark"]["read"]) if checkpoint.exists() else 0


def start(corpus: Path, options: list[str], url: str) -> AbstractContextManager[subprocess.Popen[str]]:
    command = [sys.executable, "-c", "from connector.cli.main import cli; cli()", "ingest", str(corpus), *options]
    environment = os.environ | {"OPENSEARCH_URL": url, "OMP_NUM_THREADS": "1"}
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return process([*command, "--chunk-size", "50", "--max-in-flight", "1"], env=environment, **pipes)


@pytest.mark.parametrize("how", [signal.SIGTERM, pytest.param(signal.SIGKILL, marks=pytest.mark.long)])
def test_a_run_that_was_stopped_resumes(
    corpus: Path, options: list[str], index: str, client: OpenSearch, silenced: FaultProxy, how: signal.Signals
) -> None:
    checkpoint = Path(f"{index}.checkpoint.json")
    with start(corpus, options, silenced.url) as started:
        wait_until(lambda: read(checkpoint) or started.poll() is not None)
        assert started.poll() is None, started.communicate()
        started.send_signal(how)
        _, errors = started.communicate(timeout=PATIENCE_S)
    if how == signal.SIGTERM:
        assert started.returncode == 4 and "Rerun the command with --resume" in errors
    assert 0 < read(checkpoint) < COUNT
    result = run("ingest", str(corpus), *options, "--resume", "--json")
    assert result.exit_code == 3, result.output
    found = json.loads(result.stdout)
    assert (found["read"], found["indexed"], found["dead_lettered"]) == (COUNT, COUNT - 10, 10)
    assert contents(client, index) == {f"d{row}": text_of(row) for row in range(COUNT) if row % 100}
    letters = [json.loads(line)["location"] for line in Path(f"{index}.dead-letters.jsonl").read_text().splitlines()]
    assert letters == [f"{corpus}:{row + 1}" for row in range(0, COUNT, 100)], "each once, in order"
    assert not checkpoint.exists()


def test_a_run_that_came_to_its_end_cannot_be_resumed(corpus: Path, options: list[str], index: str) -> None:
    assert run("ingest", str(corpus), *options).exit_code == 3
    result = run("ingest", str(corpus), *options, "--resume")
    assert result.exit_code == 1 and "There is no checkpoint" in result.output


def test_another_input_is_not_gone_on_with(
    corpus: Path, options: list[str], index: str, opensearch_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with fault_proxy(opensearch_url) as proxy:
        monkeypatch.setenv("OPENSEARCH_URL", proxy.url)
        proxy.faults.extend([passed, status(400, "not today")])  # the check whether the new index accepts documents
        stopped = run("ingest", str(corpus), *options)
    assert stopped.exit_code == 4, stopped.output
    monkeypatch.setenv("OPENSEARCH_URL", opensearch_url)
    before = corpus.read_text()
    corpus.write_text(before + json.dumps({"_id": "more", "text": "one more"}) + "\n")
    other = run("ingest", str(corpus), *options, "--resume")
    assert other.exit_code == 1 and "has another input" in other.output
    corpus.write_text(before)
    anew = run("ingest", str(corpus), *options)
    assert anew.exit_code == 3 and "which --resume would continue. Starting over." in anew.stderr


def test_a_run_can_be_resumed_after_another_input_was_ingested(
    corpus: Path, options: list[str], index: str, opensearch_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with fault_proxy(opensearch_url) as proxy:
        monkeypatch.setenv("OPENSEARCH_URL", proxy.url)
        proxy.faults.extend([passed, status(400, "not today")])
        assert run("ingest", str(corpus), *options).exit_code == 4
    monkeypatch.setenv("OPENSEARCH_URL", opensearch_url)
    other = corpus.with_name("other.jsonl")
    other.write_text(json.dumps({"_id": "other", "text": "cats"}) + "\n")
    between = run("ingest", str(other), *options)
    assert between.exit_code == 0 and f"rerun its command with --resume --checkpoint {index}.1." in between.stderr
    assert not Path(f"{index}.checkpoint.json").exists()
    resumed = run("ingest", str(corpus), *options, "--resume", "--checkpoint", f"{index}.1.checkpoint.json")
    assert resumed.exit_code == 3 and f"= {COUNT:,} read" in resumed.stdout
    assert not Path(f"{index}.1.checkpoint.json").exists()


def test_standard_input_cannot_be_resumed(corpus: Path, options: list[str]) -> None:
    result = CliRunner().invoke(cli, ["ingest", "-", *options, "--resume"], input=corpus.read_text())
    assert result.exit_code == 1 and "Standard input cannot be resumed" in result.output


def test_older_versions_are_superseded(tmp_path: Path, corpus: Path, options: list[str], index: str) -> None:
    def write(**versions: int) -> dict[str, Any]:
        lines = [
            json.dumps({"_id": name, "text": f"cats {number}", "_version": number}) for name, number in versions.items()
        ]
        corpus.write_text("\n".join(lines))
        result = run("ingest", str(corpus), *options, "--json")
        assert result.exit_code == 0, result.output
        return dict(json.loads(result.stdout))

    assert write(a=3, b=3)["indexed"] == 2
    found = write(a=2, b=4)
    assert (found["read"], found["indexed"], found["superseded"]) == (2, 1, 1)
    shown = run("ingest", str(corpus), *options).stdout
    assert "1 indexed + 1 superseded + 0 dead-lettered = 2 read" in shown


def test_dead_letters_are_sent_again(
    corpus: Path, options: list[str], index: str, client: OpenSearch, tmp_path: Path
) -> None:
    records = [
        {"_id": "good", "text": "cats sleep"},
        {"_id": "gone", "text": ""},
        {"_id": "mended", "text": "cats run", "colour": "red"},
    ]
    corpus.write_text("".join(json.dumps(record) + "\n" for record in records) + "no json\n")
    assert run("ingest", str(corpus), *options).exit_code == 3
    letters = Path(f"{index}.dead-letters.jsonl")
    first = run("replay", str(letters), *options, "--json")
    assert first.exit_code == 3, first.output
    assert json.loads(first.stdout)["dead_lettered"] == 3, "nothing was mended"
    failed = {letter.get("raw"): letter for letter in map(json.loads, letters.read_text().splitlines())}
    assert len(failed) == 3
    assert failed["no json"]["reason"].startswith("not valid JSON") and "jsonl:" in failed["no json"]["location"]
    mended = letters.read_text().replace('\\"colour\\": \\"red\\"', '\\"metadata\\": {\\"colour\\": \\"red\\"}')
    mended = mended.replace('\\"text\\": \\"\\"', '\\"text\\": \\"no longer empty\\"')
    letters.write_text("".join(line + "\n" for line in mended.splitlines() if "no json" not in line))
    done = run("replay", str(letters), *options)
    assert done.exit_code == 0, done.output
    assert set(contents(client, index)) == {"good", *OTHERS}
    assert not letters.exists(), "nothing is left in it"


def test_a_file_of_something_else_is_not_sent(corpus: Path, options: list[str], index: str) -> None:
    assert run("ingest", str(corpus), *options).exit_code == 3
    refused = run("replay", str(corpus), *options)
    assert refused.exit_code == 2 and "corpus.jsonl:1 is not a dead letter" in refused.output
    letters = f"{index}.dead-letters.jsonl"
    same = run("replay", letters, *options, "--dead-letters", letters)
    assert same.exit_code == 2 and "Letters that fail again stay in" in same.output
