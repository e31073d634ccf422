from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from connector.encoders.batches import Task
from connector.encoders.dictionary import TwoLevelDictionary
from connector.encoders.dictionary_file import pack_dictionary, unpack_cells
from connector.encoders.lexical import TokenCounts, pad_counts
from connector.encoders.light_heads import CellsHead, Tokens, count_ids, min_idf
from connector.encoders.load import join, load_encoder, load_head
from connector.encoders.text import TextEncoder
from connector.ingest.prepare import window_for
from connector.training.dictionary.build import build_cells, build_dictionary, cells_for
from connector.training.distinct import distinct_rows
from connector.vectors.statistics import CorpusStatistics
from tests.tiny import DIM, build_dense


def clustered(documents: int, *, seed: int = 0, dim: int = DIM) -> NDArray[np.float32]:
    """Embeddings of length 1 around forty directions."""
    random = np.random.default_rng(seed)
    centres = np.random.default_rng(99).standard_normal((40, dim))
    vectors = centres[random.integers(0, 40, documents)] + 0.7 * random.standard_normal((documents, dim))
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), dtype=np.float32)


WIDE = 32


def wide(documents: int, *, seed: int = 0) -> NDArray[np.float32]:
    """As `clustered`, with 32 dimensions."""
    return clustered(documents, seed=seed, dim=WIDE)


def build_mixed(documents: NDArray[np.float32], token_weights: NDArray[np.float32]) -> TwoLevelDictionary:
    """Cells, with 30 tokens beside them."""
    return build_dictionary(
        documents,
        k=7,
        k_query=6,
        cells=4,
        query_cells=4,
        candidate_cells=5,
        candidate_tokens=3,
        lexical_config={"num_tokens": 30, "document_scale": 0.3, "query_scale": 0.5},
        statistics=CorpusStatistics(documents.mean(axis=0), token_weights, 5.0),
    )


@pytest.fixture(scope="module")
def documents() -> NDArray[np.float32]:
    return clustered(4_000)


@pytest.fixture(scope="module")
def dictionary(documents: NDArray[np.float32]) -> TwoLevelDictionary:
    return build_dictionary(documents, k=4, k_query=8)


def directions_of(dictionary: TwoLevelDictionary, embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
    """Centred, projected, of length 1."""
    projected = (embeddings - dictionary.mean.numpy()) @ dictionary.projection.numpy()
    return np.asarray(projected / np.linalg.norm(projected, axis=1, keepdims=True), dtype=np.float32)


def cosines(dictionary: TwoLevelDictionary, embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
    """With every fine cell, by brute force: (n, num_latents)."""
    points = dictionary.points.numpy().reshape(-1, dictionary.width).astype(np.float32)
    return np.asarray(
        directions_of(dictionary, embeddings) @ (points / np.linalg.norm(points, axis=1, keepdims=True)).T,
        dtype=np.float32,
    )


@pytest.mark.parametrize(
    ("documents", "expected"),
    [(1_000, (24, 25)), (27_000, (127, 127)), (28_000, (258, 65)), (100_000, (488, 122)), (10**8, (2_048, 512))],
)
def test_the_number_of_cells_follows_the_documents(documents: int, expected: tuple[int, int]) -> None:
    assert cells_for(documents) == expected


def test_a_corpus_that_is_too_small_is_refused(documents: NDArray[np.float32]) -> None:
    with pytest.raises(ValueError, match="a dictionary needs 1,000 documents, got 999"):
        build_dictionary(documents[:999])
    with pytest.raises(ValueError, match="478,864 cells need as many embeddings, got 4,000"):
        build_dictionary(documents, documents=800_000)


def test_the_same_seed_makes_the_same_dictionary(documents: NDArray[np.float32]) -> None:
    first, second, other = (build_dictionary(documents, seed=seed) for seed in (3, 3, 4))
    assert all(torch.equal(value, second.state_dict()[name]) for name, value in first.state_dict().items())
    assert not torch.equal(first.fine_codes, other.fine_codes)


def test_the_projection_keeps_what_most_of_the_variance_is_in() -> None:
    flat = np.concatenate([clustered(4_000)[:, : DIM // 2], np.zeros((4_000, DIM // 2), np.float32)], axis=1)
    narrow = build_dictionary(flat, k=4)
    assert narrow.width <= DIM // 2
    products = narrow.projection.T @ narrow.projection
    assert torch.allclose(products, torch.eye(narrow.width), atol=1e-2), "columns are orthonormal but for 8 bits"
    centred = flat - narrow.mean.numpy()
    kept = np.square(centred @ narrow.projection.numpy()).sum() / np.square(centred).sum()
    assert kept > 0.88


@pytest.mark.parametrize("queries", [1, 50])
def test_a_query_keeps_its_nearest_cells(documents: NDArray[np.float32], queries: int) -> None:
    everywhere = build_dictionary(documents, k=4, k_query=8, query_probes=64)
    asked = clustered(queries, seed=7)
    cells, values = everywhere.strongest(torch.from_numpy(asked), 8, task="query")
    expected = cosines(everywhere, asked)
    best = np.sort(expected, axis=1)[:, ::-1][:, :8]
    assert np.allclose(np.take_along_axis(expected, cells.numpy(), axis=1), best, atol=1e-5)
    assert np.allclose(values, best - 0.8 * best[:, -1:], atol=1e-5)


def test_documents_and_queries_probe_numbers_of_their_own(documents: NDArray[np.float32]) -> None:
    built = build_dictionary(documents, k=4, k_query=8, probes=2, query_probes=64)
    texts = torch.from_numpy(documents[:50])
    of_documents, _ = built.strongest(texts, 4, task="document")
    assert all(len(set(row)) <= 2 for row in (of_documents // built.num_fine).tolist())
    of_queries, _ = built.strongest(texts, 8, task="query")
    assert any(len(set(row)) > 2 for row in (of_queries // built.num_fine).tolist())

    # Dictionaries of earlier versions name one number.
    config = built.get_config_dict()
    del config["query_probes"]
    assert TwoLevelDictionary(**config).query_probes == 2
    light = CellsHead(config, {name: value.numpy() for name, value in built.half_weights().items()})
    found, _ = light.strongest(documents[:50], 8, "query", None)
    assert all(len(set(row)) <= 2 for row in (found // built.num_fine).tolist())


def test_one_text_and_many_have_the_same_cells(dictionary: TwoLevelDictionary) -> None:
    asked = torch.from_numpy(clustered(40, seed=8))
    many, _ = dictionary.strongest(asked, 8, task="query")
    alone = torch.cat([dictionary.strongest(row, 8, task="query")[0] for row in torch.split(asked, 1)])
    assert torch.equal(many, alone)


def test_without_spread_a_document_keeps_its_nearest_cells_as_well(documents: NDArray[np.float32]) -> None:
    nearest = build_dictionary(documents, k=4, spread=0.0, probes=64)
    cells, values = nearest.strongest(torch.from_numpy(documents[:30]), 4, task="document")
    expected = np.sort(cosines(nearest, documents[:30]), axis=1)[:, ::-1][:, :4]
    assert np.allclose(values, expected, atol=1e-5)
    assert np.allclose(np.take_along_axis(cosines(nearest, documents[:30]), cells.numpy(), axis=1), values, atol=1e-5)


def test_a_document_keeps_the_cells_whose_residuals_differ_most(documents: NDArray[np.float32]) -> None:
    """The rule of the class's docstring, written out with vectors for each document."""
    everywhere = build_dictionary(documents, k=3, probes=64)
    asked = clustered(25, seed=5)
    cells, _ = everywhere.strongest(torch.from_numpy(asked), 3, task="document")
    directions = directions_of(everywhere, asked)
    units = everywhere.points.numpy().reshape(-1, everywhere.width) * everywhere.scales.numpy().reshape(-1, 1)
    nearest = np.argsort(-cosines(everywhere, asked), axis=1)[:, :12]
    for row, text in enumerate(directions):
        residuals = {int(cell): text - units[cell] for cell in nearest[row]}
        kept: list[int] = []
        while len(kept) < 3:
            costs = {
                cell: float(rest @ rest) + 4.0 * np.mean([parallel(rest, residuals[each]) for each in kept] or [0.0])
                for cell, rest in residuals.items()
                if cell not in kept
            }
            kept.append(min(costs, key=lambda cell: costs[cell]))
        assert set(cells[row].tolist()) == set(kept)


def parallel(rest: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """The square of what one residual has along another."""
    return float((rest @ other) ** 2 / (other @ other))


def test_few_cells_find_the_dense_neighbours_by_few_postings(
    documents: NDArray[np.float32], dictionary: TwoLevelDictionary
) -> None:
    asked = clustered(200, seed=11)
    cells, weights = dictionary.strongest(torch.from_numpy(documents), 4, task="document")
    wanted, strengths = dictionary.strongest(torch.from_numpy(asked), 8, task="query")
    in_documents = np.zeros((len(documents), dictionary.num_latents), np.float32)
    np.put_along_axis(in_documents, cells.numpy(), weights.numpy(), axis=1)
    in_queries = np.zeros((len(asked), dictionary.num_latents), np.float32)
    np.put_along_axis(in_queries, wanted.numpy(), strengths.numpy(), axis=1)
    found = np.argsort(-(in_queries @ in_documents.T), axis=1, kind="stable")[:, :100]
    truth = np.argsort(-(asked @ documents.T), axis=1)[:, :10]
    recall = np.mean([np.isin(best, first).mean() for best, first in zip(truth, found, strict=True)])
    postings = (in_documents > 0).sum(axis=0)[wanted.numpy()].sum(axis=1).mean() / len(documents)
    assert recall > 0.9, "100 of 4,000 documents at random would hold 0.025"
    assert postings < 0.03


def test_copies_of_a_document_do_not_take_the_cells_of_others() -> None:
    documents = wide(4_000)
    copies = np.concatenate([documents, np.repeat(documents[:1], 1_714, axis=0)])
    head = build_cells(copies[np.random.default_rng(0).permutation(len(copies))])
    coarse = head.weights["coarse"]
    assert len(np.unique(coarse, axis=0)) == len(coarse) == 58
    around = documents[:1] + 0.06 * np.random.default_rng(5).standard_normal((100, WIDE)).astype(np.float32)
    cells, _ = head.strongest(documents, 8, "document", None)
    for asked in (wide(300, seed=11), around / np.linalg.norm(around, axis=1, keepdims=True)):
        wanted, _ = head.strongest(asked, 16, "query", None)
        truth = np.argsort(-(asked @ documents.T), axis=1)[:, :10]
        shared = [np.isin(cells[rows], wanted[row]).any(axis=1).mean() for row, rows in enumerate(truth)]
        assert np.mean(shared) > 0.95


def test_there_are_at_most_as_many_cells_as_distinct_documents() -> None:
    documents = clustered(700)
    copies = np.concatenate([documents] * 3)
    assert build_cells(copies).num_latents == 26 * 26, "26 squared is below 700, 0.6 x 2,100 is not"
    assert build_cells(np.repeat(documents[:5], 300, axis=0)).num_latents == 24 * 25, "as for 1,000 documents"


def test_copies_are_recognized_by_their_texts_in_half_precision() -> None:
    documents = clustered(700)
    noisy = np.concatenate([documents, documents * np.float32(1.01)])
    texts = [str(row % 700) for row in range(1_400)]
    np.testing.assert_array_equal(distinct_rows(noisy, texts), np.arange(700))
    np.testing.assert_array_equal(distinct_rows(noisy), np.arange(1_400))


def test_copies_are_recognized_by_their_embeddings_up_to_rounding() -> None:
    documents = wide(20_000)
    noise = 1e-8 * np.random.default_rng(2).standard_normal((20_000, WIDE))
    copies = np.asarray(documents + noise, dtype=np.float32)
    found = distinct_rows(np.concatenate([documents, copies]))
    np.testing.assert_array_equal(found[:20_000], np.arange(20_000))
    assert len(found) < 20_100


def test_tokens_take_the_places_that_cells_leave(documents: NDArray[np.float32]) -> None:
    mixed = build_mixed(documents, np.ones(30, np.float32))
    counts = np.zeros((2, 30), np.float32)
    counts[0, :5], counts[1, 3] = 1, 2
    features, values = mixed.strongest(
        torch.from_numpy(documents[:2]), 7, task="document", tokens=pad_counts(csr_matrix(counts))
    )
    used = [set(row[weights > 0].tolist()) for row, weights in zip(features, values, strict=True)]
    assert [sum(feature < mixed.num_latents for feature in row) for row in used] == [4, 4]
    assert [sum(feature >= mixed.num_latents for feature in row) for row in used] == [3, 1]
    assert mixed.num_latents + 3 in used[1]
    fewer, _ = mixed.strongest(
        torch.from_numpy(documents[:1]), 3, task="query", tokens=pad_counts(csr_matrix(counts[:1]))
    )
    assert (fewer < mixed.num_latents).sum() == 2, "another k is divided in the same proportion"


def test_rescored_queries_keep_cells_and_their_rarest_tokens(documents: NDArray[np.float32]) -> None:
    weights = np.ones(30, np.float32)
    weights[:3] = (
        1.796875,
        1.90625,
        2.0,
    )  # multiples of 1/64 with squares of 3.2, 3.6 and 4.0: of 4, 2.7 and 1.8 % of the documents
    mixed = build_mixed(documents, weights)
    assert mixed.k_candidates == 8
    counts = np.zeros((1, 30), np.float32)
    counts[0, :6] = 1
    features, values = mixed.strongest(
        torch.from_numpy(documents[:1]),
        mixed.k_candidates,
        task="query",
        tokens=pad_counts(csr_matrix(counts)),
        candidates=True,
    )
    used = dict(zip(features[0].tolist(), values[0].tolist(), strict=True))
    assert sum(feature < mixed.num_latents for feature in used) == 5
    tokens = {f - mixed.num_latents: value for f, value in used.items() if f >= mixed.num_latents and value > 0}
    assert tokens == pytest.approx({1: 0.5 * 0.5 * 1.90625, 2: 0.5 * 0.5 * 2.0}), "common tokens are left out"


@pytest.mark.parametrize(("task", "candidates"), [("document", False), ("query", False), ("query", True)])
def test_features_are_the_same_without_torch(documents: NDArray[np.float32], task: Task, *, candidates: bool) -> None:
    mixed = build_mixed(documents, np.linspace(1.5, 2.5, 30, dtype=np.float32))
    light = CellsHead(mixed.get_config_dict(), {name: value.numpy() for name, value in mixed.half_weights().items()})
    assert light.k_candidates == mixed.k_candidates
    np.testing.assert_allclose(light.principal_components, mixed.principal_components, atol=1e-6)
    k = mixed.k_candidates if candidates else 7
    texts = np.random.default_rng(2).integers(0, 30, (20, 6)).tolist()
    tokens = count_ids([text[: 1 + row % 6] for row, text in enumerate(texts)])
    padded = TokenCounts(torch.from_numpy(tokens.ids), torch.from_numpy(tokens.counts))
    expected = mixed.strongest(torch.from_numpy(documents[:20]), k, task=task, tokens=padded, candidates=candidates)
    together = light.strongest(documents[:20], k, task, tokens, candidates=candidates)
    for row in range(20):
        alone = Tokens(tokens.ids[row : row + 1], tokens.counts[row : row + 1])
        single = light.strongest(documents[row : row + 1], k, task, alone, candidates=candidates)
        theirs = above_zero(expected[0][row].tolist(), expected[1][row].tolist())
        assert above_zero(together[0][row].tolist(), together[1][row].tolist()) == pytest.approx(theirs, abs=2e-3)
        assert above_zero(single[0][0].tolist(), single[1][0].tolist()) == pytest.approx(theirs, abs=2e-3)


def test_without_torch_only_cells_that_were_probed_are_unpacked(documents: NDArray[np.float32]) -> None:
    few = build_dictionary(documents, k=4, k_query=8, query_probes=2)
    light = CellsHead(few.get_config_dict(), {name: value.numpy() for name, value in few.half_weights().items()})
    points, _, valid = light._points  # noqa: SLF001
    assert valid.sum() == 0
    light.strongest(documents[:1], 8, "query", None)
    assert valid.sum() == 2
    light.strongest(documents, 8, "query", None)
    assert valid.all()
    np.testing.assert_array_equal(points, few.points.numpy())


def test_a_dictionary_is_built_with_the_values_that_are_stored() -> None:
    """The fingerprint covers all bytes: negative zeros among the components made a search take it for another one."""
    random = np.random.default_rng(0)
    embeddings = (random.standard_normal((1_000, 96)) * np.linspace(1, 0.05, 96)).astype(np.float32)
    cells = build_cells(embeddings)
    again = unpack_cells(pack_dictionary(cells))
    for name, value in cells.weights.items():
        assert value.tobytes() == again.weights[name].tobytes(), name


def above_zero(features: list[int], values: list[float]) -> dict[int, float]:
    return {feature: value for feature, value in zip(features, values, strict=True) if value > 0}


def test_what_contradicts_itself_is_refused() -> None:
    with pytest.raises(ValueError, match="cells must be between 1 and the 4 features kept, got 5"):
        TwoLevelDictionary(DIM, DIM, 4, 4, 4, cells=5)
    with pytest.raises(ValueError, match="without lexical features every feature is a cell"):
        TwoLevelDictionary(DIM, DIM, 4, 4, 4, cells=3)
    with pytest.raises(ValueError, match="num_coarse 0"):
        TwoLevelDictionary(DIM, DIM, 0, 4, 4)


def test_a_saved_dictionary_is_the_same_encoder(
    dictionary: TwoLevelDictionary, dense_folder: Path, tmp_path: Path
) -> None:
    dictionary.base_model = str(dense_folder)
    dictionary.save(str(tmp_path))
    assert torch.equal(load_head(tmp_path).fine_codes, dictionary.fine_codes)
    before = TextEncoder(join(build_dense(dense_folder.parent / "transformer"), dictionary))
    after = load_encoder(str(tmp_path), device="cpu")
    assert after.fingerprint.digest == before.fingerprint.digest
    texts = ["plants eat light", "cats sleep on warm stones", "rivers carry sand to the sea"]
    first, second = before.encode_document(texts), after.encode_document(texts)
    assert first.as_mappings() == second.as_mappings() != []
    before.model.save_pretrained(str(tmp_path / "whole"))
    assert load_encoder(str(tmp_path / "whole"), device="cpu").fingerprint.digest == before.fingerprint.digest


def test_its_bytes_are_a_quarter_of_those_of_int8(dictionary: TwoLevelDictionary) -> None:
    assert dictionary.fine_codes.numel() == dictionary.num_latents * dictionary.width // 4


@pytest.mark.parametrize(("documents", "window"), [(1_000, 200), (50_000, 200), (100_000, 250), (10**6, 250)])
def test_more_documents_are_rescored_further_down(documents: int, window: int) -> None:
    coarse, fine = cells_for(documents)
    assert window_for(coarse * fine) == window


@pytest.mark.parametrize(("documents", "most"), [(1_000, 30), (100_000, 3_000), (400_000, 3_000)])
def test_candidates_are_tokens_of_few_documents(documents: int, most: int) -> None:
    coarse, fine = cells_for(documents)
    assert documents * math.exp(-min_idf(coarse * fine)) == pytest.approx(most, rel=0.02)
