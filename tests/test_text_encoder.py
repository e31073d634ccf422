from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sentence_transformers import SparseEncoder

from connector.encoders.load import join
from connector.encoders.text import TextEncoder
from connector.types import SparseVectors
from tests.tiny import DIM, K_QUERY, MAX_TOKENS, NUM_LATENTS, K, build_csr, build_dense, build_head, build_splade

# Lengths out of order, so that sorting by length has something to undo.
TEXTS = [
    "cats sleep",
    "why do plants eat light with green leaves of a wide sea",
    "stars",
    "old bridges cross wide rivers",
    "music has rhythm",
]


def dense_rows(vectors: SparseVectors, width: int) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    rows = np.zeros((len(vectors.weights), width), np.float32)
    for row, features in enumerate(vectors.as_mappings()):
        for name, weight in features.items():
            rows[row, int(name)] = weight
    return rows


def plain(found: object) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    """Convert results of SparseEncoder.encode_* to rows."""
    assert isinstance(found, torch.Tensor)
    return np.asarray(found.to_dense().numpy())


@pytest.fixture(scope="module")
def with_prompts(transformer_folder: Path) -> TextEncoder:
    prompts = {"query": "query: ", "document": "document: "}
    return TextEncoder(join(build_dense(transformer_folder, prompts=prompts), build_head()))


@pytest.fixture(scope="module")
def splade(tmp_path_factory: pytest.TempPathFactory) -> SparseEncoder:
    return build_splade(tmp_path_factory.mktemp("splade") / "transformer")


def test_documents_keep_k_and_queries_k_query_features(encoder: TextEncoder) -> None:
    documents, queries = encoder.encode_document(TEXTS), encoder.encode_query(TEXTS)
    assert (documents.weights.shape, queries.weights.shape) == ((5, K), (5, K_QUERY))
    assert (documents.features.dtype.name, documents.weights.dtype.name) == ("int32", "float32")
    np.testing.assert_array_equal(queries.features, documents.features[:, :K_QUERY])
    assert np.all(np.diff(documents.weights, axis=1) <= 0), "not strongest first"


def test_another_k_can_be_requested(encoder: TextEncoder) -> None:
    np.testing.assert_array_equal(
        encoder.encode_query(TEXTS, k=2).features, encoder.encode_document(TEXTS).features[:, :2]
    )
    assert TextEncoder(encoder.model, k=20).encode_document(TEXTS).active_dims.max() > K
    assert TextEncoder(encoder.model, k_query=1).encode_query(TEXTS).weights.shape == (5, 1)


def test_each_text_meets_its_own_vector_whatever_its_length(encoder: TextEncoder) -> None:
    together = dense_rows(encoder.encode_document(TEXTS, batch_size=2), NUM_LATENTS)
    alone = np.concatenate([dense_rows(encoder.encode_document([text]), NUM_LATENTS) for text in TEXTS])
    np.testing.assert_allclose(together, alone, atol=1e-5)


def test_the_batch_size_changes_nothing(encoder: TextEncoder) -> None:
    rows = [dense_rows(encoder.encode_document(TEXTS, batch_size=size), NUM_LATENTS) for size in (1, 3, 32)]
    np.testing.assert_allclose(rows[0], rows[2], atol=1e-5)
    np.testing.assert_allclose(rows[1], rows[2], atol=1e-5)


@pytest.mark.parametrize("task", ["document", "query"])
def test_the_vectors_are_those_of_the_plain_sparse_encoder(with_prompts: TextEncoder, task: str) -> None:
    ours = getattr(with_prompts, f"encode_{task}")(TEXTS)
    theirs = getattr(with_prompts.model, f"encode_{task}")(TEXTS)
    np.testing.assert_allclose(dense_rows(ours, NUM_LATENTS), plain(theirs), atol=1e-6)


def test_prompts_of_queries_and_documents_differ(with_prompts: TextEncoder) -> None:
    documents, queries = with_prompts.embed(TEXTS), with_prompts.embed(TEXTS, task="query")
    assert np.abs(documents - queries).max() > 0.01


def test_no_texts_are_no_vectors(encoder: TextEncoder) -> None:
    assert encoder.encode_document([]).weights.shape == (0, K)
    assert encoder.encode_query([]).as_mappings() == []
    assert encoder.embed([]).shape == (0, DIM)


@pytest.mark.parametrize("method", ["encode_document", "encode_query", "embed"])
def test_a_single_string_is_refused(encoder: TextEncoder, method: str) -> None:
    with pytest.raises(ValueError, match="must be a sequence of strings, got a single string"):
        getattr(encoder, method)("cats sleep")


def test_sizes_below_1_are_refused(encoder: TextEncoder) -> None:
    with pytest.raises(ValueError, match="batch_size must be at least 1, got 0"):
        encoder.encode_document(TEXTS, batch_size=0)
    with pytest.raises(ValueError, match="k must be at least 1, got 0"):
        encoder.encode_query(TEXTS, k=0)
    with pytest.raises(ValueError, match="k must be at least 1, got 0"):
        TextEncoder(encoder.model, k=0)
    with pytest.raises(ValueError, match="k_query must be at least 1, got -1"):
        TextEncoder(encoder.model, k_query=-1)


def test_embed_and_sparsify_are_encode_in_two_steps(with_prompts: TextEncoder) -> None:
    embeddings = with_prompts.embed(TEXTS)
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1.0, atol=1e-6)
    np.testing.assert_allclose(
        dense_rows(with_prompts.sparsify_embeddings(embeddings), NUM_LATENTS),
        dense_rows(with_prompts.encode_document(TEXTS), NUM_LATENTS),
        atol=1e-6,
    )
    assert with_prompts.sparsify_embeddings(embeddings, k=3).weights.shape == (5, 3)


def test_the_dense_model_is_what_embed_runs(with_prompts: TextEncoder) -> None:
    dense = with_prompts.dense_model()
    np.testing.assert_allclose(dense.encode_document(TEXTS), with_prompts.embed(TEXTS), atol=1e-6)
    np.testing.assert_allclose(dense.encode_query(TEXTS), with_prompts.embed(TEXTS, task="query"), atol=1e-6)


@pytest.mark.parametrize("shape", [(16,), (2, 15)])
def test_embeddings_of_another_width_are_refused(encoder: TextEncoder, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"must have shape \(n, 16\)"):
        encoder.sparsify_embeddings(np.zeros(shape, np.float32))


def test_tokens_are_counted_with_the_special_ones_and_without_a_limit(encoder: TextEncoder) -> None:
    assert encoder.count_tokens("cats sleep") == 4
    assert encoder.count_tokens("cats " * 50) == 52
    assert encoder.max_seq_length == MAX_TOKENS


def test_a_text_is_cut_after_max_seq_length(encoder: TextEncoder) -> None:
    words = ["stars", "burn"] * 10
    cut, whole = " ".join(words[: MAX_TOKENS - 2]), " ".join(words)
    vectors = encoder.encode_document([cut, whole])
    np.testing.assert_allclose(vectors.weights[0], vectors.weights[1], atol=1e-5)


def test_any_splade_is_taken(splade: SparseEncoder) -> None:
    encoder = TextEncoder(splade)
    assert (encoder.head, encoder.k, encoder.num_latents) == (None, None, len(splade.tokenizer)), "before it encodes"
    rows = dense_rows(encoder.encode_document(TEXTS, batch_size=2), encoder.num_latents)
    np.testing.assert_allclose(rows, plain(splade.encode_document(TEXTS)), atol=1e-5)


def test_a_splade_can_be_cut_to_k(splade: SparseEncoder) -> None:
    encoder = TextEncoder(splade, k=5, k_query=3)
    assert encoder.encode_document(TEXTS).active_dims.tolist() == [5] * 5
    assert encoder.encode_query(TEXTS).active_dims.tolist() == [3] * 5
    np.testing.assert_allclose(
        dense_rows(encoder.encode_document(TEXTS), encoder.num_latents),
        plain(splade.encode_document(TEXTS, max_active_dims=5)),
        atol=1e-5,
    )


def test_any_csr_is_taken(transformer_folder: Path) -> None:
    model = build_csr(transformer_folder)
    rows = dense_rows(TextEncoder(model).encode_document(TEXTS), NUM_LATENTS)
    np.testing.assert_allclose(rows, plain(model.encode_document(TEXTS)), atol=1e-6)


def test_a_model_with_max_active_dims_is_cut_as_it_cuts_itself(splade: SparseEncoder) -> None:
    model = SparseEncoder(modules=list(splade), device="cpu", max_active_dims=4)
    assert TextEncoder(model).encode_document(TEXTS).active_dims.tolist() == [4] * 5


def test_a_model_without_a_head_has_nothing_dense(splade: SparseEncoder) -> None:
    encoder = TextEncoder(splade, base_model="my-splade")
    with pytest.raises(ValueError, match="my-splade has no dense embedding"):
        encoder.embed(TEXTS)
    with pytest.raises(ValueError, match="my-splade has no dense embedding"):
        encoder.sparsify_embeddings(np.zeros((1, DIM), np.float32))


def test_the_fingerprint_says_what_the_model_is(with_prompts: TextEncoder) -> None:
    found = with_prompts.fingerprint
    assert (found.k, found.num_latents, found.pooling, found.max_seq_length) == (K, NUM_LATENTS, "mean", MAX_TOKENS)
    assert found.prompts == {"document": "document: ", "query": "query: "}


def test_equal_weights_have_equal_digests(transformer_folder: Path) -> None:
    def digest(
        seed: int = 2,
        k: int | None = None,
        prompts: Mapping[str, str] | None = None,
        change: Callable[[SparseEncoder], object] = lambda _: None,
    ) -> str:
        model = join(build_dense(transformer_folder, prompts=prompts), build_head(seed=seed))
        change(model)
        return TextEncoder(model, k=k).fingerprint.digest

    def nudge(model: SparseEncoder) -> None:
        with torch.no_grad():
            next(model.parameters()).view(-1)[0] += 1e-3

    assert digest() == digest()
    digests = [digest(), digest(seed=9), digest(k=4), digest(prompts={"query": "query: "}), digest(change=nudge)]
    assert len(set(digests)) == 5


def test_threads_do_not_change_each_other_s_truncation_and_padding(
    encoder: TextEncoder, lexical: TextEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Transformers sets both in the tokenizer, before it tokenizes: a search counts tokens while documents come."""
    kind = type(encoder.model.tokenizer)
    set_both = kind.set_truncation_and_padding

    def slowly(tokenizer: Any, **options: Any) -> None:  # noqa: ANN401
        set_both(tokenizer, **options)
        time.sleep(0.002)

    texts = [*TEXTS, "cats " * (2 * MAX_TOKENS)]
    whole = 2 * MAX_TOKENS + 2
    for each in (encoder, lexical):
        expected, counted = each.encode_document(texts), each.measure_statistics(texts).token_weights
        with monkeypatch.context() as patch, ThreadPoolExecutor(4) as pool:
            patch.setattr(kind, "set_truncation_and_padding", slowly)
            counts = pool.map(each.count_tokens, texts[-1:] * 20)
            encoded = pool.map(each.encode_document, [texts] * 20)
            measured = pool.map(each.measure_statistics, [texts] * 20)
            assert list(counts) == [whole] * 20
            assert all(np.array_equal(vectors.features, expected.features) for vectors in encoded)
            assert all(np.array_equal(statistics.token_weights, counted) for statistics in measured)
