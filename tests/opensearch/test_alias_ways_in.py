"""An alias's filter and routing, and the check of its encoder, hold in each command and each framework's store."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from haystack import Document as HaystackDocument
from haystack.document_stores.types import DuplicatePolicy
from langchain_core.documents import Document as LangChainDocument
from llama_index.core.schema import TextNode
from llama_index.core.vector_stores.types import VectorStoreQuery, VectorStoreQueryMode
from opensearchpy import OpenSearch

from connector.cli.main import cli
from connector.encoders.text import TextEncoder
from connector.errors import EncoderMismatchError
from connector.integrations.haystack import KSparseDocumentStore, KSparseRetriever, KSparseStoreError
from connector.integrations.langchain import KSparseVectorStore as LangChainStore
from connector.integrations.llamaindex import KSparseVectorStore as LlamaIndexStore
from connector.search.sparse_index import SparseIndex
from tests.tenants import ALPHA, QUERY, fill, switch
from tests.tiny import build_head

pytestmark = pytest.mark.opensearch

Ask = Callable[[], list[str]]
"""Searches by what was opened before; the ids that come."""

DOORS: dict[str, dict[str, Any]] = {"filter": ALPHA, "routing": {"search_routing": "alpha"}}
each_door = pytest.mark.parametrize("door", DOORS.values(), ids=DOORS.keys())


@pytest.fixture
def other_folder(dense_folder: Path, tmp_path: Path) -> Path:
    """Another head of the same dense model."""
    folder = tmp_path / "other-head"
    folder.mkdir()
    build_head(str(dense_folder), seed=9).save(str(folder))
    return folder


def command(*words: str, encoder: Path | None = None, text: str | None = None) -> Result:
    chosen = [] if encoder is None else ["--encoder", str(encoder)]
    return CliRunner().invoke(cli, [*words, *chosen, "--json"], input=text)


def command_ids(*words: str, encoder: Path, text: str | None = None) -> list[str]:
    result = command(*words, encoder=encoder, text=text)
    assert result.exit_code == 0, result.output
    found = [json.loads(line) for line in result.stdout.splitlines()]
    return [hit["doc_id"] for answer in found for hit in answer.get("hits", [answer])]


COMMANDS: dict[str, tuple[str, ...]] = {
    "search": ("search", QUERY),
    "hybrid": ("search", QUERY, "--hybrid"),
    "weighted": ("search", QUERY, "--bm25-weight", "0.1"),
    "many": ("search", "-"),
    "explain": ("explain", QUERY),
}
each_command = pytest.mark.parametrize("words", COMMANDS.values(), ids=COMMANDS.keys())


@each_door
@each_command
def test_a_command_shows_what_the_alias_shows(
    client: OpenSearch,
    index: str,
    encoder: TextEncoder,
    head_folder: Path,
    workplace: Path,
    words: tuple[str, ...],
    door: dict[str, Any],
) -> None:
    fill(client, index, encoder)
    alias = f"{index}-alpha"
    switch(client, alias, index, **door)
    ask = partial(command_ids, encoder=head_folder, text=f"{QUERY}\n")
    assert "b1" in ask(*words, "--index", index)
    found = ask(*words, "--index", alias)
    assert found and set(found) <= {"a1", "a2"}


@each_command
def test_a_command_refuses_the_encoder_that_an_alias_had_before(
    client: OpenSearch,
    index: str,
    second: str,
    encoder: TextEncoder,
    head_folder: Path,
    other_folder: Path,
    workplace: Path,
    words: tuple[str, ...],
) -> None:
    from connector.encoders.load import load_encoder

    fill(client, index, encoder)
    fill(client, second, load_encoder(str(other_folder), device="cpu"))
    alias = f"{index}-live"
    switch(client, alias, index)
    asked = partial(command, *words, "--index", alias, text=f"{QUERY}\n")
    assert asked(encoder=head_folder).exit_code == 0
    switch(client, alias, second)
    refused = asked(encoder=head_folder)
    assert isinstance(refused.exception, SystemExit) and refused.exit_code == 5
    assert refused.stdout == "" and "their features do not match" in refused.stderr
    assert asked().exit_code == 0, "without --encoder, the new index's own is taken"


@each_door
def test_explain_says_of_a_hidden_document_what_it_says_of_one_that_does_not_exist(
    client: OpenSearch, index: str, encoder: TextEncoder, head_folder: Path, workplace: Path, door: dict[str, Any]
) -> None:
    fill(client, index, encoder)
    alias = f"{index}-alpha"
    switch(client, alias, index, **door)
    hidden, missing = (
        command("explain", QUERY, "--index", alias, "--id", doc_id, encoder=head_folder) for doc_id in ("b1", "zz")
    )
    assert (hidden.exit_code, hidden.stdout) == (missing.exit_code, missing.stdout) == (1, "")
    assert hidden.stderr == missing.stderr.replace("'zz'", "'b1'") == f"Error: Index '{alias}' has no document 'b1'.\n"
    assert command_ids("explain", QUERY, "--index", alias, "--id", "a1", encoder=head_folder) == ["a1"]


def of_sparse_index(verb: str, client: OpenSearch, alias: str, head: Path) -> Ask:
    index = SparseIndex(alias, client=client, encoder=str(head))
    asks = {
        "search": lambda: index.search(QUERY),
        "hybrid": lambda: index.search(QUERY, hybrid=True),
        "weighted": lambda: index.search(QUERY, hybrid=True, bm25_weight=0.1),
        "pages": lambda: [hit for page in index.pages(QUERY, page_size=1) for hit in page],
    }
    return lambda: [hit.doc_id for hit in asks[verb]()]


def of_langchain(verb: str, client: OpenSearch, alias: str, head: Path) -> Ask:
    store = LangChainStore(alias, client=client, encoder=str(head))
    asks: dict[str, Callable[[], list[LangChainDocument]]] = {
        "search": lambda: store.similarity_search(QUERY),
        "hybrid": lambda: store.similarity_search(QUERY, hybrid=True),
        "scores": lambda: [document for document, _ in store.similarity_search_with_score(QUERY)],
        "diverse": lambda: store.max_marginal_relevance_search(QUERY, k=2, lambda_mult=1.0),
        "retriever": lambda: store.as_retriever().invoke(QUERY),
    }
    return lambda: [document.id or "" for document in asks[verb]()]


def of_haystack(verb: str, client: OpenSearch, alias: str, head: Path) -> Ask:
    store = KSparseDocumentStore(index=alias, client=client, encoder=str(head))
    retriever = KSparseRetriever(document_store=store, hybrid=verb == "hybrid")

    def ask() -> list[str]:
        found: list[HaystackDocument] = retriever.run(QUERY)["documents"]
        return [document.id for document in found]

    return ask


def of_llamaindex(verb: str, client: OpenSearch, alias: str, head: Path) -> Ask:
    store = LlamaIndexStore(alias, client=client, encoder=str(head))
    query = VectorStoreQuery(query_str=QUERY, similarity_top_k=4, mode=VectorStoreQueryMode(verb))
    return lambda: list(store.query(query).ids or ())


WAYS: dict[str, Callable[[OpenSearch, str, Path], Ask]] = {
    f"{name} {verb}": partial(way, verb)
    for name, way, verbs in (
        ("SparseIndex", of_sparse_index, ("search", "hybrid", "weighted", "pages")),
        ("LangChain", of_langchain, ("search", "hybrid", "scores", "diverse", "retriever")),
        ("Haystack", of_haystack, ("search", "hybrid")),
        ("LlamaIndex", of_llamaindex, ("default", "sparse", "hybrid", "mmr")),
    )
    for verb in verbs
}
each_way = pytest.mark.parametrize("way", WAYS.values(), ids=WAYS.keys())


@each_door
@each_way
def test_a_store_shows_what_the_alias_shows(
    client: OpenSearch,
    index: str,
    encoder: TextEncoder,
    head_folder: Path,
    way: Callable[[OpenSearch, str, Path], Ask],
    door: dict[str, Any],
) -> None:
    fill(client, index, encoder)
    alias = f"{index}-alpha"
    switch(client, alias, index, **door)
    assert "b1" in way(client, index, head_folder)()
    found = way(client, alias, head_folder)()
    assert found and set(found) <= {"a1", "a2"}


@each_way
def test_a_store_refuses_an_alias_that_is_switched_to_another_encoder(
    client: OpenSearch,
    index: str,
    second: str,
    encoder: TextEncoder,
    head_folder: Path,
    other_folder: Path,
    way: Callable[[OpenSearch, str, Path], Ask],
) -> None:
    from connector.encoders.load import load_encoder

    fill(client, index, encoder)
    fill(client, second, load_encoder(str(other_folder), device="cpu"))
    alias = f"{index}-live"
    switch(client, alias, index)
    ask = way(client, alias, head_folder)
    before = ask()
    switch(client, alias, second)
    with pytest.raises((EncoderMismatchError, KSparseStoreError), match="their features do not match") as raised:
        ask()
    assert isinstance(raised.value, EncoderMismatchError) or isinstance(raised.value.__cause__, EncoderMismatchError)
    switch(client, alias, index)
    assert ask() == before


@each_door
def test_a_store_reads_and_counts_what_the_alias_shows(
    client: OpenSearch, index: str, encoder: TextEncoder, head_folder: Path, door: dict[str, Any]
) -> None:
    fill(client, index, encoder)
    alias = f"{index}-alpha"
    switch(client, alias, index, **door)
    everything = ["a1", "a2", "b1", "b2"]
    langchain = LangChainStore(alias, client=client, encoder=str(head_folder))
    assert [document.id for document in langchain.get_by_ids(everything)] == ["a1", "a2"]
    haystack = KSparseDocumentStore(index=alias, client=client, encoder=str(head_folder))
    assert {document.id for document in haystack.filter_documents()} == {"a1", "a2"}
    assert haystack.count_documents() == 2
    llamaindex = LlamaIndexStore(alias, client=client, encoder=str(head_folder))
    assert {node.node_id for node in llamaindex.get_nodes(everything)} == {"a1", "a2"}
    by_words = VectorStoreQuery(query_str=QUERY, similarity_top_k=4, mode=VectorStoreQueryMode.TEXT_SEARCH)
    assert set(llamaindex.query(by_words).ids or ()) == {"a1", "a2"}


def test_what_stores_write_themselves_is_filtered_by_an_alias(
    client: OpenSearch, index: str, second: str, head_folder: Path
) -> None:
    """Haystack and LlamaIndex keep metadata in a field of their own."""
    haystack = KSparseDocumentStore(index=index, client=client, encoder=str(head_folder))
    haystack.write_documents(
        [HaystackDocument(id=tenant, content=QUERY, meta={"tenant": tenant}) for tenant in ("alpha", "beta")],
        DuplicatePolicy.OVERWRITE,
    )
    llamaindex = LlamaIndexStore(second, client=client, encoder=str(head_folder))
    llamaindex.add([TextNode(id_=tenant, text=QUERY, metadata={"tenant": tenant}) for tenant in ("alpha", "beta")])
    for name, way in (
        (index, partial(of_haystack, "search")),
        (index, partial(of_haystack, "hybrid")),
        (second, partial(of_llamaindex, "default")),
        (second, partial(of_llamaindex, "mmr")),
    ):
        alias = f"{name}-alpha"
        switch(client, alias, name, filter={"term": {"meta.tenant": "alpha"}})
        assert set(way(client, name, head_folder)()) == {"alpha", "beta"}
        assert way(client, alias, head_folder)() == ["alpha"]
