"""Split the lines of a table into rows and cells."""

from __future__ import annotations

import csv
from collections import deque
from collections.abc import Callable, Collection, Iterator
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


def read_rows(lines: Lines, separator: str, *, spaced: bool = False, ids: Collection[str] = ()) -> Iterator[Row]:
    """Read the rows of a table, without blank lines.

    Cells are quoted as in RFC 4180: a quote inside a quoted cell is doubled. In tables separated by tabs, quotes can
    also be part of the text: a line with as many cells as the first row and an id similar to that of the line with the
    quote is a row, even if the quote is open.

    Args:
        lines: Lines with their numbers.
        separator: Separator of cells.
        spaced: Whether separators are followed by a space, which is dropped.
        ids: Possible names of the id in the first row, best first.
    """
    # The limit is global; it is only raised, so that other users of csv are not affected.
    csv.field_size_limit(max(csv.field_size_limit(), MAX_CELL_CHARACTERS))
    for row in _tab_rows(lines, ids) if separator == _TAB else _quoted_rows(lines, separator, spaced=spaced):
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


def _tab_rows(lines: Lines, ids: Collection[str]) -> Iterator[Row]:
    waiting: deque[tuple[int, bytes]] = deque()
    width = 0
    id_place: int | None = None
    while first := waiting.popleft() if waiting else next(lines, None):
        cells = _quoted_cells([first[1]])
        taken = [first[1]]
        if cells is None or (width and len(cells) != width):
            if width and cells is None:  # a quote is open
                taken += _lines_of_quote(first[1], width, _row_test(first[1], width, id_place), waiting, lines)
            cells = _quoted_cells(taken) if len(taken) > 1 else None
            cells = _literal_cells(first[1]) if cells is None else cells
        if not width:
            names = [cell.strip() for cell in cells]
            width, id_place = len(cells), next((names.index(name) for name in ids if name in names), None)
        yield Row(first[0], tuple(taken), tuple(cells))


def _row_test(first: bytes, width: int, id_place: int | None) -> Callable[[bytes], bool]:
    """Return a test whether a line is a row of its own, although a quote is open in the line given as `first`.

    A line of a quoted text, such as of code, can have as many cells as a row by chance, but rarely a similar id.
    """
    cells = _literal_cells(first)
    known = id_place is not None and len(cells) == width and any(map(str.isdigit, cells[id_place]))
    expected = _signs(cells[id_place]) if id_place is not None and known else None

    def is_row(line: bytes) -> bool:
        cells = _literal_cells(line)
        if width == 1 or len(cells) != width:
            return False
        cell = cells[id_place or 0].strip()
        return bool(cell) and (expected is None or _signs(cell) == expected)

    return is_row


def _signs(cell: str) -> tuple[bool, frozenset[str]]:
    """What similar ids have in common: whether they have digits, and which characters besides digits and letters.

    Their order can differ, as that of the digits of hashes does.
    """
    return any(map(str.isdigit, cell)), frozenset(each for each in cell.strip() if not each.isalnum())


def _lines_of_quote(
    first: bytes,
    width: int,
    is_row: Callable[[bytes], bool],
    waiting: deque[tuple[int, bytes]],
    lines: Lines,
) -> list[bytes]:
    """Find the further lines of a row whose quote is not closed; none if the quote is part of the text.

    It is part of the text if another line before the closing quote is a row, or if the row that it makes has another
    number of cells.
    """
    taken: list[bytes] = []

    def texts() -> Iterator[str]:
        yield _text(first)
        for place in range(_MAX_LINES):
            if place == len(waiting):
                waiting.extend(islice(lines, 1))
            if place == len(waiting) or is_row(waiting[place][1]):
                return
            taken.append(waiting[place][1])
            yield _text(taken[-1])

    try:
        cells = next(csv.reader(texts(), delimiter=_TAB, strict=True))
    except csv.Error:
        return []
    if len(cells) != width:
        return []
    for _ in taken:
        waiting.popleft()
    return taken


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
