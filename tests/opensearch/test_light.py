"""Searches and ingestion without torch, against a real server."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Sequence
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
from opensearchpy import OpenSearch
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from connector.index.companion import delete_companion
from connector.index.schema import existing_schema
from tests.patience import PATIENCE_S
from tests.service_server import service_process
from tests.tiny import WORDS

pytestmark = pytest.mark.opensearch

ROOT = Path(__file__).parents[2]


def search_packages() -> set[str]:
    """The distributions of `examples/requirements-search.txt` and what they depend on, ksparse itself included."""
    lines = (ROOT / "examples" / "requirements-search.txt").read_text(encoding="utf-8").splitlines()
    waiting = [Requirement(line) for line in lines if line and not line.startswith("#")]
    found = {"ksparse"}
    while waiting:
        name = canonicalize_name(waiting.pop().name)
        if name not in found:
            found.add(name)
            needed = map(Requirement, metadata.requires(name) or ())
            waiting += [each for each in needed if each.marker is None or each.marker.evaluate({"extra": ""})]
    return found


def forbidden_modules() -> list[str]:
    """The modules of all other distributions here."""
    allowed = search_packages()
    modules = metadata.packages_distributions().items()
    return sorted(name for name, of in modules if not allowed & set(map(canonicalize_name, of)))


WITHOUT = f"""
import sys
class Forbid:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {forbidden_modules()!r}:
            raise ModuleNotFoundError(f"{{name}} is not installed here")
sys.meta_path.insert(0, Forbid())
"""

AS_COMMAND = "from connector.cli.main import cli; cli()"

FROM_PYTHON = """
import json
from connector import Document, SparseIndex
url, index, query = sys.argv[1:]
with SparseIndex(index, url=url) as docs:
    hits = docs.search(query, top_k=5)
    added = docs.add([Document("9000", "cats sleep on warm stones for years")], refresh=True)
    again = docs.search(query, top_k=1)
    why = docs.search(query, top_k=1, explain=True)[0].explain()
found = [[hit.doc_id, hit.score] for hit in hits]
print(json.dumps({"hits": found, "first": again[0].doc_id, "indexed": added.indexed, "why": len(why.contributions)}))
"""


def ksparse(*arguments: str, without_torch: bool = False) -> str:
    """Run a command in a process of its own, in an environment without torch if asked for."""
    return python((WITHOUT if without_torch else "") + AS_COMMAND, *arguments)


def python(code: str, *arguments: str) -> str:
    """Run code in a process of its own."""
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


def test_a_search_needs_no_torch_by_its_requirements() -> None:
    assert {"torch", "sentence_transformers", "transformers", "sklearn"} <= set(forbidden_modules())
    assert not {"openvino", "numpy", "connector"} & set(forbidden_modules())


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


@pytest.mark.slow
def test_an_index_object_searches_and_adds_without_torch(client: OpenSearch, indexed: str) -> None:
    query = "cats sleep on warm stones"
    url = f"http://{client.transport.hosts[0]['host']}:{client.transport.hosts[0]['port']}"
    expected = found(ksparse("search", query, "--index", indexed, "--top-k", "5", "--json", "--backend", "torch"))
    printed = json.loads(python(WITHOUT + FROM_PYTHON, url, indexed, query))
    assert [(doc_id, round(score, 2)) for doc_id, score in printed["hits"]] == expected
    assert printed["indexed"] == 1
    assert printed["first"] == "9000"
    assert printed["why"] > 0


@pytest.mark.slow
def test_a_service_needs_no_torch(
    opensearch_url: str, indexed: str, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    query = "cats sleep on warm stones"
    expected = found(ksparse("search", query, "--index", indexed, "--top-k", "5", "--json", "--backend", "torch"))
    exported = workplace / "served"
    ksparse("export", str(exported), "--index", indexed)
    monkeypatch.setenv("KSPARSE_CACHE", str(workplace / "empty"))
    options = ("--encoder", str(exported))
    with service_process(opensearch_url, indexed, program=WITHOUT + AS_COMMAND, options=options) as (_, address):
        request = urllib.request.Request(f"{address}/search", json.dumps({"query": query, "top_k": 5}).encode())
        request.add_header("Content-Type", "application/json")
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as reply:
            hits = json.load(reply)["hits"]
    assert [(hit["id"], round(hit["score"], 2)) for hit in hits] == expected
