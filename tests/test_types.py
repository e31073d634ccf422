from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from connector.types import Document, EncoderFingerprint, Hit, SparseVectors, content_of


def test_content_joins_title_and_text_by_a_space() -> None:
    assert Document("d", "body", "head").content == "head body"


@pytest.mark.parametrize(("title", "text"), [("", "alone"), ("alone", "")])
def test_content_has_no_space_at_its_ends(title: str, text: str) -> None:
    assert Document("d", text, title).content == "alone"


def test_as_mappings_leaves_unused_slots_out_and_keeps_the_order() -> None:
    vectors = SparseVectors(np.array([[7, 3, 0], [1, 0, 0]], np.int32), np.array([[2, 1, 0], [0, 0, 0]], np.float32))
    assert [list(mapping.items()) for mapping in vectors.as_mappings()] == [[("7", 2.0), ("3", 1.0)], []]


def test_active_dims_counts_the_used_slots() -> None:
    vectors = SparseVectors(np.zeros((2, 3), np.int32), np.array([[2, 1, 0], [0, 0, 0]], np.float32))
    assert vectors.active_dims.tolist() == [2, 0]


def test_the_digest_is_equal_for_copies_under_other_names(fingerprint: EncoderFingerprint) -> None:
    copy = replace(fingerprint, base_model="elsewhere", revision="abc")
    assert copy != fingerprint
    assert copy.digest == fingerprint.digest


@pytest.mark.parametrize(
    "change",
    [
        {"weights_sha256": "cd" * 32},
        {"k": 9},
        {"k": None},
        {"num_latents": 65},
        {"pooling": "cls"},
        {"max_seq_length": 13},
        {"prompts": {"query": "ask "}},
        {"prompts": {"document": "ask: "}},
    ],
)
def test_the_digest_differs_with_each_fact(fingerprint: EncoderFingerprint, change: dict[str, Any]) -> None:
    assert replace(fingerprint, **change).digest != fingerprint.digest


def test_the_digest_does_not_depend_on_the_order_of_the_prompts(fingerprint: EncoderFingerprint) -> None:
    one = replace(fingerprint, prompts={"a": "1", "b": "2"})
    assert one.digest == replace(fingerprint, prompts={"b": "2", "a": "1"}).digest


def test_a_fingerprint_reads_as_digest_model_and_cut(fingerprint: EncoderFingerprint) -> None:
    assert str(fingerprint) == f"{fingerprint.digest} (tiny, top 8 of 64, weights {'ab' * 6})"
    assert "(tiny, 64 features, weights" in str(replace(fingerprint, k=None))


def test_null_is_no_text() -> None:
    hit = Hit("1", 1.0, {"title": None, "text": None, "metadata": None})
    assert (hit.title, hit.text, hit.metadata) == ("", "", {})
    assert content_of({"title": None, "text": "cats"}) == "cats"
    assert content_of({"title": "Cats", "text": None}) == "Cats"
    assert content_of({}) == ""
