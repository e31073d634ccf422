"""What runs on a GPU, tested on the CPU against what runs there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Dense

from connector.encoders.batches import TOKENS_ON_GPU, rows_by_length
from connector.encoders.cells import nearest_in_groups
from connector.encoders.device_codes import DeviceCode
from connector.encoders.dictionary import TwoLevelDictionary
from connector.encoders.graph import choose_backend
from connector.encoders.load import join, load_encoder
from connector.encoders.precision import Precision, choose_precision
from connector.encoders.text import TextEncoder
from connector.encoders.transfer import HostRows
from connector.errors import EncoderError
from connector.training.dictionary.build import build_dictionary
from connector.vectors.codes import Bits, Group, RotatedCode
from tests.tiny import DIM as DENSE_DIM
from tests.tiny import build_dense, build_head, build_splade
from tests.unit_vectors import DIM, DOCUMENTS

TEXTS = ["cats sleep", "why do plants eat light with green leaves", "stars", "old bridges cross wide rivers"]

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def dictionary() -> TwoLevelDictionary:
    return build_dictionary(DOCUMENTS, k=4, k_query=8, probes=24)


@pytest.mark.parametrize("texts", [1, 40], ids=["some cells empty", "all cells probed"])
@pytest.mark.parametrize("products", [2**28, 1], ids=["at once", "cell by cell"])
def test_padded_groups_find_the_cells_of_single_products(
    dictionary: TwoLevelDictionary, products: int, texts: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("connector.encoders.cells._PRODUCTS", products)
    directions = torch.nn.functional.normalize(torch.from_numpy(DOCUMENTS[:texts]) @ dictionary.projection, dim=1)
    probed = (directions @ dictionary.coarse.T).topk(dictionary.probes, dim=1).indices
    assert (len(torch.unique(probed)) < dictionary.num_coarse) == (texts == 1)
    products_of = dictionary._by_coarse_cell(directions, probed).view(*probed.shape, dictionary.num_fine)
    expected = products_of.topk(3, dim=2).values
    cosines, found = nearest_in_groups(directions, probed, dictionary.points, dictionary.scales, 3)
    torch.testing.assert_close(cosines, expected)
    assert (found // dictionary.num_fine == probed.unsqueeze(2)).all()
    of_found = (dictionary._units(found.flatten(1)) @ directions.unsqueeze(2)).squeeze(2)
    torch.testing.assert_close(of_found, cosines.flatten(1))


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_codes_on_a_device_are_those_of_numpy(bits: Bits) -> None:
    code = RotatedCode(DOCUMENTS.mean(axis=0), bits)
    assert_same_codes(code)


def test_codes_of_components_on_a_device_are_those_of_numpy() -> None:
    components = np.linalg.qr(np.random.default_rng(0).standard_normal((DIM, DIM)))[0].astype(np.float32)
    groups = (Group(16, 8), Group(16, 6), Group(16, 4), Group(8, 1))
    assert_same_codes(RotatedCode(DOCUMENTS.mean(axis=0), 4, groups=groups, components=components))


def assert_same_codes(code: RotatedCode) -> None:
    own = DeviceCode(code, CPU)
    found, expected = own.encode(torch.from_numpy(DOCUMENTS)).numpy(), code.encode(DOCUMENTS)
    assert found.dtype == np.uint8 and found.shape == expected.shape == (len(DOCUMENTS), own.num_bytes)
    assert (found == expected).mean() > 0.999, "rounding aside"


def test_rows_come_back_in_their_order() -> None:
    collected = HostRows(14, [(2, np.int32), (1, np.float32)])
    for start in range(7):
        rows = np.array([start + 7, start])
        collected.put(rows, torch.from_numpy(rows[:, np.newaxis].astype(np.int32)), torch.full((2, 1), 0.5))
    numbers, halves = collected.arrays()
    np.testing.assert_array_equal(numbers, [[row, 0] for row in range(14)])
    assert (halves == 0.5).all()


def test_batches_for_a_gpu_are_larger() -> None:
    texts = ["word " * 100] * 2_000
    sizes = [len(rows) for rows in rows_by_length(texts, 32, 256, TOKENS_ON_GPU)]
    assert sizes == [516, 516, 516, 452], "65,536 tokens of 127 in each text"
    assert [len(rows) for rows in rows_by_length(texts[:64], 32, 256)] == [32, 32]


def test_half_precision_changes_neither_weights_nor_fingerprint(transformer_folder: Path) -> None:
    model = join(build_dense(transformer_folder), build_head())
    exact, half = (TextEncoder(model, precision=precision) for precision in ("float32", "bfloat16"))
    expected, found = exact.embed(TEXTS), half.embed(TEXTS)
    assert found.dtype == np.float32
    assert not np.array_equal(found, expected)
    assert (found * expected).sum(axis=1).min() > 0.99
    assert half.fingerprint == exact.fingerprint
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert half.calibrate(TEXTS).precision == half.on_device("cpu").precision == "bfloat16"


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_layers_behind_the_pooling_stay_in_single_precision(transformer_folder: Path, precision: Precision) -> None:
    torch.manual_seed(1)
    transformer, pooling, unit = build_dense(transformer_folder)
    dense = SentenceTransformer(modules=[transformer, pooling, Dense(DENSE_DIM, DENSE_DIM), unit], device="cpu")
    model = join(dense, build_head())
    expected, found = (TextEncoder(model, precision=each).embed(TEXTS) for each in ("float32", precision))
    assert not np.array_equal(found, expected)
    assert (found * expected).sum(axis=1).min() > 0.99


def _on_any_device(code: RotatedCode | None, device: torch.device) -> DeviceCode | None:
    return None if code is None else DeviceCode(code, device)


def test_documents_get_the_codes_of_their_device(transformer_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = TextEncoder(join(build_dense(transformer_folder), build_head()), code=RotatedCode(np.zeros(16, "f4"), 4))
    expected, embeddings = encoder.encode_document(TEXTS), encoder.embed(TEXTS)
    monkeypatch.setattr(
        "connector.encoders.encoding.device_code", lambda code, device: code and DeviceCode(code, device)
    )
    for found in (encoder.encode_document(TEXTS), encoder.encode_embedded(embeddings, TEXTS)):
        np.testing.assert_array_equal(found.features, expected.features)
        assert found.codes is not None and expected.codes is not None
        assert (found.codes == expected.codes).mean() > 0.99
    assert encoder.encode_query(TEXTS).codes is None


def test_a_precision_is_an_option_of_torch(monkeypatch: pytest.MonkeyPatch, head_folder: Path, tmp_path: Path) -> None:
    assert choose_precision(None) == "float32"
    monkeypatch.setenv("KSPARSE_PRECISION", "float16")
    assert choose_precision(None) == "float16"
    assert choose_precision("float32") == "float32"
    assert choose_backend("auto", "cpu") == "torch"
    with pytest.raises(EncoderError, match="precision float16 needs the backend torch"):
        choose_backend("openvino", "cpu")
    with pytest.raises(EncoderError, match="no precision 'int4'; use float32, bfloat16, float16 or int8"):
        choose_precision("int4")
    assert load_encoder(str(head_folder), device="cpu").precision == "float16"
    with pytest.raises(EncoderError, match="bfloat16 needs a dense model with a head"):
        TextEncoder(build_splade(tmp_path / "transformer"), precision="bfloat16")
