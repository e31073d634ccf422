from __future__ import annotations

from pathlib import Path

import pytest
import torch
from scipy.sparse import csr_matrix

from connector.encoders.autoencoder import KSparseAutoEncoder
from connector.encoders.lexical import LexicalFeatures, TokenCounts, count_texts, count_tokens, pad_counts, readable
from connector.encoders.load import join, load_encoder
from connector.encoders.text import TextEncoder
from connector.vectors.statistics import CorpusStatistics
from tests.tiny import DIM, K_QUERY, NUM_LATENTS, K, build_dense

TEXTS = ["cats sleep on warm stones cats", "rivers carry sand to the sea", "stars burn", "why", "a cats of a cats"]


@pytest.fixture
def lexical() -> LexicalFeatures:
    """Lexical features of 4 tokens; the first and the last have weight 0."""
    module = LexicalFeatures(4, document_scale=0.5, query_scale=2.0)
    module.token_weights.copy_(torch.tensor([0.0, 1.5, 2.0, 0.0]))
    return module


def test_the_product_of_both_sides_is_bm25(lexical: LexicalFeatures) -> None:
    lexical.average_length.fill_(2.0)
    document = lexical(pad_counts(csr_matrix([[5.0, 3, 1, 1]])), "document")
    query = lexical(pad_counts(csr_matrix([[1.0, 2, 0, 0]])), "query")
    # Two tokens weigh something: the document's length is 3 + 1 = 4, twice the average.
    saturation = 3 * 2.2 / (3 + 1.2 * (1 - 0.6 + 0.6 * 4 / 2))
    expected = 0.5 * 2.0 * 1.5**2 * saturation
    assert (document[0, 1] * query[0, 1]).item() == pytest.approx(expected, rel=2e-3)
    assert document[0, 0] == document[0, 3] == query[0, 0] == 0


@pytest.mark.parametrize("argument", ["num_tokens", "document_scale", "query_scale"])
def test_sizes_of_0_are_refused(argument: str) -> None:
    arguments = {"num_tokens": 4, "document_scale": 1.0, "query_scale": 1.0, argument: 0}
    with pytest.raises(ValueError, match=f"{argument} 0"):
        LexicalFeatures(**arguments)  # type: ignore[arg-type]


def test_a_batch_is_counted_as_its_rows_are() -> None:
    ids = torch.tensor([[1, 5, 7, 5, 2], [1, 3, 2, 0, 0]])
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])
    found = count_tokens(ids, mask)
    expected = [{1: 1.0, 5: 2.0, 7: 1.0, 2: 1.0}, {1: 1.0, 3: 1.0, 2: 1.0}]
    assert [as_dict(found, row) for row in range(2)] == expected


def as_dict(tokens: TokenCounts, row: int) -> dict[int, float]:
    pairs = zip(tokens.ids[row].tolist(), tokens.counts[row].tolist(), strict=True)
    used = [(token, count) for token, count in pairs if count]
    assert len(dict(used)) == len(used), "a token has one slot"
    return dict(used)


def test_texts_are_counted_as_the_model_reads_them(encoder: TextEncoder) -> None:
    long = [*TEXTS, "cats " * 40]
    features = encoder.model.preprocess(long)
    in_batch = count_tokens(features["input_ids"], features["attention_mask"])
    alone = pad_counts(count_texts(encoder.model.tokenizer, long, encoder.max_seq_length))
    for row in range(len(long)):
        assert as_dict(in_batch, row) == as_dict(alone, row)


def test_no_texts_have_no_rows(encoder: TextEncoder) -> None:
    assert count_texts(encoder.model.tokenizer, [], None).shape == (0, len(encoder.model.tokenizer))


@pytest.fixture(scope="module")
def lexical_folder(dense_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A head whose tokens compete with its latents."""
    dense = build_dense(dense_folder.parent / "transformer")
    torch.manual_seed(4)
    size = len(dense.tokenizer)
    head = KSparseAutoEncoder(
        DIM,
        NUM_LATENTS,
        K,
        K_QUERY,
        base_model=str(dense_folder),
        lexical_config={"num_tokens": size, "document_scale": 2.0, "query_scale": 3.0},
    )
    assert head.lexical is not None
    counts = count_texts(dense.tokenizer, [*TEXTS, *["the"] * 30], None)
    mean = torch.randn(4, DIM).mul(0.1).numpy()
    head.use_statistics(CorpusStatistics.measure(mean, counts, dense.tokenizer.all_special_ids))
    # All different, because the choice among equal features is not defined.
    head.lexical.token_weights.mul_(torch.linspace(0.8, 1.2, size))
    folder = tmp_path_factory.mktemp("lexical")
    head.save(str(folder))
    return folder


@pytest.fixture(scope="module")
def lexical_encoder(lexical_folder: Path) -> TextEncoder:
    return load_encoder(str(lexical_folder), device="cpu")


def test_a_saved_head_is_the_same_again(lexical_folder: Path, dense_folder: Path, tmp_path: Path) -> None:
    head = KSparseAutoEncoder.load(str(lexical_folder))
    assert head.lexical is not None and head.mean.any()
    head.save(str(tmp_path))
    again = KSparseAutoEncoder.load(str(tmp_path))
    assert again.lexical_config == head.lexical_config
    for name, tensor in head.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor), name
    whole = join(build_dense(dense_folder.parent / "transformer"), head)
    assert whole.get_embedding_dimension() == NUM_LATENTS + head.lexical.num_tokens


def test_tokens_are_features_above_the_latents(lexical_encoder: TextEncoder) -> None:
    vectors = lexical_encoder.encode_document(["stars burn"])
    kept = set(vectors.features[0][vectors.weights[0] > 0].tolist())
    vocabulary = lexical_encoder.model.tokenizer.get_vocab()
    assert {NUM_LATENTS + vocabulary["stars"], NUM_LATENTS + vocabulary["burn"]} <= kept
    assert len(kept) == K and min(kept) < NUM_LATENTS
    assert NUM_LATENTS + vocabulary["[CLS]"] not in kept


@pytest.mark.parametrize("task", ["query", "document"])
def test_embeddings_and_texts_give_what_texts_give(lexical_encoder: TextEncoder, task: str) -> None:
    encode = getattr(lexical_encoder, f"encode_{task}")
    embeddings = lexical_encoder.embed(TEXTS, task=task)  # type: ignore[arg-type]
    in_two_steps = lexical_encoder.sparsify_embeddings(embeddings, TEXTS, task=task)  # type: ignore[arg-type]
    at_once = encode(TEXTS)
    for row in range(len(TEXTS)):
        expected = dict(zip(at_once.features[row].tolist(), at_once.weights[row].tolist(), strict=True))
        found = dict(zip(in_two_steps.features[row].tolist(), in_two_steps.weights[row].tolist(), strict=True))
        assert {k: v for k, v in found.items() if v} == pytest.approx(
            {k: v for k, v in expected.items() if v}, abs=1e-5
        )


def test_embeddings_without_their_texts_are_refused(lexical_encoder: TextEncoder) -> None:
    embeddings = lexical_encoder.embed(TEXTS)
    with pytest.raises(ValueError, match="needs the texts of all 5 embeddings, got none"):
        lexical_encoder.sparsify_embeddings(embeddings)
    with pytest.raises(ValueError, match="needs the texts of all 5 embeddings, got 4"):
        lexical_encoder.sparsify_embeddings(embeddings, TEXTS[:4])


@pytest.mark.parametrize("change", ["token_weights", "document_scale"])
def test_other_lexical_features_make_another_encoder(
    lexical_folder: Path, lexical_encoder: TextEncoder, change: str
) -> None:
    assert load_encoder(str(lexical_folder), device="cpu").fingerprint.digest == lexical_encoder.fingerprint.digest
    other = load_encoder(str(lexical_folder), device="cpu")
    assert other.head is not None and other.head.lexical is not None
    if change == "token_weights":
        other.head.lexical.token_weights[7] += 1
    else:
        other.head.lexical.document_scale = 2.5
    assert other.fingerprint.digest != lexical_encoder.fingerprint.digest


def test_a_text_is_cut_before_it_is_tokenized_and_gives_the_same_tokens(encoder: TextEncoder) -> None:
    text = "cats sleep on warm stones " * 1_000
    assert len(readable(text, encoder.max_seq_length)) == 100 * (encoder.max_seq_length or 0) < len(text)
    cut, whole = (encoder.model.tokenizer(each, truncation=True)["input_ids"] for each in (readable(text, 12), text))
    assert cut == whole
    assert readable(text, None) == text
    assert readable("half \ud800 a pair", 12) == "half ? a pair"
