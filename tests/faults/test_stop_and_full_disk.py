"""Fault test 9: `ksparse ingest` is asked to stop, or has no room to write."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from opensearchpy import OpenSearch

from connector.cli.main import cli
from tests.fault_proxy import Fault, fault_proxy, slow, status
from tests.faults.conftest import Figures
from tests.faults.contents import Contents, read_contents
from tests.patience import PATIENCE_S, process, wait_until
from tests.tiny import NUM_LATENTS, WORDS

pytestmark = [pytest.mark.opensearch, pytest.mark.faults]

COUNT = 10_000


class Run:
    """`ksparse ingest` of a corpus into an index: its files, and its processes."""

    def __init__(self, corpus: Path, index: str, encoder: Path, folder: Path) -> None:
        self.checkpoint = folder / "run.json"
        self.dead_letters = folder / "dead.jsonl"
        self._command = ["ingest", str(corpus), "--index", index, "--encoder", str(encoder), "--quiet", "--json"]

    def start(self, url: str) -> AbstractContextManager[subprocess.Popen[str]]:
        """Run in a process."""
        environment = os.environ | {"OPENSEARCH_URL": url, "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-c", "from connector.cli.main import cli; cli()", *self._arguments(resume=False)]
        pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return process(command, env=environment, cwd=Path(__file__).parents[2], **pipes)

    def finish(self, *, resume: bool) -> dict[str, Any]:
        """Run to the end, in this process."""
        result = CliRunner().invoke(cli, self._arguments(resume=resume), catch_exceptions=False)
        assert result.exit_code == 3, result.output
        found: dict[str, Any] = json.loads(result.stdout)
        assert found["indexed"] + found["superseded"] + found["dead_lettered"] == found["read"]
        return found

    def read(self) -> int:
        """Records that the checkpoint accounts for."""
        if not self.checkpoint.exists():
            return 0
        mark = json.loads(self.checkpoint.read_text())["watermark"]
        assert mark["indexed"] + mark["superseded"] + mark["dead_lettered"] == mark["read"]
        return int(mark["read"])

    def letters(self) -> list[str]:
        """Where the records of the dead letters stand."""
        return [json.loads(line)["location"] for line in self.dead_letters.read_text().splitlines()]

    def _arguments(self, *, resume: bool) -> list[str]:
        files = ["--checkpoint", str(self.checkpoint), "--dead-letters", str(self.dead_letters)]
        return [*self._command, *files, *(["--resume"] if resume else [])]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """10,000 documents, every hundredth without a text, and each long enough for batches of 500."""
    rng = random.Random(8)
    records = [
        {"_id": f"d{row}", "text": " ".join(rng.choices(WORDS, k=80)) if row % 100 else ""} for row in range(COUNT)
    ]
    path = tmp_path_factory.mktemp("corpus") / "corpus.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


@pytest.fixture
def run(
    corpus: Path, index: str, head_folder: Path, tmp_path: Path, opensearch_url: str, monkeypatch: pytest.MonkeyPatch
) -> Run:
    monkeypatch.setenv("OPENSEARCH_URL", opensearch_url)
    return Run(corpus, index, head_folder, tmp_path)


@pytest.fixture(scope="module")
def expected(
    corpus: Path, client: OpenSearch, head_folder: Path, tmp_path_factory: pytest.TempPathFactory, opensearch_url: str
) -> tuple[Contents, list[str]]:
    """What a run without a fault comes to: the index, and the dead letters."""
    fault_free = Run(corpus, "no-fault", head_folder, tmp_path_factory.mktemp("no-fault"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPENSEARCH_URL", opensearch_url)
        found = fault_free.finish(resume=False)
    assert (found["read"], found["dead_lettered"]) == (COUNT, COUNT // 100)
    contents = read_contents(client, "no-fault", NUM_LATENTS)
    client.indices.delete(index="no-fault")
    return contents, fault_free.letters()


def wait_while_it_runs(holds: Callable[[], object], started: subprocess.Popen[str]) -> None:
    wait_until(lambda: holds() or started.poll() is not None)
    assert started.poll() is None, started.communicate()


@pytest.mark.parametrize(
    ("fault", "meanwhile"),
    [(None, "it encodes"), (slow(60.0), "the server is silent"), (status(503), "the server is busy")],
    ids=["encoding", "silent", "busy"],
)
def test_09_sigterm_ends_the_process_within_10_s_and_a_resumed_run_ends_the_same(
    run: Run,
    index: str,
    client: OpenSearch,
    expected: tuple[Contents, list[str]],
    figures: Figures,
    opensearch_url: str,
    fault: Fault | None,
    meanwhile: str,
) -> None:
    with fault_proxy(opensearch_url) as proxy, run.start(proxy.url) as started:
        wait_while_it_runs(run.read, started)
        proxy.always = fault
        if fault is not None:
            sent = len(proxy.bulks)
            wait_while_it_runs(lambda: len(proxy.bulks) >= sent + 2, started)
        asked = time.monotonic()
        started.send_signal(signal.SIGTERM)
        _, errors = started.communicate(timeout=PATIENCE_S)
        took = time.monotonic() - asked
    read = run.read()
    figures(documents=COUNT, meanwhile=meanwhile, out_after_s=round(took, 2), read_before=read)
    assert took < 10
    assert started.returncode == 4 and "with --resume; no document is lost or duplicated" in errors
    assert 0 < read < COUNT
    assert run.finish(resume=True)["read"] == COUNT
    assert (read_contents(client, index, NUM_LATENTS), run.letters()) == expected


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 16 KB: a real ENOSPC, where the file that grows is our own."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount a file system")
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", folder], check=True)
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_09_a_full_disk_at_the_checkpoint_stops_the_run_and_a_resumed_one_ends_the_same(
    run: Run,
    index: str,
    client: OpenSearch,
    expected: tuple[Contents, list[str]],
    figures: Figures,
    opensearch_url: str,
    small_disk: Path,
) -> None:
    run.checkpoint = small_disk / "run.json"
    with fault_proxy(opensearch_url) as proxy, run.start(proxy.url) as started:
        proxy.always = slow(0.2)
        wait_while_it_runs(run.read, started)
        ballast = small_disk / "ballast"
        with pytest.raises(OSError, match="No space left"), ballast.open("wb", buffering=0) as file:
            while True:
                file.write(b"x" * 4096)
        _, errors = started.communicate(timeout=PATIENCE_S)
    read = run.read()
    figures(documents=COUNT, read_before=read)
    assert started.returncode == 4, errors
    assert "No space left on device" in errors and "with --resume" in errors
    assert 0 < read < COUNT
    ballast.unlink()
    assert run.finish(resume=True)["read"] == COUNT
    assert (read_contents(client, index, NUM_LATENTS), run.letters()) == expected


def test_09_a_full_disk_at_the_dead_letters_stops_the_run_and_drops_none(
    run: Run,
    index: str,
    client: OpenSearch,
    expected: tuple[Contents, list[str]],
    figures: Figures,
    opensearch_url: str,
    small_disk: Path,
) -> None:
    run.dead_letters = small_disk / "dead.jsonl"
    with run.start(opensearch_url) as started:
        _, errors = started.communicate(timeout=PATIENCE_S)
    read, kept = run.read(), len(run.letters())
    figures(documents=COUNT, read_before=read, dead_letters_before=kept)
    assert started.returncode == 4, errors
    assert "No space left on device" in errors and "with --resume" in errors
    assert 0 < read < COUNT
    assert kept < COUNT // 100, "there was no room for all"
    subprocess.run(["mount", "-o", "remount,size=1m", small_disk], check=True)
    assert run.finish(resume=True)["read"] == COUNT
    assert (read_contents(client, index, NUM_LATENTS), run.letters()) == expected
