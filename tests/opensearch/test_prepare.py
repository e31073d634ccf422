"""An index that keeps the statistics of its encoder, on a real node."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Literal

import numpy as np
import pytest
from opensearchpy import OpenSearch
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Transformer
from sentence_transformers.sentence_transformer.modules import Pooling
from torch import Tensor

from connector import SparseIndex
from connector.encoders.autoencoder import KSparseAutoEncoder
from connector.encoders.backend import Batch, TorchModel
from connector.encoders.load import join
from connector.encoders.text import TextEncoder
from connector.errors import EncoderError, EncoderMismatchError, SearchError
from connector.index.meta import IndexMeta
from connector.index.new_index import NewIndex
from connector.index.schema import existing_schema, prepare_index
from connector.index.writer import BulkWriter
from connector.ingest.own_dictionary import OwnDictionary
from connector.ingest.pipeline import ingest_documents
from connector.ingest.prepare import prepare_encoder
from connector.query.settings import SearchSettings
from connector.search.retriever import Retriever
from connector.types import Document
from tests.never import never
from tests.patience import PATIENCE_S
from tests.tiny import WORDS, K, build_splade, build_transformer

pytestmark = pytest.mark.opensearch

RANDOM = np.random.default_rng(0)
TEXTS = [" ".join(RANDOM.choice(WORDS, 6)) for _ in range(60)]


def test_the_index_keeps_the_statistics_and_tells_them(client: OpenSearch, index: str, lexical: TextEncoder) -> None:
    calibrated = prepare_encoder(client, index, lexical, sample=TEXTS, new=NewIndex(code_bits=None))
    assert calibrated.statistics is not None and calibrated.statistics.token_weights.any()
    documents = [Document(str(row), text) for row, text in enumerate(TEXTS)]
    assert ingest_documents(documents, calibrated, BulkWriter(client, index)).indexed == 60
    # One who knows nothing of the statistics: they come from the index.
    retriever = Retriever(client, index, lexical)
    assert retriever.encoder.fingerprint.digest == calibrated.fingerprint.digest != lexical.fingerprint.digest
    assert retriever.schema.weight_exponent < -100, "weights are stored in few bits"
    found = retriever.search(TEXTS[3], top_k=1, settings=SearchSettings(k_query=K))
    [expected] = calibrated.encode_query([TEXTS[3]], k=K).as_mappings()
    [kept] = calibrated.encode_document([TEXTS[3]]).as_mappings()
    assert found[0].doc_id == "3"
    score = sum(weight * kept.get(feature, 0.0) for feature, weight in expected.items())
    assert found[0].score == pytest.approx(score, rel=2**-8)
    again = prepare_encoder(client, index, lexical, sample=["another corpus"], new=NewIndex(code_bits=None))
    assert again.fingerprint.digest == calibrated.fingerprint.digest, "the first documents decide"


def test_the_sample_is_drawn_only_for_a_new_index(client: OpenSearch, index: str, lexical: TextEncoder) -> None:
    drawn = 0

    def sample() -> list[str]:
        nonlocal drawn
        drawn += 1
        return TEXTS

    for _ in range(2):
        prepare_encoder(client, index, lexical, sample=sample, new=NewIndex(code_bits=None))
    assert drawn == 1


def test_a_text_of_the_sample_is_embedded_once(
    client: OpenSearch, named: str, lexical: TextEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    embedded: list[int] = []
    embed = TorchModel.embed

    def counted(self: TorchModel, batches: Iterable[Batch]) -> Iterator[tuple[Batch, Tensor]]:
        for batch, found in embed(self, batches):
            embedded.append(len(batch.rows))
            yield batch, found

    monkeypatch.setattr(TorchModel, "embed", counted)
    prepare_encoder(client, named, lexical, sample=TEXTS)
    assert sum(embedded) == len(TEXTS)
    embedded.clear()
    many = [" ".join(RANDOM.choice(WORDS, 6)) for _ in range(1_000)]
    made = prepare_encoder(client, f"{named}-2", lexical, sample=many, dictionary=OwnDictionary(many))
    assert made.has_dictionary and made.code is not None
    assert sum(embedded) == len(many)


def poison(monkeypatch: pytest.MonkeyPatch, encoder: TextEncoder, word: str) -> None:
    """Make all texts with a word have an embedding of NaN."""
    token = encoder.model.tokenizer.convert_tokens_to_ids(word)
    embed = TorchModel.embed

    def poisoned(self: TorchModel, batches: Iterable[Batch]) -> Iterator[tuple[Batch, Tensor]]:
        for batch, found in embed(self, batches):
            bad = (batch.features["input_ids"] == token).any(dim=1, keepdim=True)
            yield batch, found.masked_fill(bad, np.nan)

    monkeypatch.setattr(TorchModel, "embed", poisoned)


@pytest.mark.parametrize("count", [60, 1_100])
def test_a_text_without_a_finite_embedding_is_a_dead_letter(
    client: OpenSearch, named: str, lexical: TextEncoder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, count: int
) -> None:
    texts = [" ".join(RANDOM.choice(WORDS, 6)) for _ in range(count)]
    poison(monkeypatch, lexical, ":")
    documents = [Document(str(row), text) for row, text in enumerate([":", *texts])]
    with SparseIndex(named, encoder=lexical, client=client, new=NewIndex(dictionary=count > 1_000)) as docs:
        prepared = docs.prepare([document.content for document in documents], documents=len(documents))
        with docs.job(dead_letters=tmp_path / "letters.jsonl") as job:
            job.add(documents)
        assert (job.result.indexed, job.result.dead_lettered) == (count, 1)
        assert prepared.has_dictionary == (count > 1_000)
        assert prepared.statistics is not None and np.isfinite(prepared.statistics.mean).all()
        assert texts[3] in {hit.text for hit in docs.search(texts[3], top_k=count)}


@pytest.mark.parametrize("dictionary", [False, True])
def test_an_encoder_without_any_finite_embedding_is_refused(
    client: OpenSearch, index: str, lexical: TextEncoder, monkeypatch: pytest.MonkeyPatch, *, dictionary: bool
) -> None:
    poison(monkeypatch, lexical, "[CLS]")
    texts = [" ".join(RANDOM.choice(WORDS, 6)) for _ in range(1_100)]
    own = OwnDictionary(texts, documents=len(texts)) if dictionary else None
    with pytest.raises(EncoderError, match="None of the embeddings of (1,100|550) documents is finite"):
        prepare_encoder(client, index, lexical, sample=texts, dictionary=own)
    assert not client.indices.exists(index=index)


def test_jobs_that_start_together_agree(client: OpenSearch, index: str, lexical: TextEncoder) -> None:
    together = Barrier(2)

    def start(texts: list[str]) -> str:
        def sample() -> list[str]:
            together.wait(PATIENCE_S)
            return texts

        return prepare_encoder(client, index, lexical, sample=sample, new=NewIndex(code_bits=None)).fingerprint.digest

    with ThreadPoolExecutor(2) as pool:
        one, other = pool.map(start, (TEXTS[:30], TEXTS[30:]))
    assert one == other == existing_schema(client, index).encoder.digest


def test_without_a_sample_the_encoder_stays_as_it_is(client: OpenSearch, index: str, lexical: TextEncoder) -> None:
    assert prepare_encoder(client, index, lexical, new=NewIndex(code_bits=None)) is lexical
    assert existing_schema(client, index).statistics is None
    assert Retriever(client, index, lexical).encoder is lexical


def test_an_encoder_without_a_head_has_no_statistics(client: OpenSearch, index: str, tmp_path: Path) -> None:
    splade = TextEncoder(build_splade(tmp_path / "splade"))
    assert prepare_encoder(client, index, splade, sample=TEXTS, new=NewIndex(code_bits=None)) is splade
    assert existing_schema(client, index).statistics is None


def test_an_index_notes_that_queries_are_weighted_by_idf(client: OpenSearch, index: str, tmp_path: Path) -> None:
    splade = TextEncoder(build_splade(tmp_path / "splade"))
    calibrated = prepare_encoder(client, index, splade.with_idf(), sample=TEXTS, new=NewIndex(code_bits=None))
    documents = [Document(str(row), text) for row, text in enumerate(TEXTS)]
    assert ingest_documents(documents, calibrated, BulkWriter(client, index)).indexed == len(TEXTS)
    retriever = Retriever(client, index, splade, source=False)
    assert retriever.encoder.fingerprint == calibrated.fingerprint != splade.fingerprint
    [plain], [weighed] = (each.encode_query([TEXTS[0]]).as_mappings() for each in (splade, calibrated))
    roots = calibrated.statistics.token_weights  # type: ignore[union-attr]
    idf = (roots / roots.max()) ** 2
    assert weighed == pytest.approx({name: weight * idf[int(name)] for name, weight in plain.items()}, rel=1e-5)
    by_hand = [sum(weighed.get(name, 0) * value for name, value in each.items())
               for each in calibrated.encode_document(TEXTS).as_mappings()]  # fmt: skip
    hits = retriever.search(TEXTS[0], top_k=5)
    assert len({round(idf[int(name)], 3) for name in plain}) > 1, "not all features are as rare"
    for hit in hits:
        assert hit.score == pytest.approx(by_hand[int(hit.doc_id)], rel=2**-8)
    assert [hit.score for hit in hits] == pytest.approx(sorted(by_hand)[:-6:-1], rel=2**-8)


def test_idf_that_was_never_measured_is_noted_as_well(client: OpenSearch, index: str, tmp_path: Path) -> None:
    splade = TextEncoder(build_splade(tmp_path / "splade"))
    calibrated = prepare_encoder(client, index, splade.with_idf(), new=NewIndex(code_bits=None))
    assert Retriever(client, index, splade).encoder.fingerprint == calibrated.fingerprint


def test_another_encoder_is_refused_with_statistics_or_without(
    client: OpenSearch, index: str, lexical: TextEncoder, encoder: TextEncoder, tmp_path: Path
) -> None:
    prepare_encoder(client, index, lexical, sample=TEXTS, new=NewIndex(code_bits=None))
    for other in (encoder, TextEncoder(build_splade(tmp_path / "splade"))):
        with pytest.raises(EncoderMismatchError, match="their features do not match"):
            Retriever(client, index, other)
        with pytest.raises(EncoderMismatchError, match="their features do not match"):
            prepare_encoder(client, index, other, sample=TEXTS, new=NewIndex(code_bits=None))


def test_the_settings_and_fields_are_passed_on(client: OpenSearch, index: str, lexical: TextEncoder) -> None:
    prepare_encoder(
        client,
        index,
        lexical,
        sample=TEXTS,
        new=NewIndex(fields={"year": "integer"}, settings={"number_of_shards": 2}, code_bits=None),
    )
    assert existing_schema(client, index).fields == {"year": "integer"}
    assert client.indices.get_settings(index=index)[index]["settings"]["index"]["number_of_shards"] == "2"


def test_statistics_of_the_real_vocabulary_fit_into_a_mapping(
    client: OpenSearch, index: str, lexical: TextEncoder
) -> None:
    from connector.vectors.statistics import CorpusStatistics

    steps = np.random.default_rng(0).integers(0, 256, 30_522)
    weights = np.asarray(steps / 64, dtype=np.float32)
    statistics = CorpusStatistics(np.ones(384, np.float32), weights, 30.0)
    prepare_index(client, index, IndexMeta(lexical.fingerprint, statistics=statistics))
    kept = existing_schema(client, index).statistics
    assert kept is not None and np.array_equal(kept.token_weights, weights)
    assert len(statistics.to_json()["token_weights"]) < 45_000


@pytest.mark.parametrize("bits", [2, 8])
def test_codes_put_hits_into_the_dense_order(
    client: OpenSearch, index: str, lexical: TextEncoder, bits: Literal[2, 8]
) -> None:
    calibrated = prepare_encoder(client, index, lexical, sample=TEXTS, new=NewIndex(code_bits=bits))
    assert calibrated.code is not None and calibrated.code.bits == bits
    documents = [Document(str(row), text) for row, text in enumerate(TEXTS)]
    assert ingest_documents(documents, calibrated, BulkWriter(client, index)).indexed == 60
    retriever = Retriever(client, index, lexical)
    assert retriever.encoder.code is not None and np.array_equal(retriever.encoder.code.mean, calibrated.code.mean)
    dense = lexical.embed(TEXTS) @ lexical.embed(TEXTS, task="query").T
    largest = 0.0
    for row in range(10):
        found = retriever.search(TEXTS[row], top_k=5, settings=SearchSettings(k_query=K))
        scores = {int(hit.doc_id): hit.score for hit in found}
        largest = max(largest, *(abs(score - 1 - dense[doc, row]) for doc, score in scores.items()))
        assert found == retriever.search_many([TEXTS[row]], top_k=5, settings=SearchSettings(k_query=K))[0]
        alone = retriever.search(TEXTS[row], top_k=5, settings=SearchSettings(k_query=K, window=0))
        assert alone[0].score != pytest.approx(found[0].score, rel=1e-3), "features alone have other scores"
    assert largest < {2: 0.5, 8: 0.03}[bits]
    source = client.get(index=index, id="0")["_source"]
    assert set(source) == {"text"}, "the code is kept once, as a doc value"


def test_a_window_needs_codes(client: OpenSearch, index: str, lexical: TextEncoder, tmp_path: Path) -> None:
    prepare_encoder(client, index, lexical, sample=TEXTS, new=NewIndex(code_bits=None))
    with pytest.raises(SearchError, match=f"Index '{index}' stores no codes, so it cannot rescore 50 hits; search"):
        Retriever(client, index, lexical).search("stars burn", settings=SearchSettings(window=50))
    splade = TextEncoder(build_splade(tmp_path / "splade"))
    with pytest.raises(EncoderError, match="codes need a dense model"):
        prepare_encoder(client, f"{index}-other", splade, new=NewIndex(code_bits=4))
    assert not client.indices.exists(index=f"{index}-other")


def test_codes_that_need_a_dictionary_are_refused_without_one(
    client: OpenSearch, index: str, lexical: TextEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TextEncoder, "embed", never("a text is embedded"))
    new = NewIndex(code_bits=3)
    fixed = "Codes of 3 bits need a dictionary, which an index with a fixed encoder does not get; use 1, 2, 4 or 8."
    with pytest.raises(EncoderError, match=f"^{re.escape(fixed)}$"):
        prepare_encoder(client, index, lexical, sample=TEXTS, new=new)
    few = "which is built from at least 1,000 documents, and there are fewer; use 1, 2, 4 or 8."
    with pytest.raises(EncoderError, match=f"{re.escape(few)}$"):
        prepare_encoder(client, index, lexical, sample=TEXTS, dictionary=OwnDictionary(TEXTS), new=new)
    assert not client.indices.exists(index=index)


def test_codes_that_do_not_fill_whole_bytes_are_refused(client: OpenSearch, index: str, tmp_path: Path) -> None:
    transformer = Transformer(str(build_transformer(tmp_path / "narrow", dim=12)))
    dense = SentenceTransformer(modules=[transformer, Pooling(12, "mean")], device="cpu")
    encoder = TextEncoder(join(dense, KSparseAutoEncoder(12, 64, 8)), base_model="narrow")
    said = "12 dimensions of 1 bits do not fill whole bytes, as codes without a dictionary must; use 2 or 4 or 8 bits"
    with pytest.raises(EncoderError, match=said):
        prepare_encoder(client, index, encoder, sample=TEXTS, new=NewIndex(code_bits=1))
    assert not client.indices.exists(index=index)
