"""Dense models without a head: a new index builds a dictionary for each kind of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from opensearchpy import OpenSearch
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Transformer
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling
from torch.nn import Module

from connector import Document, NewIndex, Retriever, SearchSettings, SparseIndex
from connector.cli.main import cli
from connector.encoders.light import LightEncoder
from connector.encoders.load import load_encoder
from connector.errors import EncoderError, EncoderMismatchError, IndexMappingError
from connector.index.drop import drop_index
from connector.index.schema import existing_schema
from connector.ingest.index_encoder import load_index_encoder, load_new_encoder
from connector.ingest.prepare import prepare_encoder
from connector.integrations.langchain import KSparseVectorStore
from tests.tenants import switch
from tests.tiny import DIM, MAX_TOKENS, WORDS, build_transformer

pytestmark = [pytest.mark.opensearch, pytest.mark.usefixtures("own_cache")]

RANDOM = np.random.default_rng(7)
RARITY = 1 / np.arange(1, len(WORDS) + 1) ** 1.3
TEXTS = [" ".join(RANDOM.choice(WORDS, 7, p=RARITY / RARITY.sum())) for _ in range(1_100)]
DOCUMENTS = [Document(str(row), text) for row, text in enumerate(TEXTS)]

KINDS: dict[str, tuple[list[Module], dict[str, Any]]] = {
    "normalized": ([Pooling(DIM, "mean"), Normalize()], {}),
    "dot product": ([Pooling(DIM, "mean")], {"similarity_fn_name": "dot"}),
    "first token": ([Pooling(DIM, "cls"), Normalize()], {}),
    "last token": ([Pooling(DIM, "lasttoken"), Normalize()], {}),
    "prompts": ([Pooling(DIM, "mean"), Normalize()], {"prompts": {"query": "query : ", "document": "document : "}}),
}


@pytest.fixture(params=KINDS)
def model(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The folder of a dense model."""
    modules, options = KINDS[request.param]
    transformer = Transformer(str(build_transformer(tmp_path / "transformer")), max_seq_length=MAX_TOKENS)
    folder = tmp_path / "dense"
    SentenceTransformer(modules=[transformer, *modules], device="cpu", **options).save_pretrained(str(folder))
    return folder


def test_every_kind_of_dense_model_finds_what_it_finds_by_itself(client: OpenSearch, named: str, model: Path) -> None:
    with SparseIndex(named, encoder=str(model), client=client, new=NewIndex(code_bits=8)) as docs:
        encoder = docs.encoder
        assert encoder.needs_dictionary
        assert docs.add(DOCUMENTS).indexed == len(TEXTS)
        schema = existing_schema(client, named)
        assert schema.dictionary is not None and schema.code is not None
        assert docs.encoder.fingerprint.digest == schema.encoder.digest
        documents, queries = encoder.embed(TEXTS), encoder.embed(TEXTS[:20], task="query")
    exact = queries @ documents.T
    # Other programs: by the name of the model, and by what the index knows.
    for given in (str(model), None):
        with SparseIndex(named, encoder=given, client=client) as docs:
            settings = SearchSettings(window=1_000)
            for row in range(20):
                hits = docs.search(TEXTS[row], top_k=5, settings=settings)
                found = [exact[row][int(hit.id)] for hit in hits]
                best = np.sort(exact[row])[-5:]
                assert np.mean(found) > best.mean() - 0.05 * exact.std(), "as near as the nearest, but for codes"


def test_it_needs_no_file_to_be_written_again(client: OpenSearch, named: str, model: Path) -> None:
    with SparseIndex(named, encoder=str(model), client=client) as docs:
        docs.add(DOCUMENTS)
    with SparseIndex(named, client=client) as docs:
        docs.add([Document("new", "stars burn for years")])
        assert docs.encoder.fingerprint == load_index_encoder(client, existing_schema(client, named)).fingerprint
        assert docs.count() == len(TEXTS) + 1
        assert docs.search("stars burn for years", top_k=20)


ONE_KIND = pytest.mark.parametrize("model", ["normalized"], indirect=True)
CHANGE = {"_id": "3", "text": "stars burn for years"}


@ONE_KIND
def test_it_is_written_again_with_the_same_model(client: OpenSearch, named: str, model: Path) -> None:
    dense = load_encoder(str(model), device="cpu")
    with SparseIndex(named, encoder=str(model), client=client) as early:
        with pytest.raises(IndexMappingError, match="There is no index"):
            early.search(TEXTS[0])
        with SparseIndex(named, encoder=str(model), client=client) as docs:
            docs.add(DOCUMENTS)
            assert docs.update([CHANGE]).indexed == 1
        written = existing_schema(client, named).encoder.digest
        assert early.update([CHANGE]).indexed == 1
        assert early.add(DOCUMENTS[:2]).indexed == 2 and early.search(TEXTS[0])
        for given in (str(model), dense):
            with SparseIndex(named, encoder=given, client=client) as docs:
                assert docs.update([CHANGE]).indexed == 1
                assert docs.add(DOCUMENTS[:2]).indexed == 2
            with SparseIndex(named, encoder=given, client=client) as docs:
                assert docs.add(DOCUMENTS[:2]).indexed == 2 and docs.search(TEXTS[0])
        assert prepare_encoder(client, named, dense).fingerprint.digest == written
    store = KSparseVectorStore(named, encoder=str(model), client=client)
    assert store.add_texts(["stars burn for years"], ids=["another"]) == ["another"]
    assert dense.needs_dictionary and client.count(index=named)["count"] == len(TEXTS) + 1


@ONE_KIND
def test_writes_follow_an_alias_to_another_dictionary(client: OpenSearch, named: str, model: Path) -> None:
    second, alias = f"{named}-2", f"{named}-live"
    for name, documents in ((named, DOCUMENTS[:1_050]), (second, DOCUMENTS[50:])):
        with SparseIndex(name, encoder=str(model), client=client) as docs:
            docs.add(documents)
    client.indices.put_alias(index=named, name=alias)
    with SparseIndex(alias, encoder=str(model), client=client) as docs:
        assert docs.search(TEXTS[60]) and docs.update([{"_id": "60", "text": TEXTS[60]}]).indexed == 1
        docs.add(DOCUMENTS[60:61])
        switch(client, alias, second)
        assert docs.update([{"_id": "1060", "text": TEXTS[1_060]}]).indexed == 1
        docs.add([Document("new", TEXTS[0])])
        assert docs.encoder.fingerprint.digest == existing_schema(client, second).encoder.digest
        assert docs.search(TEXTS[0], top_k=1)[0].text == TEXTS[0]


@ONE_KIND
@pytest.mark.parametrize("pooling", ["cls", "wider"])
def test_another_dense_model_is_not_replaced_by_that_of_the_index(
    client: OpenSearch, named: str, model: Path, tmp_path: Path, pooling: str
) -> None:
    dense = load_encoder(str(model), device="cpu")
    with SparseIndex(named, encoder=dense, client=client) as docs:
        docs.add(DOCUMENTS)
        given = docs.encoder
    drop_index(client, named)
    transformer = Transformer(str(tmp_path / "transformer"), max_seq_length=MAX_TOKENS)
    modules: list[Module] = [Pooling(DIM, "cls"), Normalize()]
    if pooling == "wider":
        modules = [Pooling(DIM, ("mean", "cls")), Normalize()]
    SentenceTransformer(modules=[transformer, *modules], device="cpu").save_pretrained(str(tmp_path / "other"))
    with SparseIndex(named, encoder=str(tmp_path / "other"), client=client) as others:
        others.add(DOCUMENTS[:1_050])
    for encoder in (dense, given):
        with SparseIndex(named, encoder=encoder, client=client) as docs:
            with pytest.raises(EncoderMismatchError, match=f"Index '{named}' was written by encoder"):
                docs.add([Document("new", TEXTS[0])])
            with pytest.raises(EncoderMismatchError):
                docs.search(TEXTS[0])
    with SparseIndex(named, client=client) as docs:
        assert docs.count() == 1_050 and docs.search(TEXTS[0], top_k=1)[0].text == TEXTS[0]


@ONE_KIND
def test_an_index_created_again_builds_another_dictionary(client: OpenSearch, named: str, model: Path) -> None:
    with SparseIndex(named, encoder=str(model), client=client) as docs:
        docs.add(DOCUMENTS[:1_050])
    with SparseIndex(named, encoder=str(model), client=client) as docs:
        docs.add(DOCUMENTS[:1])
        before = existing_schema(client, named).encoder.digest
        client.indices.delete(index=named)
        docs.add(DOCUMENTS[50:])
        assert existing_schema(client, named).encoder.digest != before


def test_an_encoder_without_torch_takes_the_dictionary_of_the_index(
    client: OpenSearch, named: str, dense_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KSPARSE_BACKEND", "openvino")
    with SparseIndex(named, encoder=str(dense_folder), client=client) as docs:
        docs.add(DOCUMENTS)
    dense = load_new_encoder(str(dense_folder), light=True)
    assert isinstance(dense, LightEncoder) and dense.needs_dictionary
    assert Retriever(client, named, dense).search(TEXTS[3])


def test_a_relative_folder_is_found_from_another_working_directory(
    client: OpenSearch, named: str, dense_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(dense_folder.parent)
    with SparseIndex(named, encoder="./dense", client=client) as docs:
        docs.add(DOCUMENTS)
    monkeypatch.chdir(tmp_path)
    schema = existing_schema(client, named)
    loaded = load_index_encoder(client, schema, light=False)
    assert loaded.fingerprint.digest == schema.encoder.digest
    assert schema.encoder.base_model == str(dense_folder.resolve())
    assert Retriever(client, named, loaded).search(TEXTS[3])


def test_the_commands_take_it(client: OpenSearch, named: str, model: Path, workplace: Path) -> None:
    lines = [json.dumps({"_id": str(row), "text": text}) for row, text in enumerate(TEXTS)]
    (workplace / "corpus.jsonl").write_text("\n".join(lines))
    (workplace / "few.jsonl").write_text("\n".join(lines[:300]))

    def run(*arguments: str) -> tuple[int, str]:
        result = CliRunner().invoke(cli, list(arguments))
        return result.exit_code, result.output

    status, said = run("ingest", "few.jsonl", "--index", named, "--encoder", str(model), "--quiet")
    assert status == 1
    assert "at least 1,000 documents, but there are fewer. Use the shipped encoder, or train a head" in said
    assert not client.indices.exists(index=named), "nothing is left behind"
    assert run("ingest", "corpus.jsonl", "--index", named, "--encoder", str(model), "--quiet")[0] == 0
    assert run("ingest", "few.jsonl", "--index", named, "--encoder", str(model), "--quiet")[0] == 0
    status, said = run("search", TEXTS[3], "--index", named, "--json")
    assert status == 0 and json.loads(said)["hits"]
    assert client.count(index=named)["count"] == len(TEXTS)


def test_without_a_dictionary_it_encodes_nothing(client: OpenSearch, index: str, model: Path) -> None:
    dense = load_encoder(str(model), device="cpu")
    assert dense.embed(TEXTS[:3]).shape == (3, DIM)
    with pytest.raises(EncoderError, match="is a dense model without a head"):
        dense.encode_query(["stars"])
    client.indices.create(index=index)
    with pytest.raises(EncoderError, match="fewer"), SparseIndex(f"{index}-2", encoder=dense, client=client) as docs:
        docs.add(DOCUMENTS[:10])
