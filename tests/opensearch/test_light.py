"""Searches and ingestion without torch, against a real server."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from opensearchpy import OpenSearch

from connector.index.companion import delete_companion
from connector.index.schema import existing_schema
from tests.patience import PATIENCE_S
from tests.tiny import WORDS

pytestmark = pytest.mark.opensearch

FORBIDDEN = ("torch", "sentence_transformers", "transformers", "sklearn", "scipy")

WITHOUT = f"""
import sys
class Forbid:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {FORBIDDEN!r}:
            raise ImportError(f"{{name}} is not installed here")
sys.meta_path.insert(0, Forbid())
from connector.cli.main import cli
cli()
"""


def ksparse(*arguments: str, without_torch: bool = False) -> str:
    """Run a command in a process of its own, in an environment without torch if asked for."""
    code = WITHOUT if without_torch else "from connector.cli.main import cli; cli()"
    run = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=4 * PATIENCE_S, check=False
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


def write_corpus(path: Path, texts: Sequence[str], first: int = 0) -> Path:
    lines = [json.dumps({"_id": str(number), "text": text}) for number, text in enumerate(texts, start=first)]
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def found(printed: str) -> list[tuple[str, float]]:
    return [(hit["doc_id"], round(hit["score"], 2)) for hit in json.loads(printed)["hits"]]


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    random = np.random.default_rng(0)
    texts = [" ".join(random.choice(WORDS[:30], size=6, replace=False)) for _ in range(1_000)]
    return write_corpus(tmp_path / "corpus.jsonl", texts)


@pytest.fixture
def indexed(
    client: OpenSearch, workplace: Path, corpus: Path, index: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    """An index with a dictionary of its own, written by OpenVINO."""
    monkeypatch.setenv("KSPARSE_CACHE", str(workplace / "cache"))
    monkeypatch.setenv("KSPARSE_BACKEND", "openvino")
    assert "encoded by openvino" in ksparse("ingest", str(corpus), "--index", index, "--device", "cpu", "--quiet")
    yield index
    dictionary = existing_schema(client, index).dictionary
    assert dictionary is not None
    delete_companion(client, dictionary)


@pytest.mark.slow
def test_an_index_of_ones_own_is_searched_and_written_without_torch(
    indexed: str, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = ("search", "cats sleep on warm stones", "--index", indexed, "--top-k", "5", "--json")
    expected = found(ksparse(*asked, "--backend", "torch"))
    assert len(expected) == 5
    assert found(ksparse(*asked, without_torch=True)) == expected, "by the graph that ingestion left in the cache"

    exported = workplace / "exported"
    ksparse("export", str(exported), "--index", indexed)
    monkeypatch.setenv("KSPARSE_CACHE", str(workplace / "nothing"))
    by_folder = ("--encoder", str(exported))
    assert found(ksparse(*asked, *by_folder, without_torch=True)) == expected
    more = write_corpus(workplace / "more.jsonl", ["cats sleep on warm stones for years"], first=5_000)
    written = ksparse("ingest", str(more), "--index", indexed, *by_folder, "--quiet", without_torch=True)
    assert "1 indexed + 0 dead-lettered" in written
    assert found(ksparse(*asked, *by_folder, without_torch=True))[0][0] == "5000"
