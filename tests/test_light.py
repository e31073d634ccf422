"""Encoders without torch, against the same with it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load
from safetensors.torch import save
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Dense, Transformer
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling
from torch import nn

from connector.encoders.adapt import adapt
from connector.encoders.autoencoder import KSparseAutoEncoder
from connector.encoders.batches import Task
from connector.encoders.comparable import make_comparable
from connector.encoders.dictionary import TwoLevelDictionary
from connector.encoders.dictionary_file import pack_dictionary, unpack_cells
from connector.encoders.export import export_encoder
from connector.encoders.graph import _computes_bfloat16_faster
from connector.encoders.light import LightEncoder
from connector.encoders.light_heads import CellsHead, LinearHead, to_head
from connector.encoders.light_model import find_graph
from connector.encoders.load import join, load_encoder
from connector.encoders.text import TextEncoder
from connector.errors import EncoderError
from connector.ingest.light_encoder import find_new_encoder
from connector.ingest.own_dictionary import dictionary_encoder
from connector.training.dictionary.settings import DictionarySettings
from connector.types import SparseVectors
from connector.vectors.codes import RotatedCode
from tests.tiny import DIM, MAX_TOKENS, NUM_LATENTS, WORDS, K, build_dense, build_head

pytestmark = pytest.mark.usefixtures("in_file_cache")

PROMPTS = {"query": "query: "}


def sentences(count: int, seed: int = 0) -> list[str]:
    random = np.random.default_rng(seed)
    return [" ".join(random.choice(WORDS, size=random.integers(2, 14))) for _ in range(count)]


TEXTS = sentences(40, seed=1)


@pytest.fixture
def linear(transformer_folder: Path) -> TextEncoder:
    dense = build_dense(transformer_folder, prompts=PROMPTS)
    return TextEncoder(join(dense, build_head()), base_model="tiny-linear", backend="openvino")


@pytest.fixture
def dictionary(transformer_folder: Path) -> TextEncoder:
    dense = build_dense(transformer_folder, prompts=PROMPTS)
    plain = TextEncoder(join(dense, build_head()), base_model="tiny", backend="openvino")
    texts = sentences(1_200)
    settings = DictionarySettings(cells=5, tokens=3, query_cells=4, query_tokens=2)
    return dictionary_encoder(plain, texts, plain.embed(texts), settings=settings)


def light(encoder: TextEncoder) -> LightEncoder:
    """A search with the files that the encoder writes."""
    encoder.embed(["stars"])
    model = find_graph(encoder.fingerprint.base_model)
    assert model is not None
    head = encoder.head
    assert head is not None
    if isinstance(head, TwoLevelDictionary):
        weights = load(pack_dictionary(head))
        weights.pop("config")
    else:
        weights = load(save({name: value.contiguous() for name, value in head.state_dict().items()}))
    made = LightEncoder(model, to_head(head.get_config_dict(), weights), base_model=encoder.fingerprint.base_model)
    return adapt(made, encoder.statistics, encoder.code)


def assert_same(found: SparseVectors, expected: SparseVectors) -> None:
    """Equal weights; cells of so few dimensions often lie in one place, so that either of them is right."""
    np.testing.assert_allclose(found.weights, expected.weights, atol=1e-5)
    pairs = zip(found.as_mappings(), expected.as_mappings(), strict=True)
    assert np.mean([len(one.keys() & other.keys()) / len(other) for one, other in pairs]) > 0.7


@pytest.mark.parametrize("kind", ["linear", "dictionary"])
def test_vectors_and_fingerprint_are_those_of_the_whole_model(kind: str, request: pytest.FixtureRequest) -> None:
    encoder: TextEncoder = request.getfixturevalue(kind)
    encoder = encoder.with_code(RotatedCode(np.zeros(16, np.float32), 4, norm=1.0))
    without = light(encoder)
    assert without.fingerprint == encoder.fingerprint
    assert (without.k, without.k_query, without.k_candidates) == (encoder.k, encoder.k_query, encoder.k_candidates)
    assert (without.max_seq_length, without.num_latents) == (encoder.max_seq_length, encoder.num_latents)
    assert [without.count_tokens(text) for text in TEXTS] == [encoder.count_tokens(text) for text in TEXTS]
    np.testing.assert_allclose(without.embed(TEXTS), encoder.embed(TEXTS), atol=1e-6)
    assert_same(without.encode_document(TEXTS), encoder.encode_document(TEXTS))
    embedded = encoder.embed(TEXTS)
    assert_same(without.encode_embedded(embedded, TEXTS), encoder.encode_embedded(embedded, TEXTS))
    assert without.encode_embedded(embedded, TEXTS).codes is not None
    for how in ({"task": "query", "candidates": True}, {"k": 3}):
        assert_same(
            without.sparsify_embeddings(embedded, TEXTS, **how), encoder.sparsify_embeddings(embedded, TEXTS, **how)
        )
    assert_same(without.encode_query(TEXTS), encoder.encode_query(TEXTS))
    found, embedded = without.encode_query_for_rescoring(TEXTS, k=3)
    expected, embeddings = encoder.encode_query_for_rescoring(TEXTS, k=3)
    assert_same(found, expected)
    np.testing.assert_allclose(embedded, embeddings, atol=1e-6)
    assert (without.encode_document(TEXTS).codes == encoder.encode_document(TEXTS).codes).mean() > 0.99  # type: ignore[union-attr]
    assert without.label(str(encoder.num_latents - 1)) == encoder.label(str(encoder.num_latents - 1))


def test_a_dictionary_built_without_torch_is_the_same(linear: TextEncoder) -> None:
    texts = sentences(1_200)
    embeddings = linear.embed(texts)
    settings = DictionarySettings(cells=5, tokens=3, query_cells=4, query_tokens=2)
    by_torch = dictionary_encoder(linear, texts, embeddings, settings=settings)
    without = dictionary_encoder(light(linear), texts, embeddings, settings=settings)
    assert without.fingerprint == by_torch.fingerprint
    assert isinstance(without.head, CellsHead) and isinstance(by_torch.head, TwoLevelDictionary)
    stored = unpack_cells(pack_dictionary(by_torch.head))
    assert stored.config == without.head.config == by_torch.head.get_config_dict()
    assert stored.weights.keys() == without.head.weights.keys()
    for name, values in unpack_cells(pack_dictionary(without.head)).weights.items():
        np.testing.assert_array_equal(values, stored.weights[name], err_msg=name)
    assert without.make_code(4).to_json() == by_torch.make_code(4).to_json()


def test_statistics_measured_without_torch_are_the_same(transformer_folder: Path) -> None:
    dense = build_dense(transformer_folder, prompts=PROMPTS)
    tokens = {"num_tokens": len(dense.tokenizer), "document_scale": 0.2, "query_scale": 0.2}
    head = KSparseAutoEncoder(DIM, NUM_LATENTS, K, lexical_config=tokens)
    whole = TextEncoder(join(dense, head), base_model="tiny-lexical", backend="openvino")
    without = light(whole)
    embeddings = whole.embed(TEXTS)
    assert without.measure_statistics(TEXTS, embeddings).equals(whole.measure_statistics(TEXTS, embeddings))
    assert sorted(without.special_ids) == sorted(whole.special_ids)
    with pytest.raises(ValueError, match="texts must contain at least one document"):
        without.measure_statistics([])


def test_a_new_encoder_needs_torch_unless_its_weights_are_certain(
    transformer_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KSPARSE_BACKEND", "openvino")
    name = str(tmp_path / "tiny-certain")
    dense_model = build_dense(transformer_folder)
    dense_model.save_pretrained(name)
    head = build_head(name)
    linear = TextEncoder(join(dense_model, head), base_model=name, backend="openvino")
    folder = tmp_path / "head"
    folder.mkdir()
    head.save(str(folder))
    assert find_new_encoder(str(folder), None, None) is None, "never converted"
    linear.embed(["stars"])
    found = find_new_encoder(str(folder), None, 3)
    assert found is not None and found.k == 3
    assert found.fingerprint.weights_sha256 == linear.fingerprint.weights_sha256
    assert find_new_encoder(str(folder), "cuda", None) is None
    dense = find_new_encoder(name, "cpu", None)
    assert dense is not None and dense.needs_dictionary
    with pytest.raises(EncoderError, match="tiny-certain is a dense model without a head"):
        dense.encode_query(["stars"])

    late = TextEncoder(join(dense_model, head), base_model=name, backend="openvino")
    again = build_dense(transformer_folder)
    with torch.no_grad():
        next(again.parameters()).mul_(1.5)
    again.save_pretrained(name)
    assert find_new_encoder(str(folder), None, None) is None, "trained again"
    late.embed(["stars"])
    assert find_new_encoder(name, None, None) is None, "converted now, but loaded before the files changed"
    assert load_encoder(name, device="cpu", backend="openvino").embed(["stars"]).any()
    assert find_new_encoder(str(folder), None, None) is not None
    Path(name).rename(tmp_path / "elsewhere")
    assert find_new_encoder(str(folder), None, None) is not None, "a machine may have the graph alone"


def test_a_head_finds_a_converted_model_that_it_names_by_a_relative_path(
    transformer_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KSPARSE_BACKEND", "openvino")
    monkeypatch.chdir(tmp_path)
    build_dense(transformer_folder).save_pretrained("tiny-relative")
    Path("head").mkdir()
    build_head("tiny-relative").save("head")
    expected = load_encoder("head", device="cpu")
    assert expected.embed(["stars"]).any()
    for name in ("head", "tiny-relative"):
        found = find_new_encoder(name, None, None)
        assert found is not None
        assert found.fingerprint.base_model == expected.fingerprint.base_model == str(tmp_path / "tiny-relative")


def test_settings_changed_in_memory_are_not_those_of_a_new_encoder(
    transformer_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KSPARSE_BACKEND", "openvino")
    name = str(tmp_path / "tiny-changed")
    build_dense(transformer_folder, prompts=PROMPTS).save_pretrained(name)
    shorter, prompted = (load_encoder(name, device="cpu") for _ in range(2))
    shorter.model.max_seq_length = 5
    prompted.model.prompts["query"] = "why "
    for changed in (shorter, prompted):
        assert changed.embed(["stars"]).any() and changed.backend == "openvino"
        assert find_new_encoder(name, None, None) is None
    assert load_encoder(name, device="cpu").embed(["stars"]).any()
    found = find_new_encoder(name, None, None)
    assert found is not None
    assert (found.max_seq_length, found.fingerprint.prompts) == (MAX_TOKENS, PROMPTS)


def test_a_complete_encoder_is_not_taken_for_its_dense_model(
    transformer_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KSPARSE_BACKEND", "openvino")
    complete = str(tmp_path / "complete")
    join(build_dense(transformer_folder), build_head()).save_pretrained(complete)
    assert load_encoder(complete, device="cpu").encode_document(["stars"]).weights.size
    assert find_new_encoder(complete, None, None) is None


def dot(model: SentenceTransformer) -> None:
    model.similarity_fn_name = "dot"


def shorter(model: SentenceTransformer) -> None:
    model.truncate_dim = 8


def no_limit(model: SentenceTransformer) -> None:
    # What transformers states for a tokenizer without a limit.
    model.tokenizer.model_max_length = int(1e30)


def left(model: SentenceTransformer) -> None:
    model.tokenizer.padding_side = model.tokenizer.truncation_side = "left"


KINDS: dict[str, tuple[list[nn.Module], Callable[[SentenceTransformer], None]]] = {
    "lengths count": ([Pooling(DIM, "mean_sqrt_len_tokens")], dot),
    "truncated, a layer behind the first token": ([Pooling(DIM, "cls"), Dense(DIM, DIM)], shorter),
    "last token, padded and truncated at the left": ([Pooling(DIM, "lasttoken"), Normalize()], left),
    "no maximum length": ([Pooling(DIM, "mean"), Normalize()], no_limit),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_dense_model_is_that_of_sentence_transformers(
    kind: str, transformer_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("connector.encoders.graph._computes_bfloat16_faster", lambda: False)
    modules, change = KINDS[kind]
    transformer = Transformer(str(transformer_folder), max_seq_length=MAX_TOKENS)
    made = SentenceTransformer(modules=[transformer, *modules], device="cpu", prompts={"query": "query :"})
    change(made)
    by_cosine = made.similarity_fn_name == "cosine"
    # One by one: positions of this transformer depend on padding at the left.
    expected = {
        "document": np.concatenate([made.encode_document([text]) for text in TEXTS]),
        "query": np.concatenate([made.encode_query([text]) for text in TEXTS]),
    }
    dense = make_comparable(made)
    head = KSparseAutoEncoder(int(dense.get_embedding_dimension() or 0), NUM_LATENTS, K)
    by_torch = TextEncoder(join(dense, head))
    by_openvino = TextEncoder(join(dense, head), base_model=kind, backend="openvino")
    without = light(by_openvino)
    assert by_openvino.backend == "openvino"
    assert without.fingerprint.digest == by_openvino.fingerprint.digest == by_torch.fingerprint.digest
    tasks: tuple[Task, ...] = ("document", "query")
    for task in tasks:
        lengths = np.linalg.norm(expected[task], axis=1, keepdims=True)
        embedded = expected[task] / (lengths if by_cosine else 1)
        for encoder in (by_torch, by_openvino, without):
            found = np.concatenate([encoder.embed([text], task=task) for text in TEXTS])
            np.testing.assert_allclose(found, embedded, atol=1e-4 * lengths.mean())
        np.testing.assert_allclose(without.embed(TEXTS, task=task), embedded, atol=1e-4 * lengths.mean())


def test_the_end_of_a_very_long_text_is_read_where_texts_are_truncated_at_the_left(
    transformer_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("connector.encoders.graph._computes_bfloat16_faster", lambda: False)
    dense = build_dense(transformer_folder)
    left(dense)
    text = "stars " * 1_000 + "cats sleep on warm stones"
    expected = dense.encode([text])
    cats = dense.tokenizer.convert_tokens_to_ids("cats")
    by_torch = TextEncoder(join(dense, build_head()))
    by_openvino = TextEncoder(join(dense, build_head()), base_model="left", backend="openvino")
    for encoder in (by_torch, by_openvino, light(by_openvino)):
        np.testing.assert_allclose(encoder.embed([text]), expected, atol=1e-5)
        counted = encoder.count_corpus([text])
        assert cats in counted.indices and counted.data.sum() == MAX_TOKENS


@pytest.mark.parametrize(
    ("vendor", "flags", "faster"),
    [
        ("GenuineIntel", "avx512f avx512_bf16 amx_bf16", True),
        ("GenuineIntel", "avx512f avx512_bf16", False),
        ("AuthenticAMD", "avx512f avx512_bf16", True),
        ("AuthenticAMD", "avx512f", False),
    ],
)
def test_bfloat16_is_used_where_it_is_faster(
    vendor: str, flags: str, faster: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    processor = tmp_path / "cpuinfo"
    monkeypatch.setattr("connector.encoders.graph._PROCESSOR", processor)
    assert not _computes_bfloat16_faster(), "no Linux"
    processor.write_text(f"vendor_id\t: {vendor}\nflags\t\t: {flags}\n")
    assert _computes_bfloat16_faster() == faster


def test_a_model_that_reads_queries_in_another_way_needs_sentence_transformers(
    transformer_folder: Path, tmp_path: Path
) -> None:
    transformer = Transformer(str(transformer_folder), max_seq_length=MAX_TOKENS, query_length=5)
    dense = SentenceTransformer(modules=[transformer, Pooling(DIM, "mean"), Normalize()], device="cpu")
    by_openvino = TextEncoder(join(dense, build_head()), base_model="short queries", backend="openvino")
    assert by_openvino.backend == "openvino"
    found = np.concatenate([by_openvino.embed([text], task="query") for text in TEXTS])
    np.testing.assert_allclose(found, dense.encode_query(TEXTS), atol=0.05)
    assert find_graph("short queries") is None
    with pytest.raises(EncoderError, match="cannot be exported: sentence-transformers does more than tokenize"):
        export_encoder(by_openvino, tmp_path / "exported")


def test_an_exported_dense_model_builds_a_dictionary_for_a_new_index(
    transformer_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KSPARSE_BACKEND", "openvino")
    build_dense(transformer_folder).save_pretrained(str(tmp_path / "dense"))
    dense = load_encoder(str(tmp_path / "dense"), device="cpu")
    assert dense.needs_dictionary
    export_encoder(dense, tmp_path / "exported")
    assert not (tmp_path / "exported" / "head").exists()
    found = find_new_encoder(str(tmp_path / "exported"), None, None)
    assert found is not None and found.needs_dictionary
    assert found.fingerprint.base_model == str(tmp_path / "dense")
    np.testing.assert_allclose(found.embed(TEXTS), dense.embed(TEXTS), atol=1e-3)


def test_what_needs_torch_reports_it(linear: TextEncoder) -> None:
    with pytest.raises(EncoderError, match="without torch has no dense_model; load the whole model"):
        _ = light(linear).dense_model


def test_a_model_that_was_never_converted_is_not_found() -> None:
    assert find_graph("never seen") is None


def test_the_strongest_of_many_latents_are_kept() -> None:
    random = np.random.default_rng(0)
    weights = random.standard_normal((5_000, 4), dtype=np.float32)
    shared = {"mean": np.zeros(4, np.float32), "encoder.bias": np.zeros(5_000, np.float32)}
    head = LinearHead({"num_latents": 5_000, "k": 8}, {**shared, "encoder.weight": weights})
    embeddings = random.standard_normal((50, 4), dtype=np.float32)
    embeddings[7], embeddings[8] = 0, np.nan
    features, values = head.strongest(embeddings, 8, "document", None)
    products = embeddings @ weights.T
    for row in set(range(50)) - {7, 8}:
        best = np.argsort(-products[row])[:8]
        assert features[row].tolist() == best.tolist()
        np.testing.assert_array_equal(values[row], products[row, best])
    assert len(set(features[7].tolist())) == 8, "of equal values, some"
    assert features.shape == values.shape == (50, 8)
