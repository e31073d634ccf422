"""Codes of unit vectors with a common mean, as embeddings have one."""

from __future__ import annotations

import json

import numpy as np
import pytest
from numpy.typing import NDArray

from connector.vectors.codes import Bits, Group, RotatedCode, choose_groups, pack_levels, unpack_levels
from tests.unit_vectors import DIM, DOCUMENTS, QUERIES


def code(bits: Bits) -> RotatedCode:
    return RotatedCode(DOCUMENTS.mean(axis=0), bits)


@pytest.mark.parametrize(("bits", "largest_error"), [(1, 0.08), (2, 0.045), (4, 0.012), (8, 0.0025)])
def test_products_are_near_the_true_ones(bits: Bits, largest_error: float) -> None:
    own = code(bits)
    codes = own.encode(DOCUMENTS)
    assert codes.shape == (2_000, own.num_bytes) and codes.dtype == np.uint8
    errors = []
    for query in QUERIES:
        exact = DOCUMENTS @ query - own.mean @ query
        errors.append(own.score(codes, query) - exact)
    assert np.sqrt(np.mean(np.square(errors))) < largest_error
    assert abs(np.mean(errors)) < largest_error / 5, "right on average"


def test_more_bits_are_better_and_longer() -> None:
    errors, sizes = [], []
    every: tuple[Bits, ...] = (1, 2, 4, 8)
    for bits in every:
        own = code(bits)
        codes = own.encode(DOCUMENTS)
        exact = (DOCUMENTS - own.mean) @ QUERIES[0]
        errors.append(float(np.square(own.score(codes, QUERIES[0]) - exact).mean()))
        sizes.append(own.num_bytes)
    assert errors == sorted(errors, reverse=True)
    assert sizes == [18, 34, 66, 130]


@pytest.mark.parametrize("bits", [1, 2, 4, 6, 8])
def test_levels_survive_packing(bits: int) -> None:
    levels = np.random.default_rng(0).integers(0, 2**bits, (5, 16)).astype(np.uint8)
    packed = pack_levels(levels, bits)
    assert packed.shape == (5, 2 * bits)
    np.testing.assert_array_equal(unpack_levels(packed, bits), levels)


def test_four_values_of_six_bits_fill_three_bytes_high_bits_first() -> None:
    packed = pack_levels(np.array([[0b111111, 0b000001, 0b100000, 0b000011]], np.uint8), 6)
    assert packed.tolist() == [[0b11111100, 0b00011000, 0b00000011]]


def test_the_rotation_is_one_and_the_same() -> None:
    one, other = code(4), code(4)
    np.testing.assert_array_equal(one.rotation, other.rotation)
    np.testing.assert_allclose(one.rotation @ one.rotation.T, np.eye(DIM), atol=1e-5)
    assert not np.allclose(RotatedCode(one.mean, 4, seed=1).rotation, one.rotation)


def test_longer_embeddings_need_their_norm() -> None:
    long = 30 * DOCUMENTS
    own = RotatedCode(long.mean(axis=0), 4, norm=30.0)
    exact = (long - own.mean) @ QUERIES[0]
    assert np.corrcoef(own.score(own.encode(long), QUERIES[0]), exact)[0, 1] > 0.99


def test_a_document_at_the_mean_scores_nothing() -> None:
    own = code(4)
    assert own.score(own.encode(own.mean[None]), QUERIES[0]).tolist() == [0.0]


def uneven(count: int, seed: int) -> NDArray[np.float32]:
    """Unit vectors whose dimensions vary less and less, as principal components do."""
    spread = np.exp(-np.arange(DIM) / 16)
    rows = np.random.default_rng(seed).standard_normal((count, DIM)) * spread
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)


def test_components_that_vary_more_get_more_bits() -> None:
    variances = uneven(2_000, 0).var(axis=0)
    every: tuple[Bits, ...] = (1, 3, 4)
    for bits in every:
        groups = choose_groups(variances, DIM, bits)
        assert [group.bits for group in groups] == sorted({group.bits for group in groups}, reverse=True)
        assert groups[0].bits > bits
        assert sum(group.num_bytes for group in groups) <= DIM * bits // 8
    assert sum(group.dims for group in choose_groups(variances, DIM, 3)) < DIM, "the weakest get none"
    slowly = np.exp(-np.arange(DIM) / 32).astype(np.float32)
    assert [group.bits for group in choose_groups(slowly, DIM, 3)] == [6, 4, 2]
    even = choose_groups(np.ones(DIM, np.float32), DIM, 4)
    assert even == ((DIM, 4),), "where all vary alike, all get the same"
    assert choose_groups(variances[:100], DIM, 4) != (), "components that nobody knows get none"
    assert choose_groups(variances[:64], 64, 4) == (), "too few to be divided"


def test_codes_of_components_are_nearer_to_the_products_at_fewer_bytes() -> None:
    documents, queries = uneven(2_000, 1), uneven(20, 2)
    mean, variances = documents.mean(axis=0), documents.var(axis=0)
    even = RotatedCode(mean, 4)
    groups = choose_groups(variances, DIM, 3)
    own = RotatedCode(mean, 3, groups=groups, components=np.eye(DIM, dtype=np.float32))
    assert own.num_bytes < even.num_bytes

    def error(code: RotatedCode) -> float:
        codes = code.encode(documents)
        assert codes.shape == (2_000, code.num_bytes)
        exact = (documents - mean) @ queries.T
        np.testing.assert_allclose(
            code.decode(codes) @ queries[0] - mean @ queries[0], code.score(codes, queries[0]), atol=1e-5
        )
        found = np.stack([code.score(codes, query) for query in queries], axis=1)
        return float(np.square(found - exact).mean())

    assert error(own) < error(even)


def test_codes_of_components_are_described_without_them() -> None:
    components = np.linalg.qr(np.random.default_rng(3).standard_normal((DIM, 64)))[0].astype(np.float32)
    own = RotatedCode(DOCUMENTS.mean(axis=0), 3, groups=(Group(32, 8), Group(32, 4)), components=components)
    assert own.num_bytes == 32 + 2 + 16 + 2
    facts = json.loads(json.dumps(own.to_json()))
    assert len(json.dumps(facts)) < 1_024
    read = RotatedCode.from_json(facts)
    with pytest.raises(ValueError, match="needs the principal components of its index"):
        read.encode(DOCUMENTS[:1])
    again = read.with_components(components)
    np.testing.assert_array_equal(again.encode(DOCUMENTS[:50]), own.encode(DOCUMENTS[:50]))
    with pytest.raises(ValueError, match=r"codes of 64 components of 128 dimensions do not fit \(128, 63\)"):
        read.with_components(components[:, :63])


def test_no_documents_have_no_codes() -> None:
    own = code(4)
    empty = own.encode(np.empty((0, DIM), np.float32))
    assert empty.shape == (0, own.num_bytes)
    assert own.score(empty, QUERIES[0]).shape == (0,)


def test_what_fits_no_bytes_is_refused() -> None:
    with pytest.raises(ValueError, match="bits must be 1, 2, 4 or 8, got 3"):
        RotatedCode(np.zeros(8, np.float32), 3)
    with pytest.raises(ValueError, match="7 dimensions of 4 bits do not fill whole bytes"):
        RotatedCode(np.zeros(7, np.float32), 4)


@pytest.mark.parametrize(("bits", "least"), [(2, 0.85), (4, 0.98), (8, 0.999)])
def test_embeddings_are_read_from_codes(bits: Bits, least: float) -> None:
    random = np.random.default_rng(5)
    embeddings = random.standard_normal((200, 64)).astype(np.float32) + 0.3
    code = RotatedCode(embeddings.mean(axis=0), bits, norm=float(np.linalg.norm(embeddings, axis=1).max()))
    decoded = code.decode(code.encode(embeddings))
    lengths = np.linalg.norm(decoded, axis=1) * np.linalg.norm(embeddings, axis=1)
    assert (np.einsum("nd,nd->n", decoded, embeddings) / lengths).min() > least
    assert np.linalg.norm(decoded, axis=1) == pytest.approx(np.linalg.norm(embeddings, axis=1), rel=0.15)
