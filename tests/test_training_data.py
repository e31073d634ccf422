from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Pooling
from tokenizers.normalizers import BertNormalizer

from connector.encoders.base_model import find_base_model, load_base_model
from connector.encoders.load import join, load_encoder
from connector.encoders.text import TextEncoder
from connector.errors import CorpusError
from connector.training.data import NeighbourBatches, TrainingData, concatenate
from connector.training.embeddings import EmbeddingCache
from connector.training.heads.neighbours import nearest_neighbours
from connector.training.sources import TextSource, load_embeddings, read_sources, read_texts
from tests.beir import write_beir
from tests.tiny import DIM, build_dense, build_head

CPU = torch.device("cpu")


def unit_rows(count: int, dim: int = 6, seed: int = 0) -> NDArray[np.float32]:
    rows = np.random.default_rng(seed).standard_normal((count, dim)).astype(np.float32)
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))


def data_of(
    documents: NDArray[np.float32], queries: NDArray[np.float32] | None = None, positives: tuple[int, ...] = ()
) -> TrainingData:
    return TrainingData(
        documents,
        np.empty((0, documents.shape[1]), np.float32) if queries is None else queries,
        np.array(positives, np.int64),
        np.zeros(1, np.int64),
    )


def test_neighbours_are_those_of_brute_force() -> None:
    rows = unit_rows(40)
    scores = rows @ rows.T
    np.fill_diagonal(scores, -np.inf)
    expected = np.argsort(-scores, axis=1)[:, :5]
    np.testing.assert_array_equal(nearest_neighbours(data_of(rows), 5, CPU), expected)


def test_neighbours_stay_within_their_corpus() -> None:
    # The same rows twice: each one's nearest is its twin in the other corpus, which must not be found.
    rows = unit_rows(10)
    joined = concatenate([data_of(rows), data_of(rows)])
    alone = nearest_neighbours(data_of(rows), 3, CPU)
    np.testing.assert_array_equal(nearest_neighbours(joined, 3, CPU), np.concatenate([alone, alone + 10]))


def test_a_small_corpus_repeats_its_neighbours() -> None:
    assert nearest_neighbours(data_of(unit_rows(2)), 3, CPU).tolist() == [[1, 1, 1], [0, 0, 0]]


def test_the_search_for_neighbours_says_how_far_it_is() -> None:
    shares: list[float] = []
    nearest_neighbours(concatenate([data_of(unit_rows(10)), data_of(unit_rows(30))]), 3, CPU, progress=shares.append)
    assert shares == [0.25, 1.0]


def test_concatenate_shifts_positives_and_keeps_the_corpora_apart() -> None:
    joined = concatenate([data_of(unit_rows(3), unit_rows(1), (2,)), data_of(unit_rows(4), unit_rows(2), (0, 3))])
    assert joined.positives.tolist() == [2, 3, 6]
    assert joined.corpora == [slice(0, 3), slice(3, 7)]


def test_nothing_to_concatenate_is_refused() -> None:
    with pytest.raises(ValueError, match="training needs at least one corpus"):
        concatenate([])


@pytest.mark.parametrize(
    ("documents", "queries", "positives", "message"),
    [
        (unit_rows(1), unit_rows(0), (), r"n of 2 or more, got \(1, 6\)"),
        (unit_rows(2), unit_rows(1, dim=5), (0,), "differ in width"),
        (unit_rows(2), unit_rows(2), (0,), "2 queries need as many positives, got 1"),
        (unit_rows(2), unit_rows(1), (2,), "must be rows of the 2 documents"),
        (unit_rows(2), unit_rows(1), (-1,), "must be rows of the 2 documents"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(
    documents: NDArray[np.float32], queries: NDArray[np.float32], positives: tuple[int, ...], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        data_of(documents, queries, positives)


def test_without_queries_drops_them_with_their_positives() -> None:
    queries = unit_rows(3)
    left = data_of(unit_rows(5), queries, (4, 0, 2)).without_queries(np.array([1]))
    np.testing.assert_array_equal(left.queries, queries[[0, 2]])
    assert left.positives.tolist() == [4, 2]


def batches(data: TrainingData, seed: int = 0, batch_size: int = 8) -> NeighbourBatches:
    neighbours = nearest_neighbours(data, 3, CPU)
    return NeighbourBatches(data, neighbours, batch_size=batch_size, neighbours_per_seed=4, seed=seed)


def test_a_batch_gives_each_document_one_of_its_own_queries() -> None:
    documents, queries = unit_rows(6, seed=1), unit_rows(12, seed=2)
    data = data_of(documents, queries, (0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5))
    batch = batches(data).draw()
    for document, query in zip(batch.documents, batch.queries, strict=True):
        row = int(np.argmax(documents @ document))
        assert any(np.array_equal(query, own) for own in queries[2 * row : 2 * row + 2])


def test_a_document_without_a_query_gets_one_that_is_near_it() -> None:
    documents, query = unit_rows(40, dim=32, seed=1), unit_rows(1, dim=32, seed=2)
    batch = batches(data_of(documents, query, (7,)), batch_size=64).draw()
    own = np.all(batch.documents == documents[7], axis=1)
    assert own.any() and not own.all()
    np.testing.assert_array_equal(batch.queries[own], np.repeat(query, own.sum(), axis=0))
    np.testing.assert_allclose(np.linalg.norm(batch.queries[~own], axis=1), 1.0, atol=1e-5)
    assert np.min(np.sum(batch.queries[~own] * batch.documents[~own], axis=1)) > 0.3


def test_synthetic_queries_are_as_long_as_the_documents_of_a_model_that_does_not_normalize() -> None:
    documents = unit_rows(40, dim=32, seed=1)
    lengths = np.linspace(5, 15, 40, dtype=np.float32)[:, None]
    rows = np.arange(40)
    short = batches(data_of(documents, unit_rows(0, dim=32), ())).make_queries(rows)
    long = batches(data_of(8 * documents, unit_rows(0, dim=32), ())).make_queries(rows)
    np.testing.assert_allclose(long, 8 * short, rtol=1e-4)
    unlike = batches(data_of(lengths * documents, unit_rows(0, dim=32), ())).make_queries(rows)
    np.testing.assert_allclose(np.linalg.norm(unlike, axis=1), lengths[:, 0], rtol=1e-5)
    assert np.mean(np.sum(unlike * documents, axis=1) / lengths[:, 0]) < 0.95, "the noise grows with the length"


def test_a_batch_holds_seeds_and_their_neighbours_of_one_corpus() -> None:
    data = concatenate([data_of(unit_rows(10, seed=1)), data_of(unit_rows(10, seed=2))])
    neighbours = nearest_neighbours(data, 3, CPU)
    maker = batches(data)
    for _ in range(20):
        drawn = maker.draw().documents
        rows = np.argmax(drawn @ data.documents.T, axis=1)
        assert len({int(row) // 10 for row in rows}) == 1
        for seed, *near in rows.reshape(2, 4).tolist():
            assert set(near) <= set(neighbours[seed].tolist())


def test_batches_repeat_with_their_seed() -> None:
    data = data_of(unit_rows(20))
    one, same, other = batches(data).draw(), batches(data).draw(), batches(data, seed=1).draw()
    np.testing.assert_array_equal(one.queries, same.queries)
    assert not np.array_equal(one.documents, other.documents)


def test_a_batch_says_where_its_rows_come_from() -> None:
    data = concatenate(
        [data_of(unit_rows(10, seed=1)), data_of(unit_rows(10, seed=2), unit_rows(2, seed=3), tuple(range(2)))]
    )
    maker = batches(data)
    for _ in range(10):
        batch = maker.draw()
        np.testing.assert_array_equal(batch.documents, data.documents[batch.document_rows])
        assert set((batch.document_rows // 10).tolist()) == {batch.corpus}
        own = batch.query_rows >= 0
        np.testing.assert_array_equal(batch.queries[own], data.queries[batch.query_rows[own]])
        np.testing.assert_array_equal(data.positives[batch.query_rows[own]], batch.document_rows[own])
        assert not np.isin(batch.document_rows[~own], data.positives).any()


def test_tokens_are_joined_and_dropped_with_their_rows() -> None:
    one = replace(
        data_of(unit_rows(2), unit_rows(2), (0, 1)),
        document_tokens=csr_matrix(np.array([[1.0, 0], [0, 1]])),
        query_tokens=csr_matrix(np.array([[2.0, 0], [0, 3]])),
    )
    joined = concatenate([one, one]).without_queries(np.array([0, 3]))
    assert joined.document_tokens is not None and joined.query_tokens is not None
    assert joined.document_tokens.toarray().tolist() == [[1, 0], [0, 1], [1, 0], [0, 1]]
    assert joined.query_tokens.toarray().tolist() == [[0, 3], [2, 0]]
    with pytest.raises(ValueError, match="either all parts or none must have tokens"):
        concatenate([one, data_of(unit_rows(2))])
    with pytest.raises(ValueError, match="document_tokens must have 2 rows, got 1"):
        replace(one, document_tokens=csr_matrix((1, 2)))
    with pytest.raises(ValueError, match="must be given together"):
        replace(one, query_tokens=None)


def test_statistics_are_those_of_each_corpus() -> None:
    parts = [data_of(unit_rows(3, seed=1)), data_of(unit_rows(5, seed=2))]
    found = [statistics.mean for statistics in concatenate(parts).statistics()]
    np.testing.assert_allclose(found, [part.documents.mean(axis=0) for part in parts], rtol=1e-3)


class CountingModel(SentenceTransformer):
    """Counts the texts that it encodes."""

    encoded = 0

    def preprocess(self, inputs, *args, **kwargs):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN002, ANN003, ANN201
        self.encoded += len(inputs)
        return super().preprocess(inputs, *args, **kwargs)


@pytest.fixture
def model(transformer_folder: Path) -> CountingModel:
    return CountingModel(modules=list(build_dense(transformer_folder)), device="cpu")


def test_the_cache_hits_the_second_time(model: CountingModel, tmp_path: Path) -> None:
    texts = ["stars", "rivers carry sand to the sea"]
    first = EmbeddingCache(model, "tiny", tmp_path / "cache").embed(texts)
    second = EmbeddingCache(model, "tiny", tmp_path / "cache").embed(texts)
    assert model.encoded == 2
    np.testing.assert_array_equal(first, second)
    np.testing.assert_allclose(first, model.encode(texts), atol=1e-6)


def test_the_cache_tells_texts_order_model_and_length_apart(model: CountingModel, tmp_path: Path) -> None:
    cache = EmbeddingCache(model, "tiny", tmp_path)
    paths = {cache.path_for(texts) for texts in (["a", "b"], ["b", "a"], ["ab"], ["a", "b", ""])}
    paths.add(EmbeddingCache(model, "other", tmp_path).path_for(["a", "b"]))
    model.max_seq_length = 5
    paths.add(cache.path_for(["a", "b"]))
    assert len(paths) == 6


def test_the_cache_tells_a_model_from_the_same_one_trained_again(
    transformer_folder: Path, model: CountingModel, tmp_path: Path
) -> None:
    trained = build_dense(transformer_folder)
    with torch.no_grad():
        next(trained.parameters()).mul_(1.5)
    transformer, _, *others = build_dense(transformer_folder)
    pooled = SentenceTransformer(modules=[transformer, Pooling(DIM, "cls"), *others], device="cpu")
    same = build_dense(transformer_folder)
    models = (model, trained, pooled, same)
    paths = [EmbeddingCache(each, "tiny", tmp_path).path_for(["stars"]) for each in models]
    assert len(set(paths)) == 3 and paths[0] == paths[3]


def test_the_cache_tells_tokenizers_apart_and_fingerprints_of_indices_do_not(
    transformer_folder: Path, model: CountingModel, tmp_path: Path
) -> None:
    cased = build_dense(transformer_folder)
    tokenizer = cased.tokenizer.backend_tokenizer
    tokenizer.normalizer = BertNormalizer(lowercase=False)
    assert "Stars" not in cased.tokenizer.tokenize("Stars stars"), "unknown"
    paths = [EmbeddingCache(each, "tiny", tmp_path).path_for(["Stars"]) for each in (model, cased)]
    assert paths[0] != paths[1]
    hashes = {TextEncoder(join(each, build_head())).fingerprint.weights_sha256 for each in (model, cased)}
    assert len(hashes) == 1
    cased.tokenizer(["stars"], truncation=True, max_length=4, padding="max_length")
    assert EmbeddingCache(cased, "tiny", tmp_path).path_for(["Stars"]) == paths[1], "whatever was tokenized before"


def test_the_cache_tells_a_nul_from_the_end_of_a_text(model: CountingModel, tmp_path: Path) -> None:
    cache = EmbeddingCache(model, "tiny", tmp_path)
    assert cache.path_for(["a", "b"]) != cache.path_for(["a\0b"])


def test_without_a_folder_nothing_is_kept(model: CountingModel, tmp_path: Path) -> None:
    cache = EmbeddingCache(model, "tiny", None)
    assert cache.path_for(["stars"]) is None
    shares: list[float] = []
    assert cache.embed(["stars"], progress=shares.append).shape == (1, DIM)
    assert shares == [1.0]
    assert cache.embed([]).shape == (0, DIM)


def beir_folder(folder: Path) -> Path:
    documents = [("d1", "stars burn"), ("d2", "cats sleep"), ("d1", "twice")]
    return write_beir(
        folder,
        [{"_id": name, "text": text} for name, text in documents],
        {"q1": "why stars", "q2": "why cats"},
        train=[("q1", "d1"), ("q1", "d2", 0), ("q1", "gone", 2), ("q2", "d2")],
        test=[("q2", "d1")],
    )


def test_texts_and_train_queries_come_from_a_beir_folder(tmp_path: Path) -> None:
    source = read_texts(beir_folder(tmp_path))
    assert source.documents == ("stars burn", "cats sleep")
    assert (source.queries, source.positives) == (("why stars", "why cats"), (0, 1))
    assert (source.name, source.skipped) == (tmp_path.name, 1)


def test_a_split_that_is_not_there_is_left_out(tmp_path: Path) -> None:
    assert read_texts(beir_folder(tmp_path), splits=("dev",)).queries == ()
    assert read_texts(tmp_path, splits=("dev", "test")).queries == ("why cats",)


def test_a_file_has_no_queries(tmp_path: Path) -> None:
    assert read_texts(beir_folder(tmp_path) / "corpus.jsonl").queries == ()


def test_corpora_of_one_name_are_told_apart(tmp_path: Path) -> None:
    sources = read_sources([beir_folder(tmp_path / parent / "stars") for parent in ("a", "b")])
    assert [source.name for source in sources] == ["stars", "stars (2)"]


def test_a_corpus_of_one_document_is_refused(tmp_path: Path) -> None:
    (tmp_path / "c.jsonl").write_text('{"_id": "d1", "text": "alone"}\n')
    with pytest.raises(CorpusError, match="has 1 documents; training needs at least two"):
        read_texts(tmp_path / "c.jsonl")


def test_a_source_embeds_what_it_holds(model: CountingModel, tmp_path: Path) -> None:
    data = read_texts(beir_folder(tmp_path)).embed(EmbeddingCache(model, "tiny", None))
    assert (data.documents.shape, data.queries.shape) == ((2, DIM), (2, DIM))
    assert data.positives.tolist() == [0, 1]
    np.testing.assert_allclose(data.queries[1], model.encode(["why cats"])[0], atol=1e-6)


def test_a_source_is_embedded_with_the_prompts_of_its_model(transformer_folder: Path, tmp_path: Path) -> None:
    dense = build_dense(transformer_folder, prompts={"query": "query :", "passage": "document :"})
    dense.save_pretrained(str(tmp_path / "dense"))
    model = load_base_model(find_base_model(str(tmp_path / "dense")), "cpu")
    cache, source = EmbeddingCache(model, "tiny", tmp_path / "cache"), read_texts(beir_folder(tmp_path))
    encoder = load_encoder(str(tmp_path / "dense"), device="cpu")
    for _ in range(2):  # the second time, from the cache
        data = source.embed(cache)
        np.testing.assert_allclose(data.documents, encoder.embed(source.documents), atol=1e-5)
        np.testing.assert_allclose(data.queries, encoder.embed(source.queries, task="query"), atol=1e-5)
    assert not np.allclose(data.queries, encoder.embed(source.queries), atol=0.1)
    assert data.document_tokens is not None and data.query_tokens is not None
    vocabulary = model.tokenizer.get_vocab()
    assert (data.document_tokens[:, vocabulary["document"]].toarray() == 1).all()
    assert (data.query_tokens[:, vocabulary["query"]].toarray() == 1).all()


def test_a_source_counts_the_tokens_of_what_it_holds(model: CountingModel, tmp_path: Path) -> None:
    source = read_texts(beir_folder(tmp_path))
    data = source.embed(EmbeddingCache(model, "tiny", None))
    assert data.document_tokens is not None and data.query_tokens is not None
    vocabulary = model.tokenizer.get_vocab()
    assert data.document_tokens[0].nonzero()[1].tolist() == sorted(
        vocabulary[token] for token in ("[CLS]", "stars", "burn", "[SEP]")
    )
    assert data.query_tokens.shape == (2, len(vocabulary))
    assert source.embed(EmbeddingCache(model, "tiny", None), lexical=False).document_tokens is None


def test_a_source_without_queries_asks_with_a_sentence_of_each_document() -> None:
    texts = ("Stars burn for years. Music has a rhythm! Cats sleep on stones.", "one two three four")
    source = TextSource("two", texts, (), (), 0).with_queries(seed=1)
    assert source.positives == (0, 1)
    assert source.queries[0] in ("Stars burn for years.", "Music has a rhythm!", "Cats sleep on stones.")
    assert source.queries[1] in ("one two", "two three", "three four")
    assert TextSource("two", texts, (), (), 0).with_queries(seed=1) == source
    assert len(TextSource("two", texts, (), (), 0).with_queries(1).queries) == 1


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("星星燃烧多年。音乐有节奏！", {"星星燃烧多年。", "音乐有节奏！"}),  # noqa: RUF001
        ("猫は石の上で眠る。 星は燃える。", {"猫は石の上で眠る。", "星は燃える。"}),
    ],
)
def test_sentences_of_languages_without_spaces_are_queries(text: str, sentences: set[str]) -> None:
    asked = {TextSource("one", (text,), (), (), 0).with_queries(seed=seed).queries[0] for seed in range(9)}
    assert asked == sentences


@pytest.mark.parametrize("text", ["星星燃烧多年", "แมวนอนบนหินอุ่น", "猫は石の上で眠る " * 90])
def test_a_single_sentence_without_spaces_asks_with_half_of_its_characters(text: str) -> None:
    [query] = TextSource("one", (text,), (), (), 0).with_queries().queries
    assert query in text and len(query.replace(" ", "")) == min(32, (len(text.replace(" ", "")) + 1) // 2)


def test_queries_that_are_there_are_kept(tmp_path: Path) -> None:
    source = read_texts(beir_folder(tmp_path))
    assert source.with_queries() is source


def test_embeddings_load_from_npy_and_npz(tmp_path: Path) -> None:
    documents, queries = unit_rows(4), unit_rows(2, seed=1)
    np.save(tmp_path / "a.npy", documents)
    np.savez(tmp_path / "b.npz", documents=documents, queries=queries, positives=np.array([3, 0]))
    alone, all_three = load_embeddings(tmp_path / "a.npy"), load_embeddings(tmp_path / "b.npz")
    np.testing.assert_array_equal(alone.documents, documents)
    assert (alone.queries.shape, alone.corpora) == ((0, 6), [slice(0, 4)])
    np.testing.assert_array_equal(all_three.queries, queries)
    assert all_three.positives.tolist() == [3, 0]


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"rows": unit_rows(3)}, r"contains \['rows'\]; it needs an array `documents`"),
        ({"documents": np.ones(3)}, "it needs an array `documents` of shape"),
        ({"documents": unit_rows(3), "queries": unit_rows(2)}, "b.npz: 2 queries need as many positives"),
    ],
)
def test_arrays_of_another_kind_are_refused(
    tmp_path: Path, arrays: dict[str, NDArray[np.floating]], message: str
) -> None:
    np.savez(tmp_path / "b.npz", **arrays)  # type: ignore[arg-type]
    with pytest.raises(CorpusError, match=message):
        load_embeddings(tmp_path / "b.npz")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_embeddings_that_are_not_finite_are_refused(tmp_path: Path, value: float) -> None:
    for name in ("documents", "queries"):
        arrays = {"documents": unit_rows(4), "queries": unit_rows(3)}
        arrays[name][2, 1] = value
        np.savez(tmp_path / "b.npz", positives=np.arange(3), **arrays)  # type: ignore[arg-type]
        with pytest.raises(CorpusError, match=f"row 2 of `{name}` is not finite; embed its text in float32"):
            load_embeddings(tmp_path / "b.npz")


def test_a_file_that_is_no_array_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.npy").write_text("no array")
    with pytest.raises(CorpusError, match="cannot be read as NumPy arrays"):
        load_embeddings(tmp_path / "a.npy")


def test_a_damaged_file_of_arrays_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "b.npz", documents=unit_rows(40))
    whole = (tmp_path / "b.npz").read_bytes()
    middle = len(whole) // 2
    for content in (b"", whole[:middle], whole[:middle] + bytes(8) + whole[middle + 8 :]):
        (tmp_path / "b.npz").write_bytes(content)
        with pytest.raises(CorpusError, match="cannot be read as NumPy arrays"):
            load_embeddings(tmp_path / "b.npz")
