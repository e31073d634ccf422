"""Codes of unit vectors with a common mean, as embeddings have one."""

from __future__ import annotations

import numpy as np
import pytest

from connector.vectors.codes import Bits, RotatedCode, pack_levels, unpack_levels
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


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_levels_survive_packing(bits: int) -> None:
    levels = np.random.default_rng(0).integers(0, 2**bits, (5, 16)).astype(np.uint8)
    packed = pack_levels(levels, bits)
    assert packed.shape == (5, 2 * bits)
    np.testing.assert_array_equal(unpack_levels(packed, bits), levels)


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


def test_no_documents_have_no_codes() -> None:
    own = code(4)
    empty = own.encode(np.empty((0, DIM), np.float32))
    assert empty.shape == (0, own.num_bytes)
    assert own.score(empty, QUERIES[0]).shape == (0,)


def test_what_fits_no_bytes_is_refused() -> None:
    with pytest.raises(ValueError, match="bits must be 1, 2, 4 or 8, got 3"):
        RotatedCode(np.zeros(8, np.float32), 3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="7 dimensions of 4 bits fill no whole bytes"):
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
