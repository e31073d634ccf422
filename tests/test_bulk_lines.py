from __future__ import annotations

import json

import numpy as np
import pytest
from numpy.typing import NDArray

from connector.index.bulk_lines import to_lines
from connector.types import Deletion, SparseDocument, StoredState
from connector.vectors.storage import SMALLEST_WEIGHT

CELLS = np.arange(1 << 8, 0xFF00, dtype=np.uint32)
"""All that `rank_features` can tell apart: the normal floats above 0, by their bits >> 15."""


def sent(features: dict[str, float], scale: float = 1.0) -> dict[str, float]:
    _, body = to_lines(SparseDocument("d1", features), scale).decode().splitlines()
    return dict(json.loads(body)["features"])


def kept_by_the_server(weights: dict[str, float]) -> NDArray[np.uint32]:
    """Return the weights as `rank_features` stores them: it truncates their bits."""
    return np.array(list(weights.values()), np.float32).view(np.uint32) >> np.uint32(15)


def test_what_the_server_keeps_is_the_nearest_that_it_can_hold() -> None:
    random = np.random.default_rng(0)
    weights = ((CELLS << 15) + random.integers(0, 1 << 15, len(CELLS), dtype=np.uint32)).view(np.float32)
    read = sent(dict(zip(map(str, CELLS), weights.tolist(), strict=True)))
    del read["present"]
    kept = (kept_by_the_server(read) << 15).view(np.float32)
    for steps in (-1, 1):
        neighbours = np.clip(kept_by_the_server(read).astype(np.int64) + steps, CELLS[0], CELLS[-1])
        other = (neighbours.astype(np.uint32) << 15).view(np.float32)
        assert np.all(np.abs(kept.astype(float) - weights) <= np.abs(other.astype(float) - weights))


def test_weights_of_direct_writers_are_neither_too_small_nor_too_large_in_the_mean() -> None:
    weights = np.random.default_rng(0).gamma(2.0, 0.3, 2_000).astype(np.float32)
    read = sent({str(row): weight for row, weight in enumerate(weights.tolist())}, 2.0**-100)
    del read["present"]
    kept = (kept_by_the_server(read) << 15).view(np.float32) * 2.0**100
    assert abs(np.mean(kept / weights - 1)) < 1e-4, "cut off, they would be 0.14 % too small"


def test_no_number_has_more_than_four_digits() -> None:
    body = to_lines(SparseDocument("d1", {str(row): 0.1 + row / 7919 for row in range(500)}), 2.0**-120).decode()
    numbers = body.split("{")[-1].split("}")[0].split(",")
    digits = [number.split(":")[1].split("e")[0].replace(".", "").lstrip("0") for number in numbers]
    assert max(map(len, digits)) <= 4


def test_weights_are_scaled_and_raised_to_the_smallest_that_can_be_stored() -> None:
    read = sent({"1": 1.0, "2": 2.0**-10}, 2.0**-120)
    assert read["1"] == pytest.approx(2.0**-120, rel=2**-8)
    assert SMALLEST_WEIGHT <= read["2"] == pytest.approx(SMALLEST_WEIGHT, rel=2**-8)
    assert read["present"] == read["1"]


@pytest.mark.parametrize("name", ['say "a"', "back\\slash", "é", "line\nfeed"])
def test_names_of_any_characters_are_read_back(name: str) -> None:
    assert set(sent({name: 1.0})) == {name, "present"}


def test_a_document_without_fields_is_an_object_as_well() -> None:
    assert to_lines(SparseDocument("d1", {"3": 0.5}), 1.0) == (
        b'{"index":{"_id":"d1"}}\n{"features":{"3":0.5,"present":1}}\n'
    )


@pytest.mark.parametrize(
    ("deletion", "line"),
    [
        (Deletion("d1"), b'{"delete":{"_id":"d1"}}\n'),
        (Deletion("d1", 7), b'{"delete":{"_id":"d1","version":7,"version_type":"external_gte"}}\n'),
        (Deletion("d1", routing="t1"), b'{"delete":{"_id":"d1","routing":"t1"}}\n'),
        (
            Deletion("d1", replaces=StoredState(3, 1)),
            b'{"delete":{"_id":"d1","if_seq_no":3,"if_primary_term":1}}\n',
        ),
    ],
)
def test_a_deletion_is_one_line(deletion: Deletion, line: bytes) -> None:
    assert to_lines(deletion, 1.0) == line


def test_a_document_is_written_by_its_routing() -> None:
    head = to_lines(SparseDocument("d1", {"3": 0.5}, routing="t1"), 1.0).splitlines()[0]
    assert head == b'{"index":{"_id":"d1","routing":"t1"}}'


def test_a_deletion_needs_an_id() -> None:
    with pytest.raises(ValueError, match="_id '' must be 1 to 512 bytes long"):
        to_lines(Deletion(""), 1.0)
