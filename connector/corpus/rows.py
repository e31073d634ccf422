"""Lines of a table -> rows of cells. What a cell means is none of its business."""

from __future__ import annotations

import csv
from collections import deque
from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

from connector.corpus.lines import decode

MAX_CELL_CHARACTERS = 100 * 1024 * 1024
"""The server's default of `http.max_content_length`: no longer cell could be indexed."""

_TAB = "\t"
_MAX_LINES = 10_000
"""Of a cell in a table separated by tabs: so many are read ahead where a quote does not close."""

Lines = Iterator[tuple[int, bytes]]


class Row(NamedTuple):
    """One row, and where it comes from.

    Attributes:
        number: Of the line that it begins in.
        lines: That it was read from.
        cells: What they hold; nothing if they cannot be read.
        error: Why they cannot be read; None if they can.
    """

    number: int
    lines: tuple[bytes, ...]
    cells: tuple[str, ...] = ()
    error: str | None = None

    @property
    def raw(self) -> str:
        """The row as it stands in the file."""
        return b"".join(self.lines).rstrip(b"\r\n").decode("utf-8", "backslashreplace")


def read_rows(lines: Lines, separator: str, *, spaced: bool = False) -> Iterator[Row]:
    """Read the rows of a table, without blank lines.

    Cells are quoted as in RFC 4180: a quote inside a quoted cell is doubled. Where tabs separate them, cells may hold
    quotes that are part of the text, too: a line with as many cells as the first row is a row by itself.

    Args:
        lines: With their numbers.
        separator: Of cells.
        spaced: Whether a space follows it, which belongs to no cell.
    """
    # The limit is the process's; it is only ever raised, so that no one else's cells are refused.
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
            if width:
                taken += _lines_of_quote(first[1], width, waiting, lines)
            cells = _quoted_cells(taken) if len(taken) > 1 else None
            cells = _literal_cells(first[1]) if cells is None else cells
        width = width or len(cells)
        yield Row(first[0], tuple(taken), tuple(cells))


def _lines_of_quote(first: bytes, width: int, waiting: deque[tuple[int, bytes]], lines: Lines) -> list[bytes]:
    """The further lines of a row in which a quote is left open; none if the quote is a part of the text.

    It is one if a line would be a row by itself before the quote closes, as all lines are where nothing is quoted.
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
    """The cells of one row by the rules of quoting; None if the lines are not one row by them."""
    try:
        rows = list(csv.reader(map(_text, lines), delimiter=_TAB, strict=True))
    except csv.Error:
        return None
    return (rows[0] or [""]) if len(rows) == 1 else None


def _literal_cells(line: bytes) -> list[str]:
    return _text(line).rstrip("\r\n").split(_TAB)


def _text(line: bytes) -> str:
    # Bytes that are no UTF-8 must not break the rows' boundaries; the row is refused afterwards.
    return line.decode("utf-8", "replace")


def _checked(row: Row) -> Row:
    try:
        for line in row.lines:
            decode(line)
    except ValueError as error:
        return Row(row.number, row.lines, error=str(error))
    if b"\0" in b"".join(row.lines):
        return Row(row.number, row.lines, error="holds a NUL character; name the encoding of the file, e.g. utf-16-le")
    return row
