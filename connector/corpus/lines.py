"""Read lines of text files with any line ends."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

from connector.corpus.streams import READ_ERRORS, Opened, name_of, open_bytes
from connector.errors import CorpusError

_BOM = b"\xef\xbb\xbf"


def read_lines(path: Path | None, encoding: str | None = None) -> Iterator[tuple[int, bytes]]:
    """Read a file line by line (see `open_bytes`).

    Args:
        path: The file; None is standard input.
        encoding: Encoding of the text; None means UTF-8, or that of the byte order mark.

    Yields:
        The line number from 1, and the line as UTF-8 with its line end: a line feed, or a carriage return if the first
        line ends with one alone. Without `encoding`, invalid UTF-8 is passed through.

    Raises:
        CorpusError: The file cannot be read completely. The lines before the error have been yielded.
    """
    number = 0
    try:
        with open_bytes(path, encoding) as opened:
            for number, line in enumerate(split_lines(opened), 1):
                yield number, line
    except READ_ERRORS as error:
        raise unreadable(path, f"line {number}", error) from error


def read_entries(path: Path | None, encoding: str | None = None) -> Iterator[str]:
    """Read a file with one entry per line, such as ids or queries, without surrounding spaces and blank lines.

    Raises:
        CorpusError: The file cannot be read completely, or a line is not in its encoding.
    """
    for number, line in read_lines(path, encoding):
        try:
            entry = decode(line).strip()
        except ValueError as error:
            raise CorpusError(f"{name_of(path)}:{number} is {error}.") from None
        if entry:
            yield entry


def split_lines(opened: Opened) -> Iterator[bytes]:
    """Split a file at the kind of line end that its first line has."""
    if not ends_with_carriage_return(opened.head):
        yield from opened.stream
        return
    # Latin-1 has a character for every byte, and TextIOWrapper can split at carriage returns.
    for line in io.TextIOWrapper(opened.stream, encoding="latin-1", newline="\r"):
        yield line.encode("latin-1")


def ends_with_carriage_return(head: bytes) -> bool:
    """Whether the first line ends with a carriage return alone (classic Mac OS, some exports)."""
    before, found, after = head.partition(b"\r")
    return bool(found) and b"\n" not in before and not after.startswith(b"\n")


def read_line_range(path: Path, start: int, stop: int) -> Iterator[tuple[int, bytes]]:
    """Read the lines of a file that begin within a range of bytes; adjacent ranges share no line.

    Args:
        path: A plain file (`is_plain`) with line feeds.
        start: First byte of the range.
        stop: First byte after the range; a line that begins before it is read completely.

    Yields:
        The position of the line's first byte, and the line as in `read_lines`.

    Raises:
        CorpusError: The file cannot be read.
    """
    place = start
    try:
        with path.open("rb") as stream:
            if start:
                # From the previous byte, which is a line feed if a line begins at `start`.
                stream.seek(start - 1)
                place += len(stream.readline()) - 1
            while place < stop and (line := stream.readline()):
                yield place, line if place else line.removeprefix(_BOM)
                place += len(line)
    except OSError as error:
        raise unreadable(path, f"byte {place}", error) from error


def decode(line: bytes) -> str:
    """Return the line as text.

    Raises:
        ValueError: It is not UTF-8; the message has the byte and its position.
    """
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"not UTF-8: byte 0x{line[error.start]:02x} at position {error.start} ({error.reason}); convert the file, "
            "or set its encoding, e.g. cp1252"
        ) from None


def unreadable(path: Path | None, after: str, error: Exception) -> CorpusError:
    """Create the error for a file that cannot be read completely."""
    if isinstance(error, UnicodeDecodeError):
        return CorpusError(f"{name_of(path)} cannot be decoded after {after}: {error}. Set its encoding.")
    return CorpusError(
        f"{name_of(path)} cannot be read after {after}: {error}. Everything before it was read; restore the file "
        "and read it again."
    )
