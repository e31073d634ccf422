"""Run every sample of the README and the docs unchanged; `py` marks samples that need several machines."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from opensearchpy import OpenSearch
from sentence_transformers import SentenceTransformer

from connector.cli.main import cli
from connector.encoders.load import shipped_heads
from connector.ingest.letters import Letter
from tests.beir import documents_of, numbered, to_lines, write_beir
from tests.tiny import build_splade

pytestmark = pytest.mark.opensearch

ROOT = Path(__file__).parents[2]
_SAMPLE = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for path in (ROOT / "README.md", *(ROOT / "docs").glob("*.md"))
    if _SAMPLE.search(path.read_text(encoding="utf-8"))
)


@pytest.mark.parametrize("page", PAGES)
def test_the_samples_of_a_page_run(
    page: str, opensearch_url: str, client: OpenSearch, index: str, workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_samples(page, opensearch_url, index)
    capsys.readouterr()
    assert client.indices.exists(index=index), "a page of samples writes into the index docs"
    client.indices.delete(index=f"{index}-*")


def run_samples(page: str, opensearch_url: str, index: str) -> dict[str, Any]:
    """Run the samples of a page, each with the names that earlier ones defined; return all names."""
    names: dict[str, Any] = {}
    for sample in _SAMPLE.findall((ROOT / page).read_text(encoding="utf-8")):
        code = sample.replace('"http://localhost:9200"', repr(opensearch_url)).replace('"docs', f'"{index}')
        exec(compile(code, page, "exec"), names)  # noqa: S102
    return names


def test_the_search_service_of_the_readme_answers(opensearch_url: str, index: str, workplace: Path) -> None:
    names = run_samples("README.md", opensearch_url, index)
    hits = names["app"].test_client().get("/search", query_string={"q": "how do plants eat"}).get_json()
    assert [(hit["id"], hit["text"]) for hit in hits] == [("1", "Plants make sugar from light.")]


def test_the_readme_is_read_in_two_minutes() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) < 120


def test_five_commands_lead_from_a_csv_to_hits(index: str, workplace: Path) -> None:
    # The packages are installed and the node is up: both are tested elsewhere.
    first, *further = blocks_of("docs/guide.md")
    assert len(first) == 3
    commands = [*first, *(line for block in further for line in block)]
    (workplace / "examples").symlink_to(ROOT / "examples")
    printed = []
    for command in commands:
        name, *arguments = shlex.split(command.replace("--index articles", f"--index {index}"))
        result = CliRunner().invoke(cli, arguments, catch_exceptions=False)
        assert name == "ksparse" and result.exit_code == 0, result.output
        printed.append(result.stdout)
    assert "25 indexed" in printed[0]
    assert printed[1].splitlines()[1].split()[1:3] == ["photosynthesis", "Photosynthesis"]
    assert printed[2].startswith("photosynthesis: ") and "share" in printed[2]


# They start and stop the node of all tests, need a Ray (test_ray.py), a browser (test_explore.py), or a minute
# (test_tune.py).
_NOT_HERE = {"up", "down", "ingest-ray", "explore", "serve", "connect", "tune"}


def blocks_of(page: str) -> list[list[str]]:
    """The `ksparse` commands of each block of a page, without those that cannot run here."""
    # Fences come in pairs, so every second part is inside a block.
    inside = re.split(r"^```", (ROOT / page).read_text(encoding="utf-8"), flags=re.MULTILINE)[1::2]
    lines = ([line for line in block.splitlines() if line.startswith("ksparse ")] for block in inside)
    return [kept for block in lines if (kept := [line for line in block if line.split()[1] not in _NOT_HERE])]


BLOCKS = [
    pytest.param(block, id=f"{page}: {block[0][:30]}")
    for page in ("README.md", *(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md"))))
    if page != "docs/guide.md"
    for block in blocks_of(page)
]


COLOURS = ("red", "green", "blue", "grey", "brown", "white", "black", "yellow", "pale", "dark", "golden", "pink")
ANIMALS = ("cat", "dog", "horse", "mouse", "bird", "fish")


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Inputs of the pages' commands: a corpus, retrieval sets, changes, a head and a SPLADE."""
    folder = tmp_path_factory.mktemp("material")
    things = [f"{colour} {animal}" for colour in COLOURS for animal in ANIMALS]
    texts = [f"The {thing} sleeps on a stone of {number}." for number, thing in enumerate(things)]
    documents = [{"_id": f"d{number}", "text": text} for number, text in enumerate(texts)]
    own = [
        {"_id": "1", "text": "Plants make sugar from light.", "metadata": {"lang": "en"}},
        {"_id": "2", "text": "Katzen schlafen.", "metadata": {"lang": "de"}},
        {"_id": "3", "text": "Cats sleep on warm stones.", "metadata": {"lang": "en"}},
    ]
    (folder / "corpus.jsonl").write_text(to_lines([*own, *documents]))
    for name in ("scifact", "debian", "wordnet"):
        queries = numbered((f"where is the {thing}" for thing in things[:60]), "q")
        judged = [(f"q{number}", f"d{number}") for number in range(60)]
        write_beir(folder / "beir" / name, documents, queries, train=judged, dev=judged, test=judged)
    (folder / "changes.jsonl").write_text('{"_id": "1", "metadata": {"lang": "en", "old": null}}\n')
    (folder / "pyserini.jsonl").write_text('{"id": "p1", "contents": "Stars burn for years."}\n')
    (folder / "articles.csv").write_text("sku,abstract,body,internal\na1,Stars,They burn for years.,x\n")
    (folder / "more.txt").write_text("3\n")
    build_splade(folder / "transformer").save_pretrained(str(folder / "SPLADE"))
    shutil.copytree(shipped_heads()["all-MiniLM-L6-v2"], folder / "my-head")
    configuration = json.loads((folder / "my-head" / "config.json").read_text())
    (folder / "my-head" / "config.json").write_text(json.dumps(configuration | {"k": 48}))
    return folder


@pytest.fixture(scope="module")
def ingested(material: Path, client: OpenSearch, opensearch_url: str) -> Iterator[str]:
    """An index of the corpus, which is copied for each test instead of being encoded for it."""
    name = f"test-{uuid.uuid4().hex[:12]}"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPENSEARCH_URL", opensearch_url)
        patch.setenv("KSPARSE_BACKEND", "auto")
        run(f"ksparse ingest {material / 'corpus.jsonl'} --index {name} --dead-letters {material / 'letters.jsonl'}")
    client.indices.put_settings(index=name, body={"index.blocks.write": True})
    yield name
    client.indices.delete(index=name)


@pytest.fixture
def files(workplace: Path, material: Path) -> Path:
    shutil.copytree(material, workplace, dirs_exist_ok=True)
    return workplace


@pytest.mark.slow
@pytest.mark.parametrize("block", BLOCKS)
def test_the_commands_of_a_block_run(
    block: list[str],
    index: str,
    client: OpenSearch,
    files: Path,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("KSPARSE_BACKEND", "auto")  # as users have it
    if any("train queries" in line for line in block):  # 30,000 tokens, in half a minute
        monkeypatch.setattr("connector.training.static_queries.trainer._embed_tokens", random_tokens)
    if any("--fit" in line or "--max-minutes" in line for line in block):
        shutil.rmtree(files / "my-head")
        with (files / "corpus.jsonl").open("a") as corpus:  # enough to train on
            more = documents_of(numbered((f"Stone {number} is cold." for number in range(140)), "s"))
            corpus.write(to_lines(more))
    else:
        # Initial state: an index with an alias, and another encoder.
        unblocked = {"settings": {"index.blocks.write": None}, "aliases": {index: {}}}
        client.indices.clone(index=request.getfixturevalue("ingested"), target=f"{index}-1", body=unblocked)
        # A corrected dead letter of an earlier run.
        letter = Letter(operation="index", reason="no text", doc_id="9", record={"_id": "9", "text": "Goats climb."})
        (files / f"{index}.dead-letters.jsonl").write_bytes(letter.to_line())
    try:
        for line in block:
            brief = re.sub(r"--max-minutes \d+", "--max-minutes 0.03", line)
            run(re.sub(r"\bdocs", index, brief.replace("--fit ", "--fit-minutes 0.03 --fit ")))
    finally:
        client.indices.delete(index=f"{index}-*,{index}2", ignore_unavailable=True)


def random_tokens(dense: SentenceTransformer, _report: object) -> torch.Tensor:
    dim = dense.get_embedding_dimension()
    assert dim is not None
    return torch.randn(len(dense.tokenizer), dim)


def run(command: str) -> None:
    name, *arguments = shlex.split(command, comments=True)
    result = CliRunner().invoke(cli, arguments, input="y\n", catch_exceptions=False)
    assert name == "ksparse" and result.exit_code == 0, f"{command}\n{result.output}"
