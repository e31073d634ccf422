"""Map the columns of a table to parts of documents."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from connector.corpus.jsonl import values_of
from connector.corpus.layout import RecordMapper
from connector.errors import CorpusError
from connector.types import Document

_NUMBERS_OF_ROWS = re.compile(r"(Unnamed: \d+|__index_level_\d+__|)")
"""Names of row numbers written by pandas, and empty names."""


class Columns:
    """The columns of one table.

    The layout defines the columns for id, title and text. Declared fields become fields of the document, a column
    `metadata` contains an object (or its JSON), and all other columns become metadata.
    """

    def __init__(self, names: Sequence[str], mapper: RecordMapper, *, table: str) -> None:
        """Read the header.

        Args:
            names: The columns in order.
            mapper: Mapper with the layout and the declared fields.
            table: Name of the table in errors.

        Raises:
            CorpusError: A column name is repeated, or the text or id column is missing.
        """
        layout = mapper.layout
        self._table = table
        self._skipped = {name for name in names if _NUMBERS_OF_ROWS.fullmatch(name)} | layout.exclude
        kept = [name for name in names if name not in self._skipped]
        id_name = layout.id_of(kept, mapper.checker.fields)
        _check_header(names, kept, id_name, mapper, table)
        self._warn_of_skipped(names, mapper)
        self._mapper = mapper.with_id(id_name)
        self._known = {id_name, layout.title, *layout.texts, "metadata"}
        self._decoded = {*self._known, *mapper.checker.texts}
        self.id_place = names.index(id_name) if id_name in kept else None

    def is_text(self, name: str) -> bool:
        """Whether bytes of a column are text: of id, title, text, metadata as JSON, and fields of a type for text."""
        return name in self._decoded

    def is_needed(self, name: str) -> bool:
        """Whether a column does not become a key of the metadata."""
        return name in self._known or name in self._mapper.checker.fields

    def is_skipped(self, name: str) -> bool:
        """Whether a column is skipped."""
        return name in self._skipped

    def skip(self, name: str, reason: str) -> None:
        """Skip a column, with a warning."""
        self._skipped.add(name)
        self._mapper.say_once(name, f"{self._table}: column {name!r} {reason} and is skipped")

    def skip_member(self, name: str, member: str, reason: str) -> None:
        """Warn once that a member of a column of structs is skipped."""
        skipped = f"column {name!r}, member {member!r}"
        self._mapper.say_once(skipped, f"{self._table}: {skipped} {reason} and is skipped")

    def skip_cell(self, name: str, reason: str) -> None:
        """Warn once per column that some of its cells are skipped."""
        self._mapper.say_once(name, f"{self._table}: column {name!r} {reason}; such cells are skipped")

    def document(self, cells: Mapping[str, Any]) -> Document:
        """Convert a row to a document; empty cells and None are omitted.

        Args:
            cells: Cells by column name.

        Raises:
            ValueError: The document is invalid; the message is the reason for a `MalformedRecord`.
        """
        kept = {name: cell for name, cell in cells.items() if name not in self._skipped}
        return self._mapper.document(values_of(kept, self._mapper.layout), flat=True)

    def identify(self, cells: Mapping[str, Any]) -> tuple[str | None, str | None]:
        """Return the id and the routing of a row, which may be malformed otherwise; None for what is unreadable."""
        return self._mapper.identify(cells)

    def _warn_of_skipped(self, names: Sequence[str], mapper: RecordMapper) -> None:
        for place, name in enumerate(names, 1):
            if _NUMBERS_OF_ROWS.fullmatch(name) and name not in mapper.layout.exclude:
                unnamed = f"column {name!r}" if name else f"column {place}, which has no name,"
                mapper.say_once(unnamed, f"{self._table}: {unnamed} is skipped")
        for name in sorted(mapper.layout.exclude.difference(names, dict(mapper.partition))):
            mapper.say_once(f"exclude {name}", f"{self._table} has no column {name!r}, which should be excluded")


def _check_header(names: Sequence[str], kept: Sequence[str], id_name: str, mapper: RecordMapper, table: str) -> None:
    layout = mapper.layout
    found = f"{table} has the columns {', '.join(map(repr, names)) or '(none)'}"
    for name in kept:
        if kept.count(name) > 1:
            raise CorpusError(f"{found}; {name!r} occurs twice. Rename one of them.")
    for text in layout.texts:
        if text not in kept:
            raise CorpusError(f"{found}, but no text column {text!r}. Set the text field, or rename the column.")
    if id_name not in kept and (layout.id_field is not None or not mapper.checker.generate_ids):
        wanted = repr(layout.id_field) if layout.id_field is not None else "'_id' or 'id'"
        raise CorpusError(f"{found}, but no id column {wanted}. Set the id field, rename the column, or generate ids.")
    if layout.title_field is not None and layout.title_field not in kept:
        raise CorpusError(f"{found}, but no title column {layout.title_field!r}.")
