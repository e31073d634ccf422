"""Split the lines of a table into rows and cells."""

from __future__ import annotations

import csv
from collections import deque
from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

from connector.corpus.lines import decode

MAX_CELL_CHARACTERS = 100 * 1024 * 1024
"""The server's default of `http.max_content_length`: longer cells could not be indexed."""

_TAB = "\t"
_MAX_LINES = 10_000
"""Maximum number of lines of a quoted cell in a table separated by tabs, read ahead to find the closing quote."""

Lines = Iterator[tuple[int, bytes]]


class Row(NamedTuple):
    """A row and its lines.

    Attributes:
        number: Number of its first line.
        lines: Its lines.
        cells: Its cells; empty if they cannot be read.
        error: The reason why they cannot be read, if any.
    """

    number: int
    lines: tuple[bytes, ...]
    cells: tuple[str, ...] = ()
    error: str | None = None

    @property
    def raw(self) -> str:
        """The row as in the file."""
        return b"".join(self.lines).rstrip(b"\r\n").decode("utf-8", "backslashreplace")


def read_rows(lines: Lines, separator: str, *, spaced: bool = False) -> Iterator[Row]:
    """Read the rows of a table, without blank lines.

    Cells are quoted as in RFC 4180: a quote inside a quoted cell is doubled. In tables separated by tabs, quotes can
    also be part of the text: each line with as many cells as the first row is a row.

    Args:
        lines: Lines with their numbers.
        separator: Separator of cells.
        spaced: Whether separators are followed by a space, which is dropped.
    """
    # The limit is global; it is only raised, so that other users of csv are not affected.
    csv.field_size_limit(max(csv.field_size_limit(), MAX_CELL_CHARACTERS))
    for row in _tab_rows(lines) if separator == _TAB else _quoted_rows(lines, separator, spaced=spaced):
        if row.error is not None:
            yield row
        elif len(row.cells) > 1 or not all(line.isspace() for line in row.lines):
            yield _checked(row)


def _quoted_rows(lines: Lines, separator: str, *, spaced: bool) -> Iterator[Row]:
    consumed: list[tuple[int, bytes]] = []

    def texts() -> Iterator[str]:
        for number, line in lines:
            consumed.append((number, line))
            yield _text(line)

    reader = csv.reader(texts(), delimiter=separator, skipinitialspace=spaced, strict=True)
    while True:
        consumed.clear()
        cells: tuple[str, ...] = ()
        error = None
        try:
            cells = tuple(next(reader))
        except StopIteration:
            return
        except csv.Error as caught:
            escaped = any(b'\\"' in line for _, line in consumed)
            error = f"not valid CSV: {caught}{'; double the quotes that backslashes escape' if escaped else ''}"
        yield Row(consumed[0][0], tuple(line for _, line in consumed), cells, error)


def _tab_rows(lines: Lines) -> Iterator[Row]:
    waiting: deque[tuple[int, bytes]] = deque()
    width = 0
    while first := waiting.popleft() if waiting else next(lines, None):
        cells = _quoted_cells([first[1]])
        taken = [first[1]]
        if cells is None or (width and len(cells) != width):
            if width and cells is None:  # a quote is open
                taken += _lines_of_quote(first[1], width, waiting, lines)
            cells = _quoted_cells(taken) if len(taken) > 1 else None
            cells = _literal_cells(first[1]) if cells is None else cells
        width = width or len(cells)
        yield Row(first[0], tuple(taken), tuple(cells))


def _lines_of_quote(first: bytes, width: int, waiting: deque[tuple[int, bytes]], lines: Lines) -> list[bytes]:
    """Find the further lines of a row whose quote is not closed; none if the quote is part of the text.

    It is part of the text if, before the closing quote, another line is a complete row.
    """
    taken: list[bytes] = []
    for place in range(_MAX_LINES):
        if place == len(waiting):
            waiting.extend(islice(lines, 1))
        if place == len(waiting) or len(_literal_cells(waiting[place][1])) == width:
            return []
        taken.append(waiting[place][1])
        cells = _quoted_cells([first, *taken]) if b'"' in taken[-1] else None
        if cells is not None and len(cells) == width:
            for _ in taken:
                waiting.popleft()
            return taken
    return []


def _quoted_cells(lines: list[bytes]) -> list[str] | None:
    """Cells of the lines as one quoted row; None if they are not exactly one row."""
    try:
        rows = list(csv.reader(map(_text, lines), delimiter=_TAB, strict=True))
    except csv.Error:
        return None
    return (rows[0] or [""]) if len(rows) == 1 else None


def _literal_cells(line: bytes) -> list[str]:
    return _text(line).rstrip("\r\n").split(_TAB)


def _text(line: bytes) -> str:
    # Invalid UTF-8 must not affect the boundaries of rows; the row is refused afterwards.
    return line.decode("utf-8", "replace")


def _checked(row: Row) -> Row:
    try:
        for line in row.lines:
            decode(line)
    except ValueError as error:
        return Row(row.number, row.lines, error=str(error))
    if b"\0" in b"".join(row.lines):
        return Row(
            row.number, row.lines, error="contains a NUL character; set the encoding of the file, e.g. utf-16-le"
        )
    return row
