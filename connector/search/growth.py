"""Decide from the number of documents alone whether an index should build a dictionary, or a larger one."""

from __future__ import annotations

import math

from connector.encoders.folders import DEFAULT_ENCODER
from connector.index.schema import IndexSchema
from connector.training.dictionary.build import cells_for
from connector.training.dictionary.settings import MIN_DOCUMENTS

_GROWN = 4
"""Documents per cell above which more cells would save many postings."""

_MORE = 1.5
"""Cells of a new dictionary, relative to those of the present one, that are worth encoding all documents again."""


def growth_advice(schema: IndexSchema, documents: int, cells: int | None) -> str:
    """Say whether an index should build a new dictionary; empty if not.

    Args:
        schema: Schema of the index.
        documents: Number of its documents.
        cells: Number of cells of its dictionary; None for other encoders.
    """
    command = f"`ksparse reencode {schema.index} --to NEW --encoder own`"
    if cells is not None and documents > _GROWN * cells and _cells_of_new(documents) >= _MORE * cells:
        return (
            f"There are {documents / cells:.0f} documents per cell: with a new dictionary, searches would read fewer "
            f"postings ({command})."
        )
    shipped = cells is None and schema.encoder_name == DEFAULT_ENCODER and schema.code is not None
    if shipped and documents >= MIN_DOCUMENTS:
        return (
            f"The {documents:,} documents are enough for a dictionary of their own, with which searches find more of "
            f"the nearest documents ({command})."
        )
    return ""


def small_corpus_note(index: str, documents: int) -> str:
    """Say which encoder a new index gets whose documents are too few for a dictionary."""
    return (
        f"{index}: {documents:,} document{'s are' if documents != 1 else ' is'} too few for a dictionary, which needs "
        f"{MIN_DOCUMENTS:,}; the shipped encoder is used. Once there are as many, `ksparse reencode {index} --to NEW "
        "--encoder own` builds one."
    )


def _cells_of_new(documents: int) -> int:
    """The number of cells of a dictionary built for as many documents."""
    return math.prod(cells_for(max(documents, MIN_DOCUMENTS)))
