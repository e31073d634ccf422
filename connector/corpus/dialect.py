"""How a table is written: what stands between its cells, and whether quotes around a cell are part of it."""

from __future__ import annotations

import csv
import re
from collections.abc import Collection

TAB = "\t"
_SEPARATORS = (",", ";", TAB, "|")
_EXCEL_LINE = re.compile(r'"?sep=(.)"?[\r\n]*', re.IGNORECASE)


def excel_separator(line: str) -> str | None:
    """The separator that a line before the header names as Excel does, `sep=;`; None if it is no such line."""
    found = _EXCEL_LINE.fullmatch(line)
    return found.group(1) if found else None


def find_separator(header: str, expected: str, wanted: Collection[str]) -> str:
    """Find what separates the cells of a header.

    Args:
        header: The first line.
        expected: The separator that the format has, which decides where nothing speaks for another.
        wanted: Names that the header must have; a separator by which it has them is the right one.

    Returns:
        A comma, semicolon, tab or bar.
    """
    candidates = sorted(_SEPARATORS, key=lambda separator: separator != expected)
    cells = {separator: [cell.strip() for cell in split_line(header, separator)] for separator in candidates}
    for separator in candidates:
        if {*wanted} <= {*cells[separator]}:
            return separator
    return max(candidates, key=lambda separator: len(cells[separator]))


def is_spaced(header: str, separator: str) -> bool:
    """Whether a space follows each separator, as people write lists by hand."""
    cells = split_line(header, separator)[1:]
    return bool(cells) and all(cell.startswith(" ") for cell in cells)


def split_line(line: str, separator: str) -> list[str]:
    """Split one line at a separator, leniently: quotes that do not fit are a part of their cells."""
    return next(csv.reader([line.rstrip("\r\n")], delimiter=separator), [])
