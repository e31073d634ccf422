"""CSV and TSV -> documents."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import chain

from connector.corpus.columns import Columns
from connector.corpus.dialect import excel_separator, find_separator, split_line
from connector.corpus.layout import RecordMapper
from connector.corpus.lines import read_lines
from connector.corpus.rows import Lines, Row, read_rows
from connector.corpus.source import Source
from connector.corpus.streams import name_of
from connector.errors import CorpusError
from connector.types import Document, MalformedRecord


def read_table(source: Source, mapper: RecordMapper) -> Iterator[Document | MalformedRecord]:
    """Read a document from each row below the header.

    Raises:
        CorpusError: The file cannot be read to its end, has no header, or its header lacks a column.
    """
    name = name_of(source.path)
    lines = read_lines(source.path, mapper.layout.encoding)
    separator, lines = _find_separator(lines, "\t" if source.format == "tsv" else ",", mapper)
    rows = read_rows(lines, separator)
    header = next(rows, None)
    if header is None:
        raise CorpusError(f"{name} is empty; its first line must name the columns, e.g. _id,title,text.")
    if header.error is not None:
        raise CorpusError(f"the header of {name} cannot be read: {header.error}. Correct its first line.")
    names = [cell.strip() for cell in header.cells]
    columns = Columns(names, mapper, table=name if separator == "," else f"{name} (separated by {separator!r})")
    for row in rows:
        record: Document | MalformedRecord
        try:
            if row.error is not None:
                raise ValueError(row.error)
            cells = row.cells[: len(names)] if not any(row.cells[len(names) :]) else row.cells
            if len(cells) != len(names):
                raise ValueError(f"has {len(cells)} cells, the header has {len(names)}")
            _refuse_swallowed(row, columns.id_place, separator)
            record = columns.document(dict(zip(names, cells, strict=True)))
        except ValueError as error:
            record = MalformedRecord(f"{name}:{row.number}", str(error), row.raw)
        yield record


def _find_separator(lines: Lines, expected: str, mapper: RecordMapper) -> tuple[str, Lines]:
    """What separates the cells, and the lines from the header on."""
    first = next((each for each in lines if each[1].strip()), None)
    if first is None:
        return expected, lines
    text = first[1].decode("utf-8", "replace")
    named = excel_separator(text)
    if named is not None:
        return mapper.layout.separator or named, lines
    wanted = {*mapper.layout.texts, *([mapper.layout.id_field] if mapper.layout.id_field else [])}
    return mapper.layout.separator or find_separator(text, expected, wanted), chain([first], lines)


def _refuse_swallowed(row: Row, id_place: int | None, separator: str) -> None:
    """Refuse a row of several lines that are rows by themselves, with ids that look alike.

    Where a file does not quote its cells, a quote that begins one ends somewhere behind, and what is in between would
    be lost without a word.
    """
    if len(row.lines) == 1 or id_place is None or not any(map(str.isdigit, row.cells[id_place])):
        return
    shape = _shape(row.cells[id_place])
    for line in row.lines[1:]:
        cells = split_line(line.decode("utf-8", "replace"), separator)
        if len(cells) != len(row.cells) or _shape(cells[id_place]) != shape:
            return
    raise ValueError(
        f"has a cell of {len(row.lines)} lines, each of which looks like a row of its own; double the quotes inside of "
        "cells, and put cells that hold any in quotes"
    )


def _shape(cell: str) -> str:
    return re.sub(r"[^\W\d_]+", "a", re.sub(r"\d+", "0", cell.strip()))
