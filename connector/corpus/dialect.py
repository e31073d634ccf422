"""Detect the separator of a table."""

from __future__ import annotations

import csv
import re
from collections.abc import Collection

TAB = "\t"
_SEPARATORS = (",", ";", TAB, "|")
_EXCEL_LINE = re.compile(r'"?sep=(.)"?[\r\n]*', re.IGNORECASE)


def excel_separator(line: str) -> str | None:
    """The separator that Excel declares in a line before the header (`sep=;`); None for other lines."""
    found = _EXCEL_LINE.fullmatch(line)
    return found.group(1) if found else None


def find_separator(header: str, expected: str, wanted: Collection[str]) -> str:
    """Detect the separator of a header.

    Args:
        header: The first line.
        expected: The usual separator of the format, which is preferred in doubt.
        wanted: Names that the header must contain; a separator that yields them is preferred.

    Returns:
        A comma, semicolon, tab or bar.
    """
    candidates = sorted(_SEPARATORS, key=lambda separator: separator != expected)
    cells = {separator: [cell.strip() for cell in split_line(header, separator)] for separator in candidates}
    for separator in candidates:
        if {*wanted} <= {*cells[separator]}:
            return separator
    return max(candidates, key=lambda separator: len(cells[separator]))


def other_separator(header: str, texts: Collection[str], ids: Collection[str]) -> str | None:
    """The character by which a header has the text and an id, where none of the usual separators does."""
    for character in dict.fromkeys(header.rstrip("\r\n")):
        if character.isalnum() or character in "_\"'":
            continue
        cells = {cell.strip() for cell in header.rstrip("\r\n").split(character)}
        if {*texts} <= cells and cells & {*ids}:
            return character
    return None


def is_spaced(header: str, separator: str) -> bool:
    """Whether a space follows each separator."""
    cells = split_line(header, separator)[1:]
    return bool(cells) and all(cell.startswith(" ") for cell in cells)


def split_line(line: str, separator: str) -> list[str]:
    """Split a line at a separator; unbalanced quotes become part of their cells."""
    return next(csv.reader([line.rstrip("\r\n")], delimiter=separator), [])
