from __future__ import annotations

import numpy as np
import pytest

from connector.encoders.devices import SpreadEncoder
from connector.encoders.text import TextEncoder
from connector.errors import EncoderError
from connector.vectors.codes import RotatedCode
from tests.tiny import WORDS

TEXTS = [" ".join(WORDS[row : row + 1 + row % 7]) for row in range(20)]


@pytest.mark.parametrize("count", [1, 2, 3])
def test_several_devices_make_what_one_makes(encoder: TextEncoder, count: int) -> None:
    alone = encoder.encode_document(TEXTS, batch_size=4)
    spread = SpreadEncoder(encoder, ["cpu"] * count)
    together = spread.encode_document(TEXTS, batch_size=4)
    np.testing.assert_array_equal(together.features, alone.features)
    np.testing.assert_allclose(together.weights, alone.weights, rtol=1e-5)
    assert spread.fingerprint == encoder.fingerprint
    np.testing.assert_array_equal(spread.encode_query(TEXTS[:2]).features, encoder.encode_query(TEXTS[:2]).features)


def test_codes_stay_with_their_documents(lexical: TextEncoder) -> None:
    embeddings = lexical.embed(TEXTS)
    coded = lexical.calibrate(TEXTS).with_code(RotatedCode(embeddings.mean(axis=0), 4))
    alone, together = coded.encode_document(TEXTS), SpreadEncoder(coded, ["cpu", "cpu"]).encode_document(TEXTS)
    assert together.codes is not None and alone.codes is not None
    # The last bit of a code may differ with the batch.
    assert (together.codes == alone.codes).mean() > 0.99


def test_fewer_texts_than_devices(encoder: TextEncoder) -> None:
    spread = SpreadEncoder(encoder, ["cpu", "cpu", "cpu"])
    assert spread.encode_document(TEXTS[:1]).weights.shape == (1, encoder.k)
    assert len(spread.encode_document([]).weights) == 0
    with pytest.raises(ValueError, match="got a single string"):
        spread.encode_document("plants")


def test_devices_must_be_there(encoder: TextEncoder) -> None:
    with pytest.raises(EncoderError, match="Device 'abacus' is not available"):
        SpreadEncoder(encoder, ["cpu", "abacus"])
    with pytest.raises(ValueError, match="devices must name at least one"):
        SpreadEncoder(encoder, [])
