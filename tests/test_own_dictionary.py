"""The dictionary of a new index, without a server."""

from __future__ import annotations

import logging
import math

import numpy as np
import pytest
from numpy.typing import NDArray

from connector.encoders.text import TextEncoder
from connector.errors import EncoderError
from connector.ingest.own_dictionary import OwnDictionary
from connector.ingest.sample import Sampled, SampledTexts, with_finite
from connector.training.dictionary.build import cells_for
from connector.types import Document
from tests.tiny import DIM, WORDS

RANDOM = np.random.default_rng(1)
TEXTS = [" ".join(RANDOM.choice(WORDS, 8)) for _ in range(3_200)]


def rows(count: int) -> NDArray[np.float32]:
    return np.asarray(np.random.default_rng(2).standard_normal((count, DIM)), dtype=np.float32)


def stream() -> Sampled:
    return Sampled(Document(str(row), text) for row, text in enumerate(TEXTS))


def cells_of(own: OwnDictionary, encoder: TextEncoder) -> int:
    made = own.build(encoder)
    assert made is not None and made.head is not None
    return made.head.num_latents


def test_long_texts_leave_a_cell_for_each_of_the_sample(
    encoder: TextEncoder, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("connector.ingest.sample._MAX_CHARACTERS", sum(map(len, TEXTS[:3_000])))
    own = OwnDictionary(stream().sample, documents=20_000, embeddings=rows(3_000))
    with caplog.at_level(logging.WARNING, "ksparse.ingest"):
        assert cells_of(own, encoder) == 54 * 55, "54 squared is below 3,000"
    assert "Only 3000 texts fit into the sample" in caplog.text and "instead of 11990" in caplog.text


def test_fewer_documents_than_expected_have_the_cells_of_as_many(
    encoder: TextEncoder, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "ksparse.ingest"):
        own = OwnDictionary(stream().sample, documents=20_000, embeddings=rows(3_200))
        assert cells_of(own, encoder) == math.prod(cells_for(3_200))
    assert caplog.text == ""


def test_a_text_without_a_finite_embedding_costs_one_cell_at_most(encoder: TextEncoder) -> None:
    embeddings = rows(3_200)
    embeddings[7] = np.inf
    own = OwnDictionary(TEXTS, documents=3_200, embeddings=embeddings)
    assert cells_of(own, encoder) == math.prod(cells_for(3_200))
    assert own.known is not None and own.embeddings is not None
    assert TEXTS[7] not in own.known[0] and len(own.known[1]) == 3_199
    assert len(own.embeddings) == 3_200, "one for each text"


def test_only_finite_embeddings_are_kept() -> None:
    embeddings = np.array([[1.0, np.nan], [1.0, 2.0]], np.float32)
    texts, kept = with_finite(["a", "b"], embeddings, "bfloat16")
    assert (list(texts), kept.tolist()) == (["b"], [[1.0, 2.0]])
    with pytest.raises(EncoderError, match="None of the embeddings of 1 documents is finite, computed in bfloat16"):
        with_finite(["a"], embeddings[:1], "bfloat16")


def test_a_sample_knows_whether_it_was_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not stream().sample(5_000).is_cut
    monkeypatch.setattr("connector.ingest.sample._MAX_CHARACTERS", len(TEXTS[0]))
    records = stream()
    assert (records.sample(1), records.sample(1).is_cut) == (SampledTexts(TEXTS[:1]), False)
    assert (records.sample(2), records.sample(2).is_cut) == (SampledTexts(TEXTS[:1]), True)
