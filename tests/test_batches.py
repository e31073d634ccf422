"""Batches contain little padding, whatever the texts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from connector.encoders.backend import Batch, TorchModel
from connector.encoders.batches import TOKENS_ON_GPU, TOKENS_PER_TEXT, rows_by_length, rows_by_tokens
from connector.encoders.load import join
from connector.encoders.text import TextEncoder
from tests.tiny import MAX_TOKENS, build_dense, build_head

COUNTS = np.random.default_rng(0).geometric(1 / 15, size=5_000).clip(1, 256)

EQUALLY_LONG = ["a " * 30, "a" * 59 + " "] * 400
"""Texts of 60 characters each: 30 unknown words, or one."""


def test_batches_by_tokens_have_every_row_once_and_little_padding() -> None:
    parts = list(rows_by_tokens(COUNTS, 32))
    np.testing.assert_array_equal(np.sort(np.concatenate(parts)), np.arange(len(COUNTS)))
    padded = [len(part) * COUNTS[part].max() for part in parts]
    assert max(padded) <= 32 * TOKENS_PER_TEXT
    assert sum(padded) < 1.1 * COUNTS.sum()
    assert [COUNTS[part].max() for part in parts] == sorted((COUNTS[part].max() for part in parts), reverse=True)


def test_a_batch_ends_before_texts_of_half_its_length_unless_it_is_tiny() -> None:
    counts = np.array([256, 250, 20, 20, 20, 19])
    assert [list(part) for part in rows_by_tokens(counts, 32)] == [[0, 1], [2, 3, 4, 5]]
    assert [list(part) for part in rows_by_tokens(counts, 32, TOKENS_ON_GPU)] == [[0, 1, 2, 3, 4, 5]]
    assert [list(part) for part in rows_by_tokens(np.array([0, 0]), 32)] == [[0, 1]]
    assert list(rows_by_tokens(np.array([], np.int64), 32)) == []


def test_several_batches_are_tokenized_together() -> None:
    texts = ["word " * 100] * 300
    assert [len(rows) for rows in rows_by_length(texts, 32, 256)] == [32] * 9 + [12]
    assert [len(rows) for rows in rows_by_length(texts, 32, 256, batches=8)] == [256, 44]


@pytest.mark.parametrize("side", ["right", "left"])
def test_texts_of_equal_length_and_different_numbers_of_tokens_are_not_padded_to_each_other(
    transformer_folder: Path, side: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    dense = build_dense(transformer_folder)
    dense.tokenizer.padding_side = side
    encoder = TextEncoder(join(dense, build_head()), backend="torch")
    alone = encoder.embed([EQUALLY_LONG[0]]), encoder.embed([EQUALLY_LONG[1]])
    shapes = []
    embed = TorchModel.embed

    def watched(self: TorchModel, batches: Iterator[Batch]) -> Iterator[object]:
        for batch, embeddings in embed(self, batches):
            shapes.append(tuple(batch.features["input_ids"].shape))
            yield batch, embeddings

    monkeypatch.setattr(TorchModel, "embed", watched)
    together = encoder.embed(EQUALLY_LONG)
    assert shapes == [(341, MAX_TOKENS), (59, MAX_TOKENS), (400, 3)]
    np.testing.assert_allclose(together[0::2], np.repeat(alone[0], 400, axis=0), atol=1e-5)
    np.testing.assert_allclose(together[1::2], np.repeat(alone[1], 400, axis=0), atol=1e-5)
