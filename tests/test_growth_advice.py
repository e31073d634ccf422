from __future__ import annotations

import math

import pytest

from connector.index.schema import IndexSchema
from connector.search.growth import growth_advice
from connector.training.dictionary.build import cells_for
from connector.types import EncoderFingerprint


@pytest.mark.parametrize("documents", [1_000, 100_000, 1_000_000, 2_100_000, 3_000_000, 5_000_000, 10_000_000])
def test_a_dictionary_is_not_outgrown_when_it_was_just_built(fingerprint: EncoderFingerprint, documents: int) -> None:
    cells = math.prod(cells_for(documents))
    assert growth_advice(IndexSchema("docs", fingerprint, {}), documents, cells) == ""


@pytest.mark.parametrize(("documents", "per_cell"), [(1_000_000, 17), (10_000_000, 168)])
def test_a_dictionary_for_a_tenth_of_the_documents_is_outgrown(
    fingerprint: EncoderFingerprint, documents: int, per_cell: int
) -> None:
    advice = growth_advice(IndexSchema("docs", fingerprint, {}), documents, math.prod(cells_for(100_000)))
    assert advice.startswith(f"There are {per_cell} documents per cell")
    assert "`ksparse reencode docs --to NEW --encoder own`" in advice


def test_few_documents_outgrow_a_tiny_dictionary(fingerprint: EncoderFingerprint) -> None:
    assert growth_advice(IndexSchema("docs", fingerprint, {}), 999, 4).startswith("There are 250 documents per cell")
