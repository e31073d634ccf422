"""The header of a table: which column becomes which part of a document, and which are left out."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from connector.corpus.jsonl import parse_object
from connector.corpus.layout import RecordMapper
from connector.errors import CorpusError
from connector.types import Document

_NUMBERS_OF_ROWS = re.compile(r"(Unnamed: \d+|__index_level_\d+__|)")
"""What pandas calls the numbers of its rows, and columns whose header is empty."""


class Columns:
    """The columns of one table.

    Id, title and text are those of the layout, declared fields go to the document's fields, a column `metadata` holds
    an object (or JSON text of one), and every other column is a key of the metadata.
    """

    def __init__(self, names: Sequence[str], mapper: RecordMapper, *, table: str) -> None:
        """Read the header.

        Args:
            names: The columns in order.
            mapper: Knows the layout and the declared fields.
            table: What errors call the table.

        Raises:
            CorpusError: A column has another's name, or there is none for the text or the id.
        """
        layout = mapper.layout
        self._table = table
        self._left_out = {name for name in names if _NUMBERS_OF_ROWS.fullmatch(name)} | layout.exclude
        kept = [name for name in names if name not in self._left_out]
        id_name = layout.id_of(kept, mapper.checker.fields)
        _check_header(names, kept, id_name, mapper, table)
        self._say_what_is_left_out(names, mapper)
        self._mapper = mapper.with_id(id_name)
        self._texts = frozenset(layout.texts)
        self._known = {id_name, layout.title, *layout.texts, "metadata"}
        self.id_place = names.index(id_name) if id_name in kept else None

    def is_text(self, name: str) -> bool:
        """Whether a column can hold nothing but text: the id, the title, the text, and metadata written as JSON."""
        return name in self._known

    def is_needed(self, name: str) -> bool:
        """Whether a column becomes a part of the document of its own, and no key of the metadata."""
        return name in self._known or name in self._mapper.checker.fields

    def is_left_out(self, name: str) -> bool:
        """Whether nothing of a column is kept."""
        return name in self._left_out

    def leave_out(self, name: str, reason: str) -> None:
        """Keep nothing of a column, and say so."""
        self._left_out.add(name)
        self._mapper.say_once(name, f"{self._table}: column {name!r} {reason} and is left out")

    def leave_out_cell(self, name: str, reason: str) -> None:
        """Say once of a column that cells of it are left out."""
        self._mapper.say_once(name, f"{self._table}: column {name!r} {reason}; such cells are left out")

    def document(self, cells: Mapping[str, Any]) -> Document:
        """Return one row as a document; cells that are empty or None leave their key out.

        Args:
            cells: By the name of their column.

        Raises:
            ValueError: The row breaks a rule of documents; the message is the reason, fit for a `MalformedRecord`.
        """
        values = {
            name: cell
            for name, cell in cells.items()
            if name not in self._left_out and (name in self._texts or not (cell is None or cell == ""))
        }
        given = values.get("metadata")
        if isinstance(given, str) and "metadata" not in self._texts:
            try:
                values["metadata"] = parse_object(given)
            except ValueError as error:
                raise ValueError(f"'metadata' is {error}") from None
        return self._mapper.document(values, flat=True)

    def _say_what_is_left_out(self, names: Sequence[str], mapper: RecordMapper) -> None:
        for place, name in enumerate(names, 1):
            if _NUMBERS_OF_ROWS.fullmatch(name) and name not in mapper.layout.exclude:
                unnamed = f"column {name!r}" if name else f"column {place}, which has no name,"
                mapper.say_once(unnamed, f"{self._table}: {unnamed} is left out")
        for name in sorted(mapper.layout.exclude.difference(names, dict(mapper.partition))):
            mapper.say_once(f"exclude {name}", f"{self._table} has no column {name!r}, which is to be left out")


def _check_header(names: Sequence[str], kept: Sequence[str], id_name: str, mapper: RecordMapper, table: str) -> None:
    layout = mapper.layout
    found = f"{table} has the columns {', '.join(map(repr, names)) or '(none)'}"
    for name in kept:
        if kept.count(name) > 1:
            raise CorpusError(f"{found}; {name!r} stands twice. Rename one of them.")
    for text in layout.texts:
        if text not in kept:
            raise CorpusError(
                f"{found} and none called {text!r}, which holds what is encoded. Name the text field, or rename "
                "the column."
            )
    if id_name not in kept and (layout.id_field is not None or not mapper.checker.generate_ids):
        wanted = repr(layout.id_field) if layout.id_field is not None else "'_id' or 'id'"
        raise CorpusError(
            f"{found} and none called {wanted}. Name the id field, rename the column, or have ids generated."
        )
    if layout.title_field is not None and layout.title_field not in kept:
        raise CorpusError(f"{found} and none called {layout.title_field!r}, which was named as the title.")
