"""Read documents from CSV and TSV files."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import chain, islice

from connector.corpus.columns import Columns
from connector.corpus.dialect import excel_separator, find_separator, is_spaced, other_separator, split_line
from connector.corpus.layout import RecordMapper
from connector.corpus.lines import read_lines
from connector.corpus.rows import Lines, Row, read_rows
from connector.corpus.source import Source
from connector.corpus.streams import name_of
from connector.errors import CorpusError
from connector.types import Document, MalformedRecord

_NULL = r"\N"
"""NULL in exports of databases."""


def read_table(source: Source, mapper: RecordMapper) -> Iterator[Document | MalformedRecord]:
    """Read a document from each row below the header.

    Raises:
        CorpusError: The file cannot be read completely, has no header, or its header lacks a column.
    """
    name = name_of(source.path)
    lines = read_lines(source.path, mapper.layout.encoding)
    first, lines = _first_line(lines)
    named = excel_separator(first)
    if named is not None:
        first, lines = _first_line(islice(lines, 1, None))
    wanted = {*mapper.layout.texts, *([mapper.layout.id_field] if mapper.layout.id_field else [])}
    expected = "\t" if source.format == "tsv" else ","
    separator = mapper.layout.separator or named or find_separator(first, expected, wanted)
    ids = (mapper.layout.id_field,) if mapper.layout.id_field else ("_id", "id")
    rows = read_rows(lines, separator, spaced=is_spaced(first, separator), ids=ids)
    header = next(rows, None)
    if header is None:
        if source.in_folder:  # writers of many files, such as Spark, leave those without rows empty
            return
        raise CorpusError(f"{name} is empty; its first line must name the columns, e.g. _id,title,text.")
    if header.error is not None:
        raise CorpusError(f"the header of {name} cannot be read: {header.error}. Correct its first line.")
    names = [cell.strip() for cell in header.cells]
    if not {*mapper.layout.texts} <= {*names} and (other := other_separator(first, mapper.layout.texts, ids)):
        raise CorpusError(f"{name} seems to be separated by {other!r}; set it as the separator.")
    table = name if separator == "," else f"{name} (separated by {separator!r})"
    try:
        columns = Columns(names, mapper, table=table)
    except CorpusError as error:
        hint = "If the first line is a record, add a line with the names of the columns above it."
        raise CorpusError(f"{error} {hint}") from error
    for row in rows:
        record: Document | MalformedRecord
        cells: dict[str, str] = {}
        try:
            cells = _cells(row, names)
            _refuse_swallowed(row, columns.id_place, separator)
            record = columns.document(cells)
        except ValueError as error:
            doc_id, routing = columns.identify(cells)
            record = MalformedRecord(
                f"{name}:{row.number}",
                str(error),
                row.raw,
                mapper.partition,
                flat=True,
                doc_id=doc_id,
                routing=routing,
            )
        yield record


def _first_line(lines: Lines) -> tuple[str, Lines]:
    """Return the first line that is not blank, and all lines starting with it."""
    first = next((each for each in lines if each[1].strip()), None)
    return ("", iter(())) if first is None else (first[1].decode("utf-8", "replace"), chain([first], lines))


def _cells(row: Row, names: list[str]) -> dict[str, str]:
    """Return the cells of a row by name; raise a `ValueError` with the reason if it is malformed."""
    if row.error is not None:
        raise ValueError(row.error)
    cells = row.cells
    # Exports may add empty cells after the last column.
    if len(cells) > len(names) and not any(cells[len(names) :]):
        cells = cells[: len(names)]
    if names[0] in cells[0] and [cell.strip("\ufeff ") for cell in cells] == names:
        raise ValueError("repeats the header, probably because files were concatenated; remove it")
    if len(cells) != len(names):
        raise ValueError(f"has {len(cells)} cells, the header has {len(names)}")
    return {name: cell for name, cell in zip(names, cells, strict=True) if cell != _NULL}


def _refuse_swallowed(row: Row, id_place: int | None, separator: str) -> None:
    """Refuse a row of several lines that look like rows themselves, with similar ids.

    In files without quoting, a cell that begins with a quote would silently absorb all lines up to the next quote.
    """
    if len(row.lines) == 1 or id_place is None or not any(map(str.isdigit, row.cells[id_place])):
        return
    shape = _shape(row.cells[id_place])
    for line in row.lines[1:]:
        cells = split_line(line.decode("utf-8", "replace"), separator)
        if len(cells) != len(row.cells) or _shape(cells[id_place]) != shape:
            return
    raise ValueError(
        f"has a cell of {len(row.lines)} lines, each of which looks like a separate row; quote cells that contain "
        "quotes, and double the quotes inside them"
    )


def _shape(cell: str) -> str:
    return re.sub(r"[^\W\d_]+", "a", re.sub(r"\d+", "0", cell.strip()))
