"""An index with its own dictionary, stored in the cluster, on a real node."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import numpy as np
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray
from opensearchpy import OpenSearch
from opensearchpy.exceptions import AuthorizationException

from connector import Document, SparseIndex
from connector.cli.main import cli
from connector.connection.client import connect
from connector.encoders.dictionary import TwoLevelDictionary
from connector.encoders.dictionary_file import pack_dictionary, unpack_dictionary
from connector.encoders.text import TextEncoder
from connector.errors import ClusterError, EncoderError, IndexMappingError
from connector.files import cache_folder
from connector.index.companion import Companion, fetch_companion
from connector.index.drop import drop_index
from connector.index.new_index import NewIndex
from connector.index.patience import RetryPolicy
from connector.index.schema import IndexSchema, existing_schema
from connector.index.writer import BulkWriter
from connector.ingest.index_encoder import load_index_encoder
from connector.ingest.own_dictionary import OwnDictionary
from connector.ingest.pipeline import IngestJob
from connector.ingest.prepare import prepare_encoder
from connector.query.settings import SearchSettings
from connector.search.retriever import Retriever
from tests.fault_proxy import fault_proxy, passed, reset_after, status
from tests.patience import PATIENCE_S
from tests.tenants import switch
from tests.tiny import WORDS

pytestmark = [pytest.mark.opensearch, pytest.mark.usefixtures("own_cache")]

RANDOM = np.random.default_rng(4)
RARITY = 1 / np.arange(1, len(WORDS) + 1) ** 1.3
TEXTS = [" ".join(RANDOM.choice(WORDS, 7, p=RARITY / RARITY.sum())) for _ in range(1_200)]
"""Some words are rare, as tokens must be to count."""


@pytest.fixture
def dense(encoder: TextEncoder) -> TextEncoder:
    """A dense model that is found again by its name; its head is not used."""
    return encoder


def prepare(client: OpenSearch, index: str, dense: TextEncoder, texts: list[str] = TEXTS) -> TextEncoder:
    own = OwnDictionary(texts, documents=len(texts))
    return prepare_encoder(client, index, dense, sample=texts, dictionary=own, new=NewIndex(code_bits=4))


def dictionaries() -> Path:
    return cache_folder() / "dictionaries"


def dictionary_of(schema: IndexSchema) -> Companion:
    assert schema.dictionary is not None
    return schema.dictionary


def test_another_machine_searches_without_any_file(
    client: OpenSearch, named: str, dense: TextEncoder, own_cache: Path
) -> None:
    written = prepare(client, named, dense)
    assert isinstance(written.head, TwoLevelDictionary)
    assert written.head.num_latents == 26 * 27, "0.6 cells for each of 1,200 documents"
    with IngestJob(BulkWriter(client, named), written) as job:
        job.add(Document(str(row), text) for row, text in enumerate(TEXTS))
    assert job.result.indexed == len(TEXTS)
    schema = existing_schema(client, named)
    loaded = load_index_encoder(client, schema, device="cpu")
    assert loaded.fingerprint == written.fingerprint
    retriever = Retriever(client, named, loaded)
    for row in (0, 7, 600):
        # Codes of 16 dimensions are coarse.
        assert TEXTS[row] in {hit.text for hit in retriever.search(TEXTS[row], top_k=100)}
        assert TEXTS[row] in {
            hit.text for hit in retriever.search(TEXTS[row], top_k=10, settings=SearchSettings(window=0))
        }
    assert [path.stem for path in dictionaries().iterdir()] == [dictionary_of(schema).sha256]
    assert own_cache in dictionaries().parents


def test_rescored_searches_use_fewer_tokens_than_others(client: OpenSearch, named: str, dense: TextEncoder) -> None:
    retriever = Retriever(client, named, prepare(client, named, dense))
    head = retriever.encoder.head
    assert isinstance(head, TwoLevelDictionary)
    assert retriever.defaults().window == 200
    assert retriever.defaults().k_query == head.k_candidates == 20

    def split(features: NDArray[np.int32], weights: NDArray[np.float32]) -> tuple[int, int]:
        used = features[weights > 0]
        return int((used < head.num_latents).sum()), int((used >= head.num_latents).sum())

    rescored, _ = retriever.encoder.encode_query_for_rescoring([TEXTS[0]], k=head.k_candidates)
    cells, tokens = split(rescored.features, rescored.weights)
    assert cells == 16 and tokens <= 4
    alone = retriever.encoder.encode_query([TEXTS[0]])
    assert split(alone.features, alone.weights)[0] == head.query_cells == 16
    assert split(alone.features, alone.weights)[1] > tokens


def test_the_dictionary_is_hidden_and_goes_with_its_index(client: OpenSearch, index: str, dense: TextEncoder) -> None:
    prepare(client, index, dense)
    companion = dictionary_of(existing_schema(client, index)).index
    assert companion.startswith(f"{index}-dictionary-")
    assert companion not in client.indices.get(index=f"{index}*"), "a wildcard does not reach it"
    drop_index(client, index)
    assert not client.indices.exists(index=index)
    assert not client.indices.exists(index=companion)


def test_a_fetched_dictionary_is_not_fetched_again(client: OpenSearch, named: str, dense: TextEncoder) -> None:
    prepare(client, named, dense)
    schema = existing_schema(client, named)
    data = fetch_companion(client, dictionary_of(schema))
    client.indices.delete(index=dictionary_of(schema).index)
    assert fetch_companion(client, dictionary_of(schema)) == data
    [kept] = dictionaries().iterdir()
    kept.write_bytes(data[:-1] + b"?")
    with pytest.raises(IndexMappingError, match=r"is missing or incomplete in .*\. Restore that index from a snapshot"):
        fetch_companion(client, dictionary_of(schema))


def test_a_dictionary_that_was_changed_is_refused(client: OpenSearch, named: str, dense: TextEncoder) -> None:
    prepare(client, named, dense)
    schema = existing_schema(client, named)
    client.index(index=dictionary_of(schema).index, id="0", body={"data": "AAAA"})
    with pytest.raises(IndexMappingError, match="is not the one that wrote the documents"):
        load_index_encoder(client, schema, device="cpu")


def test_jobs_that_start_together_use_one_dictionary(client: OpenSearch, named: str, dense: TextEncoder) -> None:
    together = Barrier(2)

    def start(texts: list[str]) -> str:
        def sample(most: int = 10_000) -> list[str]:
            if most > 1_000:
                together.wait(PATIENCE_S)
            return texts[:most]

        own = OwnDictionary(sample, documents=len(texts))
        return prepare_encoder(
            client, named, dense, sample=texts, dictionary=own, new=NewIndex(code_bits=None)
        ).fingerprint.digest

    with ThreadPoolExecutor(2) as pool:
        one, other = pool.map(start, (TEXTS[:1_100], TEXTS[100:]))
    schema = existing_schema(client, named)
    assert one == other == schema.encoder.digest
    kept = client.indices.get(index=f"{named}-dictionary-*", params={"expand_wildcards": "all"})
    assert list(kept) == [dictionary_of(schema).index], "the other job deletes what it had stored"


def test_a_creation_that_fails_for_the_moment_does_not_lose_the_dictionary(
    opensearch_url: str, client: OpenSearch, named: str, dense: TextEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("connector.index.patience.RetryPolicy", lambda: RetryPolicy(0.01, 0.01))
    own = OwnDictionary(TEXTS, documents=len(TEXTS))
    with fault_proxy(opensearch_url) as proxy, connect(proxy.url) as through:
        proxy.creations.extend([status(503), passed, reset_after])  # of the hidden index, then of the index
        made = prepare_encoder(through, named, dense, sample=TEXTS, dictionary=own)
        assert not proxy.creations
    schema = existing_schema(client, named)
    assert schema.encoder.digest == made.fingerprint.digest
    assert fetch_companion(client, dictionary_of(schema))


def test_an_index_that_cannot_be_created_leaves_no_dictionary(
    client: OpenSearch, named: str, dense: TextEncoder
) -> None:
    own = OwnDictionary(TEXTS, documents=len(TEXTS))
    with pytest.raises(IndexMappingError, match="number_of_shards"):
        prepare_encoder(
            client,
            named,
            dense,
            sample=TEXTS,
            dictionary=own,
            new=NewIndex(settings={"number_of_shards": "many"}, code_bits=None),
        )
    assert not client.indices.get(index=f"{named}*", params={"expand_wildcards": "all"})


def test_a_dictionary_that_a_renamed_index_needs_survives_a_failure_under_its_old_name(
    client: OpenSearch, named: str, dense: TextEncoder, tmp_path: Path
) -> None:
    prepare(client, named, dense)
    dictionary = dictionary_of(existing_schema(client, named))
    client.indices.create(index=f"{named}-2", body={"mappings": client.indices.get(index=named)[named]["mappings"]})
    client.indices.delete(index=named)
    own = OwnDictionary(TEXTS, documents=len(TEXTS))
    wrong = NewIndex(settings={"number_of_shards": "many"}, code_bits=4)
    with pytest.raises(IndexMappingError, match="number_of_shards"):
        prepare_encoder(client, named, dense, sample=TEXTS, dictionary=own, new=wrong)
    assert fetch_companion(client, dictionary, folder=tmp_path)


def test_too_few_documents_get_the_fixed_head(client: OpenSearch, named: str, dense: TextEncoder) -> None:
    calibrated = prepare(client, named, dense, TEXTS[:999])
    schema = existing_schema(client, named)
    assert not isinstance(calibrated.head, TwoLevelDictionary)
    assert schema.dictionary is None
    assert schema.encoder_name == dense.name


def test_documents_of_the_sample_are_not_embedded_again(
    client: OpenSearch, named: str, dense: TextEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = OwnDictionary(TEXTS[:1_100], documents=1_100)
    calibrated = prepare_encoder(client, named, dense, sample=TEXTS, dictionary=own, new=NewIndex(code_bits=4))
    expected = calibrated.encode_document(TEXTS[1_090:1_110])
    embedded: list[str] = []
    encode = TextEncoder.encode_document

    def counted(self: TextEncoder, texts: list[str], *, batch_size: int = 32) -> object:
        embedded.extend(texts)
        return encode(self, texts, batch_size=batch_size)

    monkeypatch.setattr(TextEncoder, "encode_document", counted)
    reusing = own.reuse(calibrated)
    found = reusing.encode_document(TEXTS[1_090:1_110])
    assert embedded == TEXTS[1_100:1_110]
    for one, other in zip(found.as_mappings(), expected.as_mappings(), strict=True):
        assert one == pytest.approx(other, rel=1e-3)
    assert found.codes is not None and expected.codes is not None
    # The last bits of an embedding depend on what else is in its batch.
    assert np.mean(found.codes == expected.codes) > 0.99
    reusing.encode_document(TEXTS[1_110:1_115])
    embedded.clear()
    reusing.encode_document(TEXTS[:2])
    assert embedded == TEXTS[:2], "the embeddings were released after the sample"


def test_a_packed_dictionary_is_the_same_and_a_damaged_one_is_refused(
    client: OpenSearch, named: str, dense: TextEncoder
) -> None:
    head = prepare(client, named, dense).head
    assert isinstance(head, TwoLevelDictionary)
    data = pack_dictionary(head)
    assert pack_dictionary(unpack_dictionary(data)) == data
    with pytest.raises(EncoderError, match="the dictionary is damaged"):
        unpack_dictionary(data[:1_000])


@pytest.mark.usefixtures("small_dictionaries")
def test_the_commands_need_no_option_for_it(
    client: OpenSearch, named: str, workplace: Path, head_folder: Path, own_cache: Path
) -> None:
    """The real dense model: the default of every command."""
    lines = [json.dumps({"_id": str(row), "text": text}) for row, text in enumerate(TEXTS[:300])]
    (workplace / "corpus.jsonl").write_text("\n".join(lines))
    (workplace / "few.jsonl").write_text("\n".join(lines[:3]))

    def run(*arguments: str) -> str:
        result = CliRunner().invoke(cli, list(arguments))
        assert result.exit_code == 0, result.output
        return result.output

    run("ingest", "corpus.jsonl", "--index", named, "--quiet")
    schema = existing_schema(client, named)
    assert dictionary_of(schema).size > 1_000
    assert schema.code is not None and schema.code.bits == 4
    [hit] = json.loads(run("search", TEXTS[5], "--index", named, "--top-k", "1", "--json"))["hits"]
    assert hit["source"]["text"] == TEXTS[5]
    run("ingest", "few.jsonl", "--index", named, "--quiet")
    with SparseIndex(named, client=client) as docs:
        assert [found.text for found in docs.search(TEXTS[9], top_k=1)] == [TEXTS[9]]
        assert docs.encoder.fingerprint.digest == schema.encoder.digest
        target = f"{named}-2"
        try:
            run("update", "few.jsonl", "--index", named, "--quiet")
            run("reencode", named, "--to", target, "--encoder", "own", "--delete-old", "--quiet")
            there = existing_schema(client, named)
            assert dictionary_of(there).index.startswith(f"{target}-dictionary-")
            assert there.encoder.digest != schema.encoder.digest
            assert not client.indices.exists(index=dictionary_of(schema).index)
            assert [found.text for found in docs.search(TEXTS[9], top_k=1)] == [TEXTS[9]], "with the new dictionary"
            assert docs.encoder.fingerprint.digest == there.encoder.digest
        finally:
            drop_index(client, target)


def test_the_doctor_says_when_a_new_dictionary_would_pay(
    client: OpenSearch, named: str, dense: TextEncoder, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("connector.search.opened.MAX_SCANNED", 0)  # no scan, as in a large index
    written = prepare(client, named, dense)
    with IngestJob(BulkWriter(client, named), written) as job:
        job.add(Document(str(row), text) for row, text in enumerate(TEXTS))

    def examine(*options: str) -> tuple[int, str]:
        result = CliRunner().invoke(cli, ["doctor", "--index", named, *options])
        return result.exit_code, result.output

    status, said = examine()
    assert status == 0, said
    assert f"{named}: 1,200 documents, 702 cells; searches with 50 of them find" in said
    assert said.endswith("Nothing to do.\n")
    facts = json.loads(examine("--json")[1])
    assert facts["recall"] > 0.9
    assert not facts["outgrown"]
    # A search that reads less finds less.
    client.indices.put_mapping(index=named, body={"_meta": with_search(client, named, k_query=1, window=10)})
    status, said = examine("--recall", "0.9")
    assert status == 1
    assert f"`ksparse reencode {named} --to NEW --encoder own`" in said
    # So does one within a posting budget, of which the strongest cell is left.
    setting = {"k_query": 16, "window": 100}
    client.indices.put_mapping(index=named, body={"_meta": with_search(client, named, **setting)})
    assert examine("--recall", "0.9")[0] == 0
    client.indices.put_mapping(index=named, body={"_meta": with_search(client, named, **setting, posting_budget=1e-9)})
    assert examine("--recall", "0.9")[0] == 1


def with_search(client: OpenSearch, index: str, **setting: float) -> dict[str, object]:
    meta: dict[str, dict[str, object]] = client.indices.get_mapping(index=index)[index]["mappings"]["_meta"]
    meta["ksparse"]["search"] = setting
    return dict(meta)


def test_the_doctor_needs_codes(client: OpenSearch, named: str, dense: TextEncoder, workplace: Path) -> None:
    prepare_encoder(client, named, dense, sample=TEXTS, new=NewIndex(code_bits=None))
    result = CliRunner().invoke(cli, ["doctor", "--index", named])
    assert result.exit_code == 1
    assert "stores no codes to compare hits with" in result.output


def test_another_number_of_features_needs_a_fixed_encoder(
    client: OpenSearch, named: str, dense: TextEncoder, head_folder: Path, workplace: Path
) -> None:
    written = prepare(client, named, dense)
    with IngestJob(BulkWriter(client, named), written) as job:
        job.add(Document(str(row), text) for row, text in enumerate(TEXTS))

    def run(*arguments: str) -> tuple[int, str]:
        result = CliRunner().invoke(cli, [*arguments])
        return result.exit_code, result.stderr

    copying = ("reencode", named, "--to", f"{named}-2", "--no-switch", "--quiet")
    advice = f"`ksparse reencode {named} --to NEW --encoder all-MiniLM-L6-v2 --k 6 --no-switch`"
    status, said = run(*copying, "--k", "6")
    assert status == 2 and f"{named} has its own dictionary, whose features are fixed" in said and advice in said
    status, said = run(*copying, "--idf")
    assert status == 2 and "--encoder bert-tiny-splade-ht --idf --no-switch`" in said
    (workplace / "corpus.jsonl").write_text('{"_id": "1", "text": "stars burn"}\n')
    status, said = run("ingest", "corpus.jsonl", "--index", named, "--k", "6")
    assert status == 5 and advice in said
    status, said = run("label", "corpus.jsonl", "--index", named)
    assert status == 1 and "has its own dictionary, whose cells have no labels" in said
    # As advised, with the tiny head in place of the shipped one.
    status, said = run(*copying, "--encoder", str(head_folder), "--k", "6", "--tolerance", "1")
    assert status == 0, said
    copy = existing_schema(client, f"{named}-2")
    assert (copy.encoder.k, copy.dictionary) == (6, None)


def test_a_store_of_a_framework_needs_no_encoder(client: OpenSearch, named: str) -> None:
    """The real dense model, as a user has it."""
    from connector.integrations.store import IndexStore

    store = IndexStore(named, client=client)
    store.write([Document(str(row), text) for row, text in enumerate(TEXTS[:1_000])])
    assert dictionary_of(existing_schema(client, named)).size > 1_000
    # Another program.
    other = IndexStore(named, client=client)
    assert [hit.text for hit in other.search(TEXTS[3], top_k=1)] == [TEXTS[3]]
    other.write([Document("new", "why do music and stars burn for years")])
    assert [hit.id for hit in other.search("why do music and stars burn for years", top_k=1)] == ["new"]


def test_an_open_index_writes_with_the_dictionary_that_its_alias_has_now(
    client: OpenSearch, named: str, dense: TextEncoder
) -> None:
    alias, other = f"{named}-alias", f"{named}-2"
    prepare(client, named, dense)
    prepare(client, other, dense, TEXTS[100:])
    switch(client, alias, named)
    docs = SparseIndex(alias, client=client)
    docs.add([Document("1", TEXTS[0])])
    assert [hit.id for hit in docs.search(TEXTS[0])] == ["1"]
    switch(client, alias, other)
    docs.add([Document("2", TEXTS[1])])
    docs.update([{"_id": "2", "metadata": {"n": 1}}])
    assert [(hit.id, hit.index) for hit in docs.search(TEXTS[1])] == [("2", other)]


def test_a_cluster_that_permits_no_second_index_names_it(client: OpenSearch, named: str, dense: TextEncoder) -> None:
    create = client.indices.create

    def refuse(index: str, **options: object) -> object:
        if "-dictionary-" in index:
            raise AuthorizationException(403, "security_exception", {"error": {"reason": "no permissions"}})
        return create(index=index, **options)

    client.indices.create = refuse
    try:
        with pytest.raises(ClusterError, match=f"The dictionary of '{named}' could not be stored in the index"):
            prepare(client, named, dense)
    finally:
        del client.indices.create
    assert not client.indices.exists(index=named), "nothing is half made"
